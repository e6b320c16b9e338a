//! Up to f replicas crash and nobody's money notices; more than f, and nothing moves until one is back.

use nix::sys::signal::Signal;
use tagma_testnet::plan::INITIAL_BALANCE;
use tagma_wire::client_protocol::StatusReport;

use crate::support::{Running, until, words};

#[test]
fn a_killed_backup_comes_back_and_holds_the_same_chain() {
    let mut net = Running::start(4);
    net.pay("alice", "bob", 25);
    let backup = (net.primary() + 1) % 4;
    net.kill(backup);
    for _ in 0..5 {
        net.pay("bob", "carol", 2);
    }
    net.network.start(backup).unwrap();
    net.wait_ready(&[0, 1, 2, 3]);
    let report = net.check();
    assert_eq!(report.answering, [0, 1, 2, 3]);
    assert_eq!(report.executed, 6);
    assert_eq!(net.balance(&report, "alice"), INITIAL_BALANCE - 25);
    assert_eq!(net.balance(&report, "bob"), INITIAL_BALANCE + 15);
    assert_eq!(net.balance(&report, "carol"), INITIAL_BALANCE + 10);
}

#[test]
fn with_the_primary_killed_the_next_transfer_commits_in_the_next_view() {
    let mut net = Running::start(4);
    net.pay("alice", "bob", 1);
    let (primary, view) = (net.primary(), net.view());
    net.kill(primary);
    net.pay("alice", "bob", 1);
    assert!(net.view() > view, "the view is still {view}");
    assert_ne!(net.primary(), primary);
    net.network.start(primary).unwrap();
    net.wait_ready(&[0, 1, 2, 3]);
    let report = net.check();
    assert_eq!(net.balance(&report, "bob"), INITIAL_BALANCE + 2);
}

#[test]
fn of_seven_two_may_crash_and_with_a_third_the_outcome_is_unknown_until_it_is_back() {
    let mut net = Running::start(7);
    net.pay("alice", "bob", 1);
    let primary = net.primary();
    let backups: Vec<u16> = (1..4).map(|step| (primary + step) % 7).collect();
    net.kill(backups[0]);
    net.kill(backups[1]);
    net.pay("alice", "bob", 10);

    net.kill(backups[2]);
    let unknown = net.tagma(&["transfer", "alice", "bob", "100", "--timeout", "2s"]);
    assert_eq!(unknown.status.code(), Some(5), "{}", words(&unknown));
    let text = String::from_utf8_lossy(&unknown.stdout).into_owned();
    let hash = text
        .split_whitespace()
        .find(|word| word.len() == 64)
        .expect("the hash is printed");

    net.network.start(backups[2]).unwrap();
    let waited = net.tagma(&["tx", "wait", hash, "--timeout", "60s"]);
    assert!(waited.status.success(), "{}", words(&waited));
    // Sending the same request again finds its outcome and moves nothing.
    let again = net.tagma(&["tx", "wait", hash, "--timeout", "60s"]);
    assert!(again.status.success(), "{}", words(&again));

    net.network.start(backups[0]).unwrap();
    net.network.start(backups[1]).unwrap();
    net.wait_ready(&[0, 1, 2, 3, 4, 5, 6]);
    let report = net.check();
    assert_eq!(report.executed, 3, "each request was executed exactly once");
    assert_eq!(net.balance(&report, "bob"), INITIAL_BALANCE + 111);
}

/// Whether every other replica counts `node` as connected, or none; nothing while they differ.
fn connected(net: &Running, node: u16) -> Option<bool> {
    let statuses = net.statuses();
    let mut others = statuses.values().filter(|status| status.replica != node);
    let seen = |status: &StatusReport| status.connected[usize::from(node)];
    let first = seen(others.next()?);
    others.all(|status| seen(status) == first).then_some(first)
}

#[test]
fn a_killed_or_frozen_replica_soon_counts_as_gone_and_is_connected_again_when_it_is_back() {
    let mut net = Running::start(4);
    let nodes = net.network.nodes();
    net.pay("alice", "bob", 1);
    // The highest number dials all others.
    net.kill(3);
    until("the others see that n3 is gone", || {
        connected(&net, 3) == Some(false)
    });
    net.network.start(3).unwrap();
    net.wait_ready(&nodes);
    assert_eq!(connected(&net, 3), Some(true));

    // The lowest is dialed by all others, and cannot answer while it is frozen.
    assert!(net.network.pause(0).unwrap());
    until("the others see that n0 is frozen", || {
        connected(&net, 0) == Some(false)
    });
    net.network.signal(0, Signal::SIGCONT).unwrap();
    net.wait_ready(&nodes);
    until("n0 is connected again", || connected(&net, 0) == Some(true));
    net.pay("alice", "bob", 1);
    net.check();
}
