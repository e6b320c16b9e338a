//! A primary that behaves well until everybody relies on everybody, and then now and then spoils a signature that not everybody checks
//! (BP4).

use std::sync::Arc;

use tagma_crypto::Signature;
use tagma_pbft::{Message, ReplicaId};

use super::{Behaviour, Forge, unchanged};

/// Of so many batches one is bad, none of the first.
const GOOD: u64 = 8;

#[derive(Debug)]
pub(super) struct BidesItsTime;

impl Behaviour for BidesItsTime {
    fn name(&self) -> &'static str {
        "byzantine: bides its time"
    }

    fn send(&mut self, forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        let Some((place, batch)) = forge.own_proposal(message) else {
            return unchanged(message);
        };
        let mut requests = batch.requests.clone().into_vec();
        match requests.last_mut() {
            Some(last) if batch.requests.len() > 1 && place.seq.get().is_multiple_of(GOOD) => {
                // The same to everybody: two different ones would be another fault than this one.
                let mut bytes = *last.signature.as_bytes();
                bytes.reverse();
                last.signature = Signature::from_bytes(bytes);
            }
            _ => return unchanged(message),
        }
        let mut bad = batch.clone();
        bad.requests = requests.into();
        vec![Arc::new(forge.proposal(place, bad))]
    }
}
