//! CHECKPOINTs with invented headers and for heights nobody has reached (CP1).

use std::sync::Arc;

use tagma_pbft::message::Checkpoint;
use tagma_pbft::{Message, ReplicaId};

use super::{Behaviour, Forge};

#[derive(Debug)]
pub(super) struct BadCheckpoints;

impl Behaviour for BadCheckpoints {
    fn name(&self) -> &'static str {
        "byzantine: bad CHECKPOINTs"
    }

    fn send(&mut self, forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        let mut messages = vec![Arc::clone(message)];
        if let Message::Checkpoint(checkpoint) = &**message {
            let ahead = forge.rng.below(4) * forge.parameters.checkpoint_interval;
            let seq = checkpoint.seq.plus(ahead);
            let header = forge.invented();
            let bad = Checkpoint::sign(seq, header, forge.id, &forge.ring.chain, forge.key);
            let bad = Arc::new(Message::Checkpoint(bad));
            if forge.rng.permille(500) {
                messages.clear();
            }
            messages.insert(0, bad);
        }
        messages
    }
}
