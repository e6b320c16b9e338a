//! A few random runs of each size, with every kind of fault; the rest is for `tagma-testnet sim`.
#![allow(clippy::panic, reason = "a failed expectation is a failed test")]

use tagma_sim::run::run;
use tagma_sim::schedule::{Plan, Wishes};

fn clean(nodes: u16, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let outcome = run(
            &Plan::from_seed(
                seed,
                &Wishes {
                    nodes: Some(nodes),
                    seconds: None,
                },
            ),
            false,
        );
        assert_eq!(
            outcome.failure, None,
            "replay: tagma-testnet sim --seed {seed} --nodes {nodes} --trace"
        );
    }
}

#[test]
fn four_replicas() {
    clean(4, 0..40);
}

#[test]
fn seven_replicas() {
    clean(7, 0..14);
}

#[test]
fn ten_replicas() {
    clean(10, 0..6);
}
