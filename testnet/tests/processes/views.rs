//! f primaries in a row are dead: the views go past all of them and no further (liveness, OSDI '99 §4.5.2).

use crate::support::{PATIENCE, Running};

fn dead_primaries_in_a_row(replicas: u16) {
    let mut net = Running::start(replicas);
    let faults = u16::try_from(net.network.faults()).unwrap();
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
