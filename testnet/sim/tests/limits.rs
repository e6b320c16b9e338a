//! More than f faults must be able to break safety, and the checkers must say so: a checker that never fails checks nothing.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed expectation is a failed test"
)]

use tagma_pbft::ReplicaId;
use tagma_sim::run::run;
use tagma_sim::schedule::{Disturbance, Plan};
use tagma_sim::time::{MILLI, SECOND};

/// `twins` of four replicas run twice, and the network is divided so that each side has one of each pair.
fn divided(seed: u64, twins: u16) -> Plan {
    let mut plan = Plan::calm(seed, 4);
    plan.twins = (0..twins).map(ReplicaId::new).collect();
    // Replicas 0 to 2 on one side with the last one alone but for the twins of the others on the other side.
    let mut sides = vec![0, 0, 0, 1];
    sides.extend(std::iter::repeat_n(1, usize::from(twins)));
    plan.disturbances = vec![(MILLI, Disturbance::Partition(sides))];
    plan.heal_at = 6 * SECOND;
    plan
}

#[test]
fn two_twinned_replicas_of_four_fork_the_chain_and_the_checker_says_so() {
    for seed in 0..3 {
        let failure = run(&divided(seed, 2), false).failure;
        let failure =
            failure.unwrap_or_else(|| panic!("seed {seed}: two of four on both sides must fork the chain"));
        assert!(failure.contains("S1 agreement"), "seed {seed}: {failure}");
    }
}

#[test]
fn one_twinned_replica_of_four_forks_nothing() {
    for seed in 0..3 {
        assert_eq!(run(&divided(seed, 1), false).failure, None, "seed {seed}");
    }
}
