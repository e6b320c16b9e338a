//! Answers to peers from what is stored; they need no state of the replica and are given beside the loop.

use tagma_crypto::Digest;
use tagma_crypto::encode::{List, decode};
use tagma_ledger::LedgerStore;
use tagma_ledger::store::{Store, StoreError};
use tagma_pbft::certificate::CommitCertificate;
use tagma_pbft::message::CertifiedBatch;
use tagma_pbft::{Batch, Body, Message, SeqNum};

/// Most bytes of blocks in one answer, beside the first block.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// Most blocks in one answer.
pub(crate) const MAX_ANSWER_BLOCKS: u32 = 128;

/// What a peer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serve {
    /// Blocks with their certificates.
    Blocks {
        /// The first one.
        from: SeqNum,
        /// How many at most.
        count: u32,
    },
    /// The batch with this digest, if it has become block `seq`.
    Body {
        /// The height.
        seq: SeqNum,
        /// The digest of the batch.
        digest: Digest,
    },
}

impl Serve {
    /// The answer, if there is one: an answer without blocks says that the first one is not here.
    ///
    /// # Errors
    /// If the store fails or a record is damaged.
    pub fn answer<S: Store>(
        self,
        ledger: &LedgerStore<S>,
        chain: &Digest,
    ) -> Result<Option<Message>, StoreError> {
        match self {
            Self::Blocks { from, count } => {
                let mut blocks = Vec::new();
                let mut bytes = 0;
                for seq in from
                    .prev()
                    .up_to(from.plus(u64::from(count.min(MAX_ANSWER_BLOCKS))).prev())
                {
                    let Some(block) = certified_batch(ledger, seq)? else {
                        break;
                    };
                    bytes += Body::new(chain, block.batch.clone()).size();
                    if bytes > MAX_ANSWER_BYTES && !blocks.is_empty() {
                        break;
                    }
                    blocks.push(block);
                }
                Ok(Some(Message::Blocks {
                    from,
                    blocks: List::from(blocks),
                }))
            }
            Self::Body { seq, digest } => {
                let batch = certified_batch(ledger, seq)?.map(|block| block.batch);
                Ok(batch
                    .filter(|batch| Body::new(chain, batch.clone()).digest() == digest)
                    .map(Message::Body))
            }
        }
    }
}

fn certified_batch<S: Store>(
    ledger: &LedgerStore<S>,
    seq: SeqNum,
) -> Result<Option<CertifiedBatch>, StoreError> {
    if seq == SeqNum::ZERO {
        return Ok(None);
    }
    let (Some(block), Some(certificate)) = (ledger.block(seq.get())?, ledger.certificate(seq.get())?) else {
        return Ok(None);
    };
    let certificate: Result<CommitCertificate, _> = decode(&certificate, certificate.len());
    let certificate = certificate.map_err(|why| StoreError::Corrupt {
        table: tagma_ledger::ledger_store::CERTIFICATES,
        key: seq.get().to_be_bytes().to_vec(),
        why: why.to_string(),
    })?;
    let batch = Batch {
        time_ms: block.proposed_time_ms,
        requests: block.requests,
    };
    Ok(Some(CertifiedBatch { certificate, batch }))
}
