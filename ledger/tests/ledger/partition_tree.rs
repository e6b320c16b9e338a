//! The partition tree against a tree built from nothing.

use crate::common::key;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use tagma_crypto::{Digest, merkle};
use tagma_ledger::partition_tree::{BucketSummary, PartitionTree, Place, is_parent, root_of};

fn leaf(value: u64) -> Digest {
    merkle::leaf(&value.to_le_bytes())
}

/// The definition, spelled out: sort each bucket by key, hash it, hash the buckets.
fn naive_summaries(leaves: &BTreeMap<u16, u64>, buckets: u32) -> Vec<BucketSummary> {
    (0..buckets)
        .map(|bucket| {
            let mut entries: Vec<_> = leaves
                .iter()
                .filter(|(seed, _)| Place::of(key(**seed), buckets).bucket == bucket)
                .collect();
            entries.sort_by_key(|(seed, _)| key(**seed));
            let hashes: Vec<Digest> = entries.into_iter().map(|(_, value)| leaf(*value)).collect();
            BucketSummary {
                count: hashes.len() as u64,
                root: merkle::root(&hashes),
            }
        })
        .collect()
}

fn check_nodes(tree: &PartitionTree) {
    assert_eq!(tree.node(0, 0), Some(tree.root()));
    for level in 0..tree.depth() {
        for index in 0..1 << level {
            let child = |side| tree.node(level + 1, 2 * index + side).unwrap();
            assert!(is_parent(&tree.node(level, index).unwrap(), &child(0), &child(1)));
            assert!(!is_parent(
                &tree.node(level, index).unwrap(),
                &child(1),
                &Digest::ZERO
            ));
        }
        assert_eq!(tree.node(level, 1 << level), None);
    }
    assert_eq!(tree.node(tree.depth() + 1, 0), None);
    for bucket in 0..tree.buckets() {
        let digest = tree.summary(bucket).unwrap().digest();
        assert_eq!(tree.node(tree.depth(), bucket), Some(digest));
        let proof = tree.prove_bucket(bucket).unwrap();
        assert!(proof.verify(&digest, &tree.root()));
        assert!(!proof.verify(&Digest::ZERO, &tree.root()));
    }
    assert_eq!(tree.prove_bucket(tree.buckets()), None);
    assert_eq!(tree.summary(tree.buckets()), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn incremental_equals_from_scratch(
        depth in 0u32..5,
        rounds in prop::collection::vec(prop::collection::vec((0u16..40, any::<u64>()), 0..12), 1..6),
    ) {
        let buckets = 1 << depth;
        let mut tree = PartitionTree::empty(buckets);
        let mut leaves = BTreeMap::new();
        let mut history = Vec::new();
        for round in rounds {
            history.push((tree.clone(), tree.root(), tree.summaries()));
            leaves.extend(round.iter().copied());
            tree.update(round.iter().map(|(seed, value)| (Place::of(key(*seed), buckets), leaf(*value))));
            let summaries = naive_summaries(&leaves, buckets);
            prop_assert_eq!(tree.summaries(), summaries.clone());
            prop_assert_eq!(tree.root(), root_of(&summaries));
            check_nodes(&tree);
        }
        // Clones taken before an update are what they were.
        for (clone, root, summaries) in history {
            prop_assert_eq!(clone.root(), root);
            prop_assert_eq!(clone.summaries(), summaries);
        }
    }

    #[test]
    fn only_the_buckets_of_what_differs_differ(
        base in prop::collection::btree_map(0u16..60, any::<u64>(), 0..40),
        changed in prop::collection::btree_map(0u16..60, any::<u64>(), 0..8),
    ) {
        let place = |seed: u16| Place::of(key(seed), 16);
        let mut one = PartitionTree::empty(16);
        one.update(base.iter().map(|(seed, value)| (place(*seed), leaf(*value))));
        let mut other = one.clone();
        other.update(changed.iter().map(|(seed, value)| (place(*seed), leaf(*value))));
        let expected: BTreeSet<u32> = changed
            .iter()
            .filter(|(seed, value)| base.get(seed) != Some(value))
            .map(|(seed, _)| place(*seed).bucket)
            .collect();
        prop_assert_eq!(one.differing(&other.summaries()), expected.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!(one.root() == other.root(), expected.is_empty());
    }
}

#[test]
fn the_count_of_a_bucket_is_in_its_digest() {
    let summary = BucketSummary::of(&[leaf(1), leaf(2)]);
    let fewer = BucketSummary { count: 1, ..summary };
    assert_ne!(summary.digest(), fewer.digest());
    // A bucket of one entry whose leaf hash is the root of two others is still another bucket.
    assert_ne!(BucketSummary::of(&[summary.root]).digest(), summary.digest());
}
