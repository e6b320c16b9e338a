//! All that one replica has signed: what it may not contradict, and what a Byzantine replica may make use of.

use std::collections::BTreeMap;
use std::sync::Arc;

use tagma_crypto::encode::encode;
use tagma_crypto::{Digest, Hasher};
use tagma_pbft::message::{NewView, Phase, ViewChange};
use tagma_pbft::{Message, ReplicaId, SeqNum, View};

use crate::check::{Checked, Violation};

/// What a replica has signed since it began.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// One digest for each phase, view and number.
    pub(super) votes: BTreeMap<(View, SeqNum, Phase), Digest>,
    /// One VIEW-CHANGE for each target.
    pub(super) view_changes: BTreeMap<View, (Digest, Arc<ViewChange>)>,
    /// The content of one NEW-VIEW for each view.
    new_views: BTreeMap<View, Digest>,
}

impl Said {
    /// Equal digests stand for equal ones.
    pub(super) fn fingerprint(&self) -> Digest {
        let mut hasher = Hasher::new("model/said");
        for ((view, seq, phase), digest) in &self.votes {
            hasher.part(&encode(&(*view, *seq, *phase, *digest)));
        }
        for (target, (content, _)) in &self.view_changes {
            hasher.part(&encode(&(*target, *content)));
        }
        for (view, content) in &self.new_views {
            hasher.part(&encode(&(*view, *content)));
        }
        hasher.finish()
    }

    /// What leaves replica `me`.
    ///
    /// # Errors
    /// If it contradicts what it said before, or is a vote of a view that it has left.
    pub(super) fn says(&mut self, me: ReplicaId, message: &Message) -> Checked {
        match message {
            Message::PrePrepare { vote, .. } | Message::Vote(vote) if vote.sender == me => {
                self.vote((vote.view, vote.seq, vote.phase), vote.digest)
            }
            Message::ViewChange(message) if message.sender == me => self.view_change(message),
            Message::NewView(message) if message.view.get() % 4 == u64::from(me.get()) => {
                self.new_view(message)
            }
            _ => Ok(()),
        }
    }

    fn vote(&mut self, key: (View, SeqNum, Phase), digest: Digest) -> Checked {
        let left = self.view_changes.last_key_value().map(|(target, _)| *target);
        match self.votes.get(&key) {
            Some(held) if *held != digest => Err(Violation::new(
                "no conflicting signatures",
                format!("{key:?} was signed for {held} and for {digest}"),
            )),
            Some(_) => Ok(()),
            None if left > Some(key.0) => Err(Violation::new(
                "silence after VIEW-CHANGE",
                format!("{key:?} left for the first time after a VIEW-CHANGE for {left:?}"),
            )),
            None => {
                self.votes.insert(key, digest);
                Ok(())
            }
        }
    }

    fn view_change(&mut self, message: &Arc<ViewChange>) -> Checked {
        let (target, content) = (message.target, message.content_digest());
        let held = self
            .view_changes
            .entry(target)
            .or_insert_with(|| (content, Arc::clone(message)));
        if held.0 != content {
            let detail = format!("two VIEW-CHANGEs for {target}");
            return Err(Violation::new("no conflicting signatures", detail));
        }
        Ok(())
    }

    fn new_view(&mut self, message: &NewView) -> Checked {
        let content = message.content_digest();
        if *self.new_views.entry(message.view).or_insert(content) != content {
            let detail = format!("two NEW-VIEWs for {}", message.view);
            return Err(Violation::new("no conflicting signatures", detail));
        }
        // O is signed with it, entry by entry.
        let stable = message
            .view_changes
            .iter()
            .map(|view_change| view_change.stable_seq())
            .max();
        let mut seq = stable.unwrap_or(SeqNum::ZERO);
        for proposal in message.proposals.iter() {
            seq = seq.next();
            self.vote((message.view, seq, Phase::PrePrepare), proposal.digest)?;
        }
        Ok(())
    }
}
