//! The requests of one height, in the order they are executed in.

use tagma_crypto::{Digest, merkle, request};

pub use tagma_crypto::Request;

/// The digest `d` of a whole batch.
#[must_use]
pub fn digest_of(chain: &Digest, time_ms: u64, requests: &[Request]) -> Digest {
    let leaves: Vec<Digest> = requests.iter().map(|request| request.leaf(chain)).collect();
    request::batch_digest(chain, time_ms, &merkle::root(&leaves), leaves.len() as u64)
}

/// The digest of each request, in order.
#[must_use]
pub fn digests_of(chain: &Digest, requests: &[Request]) -> Vec<Digest> {
    requests.iter().map(|request| request.digest(chain)).collect()
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
    /// The digest of each of them, in the same order; taken as they are, not computed again. See [`digests_of`].
    pub request_digests: &'a [Digest],
}
