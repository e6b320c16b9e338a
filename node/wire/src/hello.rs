//! The first frames of every connection: who speaks, of which chain, and the answer.
//!
//! A dialer's completed TLS handshake does not prove that the acceptor took its key, and TLS knows nothing of
//! chains: only an [`Answer::Accepted`] makes a connection count.

use bytes::Bytes;
use tagma_crypto::encode::{self, Decode, DecodeError, Encode};
use tagma_crypto::{Digest, Text};

use crate::close::printable;
use crate::counters::Refusal;

/// The version of framing and hello. The ALPN names change with it.
pub(crate) const VERSION: u32 = 1;

/// Longest hello or answer, in bytes.
pub(crate) const MAX_HELLO: usize = 4096;

/// The index of a replica in genesis, as it goes over the wire.
pub type PeerId = u32;

/// Which of the two connections between two replicas. Bulk has one of its own, so that votes never wait behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub enum Lane {
    /// Agreement messages, small.
    Votes,
    /// Batches, certificates and state, large.
    Bulk,
}

impl Lane {
    /// Both lanes, in the order of their index.
    pub const ALL: [Self; 2] = [Self::Votes, Self::Bulk];

    /// The lane's name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Votes => "votes",
            Self::Bulk => "bulk",
        }
    }
}

/// What a dialing replica says first.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub(crate) struct PeerHello {
    pub(crate) version: u32,
    pub(crate) chain: Digest,
    pub(crate) from: PeerId,
    pub(crate) to: PeerId,
    pub(crate) lane: Lane,
}

/// What a client says first.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub(crate) struct ClientHello {
    pub(crate) version: u32,
    pub(crate) chain: Digest,
}

/// The answer to either hello.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub(crate) enum Answer {
    Accepted { chain: Digest, replica: PeerId },
    Refused { chain: Digest, reason: Text },
}

impl Answer {
    pub(crate) fn refused(chain: Digest, reason: &str) -> Self {
        Self::Refused {
            chain,
            reason: Text::from(printable(reason)),
        }
    }
}

/// A hello or answer as a frame's payload.
pub(crate) fn to_payload<T: Encode>(value: &T) -> Bytes {
    Bytes::from(encode::encode(value))
}

/// Reads a hello or answer from a frame's payload.
pub(crate) fn from_payload<T: Decode<()>>(payload: &[u8]) -> Result<T, DecodeError> {
    encode::decode(payload, MAX_HELLO)
}

/// The part of the judgement that both hellos share: the version and the chain must be ours.
pub(crate) fn judge(version: u32, chain: &Digest, ours: &Digest) -> Result<(), (Refusal, String)> {
    if version != VERSION {
        let text = format!("protocol version {version} is not spoken here, {VERSION} is");
        return Err((Refusal::OtherVersion, text));
    }
    if chain != ours {
        return Err((
            Refusal::OtherChain,
            format!("another genesis: your chain is {chain}, mine is {ours}"),
        ));
    }
    Ok(())
}
