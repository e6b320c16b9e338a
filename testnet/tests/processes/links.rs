//! Links between replicas that are cut, or lose, delay, double and reorder packets.

use std::time::Duration;

use tagma_testnet::load::Pace;
use tagma_testnet::net::change::Link;
use tagma_testnet::net::path::Counts;
use tagma_testnet::net::{LinkFault, links};
use tagma_testnet::process::{self, Activity};

use crate::support::{PATIENCE, Running, until, words};

/// Longer than a quorum needs for many batches.
const WHILE: Duration = Duration::from_secs(3);

/// Transfers of several accounts without end.
fn pace() -> Pace {
    Pace {
        pause: Duration::from_millis(5),
        ..Pace::full(PATIENCE)
    }
}

#[test]
fn two_against_two_nothing_is_acknowledged_until_the_links_heal() {
    let mut net = Running::start(4);
    // Put between replicas that run: they find each other again through them.
    let links = net.network.links().unwrap();
    let load = net.load(pace());
    until("the first acknowledgement", || load.acknowledged() > 0);

    links.partition(&[&[0, 1], &[2, 3]]).unwrap();
    // What was decided before the cut may still be told.
    let mut before = load.acknowledged();
    until("the last acknowledgement", || {
        std::thread::sleep(WHILE);
        let now = load.acknowledged();
        std::mem::replace(&mut before, now) == now
    });
    let executed = net.statuses().values().map(|status| status.executed).max();
    std::thread::sleep(WHILE);
    assert_eq!(load.acknowledged(), before, "no quorum, no acknowledgement");
    assert_eq!(
        net.statuses().values().map(|status| status.executed).max(),
        executed,
        "no quorum, no block"
    );

    links.heal().unwrap();
    until("progress after healing", || load.acknowledged() > before);
    let paid = net.runtime.block_on(load.finish()).unwrap();
    assert_eq!(net.check().executed, paid.len());
}

#[test]
fn three_go_on_without_the_one_that_is_cut_off_and_it_catches_up() {
    let mut net = Running::start(4);
    let links = net.network.links().unwrap();
    let primary = net.primary();
    let load = net.load(pace());
    until("the first acknowledgement", || load.acknowledged() > 0);
    let state = links.isolate(primary).unwrap();
    assert_eq!(state.links.iter().filter(|link| link.fault.cut).count(), 6);
    let before = load.acknowledged();
    until("the others replace the primary and go on", || {
        load.acknowledged() > before + 50
    });
    assert_ne!(net.primary(), primary);
    links.heal().unwrap();
    let paid = net.runtime.block_on(load.finish()).unwrap();
    assert_eq!(net.check().executed, paid.len());
    let state = links.show().unwrap();
    let met = |(link, counts): (&Link, &Counts)| link.from == primary && counts.cut > 0;
    assert!(state.each().any(met), "packets of the primary met the cut");
}

/// The primary hears everybody and reaches nobody: as good as silent.
#[test]
fn a_primary_that_is_cut_one_way_is_replaced() {
    let mut net = Running::start(4);
    let links = net.network.links().unwrap();
    let primary = net.primary();
    let load = net.load(pace());
    until("the first acknowledgement", || load.acknowledged() > 0);
    for node in net.network.nodes().into_iter().filter(|node| *node != primary) {
        links.one_way(primary, node, LinkFault::cut()).unwrap();
    }
    let before = load.acknowledged();
    until("the others go on", || load.acknowledged() > before + 50);
    assert_ne!(net.primary(), primary);
    links.heal().unwrap();
    let paid = net.runtime.block_on(load.finish()).unwrap();
    assert_eq!(net.check().executed, paid.len());
}

#[test]
fn lost_doubled_delayed_and_reordered_packets_change_nothing_but_the_pace() {
    let mut net = Running::start(4);
    let links = net.network.links_seeded(7).unwrap();
    let share = |text: &str| text.parse().unwrap();
    links
        .everywhere(LinkFault {
            drop: share("5%"),
            delay: Duration::from_millis(2),
            jitter: Duration::from_millis(3),
            dup: share("2%"),
            reorder: share("5%"),
            ..LinkFault::default()
        })
        .unwrap();
    let load = net.load(pace());
    // How many packets that takes is chance: 2 of 100 are doubled, and how much is sent is the replicas' affair.
    until("many acknowledgements over links that all met each fault", || {
        let state = links.show().unwrap();
        let met = |counts: &Counts| counts.dropped > 0 && counts.doubled > 0 && counts.reordered > 0;
        load.acknowledged() > 500 && state.each().all(|(_, counts)| met(counts))
    });
    links.heal().unwrap();
    let paid = net.runtime.block_on(load.finish()).unwrap();
    assert_eq!(net.check().executed, paid.len());
}

/// The command, its undoing, a replica that starts while there are links, and links that go: with them and when killed.
#[test]
fn links_are_put_in_and_taken_out_by_command_on_a_running_network() {
    let mut net = Running::start(4);
    net.pay("alice", "bob", 1);
    let told = net.testnet(&["net", "link", "0-3", "--drop", "100%", "--for", "300ms"]);
    assert!(told.status.success(), "{}", words(&told));
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(text.contains("drop 100%") && text.contains("undone"), "{text}");
    let shown = net.testnet(&["net", "show", "-o", "json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["links"].as_array().unwrap().len(), 12);
    assert_eq!(shown["links"][0]["drop"], "0%");
    let wrong: [&[&str]; 4] = [
        &["net", "isolate", "4"],
        &["net", "link", "0>0", "--cut"],
        &["net", "link", "0-1"],
        &["net", "partition", "0,1/1"],
    ];
    for wrong in wrong {
        let told = net.testnet(wrong);
        assert_eq!(told.status.code(), Some(2), "{}", words(&told));
    }

    // One that starts finds the others through the links.
    net.kill(3);
    net.network.start(3).unwrap();
    let nodes = net.network.nodes();
    net.wait_ready(&nodes);
    let links = net.network.links().unwrap();
    links.isolate(3).unwrap();
    until("n3 has lost the others", || {
        net.statuses()
            .get(&3)
            .is_some_and(|status| status.connected.iter().filter(|connected| **connected).count() <= 1)
    });

    let told = net.testnet(&["net", "off"]);
    assert!(told.status.success(), "{}", words(&told));
    assert!(!links::are_running(net.network.layout()));
    net.wait_ready(&nodes);
    net.pay("alice", "bob", 1);

    // Links that died do not keep a replica from starting.
    net.network.links().unwrap();
    assert!(process::kill_links(net.network.layout()).unwrap());
    until("the links are gone", || {
        process::links_activity(net.network.layout()) == Activity::Down
    });
    for node in nodes.iter().copied() {
        net.kill(node);
    }
    for node in nodes.iter().copied() {
        net.network.start(node).unwrap();
    }
    net.wait_ready(&nodes);
    net.pay("alice", "bob", 1);
    assert_eq!(net.check().executed, 3);
}
