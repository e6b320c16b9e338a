//! Somebody who stands between a replica and its sockets.
//!
//! The production node has nobody there. Whoever wants to try others against a replica that lies starts a node with an
//! [`Interposer`] of their own ([`Node::start_behind`](super::Node::start_behind)): the replica behind it is the real one,
//! with its real key and its real store, and what its peers and clients see of it is the interposer's choice.

use std::sync::Arc;

use bytes::Bytes;
use tagma_crypto::encode::encode;
use tagma_pbft::{Message, ReplicaId};
use tagma_wire::client_protocol::ClientResponse;
use tagma_wire::{ConnectionId, Lane};

use super::mesh::Mesh;

/// Decides what leaves a replica and what reaches it. Its methods are called by several threads of the node, the loop among
/// them, so they must not wait; what takes time belongs into a thread of the interposer's own.
pub trait Interposer: Send + Sync {
    /// The node's sockets are open, and nothing has been sent yet. From here on `wire` reaches every peer, also from
    /// other threads, for as long as the node lives.
    fn started(&self, wire: Wire);

    /// The replica wants `message` to be sent to `to`. What is sent instead, now or later, goes through [`Wire`].
    fn send(&self, wire: &Wire, to: ReplicaId, message: &Arc<Message>);

    /// What is sent instead of a response to a client; none sends nothing.
    fn respond(&self, to: ConnectionId, response: ClientResponse) -> Option<ClientResponse>;

    /// What the replica is shown instead of a message that came from `from`, whose signatures nobody has checked yet; none
    /// shows it nothing.
    fn arrived(&self, from: ReplicaId, message: Message) -> Option<Message>;

    /// Records are about to be written and synced. Unlike all else here this may wait, as long as a slow disk would: it is called
    /// by the one thread that does nothing but that.
    fn syncing(&self) {}
}

/// The way to all peers, past the replica.
#[derive(Clone)]
pub struct Wire(pub(super) Mesh);

impl Wire {
    /// Queues a message, on the lane its kind belongs to. What cannot be queued is dropped and counted.
    pub fn send(&self, to: ReplicaId, message: &Message) {
        let frame = Bytes::from(encode(message));
        self.0.send_frame(to, message.kind(), false, frame);
    }

    /// Queues bytes that need not be a message, on the lane of votes. What cannot be queued is dropped.
    pub fn send_bytes(&self, to: ReplicaId, bytes: Vec<u8>) {
        let sent = self
            .0
            .endpoint
            .send(u32::from(to.get()), Lane::Votes, Bytes::from(bytes));
        if let Err(error) = sent {
            tracing::trace!(peer = %to, %error, "not sent");
        }
    }
}
