//! Batches of opaque requests and their digest.
//!
//! The protocol orders requests without looking into them: a request is a byte string and its client's signature. The
//! batch digest binds the requests, their signatures and the proposed time, but neither view, sequence number nor
//! parent: a batch keeps its digest across views (protocol: definitions).

use std::sync::Arc;

use tagma_crypto::encode::{Decode, Encode, List};
use tagma_crypto::{Digest, merkle, request};

pub use tagma_crypto::Request;

/// What a primary proposes for one sequence number.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct Batch {
    /// The primary's wall clock when it closed the batch, milliseconds since the Unix epoch; 0 in a null batch.
    pub time_ms: u64,
    /// The requests in the order in which they are to be executed.
    pub requests: List<Request>,
}

/// A batch with the digests that follow from it. Shared, never copied.
#[derive(Debug, PartialEq, Eq)]
pub struct Body {
    batch: Batch,
    digest: Digest,
    request_digests: Vec<Digest>,
    size: usize,
}

impl Body {
    /// Hashes `batch`. Costs two short hashes a request.
    pub fn new(chain: &Digest, batch: Batch) -> Arc<Self> {
        let request_digests: Vec<Digest> = batch
            .requests
            .iter()
            .map(|request| request.digest(chain))
            .collect();
        let leaves: Vec<Digest> = batch
            .requests
            .iter()
            .zip(&request_digests)
            .map(|(request, digest)| request::leaf(digest, &request.signature))
            .collect();
        let digest = request::batch_digest(chain, batch.time_ms, &merkle::root(&leaves), leaves.len() as u64);
        let size = 16 + batch.requests.iter().map(Request::size).sum::<usize>();
        Arc::new(Self {
            batch,
            digest,
            request_digests,
            size,
        })
    }

    /// The null batch: time 0 and no requests. It fills a sequence number for which a new view has nothing to choose.
    pub fn null(chain: &Digest) -> Arc<Self> {
        Self::new(
            chain,
            Batch {
                time_ms: 0,
                requests: List::default(),
            },
        )
    }

    /// The batch itself.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }
    /// The batch digest `d`.
    pub fn digest(&self) -> Digest {
        self.digest
    }
    /// The digest of each request, in order.
    pub fn request_digests(&self) -> &[Digest] {
        &self.request_digests
    }
    /// Encoded size in bytes.
    pub fn size(&self) -> usize {
        self.size
    }
    /// Whether this is the null batch.
    pub fn is_null(&self) -> bool {
        self.batch.time_ms == 0 && self.batch.requests.is_empty()
    }
}
