//! A state at a checkpoint, readable in parts that prove themselves.
//!
//! A replica that is behind first gets the header, checked against a stable certificate; then the bucket summaries,
//! checked against the header's state root; then, of the buckets that differ from its own, one part after the other, each
//! checked before it is used (protocol.md §3). The same tree serves *proved reads*: an account's path to a
//! certified root. Only presence can be proved; that an account does not exist is read from consensus.

use crate::account::{AccountEntry, leaf};
use crate::block::BlockHeader;
use crate::partition_tree::{BucketSummary, PartitionTree, Place};
use crate::state::State;
use serde::{Deserialize, Serialize};
use tagma_crypto::encode::{Decode, Encode, List};
use tagma_crypto::{Digest, PublicKey, merkle};

/// The number of entries in every part of a bucket but its last; a power of two, so that a part is a subtree of the
/// bucket's Merkle tree. With the greatest look-ahead a part stays below 7 MiB, with the default one below 256 KiB.
pub const PART_ENTRIES: usize = 64;

/// A state that its tree covers, with the header that says so.
#[derive(Clone, Debug)]
pub struct Snapshot {
    header: BlockHeader,
    state: State,
}

impl Snapshot {
    /// Joins a header with its state; `None` unless the state's tree is up to date and its root is the header's.
    #[must_use]
    pub fn new(header: BlockHeader, state: State) -> Option<Self> {
        (state.is_refreshed() && header.state_root == Some(state.root())).then_some(Self { header, state })
    }

    /// The header whose state root covers the state.
    #[must_use]
    pub fn header(&self) -> &BlockHeader {
        &self.header
    }

    /// The checkpoint's height.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.header.height
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The tree, whose root is the header's state root.
    #[must_use]
    pub fn tree(&self) -> &PartitionTree {
        self.state.tree()
    }

    /// Part `part` of a bucket, from 0; `None` if there is none. An empty bucket has no parts.
    #[must_use]
    pub fn bucket_part(&self, bucket: u32, part: u64) -> Option<BucketPart> {
        self.tree().summary(bucket)?;
        let leaves = self.tree().bucket_leaves(bucket);
        let roots: Vec<Digest> = leaves.chunks(PART_ENTRIES).map(merkle::root).collect();
        let index = usize::try_from(part).ok()?;
        let path = merkle::prove(&roots, index)?;
        let entries = self
            .state
            .bucket(bucket)
            .skip(index.checked_mul(PART_ENTRIES)?)
            .take(PART_ENTRIES);
        Some(BucketPart {
            bucket,
            part,
            entries: entries.collect(),
            path,
        })
    }

    /// The proof of an account's balance, nonce and last outcomes under the header's state root; `None` if there is no such
    /// account.
    #[must_use]
    pub fn prove_account(&self, key: &PublicKey) -> Option<AccountProof> {
        let place = self.state.place(*key);
        let account = self.state.account_at(&place)?.clone();
        let leaves = self.tree().bucket_leaves(place.bucket);
        let wanted = leaf(key, &account);
        let index = leaves.iter().position(|leaf| *leaf == wanted)?;
        Some(AccountProof {
            entry: AccountEntry { key: *key, account },
            in_bucket: merkle::prove(&leaves, index)?,
            bucket: self.tree().summary(place.bucket)?,
            in_tree: self.tree().prove_bucket(place.bucket)?,
        })
    }
}

/// Why a part of a bucket is not what its summary covers. Whatever it is, the source is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// There is no such part in a bucket of this size.
    #[error("the bucket has {parts} parts")]
    NoSuchPart {
        /// How many parts the bucket has.
        parts: u64,
    },
    /// The part has the wrong number of entries.
    #[error("the part has {found} entries instead of {expected}")]
    Count {
        /// How many it must have.
        expected: u64,
        /// How many it has.
        found: u64,
    },
    /// A key belongs to another bucket, or the keys do not strictly ascend.
    #[error("the part's keys are out of place")]
    Order,
    /// The entries are not those under the bucket's root.
    #[error("the part does not hash to its bucket's root")]
    Digest,
}

/// A part of a bucket with its path to the bucket's root.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct BucketPart {
    /// The bucket.
    pub bucket: u32,
    /// Which part, from 0.
    pub part: u64,
    /// [`PART_ENTRIES`] entries, fewer in the last part, sorted by key.
    pub entries: List<AccountEntry>,
    /// The path from the part's subtree to the bucket's root.
    pub path: merkle::Proof,
}

impl BucketPart {
    /// How many parts a bucket of this summary has.
    #[must_use]
    pub fn parts_of(summary: &BucketSummary) -> u64 {
        summary.count.div_ceil(PART_ENTRIES as u64)
    }

    /// Checks this part against the summary of its bucket, in a tree of `buckets` buckets. The summary must have
    /// been checked against a certified state root.
    ///
    /// # Errors
    /// What does not fit.
    pub fn verify(&self, summary: &BucketSummary, buckets: u32) -> Result<(), PartError> {
        let parts = Self::parts_of(summary);
        if self.part >= parts {
            return Err(PartError::NoSuchPart { parts });
        }
        let per_part = PART_ENTRIES as u64;
        // No overflow: the part is one of the bucket's, so its first entry is too.
        let expected = (summary.count - self.part * per_part).min(per_part);
        let found = self.entries.len() as u64;
        if found != expected {
            return Err(PartError::Count { expected, found });
        }
        let placed = self
            .entries
            .iter()
            .all(|entry| Place::of(entry.key, buckets).bucket == self.bucket);
        if !placed || !self.entries.is_sorted_by(|a, b| a.key < b.key) {
            return Err(PartError::Order);
        }
        let leaves: Vec<Digest> = self.entries.iter().map(AccountEntry::leaf).collect();
        let root = merkle::root(&leaves);
        let at_its_place = self.path.index == self.part && self.path.count == parts;
        if !at_its_place || !self.path.verify(&root, &summary.root) {
            return Err(PartError::Digest);
        }
        Ok(())
    }
}

/// An account with its path to a state root: a *proved read* (protocol.md §7), good from one replica alone.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
#[serde(deny_unknown_fields)]
pub struct AccountProof {
    /// The account.
    pub entry: AccountEntry,
    /// From the entry to its bucket's root.
    pub in_bucket: merkle::Proof,
    /// The bucket.
    pub bucket: BucketSummary,
    /// From the bucket's digest to the state root.
    pub in_tree: merkle::Proof,
}

impl AccountProof {
    /// Whether the entry stands in the state with this root, in a tree of `buckets` buckets.
    #[must_use]
    pub fn verify(&self, state_root: &Digest, buckets: u32) -> bool {
        self.in_bucket.count == self.bucket.count
            && self.in_bucket.verify(&self.entry.leaf(), &self.bucket.root)
            && self.in_tree.index == u64::from(Place::of(self.entry.key, buckets).bucket)
            && self.in_tree.count == u64::from(buckets)
            && self.in_tree.verify(&self.bucket.digest(), state_root)
    }
}
