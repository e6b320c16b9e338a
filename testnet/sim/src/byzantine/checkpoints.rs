//! CHECKPOINTs with invented headers and for heights nobody has reached (CP1).

use std::collections::BTreeMap;
use std::sync::Arc;

use tagma_pbft::message::Checkpoint;
use tagma_pbft::{Message, ReplicaId, SeqNum};

use super::about::{About, SAFE};
use super::{Behaviour, Forge};

/// How people choose it.
pub(super) const ABOUT: About = About {
    name: "bad-checkpoint",
    does: "sends CHECKPOINTs with invented state, and for heights that nobody has reached",
    safety: SAFE,
    liveness: "checkpoints become stable by the votes of the others",
    caught: "itself, where somebody has two of its CHECKPOINTs for one height; one that differs accuses nobody",
};

/// Most lies remembered.
const MAX_TOLD: usize = 100;

#[derive(Debug, Default)]
pub(super) struct BadCheckpoints {
    /// By height and the half of the others that is told so: whoever lies tells more than one the same.
    told: BTreeMap<(SeqNum, bool), Arc<Message>>,
}

impl Behaviour for BadCheckpoints {
    fn name(&self) -> &'static str {
        "byzantine: bad CHECKPOINTs"
    }

    fn send(&mut self, forge: &mut Forge<'_>, to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        let mut messages = vec![Arc::clone(message)];
        if let Message::Checkpoint(checkpoint) = &**message {
            if self.told.len() >= MAX_TOLD {
                self.told.clear();
            }
            let ahead = forge.rng.below(4) * forge.parameters.checkpoint_interval;
            let seq = checkpoint.seq.plus(ahead);
            let half = to.get().is_multiple_of(2);
            let bad = self.told.entry((seq, half)).or_insert_with(|| {
                let header = forge.invented();
                let bad = Checkpoint::sign(seq, header, forge.id, &forge.ring.chain, forge.key);
                Arc::new(Message::Checkpoint(bad))
            });
            if forge.rng.permille(500) {
                messages.clear();
            }
            messages.insert(0, Arc::clone(bad));
        }
        messages
    }
}
