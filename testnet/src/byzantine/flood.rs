//! More messages than anybody wants: votes that verify for sequence numbers all over the window, and questions (BB2).

use std::sync::Arc;

use tagma_pbft::message::Phase;
use tagma_pbft::{Message, ReplicaId, SeqNum, View};
use tagma_sim::byzantine::{About, Behaviour, Forge, SAFE};

pub(super) const ABOUT: About = About {
    name: "flood",
    does: "sends every other replica thousands of messages a second: votes that verify and count for nothing, and questions",
    safety: SAFE,
    liveness: "each replica takes no more from one peer than its share, so the others slow down and do not stop",
    caught: "itself, by votes for one sequence number that contradict each other",
};

/// Messages to each replica at a time.
const BURST: u64 = 300;
/// One signature serves so many messages, so that the flood costs its victims more than its source.
const SIGNED: u64 = 20;

/// Floods.
#[derive(Debug, Default)]
pub(super) struct Flood {
    view: View,
    seq: SeqNum,
}

impl Behaviour for Flood {
    fn name(&self) -> &'static str {
        "byzantine: flood"
    }

    fn send(&mut self, forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        if let Message::Vote(vote) = &**message
            && vote.sender == forge.id
        {
            (self.view, self.seq) = (vote.view, vote.seq);
        }
        vec![Arc::clone(message)]
    }

    fn tick(&mut self, forge: &mut Forge<'_>) -> Vec<(ReplicaId, Message)> {
        let mut messages = Vec::new();
        for _ in 0..SIGNED {
            let seq = self.seq.plus(forge.rng.below(forge.parameters.window));
            let digest = forge.invented();
            let phase = if forge.rng.permille(500) {
                Phase::Prepare
            } else {
                Phase::Commit
            };
            messages.push(Message::Vote(forge.vote(phase, self.view, seq, digest)));
        }
        messages.push(Message::FetchBlocks {
            from: SeqNum::new(1),
            count: u32::MAX,
        });
        messages.push(Message::FetchBody {
            seq: self.seq,
            digest: forge.invented(),
        });
        let mut sent = Vec::new();
        for to in forge.others() {
            for _ in 0..BURST {
                sent.extend(forge.rng.pick(&messages).map(|message| (to, message.clone())));
            }
        }
        sent
    }
}
