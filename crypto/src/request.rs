//! A client's signed request as it travels, and the digests that bind requests into a batch.
//!
//! The protocol orders opaque requests and the ledger executes them; neither knows the other, and both hash a batch to
//! the same digest `d`. The digest binds neither view nor sequence number: a batch keeps it across views.

use serde::{Deserialize, Serialize};

use crate::encode::{Blob, Decode, Encode};
use crate::{Digest, Signature, merkle};

/// A request: what a client asks for, and its signature.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "crate::encode::bincode")]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The canonical encoding of what is asked for, without the signature.
    pub content: Blob,
    /// The client's signature over the content.
    pub signature: Signature,
}

impl Request {
    /// What a request takes in a batch beside its content: the content's length and the signature, in bytes.
    pub const OVERHEAD: usize = 8 + 64;

    /// The request's identity: the digest of its unsigned content. A request signed anew is the same request.
    #[must_use]
    pub fn digest(&self, chain: &Digest) -> Digest {
        digest(chain, &self.content)
    }

    /// The hash of the request's leaf in its batch's Merkle tree.
    #[must_use]
    pub fn leaf(&self, chain: &Digest) -> Digest {
        leaf(&self.digest(chain), &self.signature)
    }

    /// The bytes this request takes in a batch.
    #[must_use]
    pub fn size(&self) -> usize {
        self.content.len() + Self::OVERHEAD
    }
}

/// The identity of the request with this content.
#[must_use]
pub fn digest(chain: &Digest, content: &[u8]) -> Digest {
    Digest::of("tagma/request", &[chain.as_bytes(), content])
}

/// The hash of a request's leaf in its batch's Merkle tree, over (request digest ‖ signature). It binds the signature
/// too: two bodies with one digest are equal to the last byte.
#[must_use]
pub fn leaf(digest: &Digest, signature: &Signature) -> Digest {
    crate::mutant!(DigestLeavesSignaturesOut, {
        return merkle::leaf(digest.as_bytes());
    });
    let mut leaf = [0; 96];
    let (front, back) = leaf.split_at_mut(32);
    front.copy_from_slice(digest.as_bytes());
    back.copy_from_slice(signature.as_bytes());
    merkle::leaf(&leaf)
}

/// `d = H(domain, chain id, proposed time in milliseconds, Merkle root of the leaves, request count)`.
#[must_use]
pub fn batch_digest(chain: &Digest, time_ms: u64, root: &Digest, count: u64) -> Digest {
    let (time, count) = (time_ms.to_le_bytes(), count.to_le_bytes());
    Digest::of("tagma/batch", &[chain.as_bytes(), &time, root.as_bytes(), &count])
}
