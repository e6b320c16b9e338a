//! Sends again what it and others said long ago (PS9): true once, and signed.

use std::sync::Arc;

use tagma_pbft::{Message, ReplicaId};

use super::about::{About, SAFE};
use super::{Behaviour, Forge, unchanged};

/// How people choose it.
pub(super) const ABOUT: About = About {
    name: "replay-old",
    does: "sends old proposals, votes, CHECKPOINTs, VIEW-CHANGEs and NEW-VIEWs again, its own and those of others",
    safety: SAFE,
    liveness: "what is old is dropped, and nothing slows down",
    caught: "nobody: every message was true when it was signed",
};

/// Most messages remembered.
const MAX_KEPT: usize = 400;
/// Most messages sent again at a time, to each.
const AT_ONCE: usize = 8;

#[derive(Debug, Default)]
pub(super) struct ReplayOld {
    old: Vec<Arc<Message>>,
}

impl ReplayOld {
    fn keep(&mut self, forge: &mut Forge<'_>, message: &Arc<Message>) {
        let signed = matches!(
            **message,
            Message::PrePrepare { .. }
                | Message::Vote(_)
                | Message::Checkpoint(_)
                | Message::ViewChange(_)
                | Message::NewView(_)
        );
        if !signed || !forge.rng.permille(100) {
            return;
        }
        if self.old.len() < MAX_KEPT {
            self.old.push(Arc::clone(message));
        } else {
            // Of a long run some messages of every time.
            let place = forge.rng.index(MAX_KEPT);
            if let Some(old) = self.old.get_mut(place) {
                *old = Arc::clone(message);
            }
        }
    }
}

impl Behaviour for ReplayOld {
    fn name(&self) -> &'static str {
        "byzantine: replays"
    }

    fn send(&mut self, forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        self.keep(forge, message);
        unchanged(message)
    }

    fn observe(&mut self, forge: &mut Forge<'_>, message: &Message) {
        self.keep(forge, &Arc::new(message.clone()));
    }

    fn tick(&mut self, forge: &mut Forge<'_>) -> Vec<(ReplicaId, Message)> {
        let mut sent = Vec::new();
        for to in forge.others() {
            for _ in 0..AT_ONCE {
                if let Some(old) = forge.rng.pick(&self.old) {
                    sent.push((to, (**old).clone()));
                }
            }
        }
        sent
    }
}
