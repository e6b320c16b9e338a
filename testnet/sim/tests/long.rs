//! Small versions of the long runs: `tagma-testnet sim --plan view-changes` and `--plan loss` are the whole ones.
#![allow(clippy::panic, reason = "a failed expectation is a failed test")]

use tagma_sim::plans;
use tagma_sim::run::run;

#[test]
fn primaries_are_hit_again_and_again() {
    for (seed, nodes) in [(1, 4), (2, 4), (3, 7)] {
        let outcome = run(&plans::view_changes(seed, nodes, Some(60), 1200), false);
        assert_eq!(outcome.failure, None, "seed {seed}, {nodes} replicas");
        assert!(outcome.view_changes >= 60 && outcome.executions > 60);
    }
}

#[test]
fn half_of_all_messages_are_lost() {
    for seed in [1, 2] {
        let outcome = run(&plans::loss(seed, 4, 600), false);
        assert_eq!(outcome.failure, None, "seed {seed}");
        assert!(outcome.executions > 60);
    }
}

/// The run must be able to fail: what is asked for cannot be had in so short a time.
#[test]
fn too_few_view_changes_or_blocks_are_said() {
    let failure = run(&plans::view_changes(1, 4, Some(1000), 10), false).failure;
    assert!(failure.is_some_and(|failure| failure.contains("L1 view changes")));
    let mut plan = plans::loss(1, 4, 20);
    plan.progress = Some((10_000_000_000, 1_000_000));
    let failure = run(&plan, false).failure;
    assert!(failure.is_some_and(|failure| failure.contains("L1 progress")));
}
