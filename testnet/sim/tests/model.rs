//! Small instances, exhaustively: every run within limits that fit into a test. `tagma-sim exhaustive` goes further.
#![allow(clippy::panic, reason = "a failed expectation is a failed test")]

use tagma_sim::model::exhaustive::{self, Deviations, Limits, Report};
use tagma_sim::model::twins;
use tagma_sim::run::run;
use tagma_sim::twins as simulated;

/// Rounds of a scenario of twins.
const ROUNDS: u32 = 4;
/// Of how many scenarios one is simulated.
const SAMPLE: usize = 6_553;

fn explore(depth: u8, deviations: Deviations) -> Report {
    let limits = Limits {
        depth,
        views: 3,
        deviations,
    };
    let report = exhaustive::run(limits, &mut |round| println!("{round}"));
    println!("{report}");
    report
}

fn assert_clean(report: &Report) {
    assert_eq!(report.violation, None);
    // It would find nothing if nothing happened in it.
    assert!(report.highest_view >= 2, "the last view is entered");
    assert!(report.chains > 4, "different batches win in different runs");
}

#[test]
fn every_run_of_three_views_with_two_deviations_is_clean() {
    assert_clean(&explore(2, Deviations::All));
}

#[test]
fn every_run_of_three_views_with_a_colluder_and_three_lost_links_is_clean() {
    assert_clean(&explore(3, Deviations::Losses));
}

#[test]
fn every_scenario_of_twins_with_four_rounds_is_clean() {
    let report = twins::run(ROUNDS, &mut |round| println!("{round}"));
    println!("{report}");
    assert_eq!(report.violation, None);
    assert_eq!(report.scenarios, 4 * 16_u64.pow(ROUNDS), "every one of them");
    assert!(report.chains > 4, "different batches win in different scenarios");
}

#[test]
fn a_sample_of_the_scenarios_of_twins_is_clean_with_ledgers_and_disks() {
    let all = simulated::count(ROUNDS);
    // A stride without a factor of 2 meets every twinned replica and every division.
    for number in (0..all).step_by(SAMPLE) {
        let failure = run(&simulated::plan(ROUNDS, number), false).failure;
        assert_eq!(
            failure, None,
            "replay: tagma-sim twins --rounds {ROUNDS} --simulate --from {number} --count 1"
        );
    }
}

/// A search that sees nothing shows nothing: what breaks safety is seen as soon as it can do so.
#[cfg(feature = "mutants")]
mod planted {
    use tagma_crypto::mutants::{Mutant, plant};

    use super::{Deviations, explore};

    fn seen(mutant: Mutant, depth: u8, deviations: Deviations) -> String {
        plant(Some(mutant));
        let report = explore(depth, deviations);
        plant(None);
        let violation = report.violation;
        violation.unwrap_or_else(|| panic!("{mutant:?} is not seen"))
    }

    #[test]
    fn forks_are_seen() {
        for mutant in [
            Mutant::CommitsOneShort,
            Mutant::CommitsUnprepared,
            Mutant::HidesCertificates,
            Mutant::EmptyNewView,
        ] {
            let violation = seen(mutant, 3, Deviations::Losses);
            assert!(violation.contains("S1 agreement"), "{mutant:?}: {violation}");
        }
    }

    #[test]
    fn broken_promises_are_seen() {
        for mutant in [Mutant::ProposesAtMaxS, Mutant::EntersLowerViews] {
            let violation = seen(mutant, 1, Deviations::All);
            let promise =
                violation.contains("no conflicting signatures") || violation.contains("silence after");
            assert!(promise, "{mutant:?}: {violation}");
        }
    }

    #[test]
    fn lost_liveness_is_seen() {
        for mutant in [Mutant::OneVoidSpoilsAll, Mutant::SkipsChoices] {
            let violation = seen(mutant, 1, Deviations::All);
            assert!(
                violation.contains("progress after healing"),
                "{mutant:?}: {violation}"
            );
        }
    }
}
