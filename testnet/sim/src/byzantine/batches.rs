//! As a primary proposes batches that no correct primary proposes: a client's signature that does not verify, a request twice,
//! too many requests, none at all (BP4, BP6).

use std::sync::Arc;

use tagma_crypto::{Request, Signature};
use tagma_pbft::{Message, ReplicaId};

use super::{Behaviour, Forge, unchanged};

#[derive(Debug)]
pub(super) struct BadBatches;

impl Behaviour for BadBatches {
    fn name(&self) -> &'static str {
        "byzantine: bad batches"
    }

    fn send(&mut self, forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        let Some((vote, batch)) = forge.own_proposal(message) else {
            return unchanged(message);
        };
        if batch.requests.is_empty() || forge.rng.permille(600) {
            return unchanged(message);
        }
        let mut requests = batch.requests.clone().into_vec();
        let Some(first) = requests.first().cloned() else {
            return unchanged(message);
        };
        match forge.rng.below(5) {
            0 => {
                if let Some(request) = requests.first_mut() {
                    *request = Request {
                        signature: Signature::from_bytes([7; 64]),
                        ..first
                    };
                }
            }
            1 => requests.push(first),
            2 => {
                let copies = forge.parameters.max_batch_requests + 1;
                requests = std::iter::repeat_n(first, copies).collect();
            }
            3 => requests.clear(),
            _ => requests.push(Request {
                content: vec![1, 2, 3].into(),
                signature: first.signature,
            }),
        }
        let mut bad = batch.clone();
        bad.requests = requests.into();
        if forge.rng.permille(100) {
            // A null batch where no new view chose one.
            bad.time_ms = 0;
            bad.requests = Vec::new().into();
        }
        vec![Arc::new(forge.proposal(vote, bad))]
    }
}
