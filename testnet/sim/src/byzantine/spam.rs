//! VIEW-CHANGEs for the next view, for far views, and for the last view there is (VC9).

use std::sync::Arc;

use tagma_pbft::message::ViewChange;
use tagma_pbft::{Message, ReplicaId, View};

use super::about::{About, SAFE};
use super::{Behaviour, Forge, unchanged};

/// How people choose it.
pub(super) const ABOUT: About = About {
    name: "view-change-spam",
    does: "sends VIEW-CHANGEs for the next view, for far views and for the last view there is, without a reason",
    safety: SAFE,
    liveness: "no view changes: up to f VIEW-CHANGEs move nobody",
    caught: "itself, where it signs two different ones for a view",
};

#[derive(Debug)]
pub(super) struct Spam;

impl Behaviour for Spam {
    fn name(&self) -> &'static str {
        "byzantine: VIEW-CHANGE spam"
    }

    fn send(&mut self, _forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        unchanged(message)
    }

    fn tick(&mut self, forge: &mut Forge<'_>) -> Vec<(ReplicaId, Message)> {
        if !forge.rng.permille(400) {
            return Vec::new();
        }
        let target = match forge.rng.below(4) {
            0 => forge.rng.between(1, 8),
            1 => forge.rng.between(1, 1000),
            2 => 1 << 63,
            _ => u64::MAX,
        };
        let message = ViewChange::sign(
            View::new(target),
            None,
            Vec::new(),
            forge.id,
            &forge.ring.chain,
            forge.key,
        );
        let message = Arc::new(message);
        forge
            .others()
            .into_iter()
            .map(|to| (to, Message::ViewChange(Arc::clone(&message))))
            .collect()
    }
}
