//! A message on its way.

use std::sync::Arc;

use tagma_crypto::Digest;
use tagma_crypto::encode::encode;
use tagma_pbft::Message;

/// An encoded message with its digest, which is computed once for all its receivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    bytes: Box<[u8]>,
    digest: Digest,
}

impl Packet {
    /// Encodes a message.
    #[must_use]
    pub fn of(message: &Message) -> Arc<Self> {
        let bytes = encode(message).into_boxed_slice();
        let digest = Digest::of("tagma/sim-packet", &[&bytes]);
        Arc::new(Self { bytes, digest })
    }

    /// What travels.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Stands for the bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}
