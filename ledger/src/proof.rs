//! A request's way into a header, with its outcome: the part of a portable receipt that is about hashes. Who vouches for
//! the header (attestations and a commit certificate, protocol.md §7) travels beside it.

use crate::batch::Request;
use crate::block::{Block, BlockHeader};
use crate::outcome::Receipt;
use serde::{Deserialize, Serialize};
use tagma_crypto::encode::{Decode, Encode};
use tagma_crypto::request::batch_digest;
use tagma_crypto::{Digest, merkle};

/// That a request stands in a block's batch, and what became of it there.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
#[serde(deny_unknown_fields)]
pub struct TransactionProof {
    /// The request, with its signature.
    pub request: Request,
    /// The proposed time of its batch.
    pub proposed_time_ms: u64,
    /// The Merkle root of its batch.
    pub batch_root: Digest,
    /// From the request's leaf to the batch root.
    pub request_path: merkle::Proof,
    /// What became of it.
    pub receipt: Receipt,
    /// From the receipt's leaf to the header's receipts root.
    pub receipt_path: merkle::Proof,
}

/// Why a [`TransactionProof`] proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The request is not in the header's batch.
    #[error("the request is not in the batch of this header")]
    Request,
    /// The receipt is not under the header's receipts root.
    #[error("the receipt is not under this header's receipts root")]
    Receipt,
    /// The receipt is that of another request, or stands at another place.
    #[error("the receipt belongs to another request")]
    Mismatch,
}

impl TransactionProof {
    /// The proof for the request at `position` of a block; `None` if there is none.
    #[must_use]
    pub fn of(block: &Block, position: usize, chain: &Digest) -> Option<Self> {
        let requests: Vec<Digest> = block.requests.iter().map(|request| request.leaf(chain)).collect();
        let receipts: Vec<Digest> = block.receipts.iter().map(Receipt::leaf).collect();
        Some(Self {
            request: block.requests.get(position)?.clone(),
            proposed_time_ms: block.proposed_time_ms,
            batch_root: merkle::root(&requests),
            request_path: merkle::prove(&requests, position)?,
            receipt: *block.receipts.get(position)?,
            receipt_path: merkle::prove(&receipts, position)?,
        })
    }

    /// Checks both paths against a header of `chain`. Whether the receipt is an outcome or a no-op is for the caller to
    /// see; the two never verify as each other. The request's signature is not checked.
    ///
    /// # Errors
    /// What does not fit.
    pub fn verify(&self, chain: &Digest, header: &BlockHeader) -> Result<&Receipt, ProofError> {
        let digest = batch_digest(
            chain,
            self.proposed_time_ms,
            &self.batch_root,
            self.request_path.count,
        );
        if digest != header.batch
            || !self
                .request_path
                .verify(&self.request.leaf(chain), &self.batch_root)
        {
            return Err(ProofError::Request);
        }
        if !self
            .receipt_path
            .verify(&self.receipt.leaf(), &header.receipts_root)
        {
            return Err(ProofError::Receipt);
        }
        // A request can stand in a block twice with different receipts; the position tells which is whose.
        if self.receipt.request() != self.request.digest(chain)
            || self.receipt_path.index != self.request_path.index
            || self.receipt_path.count != self.request_path.count
        {
            return Err(ProofError::Mismatch);
        }
        Ok(&self.receipt)
    }
}
