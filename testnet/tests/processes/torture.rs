//! The primary is killed again and again under load, and comes back each time.
//!
//! `TAGMA_KILLS=200 TAGMA_SEED=1 cargo test -p tagma-testnet --test processes again_and_again -- --nocapture` kills more
//! often; `tagma-testnet torture --kills 200` is the same for people.

use std::env;

use tagma_testnet::torture::kill_primaries;

use crate::support::Running;

/// Kills in a run of all tests.
const KILLS: u32 = 5;

fn number<T: std::str::FromStr>(variable: &str) -> Option<T> {
    let text = env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
    )
}

#[test]
fn kill_the_primary_again_and_again() {
    let kills = number("TAGMA_KILLS").unwrap_or(KILLS);
    let seed: u64 = number("TAGMA_SEED").unwrap_or_else(rand::random);
    println!("seed {seed}");
    let mut net = Running::start(4);
    let network = &mut net.network;
    let outcome = net
        .runtime
        .block_on(kill_primaries(network, kills, seed, |kill, _| {
            println!("{kill:?}");
        }))
        .unwrap();
    assert_eq!(outcome.kills.len(), usize::try_from(kills).unwrap());
    let outcome = outcome.into_result().unwrap();
    // Who stays away until it is replaced leaves its view behind; a primary that is back at once may keep it.
    let replaced = outcome.kills.iter().filter(|kill| !kill.at_once).count() as u64;
    assert!(
        outcome.views() >= replaced,
        "{} views in {replaced} replacements",
        outcome.views()
    );
    assert!(outcome.looks > u64::from(kills), "the views were looked at");
}
