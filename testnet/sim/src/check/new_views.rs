//! An honest replica enters a view by a NEW-VIEW whose O follows from its V (OSDI '99 §4.4), worked out here once more in the
//! simplest way: for each n above the highest h in V, the certificate of the highest view wins, and where there is none, the null
//! batch.

use std::collections::BTreeSet;

use tagma_crypto::Digest;
use tagma_pbft::ReplicaId;
use tagma_pbft::message::NewView;

use super::{Checked, Violation};

fn expected(new: &NewView, null: Digest) -> Vec<Digest> {
    let changes = &new.view_changes;
    let low = changes
        .iter()
        .map(|change| change.stable_seq().get())
        .max()
        .unwrap_or(0);
    let entries = || changes.iter().flat_map(|change| change.prepared.iter());
    let high = entries().map(|entry| entry.seq.get()).max().unwrap_or(0);
    let choice = |n: u64| {
        let held = entries().filter(|entry| entry.seq.get() == n);
        held.max_by_key(|entry| entry.view)
            .map_or(null, |entry| entry.digest)
    };
    (low + 1..=high).map(choice).collect()
}

/// `by` enters a view by this message; a quorum is `quorum` replicas.
pub(super) fn entered(by: ReplicaId, new: &NewView, quorum: usize, null: Digest) -> Checked {
    let senders: BTreeSet<ReplicaId> = new.view_changes.iter().map(|change| change.sender).collect();
    let wrong = if senders.len() != quorum || new.view_changes.len() != quorum {
        "does not have a quorum in V"
    } else if new.view_changes.iter().any(|change| change.target != new.view) {
        "has a VIEW-CHANGE for another view in V"
    } else if !expected(new, null)
        .iter()
        .eq(new.proposals.iter().map(|entry| &entry.digest))
    {
        "has an O that does not follow from V"
    } else {
        return Ok(());
    };
    let detail = format!("replica {by} enters {:?} by a NEW-VIEW that {wrong}", new.view);
    Err(Violation::new("O follows from V", detail))
}
