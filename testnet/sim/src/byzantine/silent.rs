//! Sends nothing (BB1).

use std::sync::Arc;

use tagma_pbft::{Message, ReplicaId};

use super::{Behaviour, Forge};

/// Takes everything in and says nothing.
#[derive(Debug)]
pub(super) struct Silent;

impl Behaviour for Silent {
    fn name(&self) -> &'static str {
        "byzantine: silent"
    }

    fn send(&mut self, _forge: &mut Forge<'_>, _to: ReplicaId, _message: &Arc<Message>) -> Vec<Arc<Message>> {
        Vec::new()
    }
}
