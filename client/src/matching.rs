//! Counting replies: an outcome is believed once f + 1 distinct replicas report it, as one of them is correct.

use tagma_ledger::Outcome;
use tagma_wire::client_protocol::Refusal;

use crate::error::is_final;

/// What a client compares of a reply beside the request's digest: header and view may differ between correct replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What came of the request.
    pub outcome: Outcome,
    /// The height of its block.
    pub height: u64,
}

/// The most different replies that are kept of one replica: two suffice to show that it lies.
const KEPT_OF_ONE: usize = 2;

/// The replies to one request. Bounded by the number of replicas.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    verdicts: Vec<(u16, Verdict)>,
    refusals: Vec<(u16, Refusal)>,
    busy: Vec<u16>,
}

impl Tally {
    /// Counts a replica's reply, and returns whether it is new. A faulty replica may vote for several verdicts; each
    /// then still has at most f false votes.
    pub(crate) fn vote(&mut self, replica: u16, verdict: Verdict) -> bool {
        let same = |(voter, said): &(u16, Verdict)| *voter == replica && *said == verdict;
        let of_one = self
            .verdicts
            .iter()
            .filter(|(voter, _)| *voter == replica)
            .count();
        let new = of_one < KEPT_OF_ONE && !self.verdicts.iter().any(same);
        if new {
            self.verdicts.push((replica, verdict));
        }
        new
    }

    /// Counts a replica's refusal; its last one stands, as reasons of the moment change.
    pub(crate) fn refuse(&mut self, replica: u16, refusal: Refusal) {
        self.refusals.retain(|(voter, _)| *voter != replica);
        self.refusals.push((replica, refusal));
    }

    /// Notes a hint that decides nothing.
    pub(crate) fn busy(&mut self, replica: u16) {
        if !self.busy.contains(&replica) {
            self.busy.push(replica);
        }
    }

    /// Whether the replica has replied with a verdict.
    pub(crate) fn has_voted(&self, replica: u16) -> bool {
        self.verdicts.iter().any(|(voter, _)| *voter == replica)
    }

    /// The replicas that report `verdict`, in order.
    pub(crate) fn supporters(&self, verdict: &Verdict) -> Vec<u16> {
        sorted(
            self.verdicts
                .iter()
                .filter(|(_, said)| said == verdict)
                .map(|(voter, _)| *voter),
        )
    }

    /// The replies that say something else than `verdict`.
    pub(crate) fn contradicting(&self, verdict: &Verdict) -> Vec<(u16, Verdict)> {
        let others = self.verdicts.iter().filter(|(_, said)| said != verdict);
        others.copied().collect()
    }

    /// The replicas that report something else than `verdict`, in order.
    pub(crate) fn liars(&self, verdict: &Verdict) -> Vec<u16> {
        sorted(self.contradicting(verdict).into_iter().map(|(voter, _)| voter))
    }

    /// The verdict of `needed` distinct replicas, if there is one. No two verdicts have so many supporters unless
    /// more than f replicas are faulty.
    pub(crate) fn accepted(&self, needed: usize) -> Option<Verdict> {
        // A replica stands at most once with each verdict, so that counting entries counts distinct replicas.
        let count = |verdict: &Verdict| self.verdicts.iter().filter(|(_, said)| said == verdict).count();
        let mut candidates = self.verdicts.iter().map(|(_, verdict)| *verdict);
        candidates.find(|verdict| count(verdict) >= needed)
    }

    /// The replicas of the largest set of identical replies.
    pub(crate) fn best_supporters(&self) -> Vec<u16> {
        let sets = self.verdicts.iter().map(|(_, verdict)| self.supporters(verdict));
        sets.max_by_key(Vec::len).unwrap_or_default()
    }

    /// The refusal that decides, with the replicas that agree on it. One correct replica suffices for a reason that
    /// is final; for a reason of the moment one that lags behind could, with f liars, refuse what the others execute,
    /// so that `quorum` replicas must agree.
    pub(crate) fn refused(&self, weak_quorum: usize, quorum: usize) -> Option<(Refusal, Vec<u16>)> {
        self.refusals.iter().rev().find_map(|(_, refusal)| {
            let same = self
                .refusals
                .iter()
                .filter(|(_, other)| same_reason(refusal, other));
            let by = sorted(same.map(|(voter, _)| *voter));
            let needed = if is_final(refusal) { weak_quorum } else { quorum };
            (by.len() >= needed).then_some((*refusal, by))
        })
    }

    /// All refusals that stand.
    pub(crate) fn refusals(&self) -> &[(u16, Refusal)] {
        &self.refusals
    }

    /// The replicas that were busy.
    pub(crate) fn busy_replicas(&self) -> &[u16] {
        &self.busy
    }
}

/// Whether two refusals give the same reason. The numbers that travel along are of the replica's own height.
fn same_reason(a: &Refusal, b: &Refusal) -> bool {
    match (a, b) {
        (Refusal::Invalid(a), Refusal::Invalid(b)) => a == b,
        _ => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

fn sorted(replicas: impl Iterator<Item = u16>) -> Vec<u16> {
    let mut replicas: Vec<u16> = replicas.collect();
    replicas.sort_unstable();
    replicas.dedup();
    replicas
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]
mod tests {
    use super::*;

    fn verdict(height: u64) -> Verdict {
        Verdict {
            outcome: Outcome::Transferred,
            height,
        }
    }

    /// What a replica does: nothing, the truth, one of two lies, or the truth and a lie in either order.
    const MOVES: [&[u64]; 6] = [&[], &[1], &[2], &[3], &[1, 2], &[2, 1]];

    #[test]
    fn with_f_liars_only_the_truth_is_accepted_and_only_liars_are_named() {
        for (n, f) in [(4_u16, 1), (7, 2)] {
            let mut cases = 0_u64;
            for case in 0..6_u64.pow(u32::from(n)) {
                let moves: Vec<&[u64]> = (0..u32::from(n))
                    .map(|id| MOVES[usize::try_from(case / 6_u64.pow(id) % 6).unwrap()])
                    .collect();
                let lying = |said: &[u64]| said.iter().any(|height| *height != 1);
                if moves.iter().filter(|said| lying(said)).count() > f {
                    continue;
                }
                let mut tally = Tally::default();
                for (id, said) in (0..).zip(&moves) {
                    for height in *said {
                        assert!(tally.vote(id, verdict(*height)));
                    }
                }
                let truthful = moves.iter().filter(|said| said.contains(&1)).count();
                let expected = (truthful > f).then(|| verdict(1));
                assert_eq!(tally.accepted(f + 1), expected, "{moves:?}");
                let liars = (0..)
                    .zip(&moves)
                    .filter(|(_, said)| lying(said))
                    .map(|(id, _)| id);
                assert_eq!(tally.liars(&verdict(1)), liars.collect::<Vec<u16>>(), "{moves:?}");
                cases += 1;
            }
            assert!(cases > 100);
        }
    }

    #[test]
    fn what_is_kept_of_one_replica_is_bounded() {
        let mut tally = Tally::default();
        let new = (0..100).filter(|height| tally.vote(0, verdict(*height))).count();
        assert_eq!((new, tally.verdicts.len()), (KEPT_OF_ONE, KEPT_OF_ONE));
        (0..100).for_each(|next| tally.refuse(0, Refusal::NonceTooFar { next }));
        (0..100).for_each(|_| tally.busy(0));
        assert_eq!((tally.refusals.len(), tally.busy.len()), (1, 1));
    }

    #[test]
    fn refusals_are_compared_by_reason() {
        let mut tally = Tally::default();
        tally.refuse(0, Refusal::NonceConsumed { next: 4 });
        tally.refuse(1, Refusal::Expired { height: 4 });
        assert_eq!(tally.refused(2, 3), None);
        tally.refuse(2, Refusal::NonceConsumed { next: 5 });
        let (refusal, by) = tally.refused(2, 3).unwrap();
        assert!(matches!(refusal, Refusal::NonceConsumed { .. }));
        assert_eq!(by, [0, 2]);

        let mut tally = Tally::default();
        tally.refuse(0, Refusal::Invalid(tagma_ledger::Rejection::BadSignature));
        tally.refuse(1, Refusal::Invalid(tagma_ledger::Rejection::Malformed));
        assert_eq!(tally.refused(2, 3), None);
    }

    #[test]
    fn a_replica_that_changes_its_reason_counts_once() {
        let mut tally = Tally::default();
        tally.refuse(0, Refusal::UnknownAccount);
        tally.refuse(0, Refusal::Expired { height: 1 });
        tally.refuse(1, Refusal::UnknownAccount);
        assert_eq!((tally.refused(2, 2), tally.refusals.len()), (None, 2));
    }
}
