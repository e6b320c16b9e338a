//! Messages to peers: encoded once for all receivers, on the lane their kind belongs to.

use std::sync::Arc;

use bytes::Bytes;
use tagma_crypto::encode::encode;
use tagma_pbft::{Kind, Message, Recipient, ReplicaId};
use tagma_wire::{Lane, PeerEndpoint};

use crate::metrics::Metrics;

/// The way to all peers. Clones share it.
#[derive(Clone)]
pub(super) struct Mesh {
    pub(super) endpoint: Arc<PeerEndpoint>,
    pub(super) others: Vec<ReplicaId>,
    pub(super) metrics: Metrics,
}

impl Mesh {
    /// Queues a message. What cannot be queued is dropped and counted by the wire; the protocol resends what matters.
    pub(super) fn send(&self, to: Recipient, message: &Message) {
        let kind = message.kind();
        let frame = Bytes::from(encode(message));
        let lane = if kind.is_bulk() { Lane::Bulk } else { Lane::Votes };
        match to {
            Recipient::Others => {
                for peer in &self.others {
                    self.send_frame(*peer, lane, kind, false, frame.clone());
                }
            }
            Recipient::One(peer) => self.send_frame(peer, lane, kind, is_resend(kind), frame),
        }
    }

    fn send_frame(&self, peer: ReplicaId, lane: Lane, kind: Kind, resend: bool, frame: Bytes) {
        let bytes = frame.len();
        match self.endpoint.send(u32::from(peer.get()), lane, frame) {
            Ok(()) => self.metrics.sent(kind, resend, bytes),
            Err(error) => tracing::trace!(%peer, kind = kind.name(), %error, "not sent"),
        }
    }

    /// Ends the connection of a peer that sent what no correct replica sends. It may come back after a pause.
    pub(super) fn close(&self, peer: ReplicaId, reason: &str) {
        self.endpoint.close_peer(u32::from(peer.get()), reason);
    }
}

/// Messages of these kinds are first sent to all; to one alone they go because its STATUS shows that it lacks them.
const fn is_resend(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::PrePrepare
            | Kind::Prepare
            | Kind::Commit
            | Kind::Checkpoint
            | Kind::Stable
            | Kind::ViewChange
            | Kind::NewView
    )
}
