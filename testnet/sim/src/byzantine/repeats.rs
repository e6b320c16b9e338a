//! As a primary proposes batches again that were proposed, and mostly executed, before (PS8): nothing forbids a batch whose
//! requests are all valid in themselves, so it is agreed on, and executed without any effect.

use std::collections::BTreeMap;
use std::sync::Arc;

use tagma_pbft::{Batch, Message, ReplicaId, SeqNum, View};

use super::{Behaviour, Forge, unchanged};

/// Most batches remembered.
const MAX_KEPT: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Repeats {
    old: Vec<Batch>,
    /// What it proposes instead, the same to everybody.
    instead: BTreeMap<(View, SeqNum), Option<Batch>>,
}

impl Behaviour for Repeats {
    fn name(&self) -> &'static str {
        "byzantine: repeats batches"
    }

    fn send(&mut self, forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        let Some((vote, batch)) = forge.own_proposal(message) else {
            return unchanged(message);
        };
        if batch.time_ms == 0 {
            return unchanged(message);
        }
        let instead = self.instead.entry((vote.view, vote.seq)).or_insert_with(|| {
            let chosen = forge
                .rng
                .permille(400)
                .then(|| forge.rng.pick(&self.old).cloned());
            if self.old.len() < MAX_KEPT {
                self.old.push(batch.clone());
            }
            chosen.flatten()
        });
        let Some(batch) = instead else {
            return unchanged(message);
        };
        vec![Arc::new(forge.proposal(vote, batch.clone()))]
    }
}
