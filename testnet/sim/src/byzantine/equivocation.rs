//! As a primary proposes one batch to one half of the others and another to the other half (PS1), and votes for whichever it
//! told to whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use tagma_crypto::Digest;
use tagma_pbft::message::Phase;
use tagma_pbft::{Batch, Body, Message, ReplicaId, SeqNum, View};

use super::{Behaviour, Forge, unchanged};

#[derive(Debug, Default)]
pub(super) struct Equivocation {
    /// The second digest for each (v, n) it proposed.
    second: BTreeMap<(View, SeqNum), (Digest, Batch)>,
}

impl Equivocation {
    fn second(&mut self, forge: &Forge<'_>, view: View, seq: SeqNum, batch: &Batch) -> (Digest, Batch) {
        let made = self.second.entry((view, seq)).or_insert_with(|| {
            let mut other = batch.clone();
            // The same requests at another time are another batch.
            other.time_ms = other.time_ms.saturating_add(1);
            (Body::new(&forge.ring.chain, other.clone()).digest(), other)
        });
        made.clone()
    }
}

impl Behaviour for Equivocation {
    fn name(&self) -> &'static str {
        "byzantine: equivocation"
    }

    fn send(&mut self, forge: &mut Forge<'_>, to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        if to.get().is_multiple_of(2) {
            return unchanged(message);
        }
        match &**message {
            Message::PrePrepare {
                vote,
                batch: Some(batch),
            } if vote.sender == forge.id && batch.time_ms > 0 => {
                let (digest, batch) = self.second(forge, vote.view, vote.seq, batch);
                let vote = forge.vote(Phase::PrePrepare, vote.view, vote.seq, digest);
                let mut messages = vec![Arc::new(Message::PrePrepare {
                    vote,
                    batch: Some(batch),
                })];
                if forge.rng.permille(100) {
                    messages.push(Arc::clone(message));
                }
                messages
            }
            Message::Vote(vote) if vote.sender == forge.id => match self.second.get(&(vote.view, vote.seq)) {
                Some((digest, _)) => {
                    vec![Arc::new(Message::Vote(
                        forge.vote(vote.phase, vote.view, vote.seq, *digest),
                    ))]
                }
                None => unchanged(message),
            },
            _ => unchanged(message),
        }
    }
}
