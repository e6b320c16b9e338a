//! As a primary holds back its proposals, so that everything takes as long as it can without running into the others' timer
//! (BP1).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tagma_pbft::{Message, ReplicaId};

use super::about::{About, SAFE};
use super::{Behaviour, Forge, unchanged};

/// How people choose it.
pub(super) const ABOUT: About = About {
    name: "slow-primary",
    does: "as a primary holds every proposal back for half of the request timeout",
    safety: SAFE,
    liveness: "requests are executed late, until backups have seen it four times and replace it, long before the timeout",
    caught: "nobody: being slow proves nothing; it only loses its view",
};

/// Most proposals held back; above it the oldest leave early.
const MAX_HELD: usize = 512;

#[derive(Debug, Default)]
pub(super) struct SlowPrimary {
    /// What is due when, in order.
    held: VecDeque<(Duration, ReplicaId, Arc<Message>)>,
}

impl Behaviour for SlowPrimary {
    fn name(&self) -> &'static str {
        "byzantine: slow primary"
    }

    fn send(&mut self, forge: &mut Forge<'_>, to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        let own = matches!(&**message, Message::PrePrepare { vote, .. } if vote.sender == forge.id);
        if !own || self.held.len() >= MAX_HELD {
            return unchanged(message);
        }
        let due = forge.now + forge.request_timeout / 2;
        self.held.push_back((due, to, Arc::clone(message)));
        Vec::new()
    }

    fn tick(&mut self, forge: &mut Forge<'_>) -> Vec<(ReplicaId, Message)> {
        let mut sent = Vec::new();
        while let Some((due, ..)) = self.held.front()
            && *due <= forge.now
            && let Some((_, to, message)) = self.held.pop_front()
        {
            sent.push((to, (*message).clone()));
        }
        sent
    }
}
