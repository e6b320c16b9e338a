//! Sends proposals and votes to some replicas only, which change from time to time (BP2, BP3).

use std::collections::BTreeSet;
use std::sync::Arc;

use tagma_pbft::{Message, ReplicaId};

use super::about::{About, SAFE};
use super::{Behaviour, Forge, unchanged};

/// How people choose it.
pub(super) const ABOUT: About = About {
    name: "selective-send",
    does: "sends proposals, votes and NEW-VIEWs to some replicas only, which change from time to time",
    safety: SAFE,
    liveness: "the others fetch what they are not sent; as a primary it may be replaced",
    caught: "nobody: a message that did not come may have been lost",
};

#[derive(Debug, Default)]
pub(super) struct Selective {
    ignored: BTreeSet<ReplicaId>,
}

impl Behaviour for Selective {
    fn name(&self) -> &'static str {
        "byzantine: selective sends"
    }

    fn send(&mut self, _forge: &mut Forge<'_>, to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        let ignorable = matches!(
            **message,
            Message::PrePrepare { .. } | Message::Vote(_) | Message::NewView(_)
        );
        if ignorable && self.ignored.contains(&to) {
            Vec::new()
        } else {
            unchanged(message)
        }
    }

    fn tick(&mut self, forge: &mut Forge<'_>) -> Vec<(ReplicaId, Message)> {
        if forge.rng.permille(50) {
            let others = forge.others();
            self.ignored = others.into_iter().filter(|_| forge.rng.permille(400)).collect();
        }
        Vec::new()
    }
}
