//! Views left by all, past f dead primaries in a row and no further (liveness, OSDI '99 §4.5.2), and by one alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tagma_pbft::Kind;

use crate::relay::{Relay, Way};
use crate::support::{PATIENCE, Running, until};

fn dead_primaries_in_a_row(replicas: u16) {
    let mut net = Running::start(replicas);
    let faults = net.network.faults();
    net.pay("alice", "bob", 1);
    let (primary, before) = net.runtime.block_on(net.network.leader()).unwrap();
    let dead: Vec<u16> = (0..faults).map(|step| (primary + step) % replicas).collect();
    net.network.kill_together(&dead).unwrap();

    let paid = net.pay("alice", "bob", 2);
    assert!(dead.iter().all(|node| !paid.replicas.contains(node)), "{paid:?}");
    let steps = net.view() - before;
    assert!(
        (u64::from(faults)..=u64::from(faults) + 1).contains(&steps),
        "{steps} view steps past the {faults} dead primaries {dead:?}"
    );
    let alive: Vec<u16> = net
        .network
        .nodes()
        .into_iter()
        .filter(|node| !dead.contains(node))
        .collect();
    let (primary, _) = net.runtime.block_on(net.network.leader()).unwrap();
    assert!(alive.contains(&primary));

    for node in &dead {
        net.network.start(*node).unwrap();
    }
    net.runtime
        .block_on(net.network.wait_ready(&dead, PATIENCE))
        .unwrap();
    let report = net.check();
    assert_eq!(report.executed, 2, "each payment was executed once");
}

#[test]
fn two_dead_primaries_in_a_row_of_seven_replicas_cost_no_more_than_three_views() {
    dead_primaries_in_a_row(7);
}

#[test]
fn three_dead_primaries_in_a_row_of_ten_replicas_cost_no_more_than_four_views() {
    dead_primaries_in_a_row(10);
}

/// One that has left its view alone signs nothing of that view any more, so it cannot come back; it follows by what the
/// others commit, counts as ready, and is there when they leave as well. Found by killing primaries on a busy machine.
#[test]
fn one_that_left_the_view_alone_follows_and_makes_the_quorum_of_the_next_view() {
    let alone = 3;
    let cut = Arc::new(AtomicBool::new(false));
    let (mut net, _relay) = Running::prepared(4, |network| {
        let cut = Arc::clone(&cut);
        Relay::start(network, alone, move |way, message| {
            let final_news = matches!(message.kind(), Kind::Commit | Kind::Blocks);
            let lost = cut.load(SeqCst) && matches!(way, Way::In(_)) && final_news;
            (!lost).then_some(message)
        })
    });
    net.pay("alice", "bob", 1);
    let (primary, view) = net.runtime.block_on(net.network.leader()).unwrap();
    assert_ne!(primary, alone);
    cut.store(true, SeqCst);
    // It prepares this one and never hears that it is final.
    net.pay("alice", "bob", 2);
    until("the replica without news leaves the view", || {
        net.status(alone).target > view
    });
    cut.store(false, SeqCst);
    net.pay("alice", "bob", 4);
    let nodes = net.network.nodes();
    let statuses = net.wait_equal(&nodes);
    // On a machine that is too busy the others may have left by now as well.
    if statuses.values().all(|status| status.view == view) {
        assert_eq!(statuses[&alone].target, view + 1, "it waits for them");
    }
    net.wait_ready(&nodes);

    // With the primary dead, the other two and the one that waits are just a quorum.
    net.kill(primary);
    net.pay("alice", "bob", 8);
    assert!(net.view() > view);
    net.network.start(primary).unwrap();
    net.wait_ready(&nodes);
    assert_eq!(net.check().executed, 4);
}
