//! Honest replicas vote inside their window only (OSDI '99 §4.2): n ≤ h + L, where h is the stable checkpoint on their own disk,
//! or the one that their view began with.

use tagma_ledger::store::Store;
use tagma_pbft::message::Vote;
use tagma_pbft::{Message, ReplicaId, SeqNum};

use super::promises::{new_view, stable};
use super::{Checked, Violation};

/// A message of `id`, whose disk this is, leaves.
pub(super) fn left(id: ReplicaId, disk: &dyn Store, window: u64, message: &Message) -> Checked {
    let (Message::PrePrepare { vote, .. } | Message::Vote(vote)) = message else {
        return Ok(());
    };
    let Vote {
        view, seq, sender, ..
    } = vote;
    // Mostly far below the mark: the disk is asked only where it matters.
    if *sender != id || seq.get() <= window {
        return Ok(());
    }
    let began_with = new_view(disk, *view).map_or(SeqNum::ZERO, |new| {
        let stable = new.view_changes.iter().map(|change| change.stable_seq());
        stable.max().unwrap_or(SeqNum::ZERO)
    });
    let low = stable(disk).max(began_with);
    if seq.get() <= low.get().saturating_add(window) {
        return Ok(());
    }
    let detail = format!(
        "replica {id} sends {:?} for {seq:?}, while its h is {low:?} and the window {window}",
        vote.phase
    );
    Err(Violation::new("inside the window", detail))
}
