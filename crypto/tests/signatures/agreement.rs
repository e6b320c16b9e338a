//! Single, batch and reference verdicts agree, those of ed25519-zebra, and those of who remembers keys and signatures.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tagma_crypto::{Claim, KnownSignatures, verify, verify_batch};

use crate::crafted::{Kind, craft};
use crate::reference;

/// Distinct (key, message, signature) triples that the large test compares.
const CASES: usize = 100_000;
/// Threads that share them, each with claims of its own seed.
const WORKERS: u64 = 4;

fn kinds_of_batch(rng: &mut ChaCha8Rng) -> Vec<Kind> {
    let size = rng.random_range(1..=160);
    let good = |rng: &mut ChaCha8Rng| Kind::GOOD[rng.random_range(0..Kind::GOOD.len())];
    let bad = |rng: &mut ChaCha8Rng| Kind::BAD[rng.random_range(0..Kind::BAD.len())];
    // Batches that hold together decide by the batch equation, broken ones member by member: both need to be common.
    let mut kinds: Vec<_> = match rng.random_range(0..4) {
        0 | 1 => (0..size).map(|_| good(rng)).collect(),
        2 => (0..size)
            .map(|_| {
                if rng.random_range(0..size) == 0 {
                    bad(rng)
                } else {
                    good(rng)
                }
            })
            .collect(),
        _ => (0..size)
            .map(|_| if rng.random() { bad(rng) } else { good(rng) })
            .collect(),
    };
    kinds.shuffle(rng);
    kinds
}

/// What a process remembers: of one signatures too, of the other keys alone.
fn memories() -> [KnownSignatures; 2] {
    [KnownSignatures::new(100), KnownSignatures::default()]
}

/// Compares the verdicts on one batch, in the order given and in another, and counts them by kind.
fn compare(
    batch: &[(Kind, Claim)],
    memories: &[KnownSignatures],
    rng: &mut ChaCha8Rng,
    tally: &mut BTreeMap<(Kind, bool), usize>,
) {
    let claims: Vec<_> = batch.iter().map(|(_, claim)| claim.clone()).collect();
    let verdicts = verify_batch(&claims);
    assert_eq!(verdicts.len(), claims.len());
    for ((kind, claim), in_batch) in batch.iter().zip(&verdicts) {
        let reference = reference::verdict(claim);
        let single = verify(&claim.key, &claim.message, &claim.signature);
        assert_eq!(
            (single, *in_batch),
            (reference, reference),
            "(single, batch) on {kind:?} {claim:?}"
        );
        assert_eq!(reference::zebra(claim), reference, "zebra on {kind:?} {claim:?}");
        assert_eq!(
            reference,
            kind.is_good(),
            "a crafted {kind:?} is not what it should be: {claim:?}"
        );
        *tally.entry((*kind, reference)).or_default() += 1;
    }
    let mut order: Vec<_> = (0..claims.len()).collect();
    order.shuffle(rng);
    let shuffled: Vec<_> = order.iter().map(|&place| claims[place].clone()).collect();
    let expected: Vec<_> = order.iter().map(|&place| verdicts[place]).collect();
    assert_eq!(
        verify_batch(&shuffled),
        expected,
        "the order of a batch changed a verdict"
    );
    for memory in memories {
        assert_eq!(
            memory.verify_batch(&shuffled),
            expected,
            "what is remembered changed a verdict"
        );
    }
}

/// Compares claims made from this seed until there are `count` distinct ones; gives them and their tally by kind.
fn compare_many(seed: u64, count: usize) -> (HashSet<Claim>, BTreeMap<(Kind, bool), usize>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut seen, mut tally) = (HashSet::new(), BTreeMap::new());
    let memories = memories();
    while seen.len() < count {
        let mut batch = Vec::new();
        for kind in kinds_of_batch(&mut rng) {
            let claim = craft(kind, &mut rng);
            if seen.insert(claim.clone()) {
                batch.push((kind, claim));
            }
        }
        compare(&batch, &memories, &mut rng, &mut tally);
    }
    (seen, tally)
}

#[test]
fn a_hundred_thousand_distinct_claims_have_one_verdict() {
    let (mut seen, mut tally) = (HashSet::new(), BTreeMap::<_, usize>::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|seed| scope.spawn(move || compare_many(seed, CASES / WORKERS as usize)))
            .collect();
        for worker in workers {
            let (claims, counts) = worker.join().expect("a verdict differs, see above");
            seen.extend(claims);
            for (kind, count) in counts {
                *tally.entry(kind).or_default() += count;
            }
        }
    });
    let good: usize = tally
        .iter()
        .filter(|((_, good), _)| *good)
        .map(|(_, count)| count)
        .sum();
    println!(
        "{} distinct claims, single = batch = reference: {good} good, {} bad",
        seen.len(),
        seen.len() - good
    );
    for ((kind, good), count) in &tally {
        println!("  {kind:?}: {count} {}", if *good { "good" } else { "bad" });
    }
    assert!(seen.len() >= CASES, "workers made the same claims");
    assert_eq!(
        tally.len(),
        Kind::GOOD.len() + Kind::BAD.len(),
        "every kind was there"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_mix_in_any_order_has_one_verdict(
        choices in proptest::collection::vec((0..17_usize, any::<u64>()), 0..150),
        order in any::<u64>(),
    ) {
        let all: Vec<_> = Kind::GOOD.into_iter().chain(Kind::BAD).collect();
        let batch: Vec<_> = choices
            .into_iter()
            .map(|(kind, seed)| (all[kind], craft(all[kind], &mut ChaCha8Rng::seed_from_u64(seed))))
            .collect();
        let mut rng = ChaCha8Rng::seed_from_u64(order);
        compare(&batch, &memories(), &mut rng, &mut BTreeMap::new());
    }
}
