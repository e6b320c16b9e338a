//! Tells clients other outcomes than what was executed (BB6).

use std::sync::Arc;

use tagma_ledger::Outcome;
use tagma_pbft::{Message, ReplicaId};
use tagma_wire::client_protocol::ClientResponse;

use super::about::About;
use super::{Behaviour, Forge, unchanged};

/// How people choose it.
pub(super) const ABOUT: About = About {
    name: "wrong-reply",
    does: "tells clients that their transfers failed, or were executed elsewhere, whatever was executed",
    safety: "clients believe f + 1 equal replies, so no lie",
    liveness: "clients have their answer from the others, as fast as ever",
    caught: "itself, by the client, which names who replied differently",
};

#[derive(Debug)]
pub(super) struct WrongReplies;

impl Behaviour for WrongReplies {
    fn name(&self) -> &'static str {
        "byzantine: wrong replies"
    }

    fn send(&mut self, _forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        unchanged(message)
    }

    fn respond(&mut self, forge: &mut Forge<'_>, response: ClientResponse) -> Option<ClientResponse> {
        let ClientResponse::Reply(mut reply) = response else {
            return Some(response);
        };
        let balance = forge.rng.below(100);
        match reply.outcome {
            Outcome::InsufficientFunds { .. } => reply.outcome = Outcome::Transferred,
            _ => reply.outcome = Outcome::InsufficientFunds { balance },
        }
        if forge.rng.permille(300) {
            reply.height = reply.height.saturating_add(1);
        }
        // Whoever follows its word for the view sends to the wrong primary.
        reply.view = forge.rng.below(4);
        Some(ClientResponse::Reply(reply))
    }
}
