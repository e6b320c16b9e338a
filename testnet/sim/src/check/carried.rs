//! P is complete: whatever an honest replica has sent a COMMIT for is in each of its later VIEW-CHANGEs, with that view or a
//! higher one, until its stable checkpoint covers it (OSDI '99 §4.4). A batch that is final somewhere is carried by that alone.

use std::collections::BTreeMap;

use tagma_pbft::message::{Phase, ViewChange, Vote};
use tagma_pbft::{Message, ReplicaId, SeqNum, View};

use super::{Checked, Violation};

#[derive(Default)]
pub(super) struct Carried {
    /// The highest view of a COMMIT, by who sent it and for which n.
    commits: BTreeMap<(ReplicaId, SeqNum), Vote>,
}

impl Carried {
    pub(super) fn sent(&mut self, id: ReplicaId, message: &Message) -> Checked {
        match message {
            Message::Vote(vote) if vote.sender == id && vote.phase == Phase::Commit => {
                let highest = self.commits.entry((id, vote.seq)).or_insert_with(|| vote.clone());
                if highest.view < vote.view {
                    *highest = vote.clone();
                }
                Ok(())
            }
            Message::ViewChange(change) if change.sender == id => self.check(change),
            _ => Ok(()),
        }
    }

    /// Everybody's stable checkpoint is above this.
    pub(super) fn forget_below(&mut self, seq: SeqNum) {
        self.commits.retain(|(_, held), _| *held >= seq);
    }

    fn check(&self, change: &ViewChange) -> Checked {
        let id = change.sender;
        let above = (id, change.stable_seq().next())..=(id, SeqNum::new(u64::MAX));
        for ((_, seq), commit) in self.commits.range(above) {
            let mut entries = change.prepared.iter().filter(|entry| entry.seq == *seq);
            let same = |view: View| view == commit.view;
            let carried = entries
                .any(|entry| entry.view > commit.view || (same(entry.view) && entry.digest == commit.digest));
            if !carried {
                let detail = format!(
                    "replica {id} sent COMMIT({:?}, {seq:?}, {}), and its VIEW-CHANGE for {:?} does not have it",
                    commit.view, commit.digest, change.target
                );
                return Err(Violation::new("P is complete", detail));
            }
        }
        Ok(())
    }
}
