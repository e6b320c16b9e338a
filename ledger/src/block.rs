//! Blocks, and the chain their headers form.

use crate::batch::{Request, digest_of};
use crate::outcome::Receipt;
use serde::{Deserialize, Serialize};
use tagma_crypto::encode::{Decode, Encode, List, encode};
use tagma_crypto::{Digest, merkle};

/// What is agreed on at one height, in a few hashes; computed by every replica when it executes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
#[serde(deny_unknown_fields)]
pub struct BlockHeader {
    /// The height, equal to the sequence number of the batch; 0 is genesis.
    pub height: u64,
    /// The digest of the header below; the chain id in header 0.
    pub parent: Digest,
    /// `d`, the digest of the batch; zero in header 0.
    pub batch: Digest,
    /// Milliseconds since the Unix epoch; greater than the parent's.
    pub time_ms: u64,
    /// The Merkle root over the receipts, one for each request of the batch, in its order.
    pub receipts_root: Digest,
    /// The root of the state's partition tree; present iff the height is a multiple of K.
    pub state_root: Option<Digest>,
}

impl BlockHeader {
    /// Header 0 of a chain.
    #[must_use]
    pub fn genesis(chain: Digest, time_ms: u64, state_root: Digest) -> Self {
        Self {
            height: 0,
            parent: chain,
            batch: Digest::ZERO,
            time_ms,
            receipts_root: merkle::root(&[]),
            state_root: Some(state_root),
        }
    }

    /// The header's digest. As header 0 holds the chain id, no header has a twin on another chain.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of("tagma/header", &[&encode(self)])
    }

    /// The time of this header's child whose batch proposes `proposed_ms`: never before or equal to its parent's, so
    /// that no primary can turn time back (protocol.md §0).
    #[must_use]
    pub fn child_time(&self, proposed_ms: u64) -> u64 {
        proposed_ms.max(self.time_ms.saturating_add(1))
    }
}

/// Why a header cannot follow its parent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The height is not the parent's plus one.
    #[error("height {found} follows height {parent}")]
    Height {
        /// The parent's height.
        parent: u64,
        /// The header's height.
        found: u64,
    },
    /// The parent hash is not the parent's digest.
    #[error("header {height} names parent {found}, but the parent is {expected}")]
    Parent {
        /// The header's height.
        height: u64,
        /// The parent's digest.
        expected: Digest,
        /// The digest in the header.
        found: Digest,
    },
    /// The time is not after the parent's.
    #[error("header {height} has time {found}, its parent {parent}")]
    Time {
        /// The header's height.
        height: u64,
        /// The parent's time.
        parent: u64,
        /// The header's time.
        found: u64,
    },
    /// A state root is missing at a checkpoint height, or present elsewhere.
    #[error("header {height} has a state root exactly where it must not")]
    StateRoot {
        /// The header's height.
        height: u64,
    },
    /// The body does not hash to the header's batch digest.
    #[error("the requests of block {height} hash to {found}, its header says {expected}")]
    Batch {
        /// The block's height.
        height: u64,
        /// The digest in the header.
        expected: Digest,
        /// The digest of the body.
        found: Digest,
    },
    /// The receipts are not those of the header, or not one for each request.
    #[error("the receipts of block {height} are not those of its header")]
    Receipts {
        /// The block's height.
        height: u64,
    },
}

/// Checks that `header` follows `parent` in a chain with checkpoint interval `k`: height, parent hash, time, and a
/// state root exactly at multiples of `k`. It says nothing about whether the header is final.
///
/// # Errors
/// The first of these that does not hold.
pub fn verify_link(parent: &BlockHeader, header: &BlockHeader, k: u64) -> Result<(), LinkError> {
    let height = header.height;
    if parent.height.checked_add(1) != Some(height) {
        return Err(LinkError::Height {
            parent: parent.height,
            found: height,
        });
    }
    let expected = parent.digest();
    if header.parent != expected {
        return Err(LinkError::Parent {
            height,
            expected,
            found: header.parent,
        });
    }
    if header.time_ms <= parent.time_ms {
        return Err(LinkError::Time {
            height,
            parent: parent.time_ms,
            found: header.time_ms,
        });
    }
    if header.state_root.is_some() != height.is_multiple_of(k) {
        return Err(LinkError::StateRoot { height });
    }
    Ok(())
}

/// A block: a header, the batch it was made of, and what became of each request.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// The header.
    pub header: BlockHeader,
    /// The batch's proposed time; the header's may be later.
    pub proposed_time_ms: u64,
    /// The requests, in order.
    pub requests: List<Request>,
    /// One receipt for each request, in the same order.
    pub receipts: List<Receipt>,
}

impl Block {
    /// Checks that requests and receipts are those of the header, and the header's time that of the body.
    ///
    /// # Errors
    /// The first of these that does not hold.
    pub fn verify_body(&self, chain: &Digest, parent: &BlockHeader) -> Result<(), LinkError> {
        let height = self.header.height;
        let found = digest_of(chain, self.proposed_time_ms, &self.requests);
        if found != self.header.batch {
            return Err(LinkError::Batch {
                height,
                expected: self.header.batch,
                found,
            });
        }
        let time = parent.child_time(self.proposed_time_ms);
        if self.header.time_ms != time {
            return Err(LinkError::Time {
                height,
                parent: parent.time_ms,
                found: self.header.time_ms,
            });
        }
        if self.receipts.len() != self.requests.len()
            || receipts_root(&self.receipts) != self.header.receipts_root
        {
            return Err(LinkError::Receipts { height });
        }
        Ok(())
    }
}

/// The Merkle root over receipts.
#[must_use]
pub fn receipts_root(receipts: &[Receipt]) -> Digest {
    let leaves: Vec<Digest> = receipts.iter().map(Receipt::leaf).collect();
    merkle::root(&leaves)
}

/// A block whose parts belong to somebody: what is written is not copied first.
#[derive(Clone, Copy, Debug)]
pub struct BlockParts<'a> {
    /// As in [`Block`].
    pub header: &'a BlockHeader,
    /// As in [`Block`].
    pub proposed_time_ms: u64,
    /// As in [`Block`].
    pub requests: &'a List<Request>,
    /// As in [`Block`].
    pub receipts: &'a List<Receipt>,
}

impl<'a> From<&'a Block> for BlockParts<'a> {
    fn from(block: &'a Block) -> Self {
        Self {
            header: &block.header,
            proposed_time_ms: block.proposed_time_ms,
            requests: &block.requests,
            receipts: &block.receipts,
        }
    }
}
