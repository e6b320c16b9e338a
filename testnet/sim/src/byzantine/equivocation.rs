//! As a primary proposes one batch to one half of the others and another to the other half (PS1), and votes for whichever it
//! told to whom. Where nothing comes of that for half of the others' patience, it tries each half with the other's batch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tagma_crypto::Digest;
use tagma_pbft::{Body, Message, ReplicaId, SeqNum, View};

use super::about::{About, SAFE};
use super::{Behaviour, Forge, unchanged};

/// How people choose it.
pub(super) const ABOUT: About = About {
    name: "equivocating-primary",
    does: "as a primary assigns one batch to a sequence number towards half of the others, and another batch towards the rest",
    safety: SAFE,
    liveness: "neither batch gets a quorum, and the primary is replaced when its two proposals meet",
    caught: "itself, by two PRE-PREPAREs for one sequence number that it signed",
};

/// Most proposals remembered: more than are ever in flight.
const MAX_KEPT: usize = 1024;

#[derive(Debug)]
struct Told {
    first: Arc<Message>,
    second: Arc<Message>,
    /// What the second one is of.
    digest: Digest,
    /// When each half is tried with the other's batch; none once it was.
    crossed_at: Option<Duration>,
}

/// The behaviour, for others to build on.
#[derive(Debug)]
pub struct Equivocation {
    /// How often of a thousand times whoever hears of the second batch also hears of the first.
    slips: u64,
    /// What it told of each (v, n) it proposed.
    told: BTreeMap<(View, SeqNum), Told>,
}

impl Default for Equivocation {
    /// One that at times shows somebody both batches at once.
    fn default() -> Self {
        Self {
            slips: 100,
            told: BTreeMap::new(),
        }
    }
}

impl Equivocation {
    /// One that never shows anybody both batches at once: who does is found out before anything comes of it.
    #[must_use]
    pub fn careful() -> Self {
        Self {
            slips: 0,
            ..Self::default()
        }
    }
}

/// Who hears of the second batch.
fn hears_second(id: ReplicaId) -> bool {
    !id.get().is_multiple_of(2)
}

impl Behaviour for Equivocation {
    fn name(&self) -> &'static str {
        "byzantine: equivocation"
    }

    fn send(&mut self, forge: &mut Forge<'_>, to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        if let Some((vote, batch)) = forge.own_proposal(message)
            && batch.time_ms > 0
        {
            let told = self.told.entry((vote.view, vote.seq)).or_insert_with(|| {
                let mut other = batch.clone();
                // The same requests at another time are another batch.
                other.time_ms = other.time_ms.saturating_add(1);
                Told {
                    first: Arc::clone(message),
                    digest: Body::new(&forge.ring.chain, other.clone()).digest(),
                    second: Arc::new(forge.proposal(vote, other)),
                    crossed_at: Some(forge.now + forge.request_timeout / 2),
                }
            });
            if !hears_second(to) {
                return unchanged(message);
            }
            let mut messages = vec![Arc::clone(&told.second)];
            if forge.rng.permille(self.slips) {
                messages.push(Arc::clone(message));
            }
            if self.told.len() > MAX_KEPT {
                self.told.pop_first();
            }
            return messages;
        }
        match &**message {
            Message::Vote(vote) if vote.sender == forge.id && hears_second(to) => {
                match self.told.get(&(vote.view, vote.seq)) {
                    Some(told) => vec![Arc::new(Message::Vote(forge.vote(
                        vote.phase,
                        vote.view,
                        vote.seq,
                        told.digest,
                    )))],
                    None => unchanged(message),
                }
            }
            _ => unchanged(message),
        }
    }

    fn tick(&mut self, forge: &mut Forge<'_>) -> Vec<(ReplicaId, Message)> {
        let mut sent = Vec::new();
        for told in self.told.values_mut() {
            if told.crossed_at.is_none_or(|at| at > forge.now) {
                continue;
            }
            told.crossed_at = None;
            for to in forge.others() {
                let other = if hears_second(to) {
                    &told.first
                } else {
                    &told.second
                };
                sent.push((to, (**other).clone()));
            }
        }
        sent
    }
}
