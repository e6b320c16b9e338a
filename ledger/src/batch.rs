//! Requests in the order they are executed in, and the digest that binds them.
//!
//! The protocol core orders opaque requests and computes the same digests for itself: it may not know this crate, nor
//! this crate it. The definitions are those of protocol.md §0, and the node, which knows both, tests that they agree.

use serde::{Deserialize, Serialize};
use tagma_crypto::encode::{Blob, Decode, Encode};
use tagma_crypto::{Digest, Signature, merkle};

/// A client's request as it travels: the canonical encoding of the unsigned transaction, and the signature over it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The canonical encoding of a [`crate::Transaction`].
    pub content: Blob,
    /// The account's signature over the content.
    pub signature: Signature,
}

impl Request {
    /// The request's identity: the digest of its unsigned content. A request signed anew is the same request.
    #[must_use]
    pub fn digest(&self, chain: &Digest) -> Digest {
        request_digest(chain, &self.content)
    }

    /// The hash of the request's leaf in its batch's Merkle tree, over (request digest ‖ signature): the batch digest
    /// binds the signatures too.
    #[must_use]
    pub fn leaf(&self, chain: &Digest) -> Digest {
        let mut leaf = [0u8; 96];
        let (digest, signature) = leaf.split_at_mut(32);
        digest.copy_from_slice(self.digest(chain).as_bytes());
        signature.copy_from_slice(self.signature.as_bytes());
        merkle::leaf(&leaf)
    }
}

/// The digest of a request's unsigned content.
#[must_use]
pub fn request_digest(chain: &Digest, content: &[u8]) -> Digest {
    Digest::of("tagma/request", &[chain.as_bytes(), content])
}

/// `d = H(domain, chain id, proposed time, Merkle root, request count)`. It binds neither view nor sequence number: a
/// batch keeps its digest across views.
#[must_use]
pub fn batch_digest(chain: &Digest, time_ms: u64, root: &Digest, count: u64) -> Digest {
    Digest::of(
        "tagma/batch",
        &[
            chain.as_bytes(),
            &time_ms.to_le_bytes(),
            root.as_bytes(),
            &count.to_le_bytes(),
        ],
    )
}

/// The digest `d` of a whole batch.
#[must_use]
pub fn digest_of(chain: &Digest, time_ms: u64, requests: &[Request]) -> Digest {
    let leaves: Vec<Digest> = requests.iter().map(|request| request.leaf(chain)).collect();
    batch_digest(chain, time_ms, &merkle::root(&leaves), leaves.len() as u64)
}

/// What is executed at one height. The null batch has time 0 and no requests.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The sequence number, which becomes the block's height.
    pub height: u64,
    /// `d`, as agreed on; taken as it is, not computed again.
    pub digest: Digest,
    /// The primary's proposed time, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The requests, in order.
    pub requests: &'a [Request],
}
