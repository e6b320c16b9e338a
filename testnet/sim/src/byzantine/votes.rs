//! Small lies in votes, after ByzzFuzz (BB5): v ± 1, n ± 1, another digest, stale votes again, votes of the primary that it
//! must not send (PS3), and votes in the name of others (PS5).

use std::collections::VecDeque;
use std::sync::Arc;

use tagma_pbft::message::{Phase, Vote};
use tagma_pbft::{Message, ReplicaId, SeqNum, View};

use super::{Behaviour, Forge, unchanged};

/// Most old votes remembered.
const MAX_OLD: usize = 200;

#[derive(Debug, Default)]
pub(super) struct WrongVotes {
    old: VecDeque<Vote>,
}

impl Behaviour for WrongVotes {
    fn name(&self) -> &'static str {
        "byzantine: wrong votes"
    }

    fn send(&mut self, forge: &mut Forge<'_>, to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        if let Message::PrePrepare { vote, .. } = &**message
            && vote.sender == forge.id
        {
            let prepare = forge.vote(Phase::Prepare, vote.view, vote.seq, vote.digest);
            return vec![Arc::clone(message), Arc::new(Message::Vote(prepare))];
        }
        let Message::Vote(vote) = &**message else {
            return unchanged(message);
        };
        if self.old.len() >= MAX_OLD {
            self.old.pop_front();
        }
        self.old.push_back(vote.clone());
        if forge.rng.permille(500) {
            return unchanged(message);
        }
        let Vote {
            phase,
            view,
            seq,
            digest,
            ..
        } = *vote;
        let lie = match forge.rng.below(7) {
            0 => forge.vote(phase, view.next(), seq, digest),
            1 => forge.vote(phase, View::new(view.get().saturating_sub(1)), seq, digest),
            2 => forge.vote(phase, view, seq.next(), digest),
            3 => forge.vote(phase, view, SeqNum::new(seq.get().saturating_sub(1)), digest),
            4 => {
                let invented = forge.invented();
                forge.vote(phase, view, seq, invented)
            }
            5 => {
                let other = if phase == Phase::Commit {
                    Phase::Prepare
                } else {
                    Phase::Commit
                };
                forge.vote(other, view, seq, digest)
            }
            // In the name of somebody else: no key, no vote.
            _ => Vote {
                sender: to,
                ..vote.clone()
            },
        };
        let mut messages = vec![Arc::new(Message::Vote(lie))];
        if forge.rng.permille(300) {
            messages.push(Arc::clone(message));
        }
        messages
    }

    fn observe(&mut self, forge: &mut Forge<'_>, message: &Message) {
        if let Message::Vote(vote) = message
            && forge.rng.permille(100)
            && self.old.len() < MAX_OLD
        {
            self.old.push_back(vote.clone());
        }
    }

    fn tick(&mut self, forge: &mut Forge<'_>) -> Vec<(ReplicaId, Message)> {
        let stale = self.old.get(forge.rng.index(self.old.len())).cloned();
        let others = forge.others();
        stale
            .into_iter()
            .flat_map(|vote| others.iter().map(move |to| (*to, Message::Vote(vote.clone()))))
            .collect()
    }
}
