//! The partition tree that gives a state its root (TOCS '02 §5.3.1, with Merkle hashes instead of AdHash).
//!
//! Accounts fall into a fixed number of buckets by the hash of their key. A bucket's digest covers the number of its
//! entries and the Merkle root over them, sorted by key; bucket digests are the leaves of a binary Merkle tree. An update
//! hashes again only the accounts, buckets and inner nodes that changed; a fetcher compares digests from the root
//! down and fetches only the buckets that differ, in parts if they are large (see [`crate::snapshot`]).
//!
//! All parts are persistent: a clone costs nothing and stays as it was.

use imbl::{OrdMap, Vector};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tagma_crypto::encode::{Decode, Encode};
use tagma_crypto::{Digest, PublicKey, merkle};

/// The most buckets a tree may have.
pub const MAX_BUCKETS: u32 = 1 << 16;

/// Where an account lives: ordered by bucket first, so that a bucket is one range of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The bucket.
    pub bucket: u32,
    /// The account's key.
    pub key: PublicKey,
}

impl Place {
    /// The place of `key` among `buckets` buckets.
    #[must_use]
    pub fn of(key: PublicKey, buckets: u32) -> Self {
        let digest = Digest::of("tagma/bucket-of", &[key.as_bytes()]);
        let [a, b, c, d, ..] = *digest.as_bytes();
        Self {
            bucket: u32::from_be_bytes([a, b, c, d]) % buckets.max(1),
            key,
        }
    }

    /// Every place of one bucket, for a map's `range`.
    pub(crate) fn all_of(bucket: u32) -> std::ops::RangeInclusive<Self> {
        let first = Self {
            bucket,
            key: PublicKey::from_bytes([0; 32]),
        };
        let last = Self {
            bucket,
            key: PublicKey::from_bytes([0xff; 32]),
        };
        first..=last
    }
}

/// A bucket in short: enough to check any part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct BucketSummary {
    /// The number of entries. It is covered by the digest, so that no source can leave entries out.
    pub count: u64,
    /// The Merkle root over the entries' leaf hashes, sorted by key.
    pub root: Digest,
}

impl BucketSummary {
    /// The summary of a bucket with these leaf hashes.
    #[must_use]
    pub fn of(leaves: &[Digest]) -> Self {
        Self {
            count: leaves.len() as u64,
            root: merkle::root(leaves),
        }
    }

    /// The bucket's digest, which is its leaf hash in the tree of buckets.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of("tagma/bucket", &[&self.count.to_le_bytes(), self.root.as_bytes()])
    }
}

/// The state root that a full list of bucket summaries gives, in bucket order.
#[must_use]
pub fn root_of(summaries: &[BucketSummary]) -> Digest {
    let digests: Vec<Digest> = summaries.iter().map(BucketSummary::digest).collect();
    merkle::root(&digests)
}

/// Whether an inner node consists of these two children: the step by which a fetcher goes down a tree it does not have.
#[must_use]
pub fn is_parent(parent: &Digest, left: &Digest, right: &Digest) -> bool {
    merkle::node(left, right) == *parent
}

/// Leaf hashes, bucket summaries and inner nodes of a state.
#[derive(Clone, Debug)]
pub struct PartitionTree {
    buckets: u32,
    leaves: OrdMap<Place, Digest>,
    summaries: Vector<BucketSummary>,
    /// The binary tree as an array: the root at 1, the children of i at 2i and 2i + 1, bucket b at `buckets` + b.
    nodes: Vector<Digest>,
}

impl PartitionTree {
    /// The tree of a state without accounts. `buckets` is a power of two up to [`MAX_BUCKETS`] by genesis; anything else is
    /// raised to the next one, or cut off there.
    #[must_use]
    pub fn empty(buckets: u32) -> Self {
        let buckets = buckets.clamp(1, MAX_BUCKETS).next_power_of_two();
        let summary = BucketSummary::of(&[]);
        let summaries = std::iter::repeat_n(summary, buckets as usize).collect();
        let mut nodes = vec![summary.digest(); 2 * buckets as usize];
        for at in (1..buckets as usize).rev() {
            if let (Some(left), Some(right)) = (nodes.get(2 * at), nodes.get(2 * at + 1)) {
                let parent = merkle::node(left, right);
                if let Some(slot) = nodes.get_mut(at) {
                    *slot = parent;
                }
            }
        }
        Self {
            buckets,
            leaves: OrdMap::new(),
            summaries,
            nodes: nodes.into(),
        }
    }

    /// The number of buckets.
    #[must_use]
    pub fn buckets(&self) -> u32 {
        self.buckets
    }

    /// Sets the leaf hashes of these accounts, new or changed, and hashes again what depends on them. Takes time in
    /// the size of the buckets they fall into.
    pub fn update(&mut self, changed: impl IntoIterator<Item = (Place, Digest)>) {
        let mut dirty = BTreeSet::new();
        for (place, leaf) in changed {
            assert!(
                place.bucket < self.buckets,
                "a place lies outside of its own tree"
            );
            self.leaves.insert(place, leaf);
            dirty.insert(place.bucket);
        }
        for &bucket in &dirty {
            let summary = BucketSummary::of(&self.bucket_leaves(bucket));
            set(&mut self.summaries, bucket as usize, summary);
            set(
                &mut self.nodes,
                self.buckets as usize + bucket as usize,
                summary.digest(),
            );
        }
        let mut level: BTreeSet<usize> = dirty
            .into_iter()
            .map(|bucket| (self.buckets as usize + bucket as usize) / 2)
            .collect();
        // One level of the tree a turn, from right above the buckets to the root.
        while level.first().is_some_and(|&at| at > 0) {
            for &at in &level {
                let node = merkle::node(&self.node_at(2 * at), &self.node_at(2 * at + 1));
                set(&mut self.nodes, at, node);
            }
            level = level.into_iter().map(|at| at / 2).collect();
        }
    }

    /// The state root.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.node_at(1)
    }

    /// The number of levels below the root: level 0 holds the root, level `depth` the bucket digests.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.buckets.ilog2()
    }

    /// The node at `index` of `level`, counted from the left; its children are at 2·`index` and 2·`index` + 1 of the
    /// next level. `None` outside of the tree.
    #[must_use]
    pub fn node(&self, level: u32, index: u32) -> Option<Digest> {
        if level > self.depth() || index >= 1 << level {
            return None;
        }
        self.nodes.get((1usize << level) + index as usize).copied()
    }

    /// A bucket's summary; `None` if there is no such bucket.
    #[must_use]
    pub fn summary(&self, bucket: u32) -> Option<BucketSummary> {
        self.summaries.get(bucket as usize).copied()
    }

    /// All summaries in bucket order; [`root_of`] them is the root.
    #[must_use]
    pub fn summaries(&self) -> Vec<BucketSummary> {
        self.summaries.iter().copied().collect()
    }

    /// The buckets whose summaries differ from these, ascending: what a fetcher that has this tree must fetch.
    #[must_use]
    pub fn differing(&self, others: &[BucketSummary]) -> Vec<u32> {
        (0..self.buckets)
            .filter(|&bucket| others.get(bucket as usize).copied() != self.summary(bucket))
            .collect()
    }

    /// The leaf hashes of a bucket, sorted by key.
    #[must_use]
    pub fn bucket_leaves(&self, bucket: u32) -> Vec<Digest> {
        self.leaves
            .range(Place::all_of(bucket))
            .map(|(_, leaf)| *leaf)
            .collect()
    }

    /// The proof that a bucket's digest is the leaf at its place under the root; `None` if there is no such bucket.
    #[must_use]
    pub fn prove_bucket(&self, bucket: u32) -> Option<merkle::Proof> {
        if bucket >= self.buckets {
            return None;
        }
        let mut at = self.buckets as usize + bucket as usize;
        let mut path = Vec::new();
        while at > 1 {
            path.push(self.node_at(at ^ 1));
            at /= 2;
        }
        Some(merkle::Proof {
            index: u64::from(bucket),
            count: u64::from(self.buckets),
            path: path.into(),
        })
    }

    fn node_at(&self, at: usize) -> Digest {
        let node = self.nodes.get(at);
        assert!(
            node.is_some(),
            "node {at} lies outside of a tree of {} buckets",
            self.buckets
        );
        node.copied().unwrap_or_default()
    }
}

fn set<T: Clone>(vector: &mut Vector<T>, at: usize, value: T) {
    let slot = vector.get_mut(at);
    assert!(slot.is_some(), "an update stays inside of the tree");
    if let Some(slot) = slot {
        *slot = value;
    }
}
