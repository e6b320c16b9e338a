//! A primary that is provably faulty is left (protocol: leaving a view): whoever has the proof, and takes part in the view, wants
//! a higher one from then on.

use tagma_pbft::evidence::Evidence;
use tagma_pbft::message::Phase;
use tagma_pbft::{ReplicaId, View};

use super::{Checked, Violation};

/// The view whose primary this convicts as such.
fn convicts(evidence: &Evidence) -> Option<View> {
    match evidence {
        Evidence::ConflictingVotes(vote, _) if vote.phase == Phase::PrePrepare => Some(vote.view),
        Evidence::BadBatch(vote, _) | Evidence::UnchosenNull(vote, _) => Some(vote.view),
        _ => None,
    }
}

/// `by`, who votes, is in `view` and wants `target`, keeps this evidence.
pub(super) fn accused(by: ReplicaId, evidence: &Evidence, view: View, target: View) -> Checked {
    match convicts(evidence) {
        Some(faulty) if faulty == view && target == view => {
            let detail = format!(
                "replica {by} has proof of {} and stays in {view:?}",
                evidence.name()
            );
            Err(Violation::new("a faulty primary is left", detail))
        }
        _ => Ok(()),
    }
}
