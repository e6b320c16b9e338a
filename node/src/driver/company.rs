//! Votes that wait for those with which they decide something.
//!
//! One PREPARE or COMMIT of several decides nothing, and signatures cost less together: two take four fifths of what they take one
//! by one, and a third one of the same replicas a quarter of what it takes alone. So a vote is held until so many like it have come that
//! they make a certificate with this replica's own. Those that come later are needed by nobody here; they are held until others are
//! verified. None is held for longer than [`PATIENCE`], and none is left out: what a peer has signed is known here all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tagma_crypto::Digest;
use tagma_pbft::message::{Phase, Vote};
use tagma_pbft::{Quorum, ReplicaId, SeqNum, View};

/// Longest time that a vote is held. It passes only for votes that nobody waits for, or if a replica is silent or lies.
pub(super) const PATIENCE: Duration = Duration::from_millis(20);

/// The votes that wait, each with something of its own.
pub(super) struct Company<T> {
    me: ReplicaId,
    quorum: Quorum,
    /// How many peers have said the same.
    counts: BTreeMap<(SeqNum, View, Phase, Digest), usize>,
    /// What this replica stands by for: it says nothing of its own there.
    left: BTreeSet<(SeqNum, View)>,
    held: Vec<(Vote, T)>,
}

impl<T> Company<T> {
    /// Nobody has come. `me` is the replica that verifies.
    pub(super) fn new(me: ReplicaId, quorum: Quorum) -> Self {
        Self {
            me,
            quorum,
            counts: BTreeMap::new(),
            left: BTreeSet::new(),
            held: Vec::new(),
        }
    }

    /// Takes in a vote above the last `stable` checkpoint, the first of its sender for its phase, view and sequence number: so
    /// what is counted is bounded by the window. `stands_by` tells whether this replica leaves proposals to others now. Whether those that are
    /// held now decide something.
    pub(super) fn join(&mut self, vote: Vote, with: T, stable: SeqNum, stands_by: bool) -> bool {
        if !stands_by {
            self.left.clear();
        }
        let Vote {
            phase,
            view,
            seq,
            digest,
            ..
        } = vote;
        self.held.push((vote, with));
        let first = self.counts.first_key_value();
        if first.is_some_and(|((seq, ..), _)| *seq <= stable) {
            self.counts.retain(|(seq, ..), _| *seq > stable);
            self.left.retain(|(seq, _)| *seq > stable);
        }
        let count = self.counts.entry((seq, view, phase, digest)).or_default();
        *count += 1;
        let count = *count;
        let left = self.left.contains(&(seq, view));
        self.needed(phase, view, left) == Some(count)
    }

    /// The primary proposes a batch while this replica leaves to others what it may. `proposal` is its first PRE-PREPARE for this view and
    /// sequence number.
    pub(super) fn stand_by(&mut self, proposal: &Vote) {
        let Vote { view, seq, .. } = *proposal;
        if self.quorum.stands_by(self.me, view, seq) {
            self.left.insert((seq, view));
        }
    }

    /// How many are held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// All that are held, in the order in which they came.
    pub(super) fn leave(&mut self) -> Vec<(Vote, T)> {
        std::mem::take(&mut self.held)
    }

    /// How many votes of others make a certificate with this replica's own, if it has one; the primary's PRE-PREPARE stands for its
    /// PREPARE. `left` says that the proposal is left to others: then PREPAREs decide nothing here.
    fn needed(&self, phase: Phase, view: View, left: bool) -> Option<usize> {
        let backup = usize::from(self.quorum.primary(view) != self.me);
        match phase {
            Phase::PrePrepare | Phase::Prepare => (!left).then(|| self.quorum.prepares() - backup),
            Phase::Commit => Some(self.quorum.quorum() - usize::from(!left)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test may fail by panicking"
    )]
    use tagma_crypto::Signature;

    use super::*;

    const VIEW: View = View::new(4);

    fn vote(phase: Phase, seq: u64, digest: u8, sender: u16) -> Vote {
        Vote {
            phase,
            view: VIEW,
            seq: SeqNum::new(seq),
            digest: Digest::from_bytes([digest; 32]),
            sender: ReplicaId::new(sender),
            signature: Signature::from_bytes([0; 64]),
        }
    }

    /// What replica `me` of `n` verifies after each of these votes.
    fn verified(n: usize, me: u16, votes: &[Vote]) -> Vec<Vec<Vote>> {
        let mut company = Company::new(ReplicaId::new(me), Quorum::new(n).unwrap());
        let mut join = |vote: &Vote| {
            let complete = company.join(vote.clone(), (), SeqNum::ZERO, true);
            let left = if complete { company.leave() } else { Vec::new() };
            left.into_iter().map(|(vote, ())| vote).collect()
        };
        votes.iter().map(&mut join).collect()
    }

    #[test]
    fn votes_are_verified_when_a_certificate_lacks_this_replicas_own_at_most() {
        for (n, me, phase, needed) in [
            (4, 0, Phase::Prepare, 2),
            (4, 1, Phase::Prepare, 1),
            (4, 0, Phase::Commit, 2),
            (4, 1, Phase::Commit, 2),
            // The primary of view 4 is replica 4 here.
            (7, 4, Phase::Prepare, 4),
            (7, 1, Phase::Prepare, 3),
            (7, 1, Phase::Commit, 4),
        ] {
            let others = (0..6).filter(|sender| *sender != me).take(needed + 1);
            let votes: Vec<Vote> = others.map(|sender| vote(phase, 1, 1, sender)).collect();
            let mut expected = vec![Vec::new(); needed + 1];
            expected[needed - 1] = votes[..needed].to_vec();
            assert_eq!(verified(n, me, &votes), expected, "{n} {me} {phase:?}");
        }
    }

    #[test]
    fn whoever_stands_by_needs_a_quorum_of_commits() {
        let mut company = Company::new(ReplicaId::new(1), Quorum::new(4).unwrap());
        // The turn of replica 1 is at 3.
        for seq in 2..4 {
            company.stand_by(&vote(Phase::PrePrepare, seq, 1, 0));
        }
        let decides = |vote: Vote| company.join(vote, (), SeqNum::ZERO, true);
        let votes = [
            vote(Phase::Prepare, 3, 1, 2),
            vote(Phase::Prepare, 3, 1, 3),
            vote(Phase::Commit, 3, 1, 0),
            vote(Phase::Commit, 3, 1, 2),
            vote(Phase::Commit, 3, 1, 3),
            vote(Phase::Prepare, 2, 1, 2),
        ];
        let decided: Vec<bool> = votes.into_iter().map(decides).collect();
        assert_eq!(decided, [false, false, false, false, true, true]);
    }

    #[test]
    fn votes_that_nobody_needs_are_verified_with_the_next() {
        let votes = [
            vote(Phase::Prepare, 1, 1, 2),
            vote(Phase::Prepare, 1, 1, 3),
            vote(Phase::Commit, 1, 1, 0),
            vote(Phase::Commit, 1, 1, 3),
            vote(Phase::Commit, 1, 1, 2),
            vote(Phase::Prepare, 2, 1, 3),
        ];
        let expected: [&[Vote]; 6] = [&votes[..1], &[], &[], &votes[1..4], &[], &votes[4..]];
        assert_eq!(verified(4, 1, &votes), expected);
    }

    #[test]
    fn votes_for_different_things_make_no_certificate() {
        let mut others = [
            vote(Phase::Commit, 1, 1, 0),
            vote(Phase::Commit, 1, 2, 2),
            vote(Phase::Commit, 2, 1, 3),
            vote(Phase::Prepare, 1, 1, 3),
        ];
        others[3].phase = Phase::PrePrepare;
        assert_eq!(verified(7, 1, &others), vec![Vec::new(); 4]);
    }

    #[test]
    fn what_is_counted_is_forgotten_at_the_next_stable_checkpoint() {
        let mut company = Company::new(ReplicaId::new(1), Quorum::new(4).unwrap());
        for seq in 1..1000 {
            let stable = SeqNum::new((seq - 1) / 100 * 100);
            company.stand_by(&vote(Phase::PrePrepare, seq, 1, 0));
            company.join(vote(Phase::Commit, seq, 1, 2), (), stable, true);
            assert!(company.counts.len() <= 100 && company.left.len() <= 100);
        }
        assert_eq!(company.leave().len(), 999);
        assert_eq!(company.len(), 0);
    }
}
