//! As a primary proposes batches with more requests than the cap allows (BP4).

use std::sync::Arc;

use tagma_pbft::{Message, ReplicaId};

use super::about::{About, SAFE};
use super::{Behaviour, Forge, unchanged};

/// How people choose it.
pub(super) const ABOUT: About = About {
    name: "oversized-batch",
    does: "as a primary proposes batches with more requests than the cap allows",
    safety: SAFE,
    liveness: "nobody prepares such a batch, and the primary is replaced at once",
    caught: "itself, by the digest that it signed of a batch beyond the cap",
};

#[derive(Debug)]
pub(super) struct OversizedBatches;

impl Behaviour for OversizedBatches {
    fn name(&self) -> &'static str {
        "byzantine: oversized batches"
    }

    fn send(&mut self, forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        let Some((vote, batch)) = forge.own_proposal(message) else {
            return unchanged(message);
        };
        let Some(first) = batch.requests.first() else {
            return unchanged(message);
        };
        // It can sign no requests of clients, so it takes one of theirs as often as it needs.
        let missing = (forge.parameters.max_batch_requests + 1).saturating_sub(batch.requests.len());
        let copies = std::iter::repeat_n(first.clone(), missing);
        let mut larger = batch.clone();
        larger.requests = batch
            .requests
            .iter()
            .cloned()
            .chain(copies)
            .collect::<Vec<_>>()
            .into();
        vec![Arc::new(forge.proposal(vote, larger))]
    }
}
