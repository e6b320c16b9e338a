//! All replicas are killed at once, under load, again and again: what was acknowledged survives.

use std::time::{Duration, Instant};

use tagma_testnet::load::Pace;
use tagma_testnet::observe::Observer;

use crate::support::{PATIENCE, Running, until, until_acknowledged};

/// How often everything is killed.
const ROUNDS: usize = 20;
/// The longest time between two kills beyond the first acknowledgement, in milliseconds.
const MOST_MS: u64 = 400;

#[test]
fn nothing_acknowledged_is_lost_when_all_replicas_are_killed_at_once() {
    let mut net = Running::start(4);
    let nodes = net.network.nodes();
    let load = net.load(Pace::full(PATIENCE));
    for round in 0..ROUNDS {
        let before = load.acknowledged();
        until_acknowledged(&load, before);
        // Not synchronisation: the moment of the kill is to be anywhere in the work.
        let moment = Instant::now() + Duration::from_millis(rand::random_range(0..MOST_MS));
        until("the moment of the kill", || Instant::now() >= moment);
        net.network.kill_together(&nodes).unwrap();
        net.network
            .start_all()
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
        net.wait_ready(&nodes);
    }
    let paid = net.runtime.block_on(load.finish()).unwrap();
    assert!(paid.len() > ROUNDS);

    let report = net.check();
    assert_eq!(
        report.executed,
        paid.len(),
        "every request was acknowledged, and executed exactly once"
    );
    let genesis = net.network.genesis().clone();
    net.runtime.block_on(async {
        let observer = Observer::new(&genesis).unwrap();
        for paid in paid.iter().map(|one| &one.paid) {
            for node in &nodes {
                let found = observer.transaction(*node, paid.request).await.unwrap();
                assert_eq!(
                    found.map(|found| (found.height, found.outcome)),
                    Some((paid.height, paid.outcome)),
                    "n{node} must have {} as it was acknowledged",
                    paid.request
                );
            }
        }
    });
}
