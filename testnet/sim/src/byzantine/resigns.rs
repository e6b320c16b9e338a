//! Hands on the proposals of other primaries with one client's signature spoiled: a body that its digest does not cover accuses
//! nobody.

use std::sync::Arc;

use tagma_crypto::Signature;
use tagma_pbft::{Message, ReplicaId};

use super::{Behaviour, Forge, unchanged};

/// Most spoiled proposals on hand.
const MAX_KEPT: usize = 4;

#[derive(Debug, Default)]
pub(super) struct SpoiledSignatures {
    spoiled: Vec<Message>,
}

impl Behaviour for SpoiledSignatures {
    fn name(&self) -> &'static str {
        "byzantine: spoils signatures in others' batches"
    }

    fn send(&mut self, _forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        unchanged(message)
    }

    fn observe(&mut self, forge: &mut Forge<'_>, message: &Message) {
        let Message::PrePrepare {
            vote,
            batch: Some(batch),
        } = message
        else {
            return;
        };
        let mut requests = batch.requests.clone().into_vec();
        let place = forge.rng.index(requests.len());
        let Some(request) = requests.get_mut(place).filter(|_| vote.sender != forge.id) else {
            return;
        };
        let mut bytes = *request.signature.as_bytes();
        if let Some(byte) = bytes.get_mut(forge.rng.index(64)) {
            *byte ^= 1 << forge.rng.below(8);
        }
        request.signature = Signature::from_bytes(bytes);
        let mut batch = batch.clone();
        batch.requests = requests.into();
        if self.spoiled.len() < MAX_KEPT {
            self.spoiled.push(Message::PrePrepare {
                vote: vote.clone(),
                batch: Some(batch),
            });
        }
    }

    fn tick(&mut self, forge: &mut Forge<'_>) -> Vec<(ReplicaId, Message)> {
        let others = forge.others();
        let spoiled = std::mem::take(&mut self.spoiled);
        let to_all = |message: Message| others.iter().map(move |to| (*to, message.clone()));
        spoiled.into_iter().flat_map(to_all).collect()
    }
}
