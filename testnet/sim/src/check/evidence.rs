//! A: evidence names only culprits, and proves what it says.

use tagma_pbft::ReplicaId;
use tagma_pbft::evidence::Evidence;

use super::{Checked, Violation};
use crate::chain::Chain;

pub(super) fn accused(
    chain: &Chain,
    by: usize,
    evidence: &Evidence,
    faulty: impl Fn(ReplicaId) -> bool,
) -> Checked {
    let culprit = evidence.culprit(&chain.ring);
    if !faulty(culprit) {
        let detail = format!(
            "host {by} accuses the honest {culprit} of {}: {evidence:?}",
            evidence.name()
        );
        return Err(Violation::new("evidence names only culprits", detail));
    }
    if !evidence.proves(&chain.ring, &chain.parameters, &*chain.rules) {
        let detail = format!(
            "host {by} accuses {culprit} of {} without proof: {evidence:?}",
            evidence.name()
        );
        return Err(Violation::new("evidence proves", detail));
    }
    Ok(())
}
