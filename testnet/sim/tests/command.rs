//! What the command prints: the same for the same seeds, however many run at a time; and of a failure what replays it.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed expectation is a failed test"
)]

use tagma_pbft::ReplicaId;
use tagma_sim::command::Runs;
use tagma_sim::schedule::{Disturbance, Plan, Wishes};
use tagma_sim::time::{MILLI, SECOND};

fn printed(runs: &Runs, plan: &(dyn Fn(u64) -> Plan + Sync)) -> (bool, String) {
    let mut out = Vec::new();
    let clean = runs.run(plan, &|seed| format!("again {seed}"), &mut out).unwrap();
    (clean, String::from_utf8(out).unwrap())
}

/// Two of four run twice, each with one of the others: more than f, so the chain forks.
fn forked(seed: u64) -> Plan {
    let mut plan = Plan::calm(seed, 4);
    plan.twins = vec![ReplicaId::new(0), ReplicaId::new(1)];
    plan.disturbances = vec![(MILLI, Disturbance::Partition(vec![0, 0, 0, 1, 1, 1]))];
    plan.heal_at = 6 * SECOND;
    plan
}

fn runs(count: u64, jobs: usize) -> Runs {
    Runs {
        seeds: 0..count,
        jobs,
        trace: false,
        keep_going: false,
    }
}

#[test]
fn several_at_a_time_give_what_one_after_the_other_gives() {
    let wishes = Wishes {
        nodes: Some(4),
        seconds: Some(4),
    };
    let plan = |seed| Plan::from_seed(seed, &wishes);
    let (alone, together) = (printed(&runs(8, 1), &plan), printed(&runs(8, 3), &plan));
    let counted = |text: &str| text.rsplit_once('\n').map(|(rest, _)| rest.trim_end().to_owned());
    let without_speed = |text: &str| counted(text.trim_end());
    assert!(alone.0 && together.0);
    assert_eq!(without_speed(&alone.1), without_speed(&together.1));
    assert!(alone.1.contains("8 runs, 0 failed"));
    assert!(alone.1.contains("<- NEVER"), "what was not injected is said");
}

#[test]
fn a_failure_is_told_with_its_seed_and_what_replays_it_and_ends_the_batch() {
    let plan = |seed| {
        if seed == 1 {
            forked(seed)
        } else {
            Plan::calm(seed, 4)
        }
    };
    let (clean, text) = printed(&runs(9, 1), &plan);
    assert!(!clean);
    assert!(text.contains("seed 1 FAILED at"), "{text}");
    assert!(text.contains("S1 agreement"), "{text}");
    assert!(text.contains("replay: again 1"), "{text}");
    assert!(text.contains("2 runs, 1 failed"), "{text}");
    assert!(!text.contains("PRE-PREPARE"), "a trace only when asked for");
}

#[test]
fn a_single_failure_comes_with_a_trace() {
    let (clean, text) = printed(&runs(1, 1), &forked);
    assert!(!clean);
    assert!(text.contains("PRE-PREPARE v0 #1"), "{text}");
}
