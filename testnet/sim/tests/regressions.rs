//! Bugs that the simulator found, each as the smallest plan that shows it.
#![allow(clippy::panic, reason = "a failed expectation is a failed test")]

use tagma_pbft::ReplicaId;
use tagma_sim::byzantine::Kind;
use tagma_sim::clients::Manner;
use tagma_sim::network::Weather;
use tagma_sim::run::run;
use tagma_sim::schedule::{Disturbance, Plan};
use tagma_sim::time::{MILLI, SECOND};

fn passes(plan: &Plan) {
    let outcome = run(plan, false);
    assert_eq!(outcome.failure, None, "{plan:?}");
}

/// A backup forwarded more requests at once than a batch holds, and every primary refused all of them.
#[test]
fn forwards_fit_a_batch() {
    for seed in 0..2 {
        let mut plan = Plan::calm(seed, 4);
        plan.chain.max_batch_requests = 1;
        plan.clients = vec![Manner::OneBackup; 4];
        plan.pause = (10 * MILLI, 20 * MILLI);
        plan.heal_at = 3 * SECOND;
        passes(&plan);
    }
}

/// A replica that is behind h held votes for more than a window, and its STATUS was refused as too long.
#[test]
fn a_status_of_a_replica_that_is_behind_is_taken() {
    for seed in [9, 18, 24] {
        let mut plan = Plan::calm(seed, 4);
        plan.weather = Weather {
            loss_permille: 250,
            ..Weather::FAIR
        };
        plan.chain.checkpoint_interval = 1;
        plan.chain.window = 2;
        plan.pause = (10 * MILLI, 20 * MILLI);
        plan.disturbances = (1..6)
            .map(|second| (second * SECOND, Disturbance::SlowDisk(3, 100)))
            .collect();
        plan.heal_at = 8 * SECOND;
        passes(&plan);
    }
}

/// A proposal whose sync had not returned when its view was left was sent all the same, in answer to a STATUS.
#[test]
fn nothing_of_a_view_leaves_for_the_first_time_after_the_view_was_left() {
    for seed in 0..3 {
        let mut plan = Plan::calm(seed, 4);
        plan.weather = Weather {
            loss_permille: 200,
            ..Weather::FAIR
        };
        plan.disturbances = vec![
            (SECOND, Disturbance::SlowDisk(0, 600)),
            (4 * SECOND, Disturbance::Crash(1)),
            (6 * SECOND, Disturbance::SlowDisk(1, 600)),
        ];
        passes(&plan);
    }
}

/// A source that never answered hid that nobody had the blocks any more, so the state was never fetched.
#[test]
fn a_silent_source_does_not_keep_a_replica_from_fetching_the_state() {
    for seed in 0..2 {
        let mut plan = Plan::calm(seed, 4);
        plan.chain.retain = Some(0);
        plan.byzantine = vec![(1, vec![Kind::WithholdBodies])];
        plan.pause = (20 * MILLI, 40 * MILLI);
        plan.disturbances = vec![(SECOND, Disturbance::Partition(vec![0, 0, 0, 1]))];
        plan.heal_at = 6 * SECOND;
        passes(&plan);
    }
}

/// The plan on which the silent source was found: twins, forged certificates, and crashes at boundaries.
#[test]
fn twins_forgers_and_crashes_at_boundaries() {
    let mut plan = Plan::calm(45, 7);
    plan.chain.checkpoint_interval = 8;
    plan.chain.window = 16;
    plan.chain.max_batch_requests = 1;
    plan.chain.retain = Some(4);
    plan.twins = vec![ReplicaId::new(2)];
    plan.byzantine = vec![(1, vec![Kind::ForgedCertificates, Kind::WithholdBodies])];
    plan.disturbances = (1..16)
        .map(|at| {
            (
                at * SECOND,
                Disturbance::Arm(usize::try_from(at % 8).unwrap_or(0), 7 + at),
            )
        })
        .collect();
    plan.heal_at = 18 * SECOND;
    passes(&plan);
}
