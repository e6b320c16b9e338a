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
        Self::raw(encode(message))
    }

    /// Bytes that need not be a message.
    #[must_use]
    pub fn raw(bytes: Vec<u8>) -> Arc<Self> {
        let digest = Digest::of("tagma/sim-packet", &[&bytes]);
        let bytes = bytes.into_boxed_slice();
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
