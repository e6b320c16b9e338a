//! Dies in the middle of what it says: some have its message, the rest have not (VC1).

use std::sync::Arc;

use tagma_pbft::{Message, ReplicaId};
use tagma_sim::byzantine::{About, Behaviour, Forge, SAFE};

pub(super) const ABOUT: About = About {
    name: "crash",
    does: "ends without a word, as by kill -9, after a proposal or vote of its own has gone to one replica and before it goes to the next",
    safety: SAFE,
    liveness: "as a backup nothing slows down; as a primary it is replaced within a few timeouts",
    caught: "nobody: crashed nodes lie to nobody",
};

#[derive(Debug)]
pub(super) struct Crash;

impl Behaviour for Crash {
    fn name(&self) -> &'static str {
        "byzantine: crash"
    }

    fn send(&mut self, forge: &mut Forge<'_>, to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        let own = match &**message {
            Message::PrePrepare { vote, .. } | Message::Vote(vote) => vote.sender == forge.id,
            _ => false,
        };
        let first = forge.others().first().copied();
        if own && first != Some(to) {
            tracing::error!("crashes as it was ordered to");
            // It cannot be caught, blocked or ignored; if the system refuses it, an abort is as sudden.
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
            std::process::abort();
        }
        vec![Arc::clone(message)]
    }
}
