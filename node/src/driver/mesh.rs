//! Messages to peers: encoded once for all receivers, on the lane their kind belongs to.

use std::sync::Arc;

use bytes::Bytes;
use tagma_crypto::encode::encode;
use tagma_pbft::{Kind, Message, Recipient, ReplicaId};
use tagma_wire::{Lane, PeerEndpoint};

use super::asked::Asked;
use super::interposer::{Interposer, Wire};
use crate::metrics::Metrics;

/// The way to all peers. Clones share it.
#[derive(Clone)]
pub(super) struct Mesh {
    pub(super) endpoint: Arc<PeerEndpoint>,
    pub(super) others: Vec<ReplicaId>,
    pub(super) metrics: Metrics,
    pub(super) interposer: Option<Arc<dyn Interposer>>,
    /// What peers were asked for.
    pub(super) asked: Arc<Asked>,
}

impl Mesh {
    /// Queues a message. What cannot be queued is dropped and counted by the wire; the protocol resends what matters.
    pub(super) fn send(&self, to: Recipient, message: &Arc<Message>) {
        if let Some(interposer) = &self.interposer {
            let wire = Wire(self.clone());
            match to {
                Recipient::Others => {
                    for peer in &self.others {
                        interposer.send(&wire, *peer, message);
                    }
                }
                Recipient::One(peer) => interposer.send(&wire, peer, message),
            }
            return;
        }
        let kind = message.kind();
        let frame = Bytes::from(encode(&**message));
        match to {
            Recipient::Others => {
                for peer in &self.others {
                    self.send_frame(*peer, kind, false, frame.clone());
                }
            }
            Recipient::One(peer) => self.send_frame(peer, kind, kind.is_first_sent_to_all(), frame),
        }
    }

    /// Queues a message that is encoded already.
    pub(super) fn send_frame(&self, peer: ReplicaId, kind: Kind, resend: bool, frame: Bytes) {
        let bytes = frame.len();
        let lane = if kind.is_bulk() { Lane::Bulk } else { Lane::Votes };
        match self.endpoint.send(u32::from(peer.get()), lane, frame) {
            Ok(()) => {
                self.asked.sent(peer, kind);
                self.metrics.sent(kind, resend, bytes);
            }
            Err(error) => tracing::trace!(%peer, kind = kind.name(), %error, "not sent"),
        }
    }

    /// What the replica is to see of a message that came from `from`.
    pub(super) fn arrived(&self, from: ReplicaId, message: Message) -> Option<Message> {
        match &self.interposer {
            None => Some(message),
            Some(interposer) => interposer.arrived(from, message),
        }
    }

    /// Ends the connection of a peer that sent what no correct replica sends. It may come back after a pause.
    pub(super) fn close(&self, peer: ReplicaId, reason: &str) {
        self.endpoint.close_peer(u32::from(peer.get()), reason);
    }
}
