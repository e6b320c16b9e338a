//! How replicas and clients reach each other: QUIC with mutual TLS 1.3 on raw public keys (RFC 7250), pinned to genesis.
//!
//! This is the only crate that knows quinn and rustls. What the frames hold is the business of those who send them.
//!
//! * [`PeerEndpoint`]: the mesh of replicas. For each pair the replica with the higher id dials, twice: one connection
//!   for votes and one for bulk ([`Lane`]), so that votes never wait behind batches. A peer is connected when both are
//!   up and both hellos (chain id, sender, recipient) are accepted.
//! * [`ClientListener`]: the replica's socket for clients. It shows the network key and asks for none.
//! * [`ClientEndpoint`]: a client's socket, one for all replicas.
//!
//! Everything is bounded. Sending never waits: a full queue drops the frame and counts it, and frames that are queued when
//! a connection ends are dropped with it. The protocol resends what matters (STATUS), so nothing here retries. Receiving
//! is budgeted for each sender: who sends faster than its frames are consumed is held back by QUIC's flow control and takes
//! nothing from the others.

#![forbid(unsafe_code)]

mod budget;
mod client;
pub mod client_protocol;
mod close;
mod config;
mod counters;
mod error;
mod framing;
mod greeting;
mod hello;
mod peer;
mod queue;
mod sources;
mod tls;
mod transport;

pub use budget::FramePermit;
pub use client::connection::{ClientConnection, ClientEndpoint, ClientSender};
pub use client::listener::{ClientEvent, ClientEvents, ClientListener, ConnectionId};
pub use close::CloseCode;
pub use config::{AcceptLimits, ClientConfig, ClientListenerConfig, LaneLimits, PeerConfig, TransportLimits};
pub use counters::{
    ClientsSnapshot, Fault, FaultsSnapshot, PeerSnapshot, Refusal, RefusalsSnapshot, TrafficSnapshot,
    WireCounters, WireSnapshot,
};
pub use error::{BindError, ConnectError, SendError};
pub use hello::{Lane, PeerId};
pub use peer::{Identity, PeerEndpoint, PeerEvent, PeerEvents, PeerInfo};
