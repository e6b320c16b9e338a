//! Takes part, but for one kind of message.

use std::sync::Arc;

use tagma_pbft::message::Phase;
use tagma_pbft::{Message, ReplicaId};

use super::about::{About, SAFE};
use super::{Behaviour, Forge, unchanged};

/// How people choose it.
pub(super) const ABOUT: About = About {
    name: "withhold-commit",
    does: "prepares batches and never sends a COMMIT",
    safety: SAFE,
    liveness: "nothing slows down: a quorum of COMMITs comes from the others",
    caught: "nobody: a message that did not come may have been lost",
};

#[derive(Debug)]
pub(super) enum Withhold {
    /// No COMMIT.
    Commits,
    /// No VIEW-CHANGE and no NEW-VIEW.
    ViewChanges,
    /// Proposals without their batches (BP5), and no batch for whoever asks.
    Bodies,
}

impl Behaviour for Withhold {
    fn name(&self) -> &'static str {
        match self {
            Self::Commits => "byzantine: withholds COMMITs",
            Self::ViewChanges => "byzantine: withholds VIEW-CHANGEs",
            Self::Bodies => "byzantine: withholds batches",
        }
    }

    fn send(&mut self, _forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        match (self, &**message) {
            (Self::Commits, Message::Vote(vote)) if vote.phase == Phase::Commit => Vec::new(),
            (Self::ViewChanges, Message::ViewChange(_) | Message::NewView(_))
            | (Self::Bodies, Message::Body(_) | Message::Blocks { .. }) => Vec::new(),
            (Self::Bodies, Message::PrePrepare { vote, .. }) => {
                vec![Arc::new(Message::PrePrepare {
                    vote: vote.clone(),
                    batch: None,
                })]
            }
            _ => unchanged(message),
        }
    }
}
