//! The errors of this crate's interface.

use std::{io, net::SocketAddr};

use tagma_crypto::Digest;

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The bounds contradict each other.
    #[error("network configuration: {0}")]
    Config(String),
    /// The address is taken, not ours, or not allowed.
    #[error("cannot listen on udp {address}: {source}")]
    Address {
        /// The address that was asked for.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The network key cannot be used.
    #[error("network key: {0}")]
    Key(String),
    /// The runtime could not take the socket.
    #[error("socket: {0}")]
    Socket(#[source] io::Error),
}

/// Why a frame was not taken for sending. The frame is dropped; the protocol's resending makes up for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The queue is full: the other side reads more slowly than this one writes.
    #[error("the send queue is full")]
    Full,
    /// There is no connection now.
    #[error("not connected")]
    Disconnected,
    /// The frame is longer than the cap; it could never arrive.
    #[error("the frame is longer than the cap")]
    TooLarge,
    /// Nobody of this name exists.
    #[error("no such peer")]
    Unknown,
}

/// Why a client has no connection to a replica.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The QUIC or TLS handshake failed: nobody answers, or somebody with another key.
    #[error("cannot connect to {address}: {reason}")]
    Handshake {
        /// The replica's address.
        address: SocketAddr,
        /// What went wrong, in the words of this or the other side.
        reason: String,
    },
    /// No answer in time.
    #[error("{address} did not answer in time")]
    Timeout {
        /// The replica's address.
        address: SocketAddr,
    },
    /// The replica refused the hello.
    #[error("replica refused: {reason} (its chain {theirs}, ours {ours})")]
    Refused {
        /// The replica's words.
        reason: String,
        /// The replica's chain id.
        theirs: Digest,
        /// The chain id this client asked for.
        ours: Digest,
    },
    /// The answer to the hello is not one.
    #[error("{address} answered the hello with garbage: {reason}")]
    Malformed {
        /// The replica's address.
        address: SocketAddr,
        /// What is wrong with it.
        reason: String,
    },
}
