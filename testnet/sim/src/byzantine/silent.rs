//! Sends nothing (BB1).

use std::sync::Arc;

use tagma_pbft::{Message, ReplicaId};
use tagma_wire::client_protocol::ClientResponse;

use super::about::{About, SAFE};
use super::{Behaviour, Forge};

/// How people choose it.
pub(super) const ABOUT: About = About {
    name: "silent",
    does: "receives everything and sends nothing to replicas or clients",
    safety: SAFE,
    liveness: "as a backup nothing slows down; as a primary it is replaced within a few timeouts",
    caught: "nobody: silence cannot be told from a slow network",
};

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

    fn respond(&mut self, _forge: &mut Forge<'_>, _response: ClientResponse) -> Option<ClientResponse> {
        None
    }
}
