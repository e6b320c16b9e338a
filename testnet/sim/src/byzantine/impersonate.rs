//! Speaks in the name of others, signed with its own key, the only one it has (PS5).

use std::sync::Arc;

use tagma_pbft::message::{Checkpoint, ViewChange, Vote};
use tagma_pbft::{Message, ReplicaId};

use super::about::About;
use super::{Behaviour, Forge};

/// How people choose it.
pub(super) const ABOUT: About = About {
    name: "impersonate",
    does: "repeats each of its votes, CHECKPOINTs and VIEW-CHANGEs in the name of every other replica, signed with its own key",
    safety: "one chain, equal states: who is named must be the verifying key",
    liveness: "such messages count for nothing, and its connections are closed",
    caught: "nobody: what one key signs for another name does not verify, and proves nothing",
};

#[derive(Debug)]
pub(super) struct Impersonation;

/// The same, as if another had said it.
fn as_other(forge: &Forge<'_>, message: &Message, other: ReplicaId) -> Option<Message> {
    let (chain, key) = (&forge.ring.chain, forge.key);
    match message {
        Message::Vote(vote) if vote.sender == forge.id => Some(Message::Vote(Vote::sign(
            vote.phase,
            vote.view,
            vote.seq,
            vote.digest,
            other,
            chain,
            key,
        ))),
        Message::Checkpoint(own) if own.sender == forge.id => Some(Message::Checkpoint(Checkpoint::sign(
            own.seq, own.header, other, chain, key,
        ))),
        Message::ViewChange(change) if change.sender == forge.id => {
            let prepared = change.prepared.clone().into_vec();
            let forged = ViewChange::sign(change.target, change.stable.clone(), prepared, other, chain, key);
            Some(Message::ViewChange(Arc::new(forged)))
        }
        _ => None,
    }
}

impl Behaviour for Impersonation {
    fn name(&self) -> &'static str {
        "byzantine: speaks for others"
    }

    fn send(&mut self, forge: &mut Forge<'_>, to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        let others = forge.others();
        let forged = others
            .into_iter()
            .filter(|other| *other != to)
            .filter_map(|other| as_other(forge, message, other));
        std::iter::once(Arc::clone(message))
            .chain(forged.map(Arc::new))
            .collect()
    }
}
