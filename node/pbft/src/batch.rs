//! Batches of opaque requests and their digest.
//!
//! The protocol orders requests without looking into them: a request is a byte string and its client's signature. The
//! batch digest binds the requests, their signatures and the proposed time, but neither view, sequence number nor
//! parent: a batch keeps its digest across views (protocol: definitions).

use std::sync::Arc;

use tagma_crypto::encode::{Blob, Decode, Encode, List};
use tagma_crypto::{Digest, Signature, merkle};

/// A client's request as the protocol sees it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct Request {
    /// The canonical encoding of what the client asks for, without its signature.
    pub content: Blob,
    /// The client's signature over it.
    pub signature: Signature,
}

impl Request {
    /// A request's identity: the digest of its unsigned content, so a re-signed request is the same request.
    pub fn digest(&self, chain: &Digest) -> Digest {
        Digest::of("tagma/request", &[chain.as_bytes(), &self.content])
    }

    /// The bytes this request adds to a batch.
    pub fn size(&self) -> usize {
        self.content.len() + 64 + 8
    }
}

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
        let request_digests: Vec<Digest> = batch.requests.iter().map(|request| request.digest(chain)).collect();
        let leaves: Vec<Digest> = batch
            .requests
            .iter()
            .zip(&request_digests)
            .map(|(request, digest)| {
                // The leaf binds the signature too: two bodies with one digest are equal to the last byte.
                let mut leaf = [0_u8; 96];
                leaf[..32].copy_from_slice(digest.as_bytes());
                leaf[32..].copy_from_slice(request.signature.as_bytes());
                merkle::leaf(&leaf)
            })
            .collect();
        let count = leaves.len() as u64;
        let digest = Digest::of(
            "tagma/batch",
            &[
                chain.as_bytes(),
                &batch.time_ms.to_le_bytes(),
                merkle::root(&leaves).as_bytes(),
                &count.to_le_bytes(),
            ],
        );
        let size = 16 + batch.requests.iter().map(Request::size).sum::<usize>();
        Arc::new(Self { batch, digest, request_digests, size })
    }

    /// The null batch: time 0 and no requests. It fills a sequence number for which a new view has nothing to choose.
    pub fn null(chain: &Digest) -> Arc<Self> {
        Self::new(chain, Batch { time_ms: 0, requests: List::default() })
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
