//! An honest replica never signs a conflict, not even across crashes: of everything that left it, there is one digest for
//! each (phase, v, n), one header for each checkpoint, one VIEW-CHANGE for each target and one NEW-VIEW for each view; and
//! after a VIEW-CHANGE for v' it says nothing new in a view below v'.

use std::collections::BTreeMap;

use tagma_crypto::Digest;
use tagma_pbft::message::{Phase, Vote};
use tagma_pbft::{Message, ReplicaId, SeqNum, View};

use super::{Checked, Violation};

/// Of how many views VIEW-CHANGEs and NEW-VIEWs are remembered at least.
const MAX_VIEWS: u64 = 1000;

pub(super) struct Votes {
    replicas: u64,
    votes: BTreeMap<(ReplicaId, Phase, View, SeqNum), Digest>,
    checkpoints: BTreeMap<(ReplicaId, SeqNum), Digest>,
    view_changes: BTreeMap<(ReplicaId, View), Digest>,
    new_views: BTreeMap<(ReplicaId, View), Digest>,
    targets: BTreeMap<ReplicaId, View>,
}

fn same<K: Ord + std::fmt::Debug>(
    map: &mut BTreeMap<K, Digest>,
    key: K,
    digest: Digest,
    what: &str,
) -> Checked {
    if let Some(held) = map.get(&key) {
        if *held == digest {
            return Ok(());
        }
        let detail = format!("{what} {key:?} was signed for {held} and for {digest}");
        return Err(Violation::new("no conflicting signatures", detail));
    }
    map.insert(key, digest);
    Ok(())
}

impl Votes {
    pub(super) fn new(replicas: usize) -> Self {
        Self {
            replicas: replicas as u64,
            votes: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            view_changes: BTreeMap::new(),
            new_views: BTreeMap::new(),
            targets: BTreeMap::new(),
        }
    }

    fn primary(&self, view: View) -> ReplicaId {
        let id = view.get() % self.replicas.max(1);
        ReplicaId::new(u16::try_from(id).unwrap_or(u16::MAX))
    }

    pub(super) fn sent(&mut self, id: ReplicaId, message: &Message) -> Checked {
        match message {
            Message::PrePrepare { vote, .. } | Message::Vote(vote) if vote.sender == id => self.vote(vote),
            Message::Checkpoint(checkpoint) if checkpoint.sender == id => {
                let key = (id, checkpoint.seq);
                same(&mut self.checkpoints, key, checkpoint.header, "CHECKPOINT")
            }
            Message::ViewChange(change) if change.sender == id => {
                let highest = self.targets.entry(id).or_default();
                *highest = (*highest).max(change.target);
                same(
                    &mut self.view_changes,
                    (id, change.target),
                    change.content_digest(),
                    "VIEW-CHANGE",
                )
            }
            Message::NewView(new) if self.primary(new.view) == id => same(
                &mut self.new_views,
                (id, new.view),
                new.content_digest(),
                "NEW-VIEW",
            ),
            _ => Ok(()),
        }
    }

    /// What concerns sequence numbers below this is not asked for any more; views much lower than the highest are not either.
    pub(super) fn forget_below(&mut self, seq: SeqNum) {
        self.votes.retain(|(_, _, _, held), _| *held >= seq);
        self.checkpoints.retain(|(_, held), _| *held >= seq);
        let highest = self.targets.values().max().copied().unwrap_or_default().get();
        let recent = |view: &View| view.get().saturating_add(MAX_VIEWS) >= highest;
        self.view_changes.retain(|(_, view), _| recent(view));
        self.new_views.retain(|(_, view), _| recent(view));
    }

    fn vote(&mut self, vote: &Vote) -> Checked {
        let key = (vote.sender, vote.phase, vote.view, vote.seq);
        let left = self
            .targets
            .get(&vote.sender)
            .is_some_and(|target| vote.view < *target);
        if left && !self.votes.contains_key(&key) {
            let detail = format!("{key:?} left for the first time after a VIEW-CHANGE for a higher view");
            return Err(Violation::new("silence after VIEW-CHANGE", detail));
        }
        same(&mut self.votes, key, vote.digest, "vote")
    }
}
