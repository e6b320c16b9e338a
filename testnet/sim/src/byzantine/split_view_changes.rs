//! Different VIEW-CHANGEs for one target to different replicas (BB4): all it knows to some, nothing to the others.

use std::sync::Arc;

use tagma_pbft::message::ViewChange;
use tagma_pbft::{Message, ReplicaId};

use super::{Behaviour, Forge, unchanged};

#[derive(Debug)]
pub(super) struct SplitViewChanges;

impl Behaviour for SplitViewChanges {
    fn name(&self) -> &'static str {
        "byzantine: split VIEW-CHANGEs"
    }

    fn send(&mut self, forge: &mut Forge<'_>, to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        let Message::ViewChange(change) = &**message else {
            return unchanged(message);
        };
        if change.sender != forge.id || to.get().is_multiple_of(2) {
            return unchanged(message);
        }
        let stable = change.stable.clone().filter(|_| forge.rng.permille(500));
        let bare = ViewChange::sign(
            change.target,
            stable,
            Vec::new(),
            forge.id,
            &forge.ring.chain,
            forge.key,
        );
        vec![Arc::new(Message::ViewChange(Arc::new(bare)))]
    }
}
