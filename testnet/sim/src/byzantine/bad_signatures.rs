//! Votes and CHECKPOINTs whose signatures do not verify (BB2), and as a primary batches with a client's signature spoiled (BP4).

use std::sync::Arc;

use tagma_crypto::Signature;
use tagma_pbft::{Message, ReplicaId};

use super::about::{About, SAFE};
use super::{Behaviour, Forge, unchanged};

/// How people choose it.
pub(super) const ABOUT: About = About {
    name: "bad-signature",
    does: "sends votes whose signatures do not verify, and as a primary batches in which a client's does not",
    safety: SAFE,
    liveness: "such votes count for nothing, and its connections are closed; as a primary it is replaced at once",
    caught: "itself as a primary, by the digest that it signed of a batch with a bad signature",
};

#[derive(Debug)]
pub(super) struct BadSignatures;

fn spoiled(forge: &mut Forge<'_>, signature: &Signature) -> Signature {
    let mut bytes = *signature.as_bytes();
    if let Some(byte) = bytes.get_mut(forge.rng.index(64)) {
        *byte ^= 1 << forge.rng.below(8);
    }
    Signature::from_bytes(bytes)
}

impl Behaviour for BadSignatures {
    fn name(&self) -> &'static str {
        "byzantine: bad signatures"
    }

    fn send(&mut self, forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        if let Some((place, batch)) = forge.own_proposal(message) {
            let mut requests = batch.requests.clone().into_vec();
            // The same to everybody: two different ones would be another fault than this one. Which one it is changes from batch to
            // batch, as not everybody checks all of them.
            let turn = usize::try_from(place.seq.get()).unwrap_or_default();
            let spoiled = turn.checked_rem(requests.len());
            let Some(request) = spoiled.and_then(|position| requests.get_mut(position)) else {
                return unchanged(message);
            };
            let mut bytes = *request.signature.as_bytes();
            bytes.reverse();
            request.signature = Signature::from_bytes(bytes);
            let mut batch = batch.clone();
            batch.requests = requests.into();
            return vec![Arc::new(forge.proposal(place, batch))];
        }
        let lie = match &**message {
            Message::Vote(vote) if vote.sender == forge.id => {
                let mut vote = vote.clone();
                vote.signature = spoiled(forge, &vote.signature);
                Message::Vote(vote)
            }
            Message::Checkpoint(checkpoint) if checkpoint.sender == forge.id => {
                let mut checkpoint = checkpoint.clone();
                checkpoint.signature = spoiled(forge, &checkpoint.signature);
                Message::Checkpoint(checkpoint)
            }
            _ => return unchanged(message),
        };
        vec![Arc::new(lie)]
    }
}
