//! Scenarios on processes, against the same scenarios in the simulator.

use tagma_testnet::scenario::library;
use tagma_testnet::scenario::play::play;
use tagma_testnet::scenario::real::RealField;
use tagma_testnet::scenario::simulated::SimField;
use tagma_testnet::scenario::trace::{Recording, Side};

use crate::support::{programs, turn};

/// Plays a scenario on processes and in the simulator, and what happened on the processes in the simulator once more.
fn the_same_on_both_sides(name: &str) {
    let _turn = turn();
    let scenario = library::named(name).unwrap();
    let seed = 1;
    let real = RealField::start(&scenario, programs(), seed).unwrap();
    let played = play(&scenario, Box::new(real), |_| {}).unwrap();
    assert!(played.verdict.holds(), "{}", played.verdict);

    let simulated = SimField::start(&scenario, seed).unwrap();
    let simulated = play(&scenario, Box::new(simulated), |_| {}).unwrap();
    assert!(
        simulated.verdict.agrees_with(&played.verdict),
        "on processes:\n{}\nsimulated:\n{}",
        played.verdict,
        simulated.verdict
    );

    let recording = Recording {
        side: Side::Processes,
        seed,
        scenario,
        played,
    };
    let again = recording.to_replay();
    let field = SimField::start(&again, seed).unwrap();
    let replayed = play(&again, Box::new(field), |_| {}).unwrap();
    recording.compare(&replayed).unwrap();
}

#[test]
fn more_crashes_than_f_stop_everything_until_one_is_back() {
    the_same_on_both_sides("too-many-crashes");
}

#[test]
fn a_primary_that_tells_two_stories_is_blamed() {
    the_same_on_both_sides("equivocating-primary");
}
