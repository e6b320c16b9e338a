//! Sends replicas their own old votes again (CD5): true, harmless, and no sign that somebody else has their key.

use std::collections::VecDeque;
use std::sync::Arc;

use tagma_pbft::message::{Phase, Vote};
use tagma_pbft::{Message, ReplicaId};

use super::{Behaviour, Forge, unchanged};

/// Most votes remembered.
const MAX_KEPT: usize = 300;
/// Most votes sent again at a time.
const AT_ONCE: usize = 6;

#[derive(Debug, Default)]
pub(super) struct Echo {
    old: VecDeque<Vote>,
}

impl Behaviour for Echo {
    fn name(&self) -> &'static str {
        "byzantine: sends others their old votes"
    }

    fn send(&mut self, _forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        unchanged(message)
    }

    fn observe(&mut self, forge: &mut Forge<'_>, message: &Message) {
        if let Message::PrePrepare { vote, .. } | Message::Vote(vote) = message {
            // Of a long run some votes of every time.
            if self.old.len() >= MAX_KEPT {
                let place = forge.rng.index(self.old.len());
                self.old.remove(place);
            }
            self.old.push_back(vote.clone());
        }
    }

    fn tick(&mut self, forge: &mut Forge<'_>) -> Vec<(ReplicaId, Message)> {
        let mut sent = Vec::new();
        for _ in 0..AT_ONCE.min(self.old.len()) {
            let place = forge.rng.index(self.old.len());
            if let Some(vote) = self
                .old
                .get(place)
                .cloned()
                .filter(|vote| vote.sender != forge.id)
            {
                let message = if vote.phase == Phase::PrePrepare {
                    Message::PrePrepare {
                        vote: vote.clone(),
                        batch: None,
                    }
                } else {
                    Message::Vote(vote.clone())
                };
                sent.push((vote.sender, message));
            }
        }
        sent
    }
}
