//! A run is its seed: the same seed gives the same events to the last byte, and another seed gives others.
#![allow(clippy::panic, reason = "a failed expectation is a failed test")]

use tagma_sim::run::run;
use tagma_sim::schedule::{Plan, Wishes};

#[test]
fn the_same_seed_gives_the_same_trace() {
    let wishes = Wishes {
        nodes: Some(4),
        seconds: Some(6),
    };
    let mut hashes = Vec::new();
    for seed in [3, 4, 5] {
        let plan = Plan::from_seed(seed, &wishes);
        let (first, second) = (run(&plan, false), run(&plan, true));
        assert_eq!(
            first.hash, second.hash,
            "seed {seed}, with and without lines for people"
        );
        assert_eq!(
            (first.events, first.height, &first.counts),
            (second.events, second.height, &second.counts)
        );
        assert!(first.events > 100, "something happened");
        hashes.push(first.hash);
    }
    hashes.dedup();
    assert_eq!(hashes.len(), 3, "different seeds give different runs");
}
