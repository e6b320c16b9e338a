//! Small instances, exhaustively: every run within limits that fit into a test. `tagma-sim exhaustive` and `tagma-sim twins` go
//! further.
#![allow(clippy::panic, reason = "a failed expectation is a failed test")]

use tagma_sim::model::exhaustive::{self, Deviations, Limits};
use tagma_sim::model::twins;

/// Deviations of one run: what takes about a minute of one core.
const DEPTH: u8 = 2;
/// Rounds of a scenario of twins; all four of them take some minutes.
const ROUNDS: u32 = 3;

#[test]
fn every_run_of_three_views_with_two_deviations_is_clean() {
    let limits = Limits {
        depth: DEPTH,
        views: 3,
        deviations: Deviations::All,
    };
    let report = exhaustive::run(limits, &mut |round| println!("{round}"));
    println!("{report}");
    assert_eq!(report.violation, None);
    // It would find nothing if nothing happened in it.
    assert_eq!(report.highest_view, 2, "the last view is entered");
    assert!(report.chains > 4, "different batches win in different runs");
}

#[test]
fn every_scenario_of_twins_with_three_rounds_is_clean() {
    let report = twins::run(ROUNDS, &mut |round| println!("{round}"));
    println!("{report}");
    assert_eq!(report.violation, None);
    assert_eq!(report.scenarios, 4 * 16_u64.pow(ROUNDS), "every one of them");
    assert!(report.chains > 4, "different batches win in different scenarios");
}
