//! The scenarios of the library in the simulator, and their recordings.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

use tagma_testnet::scenario::play::{Played, play};
use tagma_testnet::scenario::simulated::SimField;
use tagma_testnet::scenario::trace::{Recording, Side};
use tagma_testnet::scenario::{Scenario, library};

fn simulate(scenario: &Scenario, seed: u64) -> Played {
    let field = SimField::start(scenario, seed).unwrap();
    play(scenario, Box::new(field), |_| {}).unwrap()
}

#[test]
fn every_scenario_of_the_library_ends_as_it_must() {
    let mut wrong = Vec::new();
    for scenario in library::all().unwrap() {
        let verdict = simulate(&scenario, 1).verdict;
        if !verdict.holds() {
            wrong.push(format!("{}\n{verdict}", scenario.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// A claim that could not fail would be worth nothing: each kind of claim fails where it must.
#[test]
fn what_does_not_hold_is_said() {
    let fails = |steps: &str, expect: &str, claim: &str| {
        let text = format!("name = \"n\"\nabout = \"a\"\nnodes = 4\n{steps}\n[expect]\n{expect}\n");
        let verdict = simulate(&Scenario::parse(&text).unwrap(), 1).verdict;
        let failed: Vec<&str> = verdict
            .claims
            .iter()
            .filter(|claim| !claim.holds)
            .map(|claim| claim.what.as_str())
            .collect();
        assert_eq!(failed, [claim], "{verdict}");
    };
    let step = |words: &str| format!("[[step]]\nafter = \"1s\"\ndo = \"{words}\"\n");
    fails(&step("expect no-progress"), "", "step 1: no progress");
    fails(
        &(step("kill 0,1") + &step("expect progress --within 5s") + &step("start 0,1")),
        "",
        "step 2: progress",
    );
    fails(
        &(step("kill 0") + &step("expect progress") + &step("start 0")),
        "views_at_most = 0",
        "views at most 0",
    );
    fails(&step("expect progress"), "views_at_least = 1", "views at least 1");
    fails(&step("expect progress"), "blamed = [1]", "n1 is blamed");
    fails(&step("expect progress"), "learners = [1]", "without a vote: n1");
    fails(
        &step("net partition 0,1/2,3"),
        "",
        "in the end all that was asked for is done everywhere",
    );
}

#[test]
fn a_recording_is_replayed_to_the_same_end_and_another_run_is_told_from_it() {
    let scenario = library::named("primary-crash").unwrap();
    let seed = 7;
    let played = simulate(&scenario, seed);
    assert!(played.digest.is_some());
    let recording = Recording {
        side: Side::Simulator,
        seed,
        scenario: scenario.clone(),
        played,
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    recording.save(file.path()).unwrap();
    let loaded = Recording::load(file.path()).unwrap();
    assert_eq!(loaded, recording);
    let replayed = simulate(&loaded.to_replay(), loaded.seed);
    loaded.compare(&replayed).unwrap();
    assert_eq!(replayed, recording.played);

    let other = simulate(&scenario, seed + 1);
    let error = loaded.compare(&other).unwrap_err().to_string();
    assert!(error.contains("went another way"), "{error}");

    // What happened on processes is replayed by what happened, whoever `primary` was then.
    let on_processes = Recording {
        side: Side::Processes,
        ..loaded
    };
    let steps = on_processes.to_replay().steps;
    assert_eq!(steps[0].words, on_processes.played.happened[0].words);
    assert!(steps.iter().all(|step| !step.words.contains("primary")));
    on_processes
        .compare(&simulate(&on_processes.to_replay(), seed))
        .unwrap();
}
