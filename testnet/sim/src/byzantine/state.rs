//! Wrong answers to whoever is behind: parts of a state that do not check out or are not there (CP5), other bodies, blocks with
//! too few signers or none (CP11), proposals with swapped bodies.

use std::sync::Arc;

use tagma_pbft::{Message, ReplicaId};

use super::about::{About, SAFE};
use super::{Behaviour, Forge, unchanged};

/// How people choose it.
pub(super) const ABOUT: About = About {
    name: "corrupt-state-transfer",
    does: "answers replicas that are behind with spoiled parts of the state, spoiled blocks and spoiled batches",
    safety: SAFE,
    liveness: "every part is checked before it is used, and asked of somebody else",
    caught: "nobody by evidence; who receives a spoiled part names its source in its log",
};

/// Questions for the header or the summaries take no more bytes than this; those for a part of a bucket do.
const SHORT: usize = 8;

#[derive(Debug)]
pub(super) struct WrongAnswers;

impl Behaviour for WrongAnswers {
    fn name(&self) -> &'static str {
        "byzantine: wrong answers"
    }

    fn send(&mut self, forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        let lie = match &**message {
            // Who lies about the header is not asked for the rest: mostly the truth, until it is about a part of a bucket.
            Message::StatePart { part, .. } if part.len() <= SHORT && forge.rng.permille(800) => {
                return unchanged(message);
            }
            Message::StatePart { seq, part, data } => {
                let mut bytes = data.as_ref().map(|data| data.to_vec()).unwrap_or_default();
                let place = forge.rng.index(bytes.len());
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1;
                }
                let data = forge.rng.permille(700).then(|| bytes.into());
                Message::StatePart {
                    seq: *seq,
                    part: part.clone(),
                    data,
                }
            }
            Message::Body(batch) => {
                let mut other = batch.clone();
                other.time_ms = other.time_ms.saturating_add(1);
                Message::Body(other)
            }
            Message::Blocks { from, blocks } => {
                let mut blocks = blocks.clone().into_vec();
                match forge.rng.below(3) {
                    0 => blocks.clear(),
                    1 => {
                        if let Some(block) = blocks.last_mut() {
                            let mut commits = block.certificate.commits.clone().into_vec();
                            commits.pop();
                            block.certificate.commits = commits.into();
                        }
                    }
                    _ => {
                        if let Some(block) = blocks.last_mut() {
                            block.batch.time_ms = block.batch.time_ms.saturating_add(1);
                        }
                    }
                }
                Message::Blocks {
                    from: *from,
                    blocks: blocks.into(),
                }
            }
            Message::PrePrepare {
                vote,
                batch: Some(batch),
            } if vote.sender != forge.id => {
                let mut other = batch.clone();
                other.time_ms = other.time_ms.saturating_add(1);
                Message::PrePrepare {
                    vote: vote.clone(),
                    batch: Some(other),
                }
            }
            _ => return unchanged(message),
        };
        vec![Arc::new(lie)]
    }
}
