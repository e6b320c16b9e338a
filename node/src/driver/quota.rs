//! What each peer may have this replica look at beyond what the protocol needs of it.
//!
//! To verify costs more than to sign: one signed vote sent to all costs each of them as much as it cost its sender, and one
//! sent again costs the sender nothing. What agreement needs of a peer is bounded by the window: one PRE-PREPARE, PREPARE
//! and COMMIT of its own for each sequence number and view, and what it was asked for. That is free. Everything else is
//! counted by what it costs, and of who sends more of it than any correct replica does, the rest is dropped unverified, which is
//! no more than a network may do: STATUS makes good for what was needed after all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tagma_pbft::message::{Phase, Vote};
use tagma_pbft::{Message, ReplicaId, SeqNum, View};

use super::throttle::{Leniency, Throttle};

/// In units of about one verified signature. The burst covers the votes of a window that arrive before their view is entered here,
/// and what a peer that was away is sent when it is back.
const QUOTA: Leniency = Leniency {
    burst: 2048.0,
    per_second: 256.0,
};
/// What is worth one verified signature: so many requests of a body to be hashed, certificates of a VIEW-CHANGE to be hashed, or
/// small questions.
const HASHED: f64 = 16.0;

/// What is counted together. A replica that is behind is sent many votes that are of no use to it yet, and must not lack the
/// checkpoints and answers by which it catches up for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Account {
    Votes,
    Rest,
}

/// Where this replica stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The view it is in.
    pub(super) view: View,
    /// The view it wants to be in.
    pub(super) target: View,
    /// Its last stable checkpoint.
    pub(super) stable: SeqNum,
}

/// Whether a message is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// It is: agreement needs the first vote of each replica for its phase, view and sequence number.
    Needed,
    /// It is, within what its sender may send or was asked for.
    Counted,
    /// It is not.
    No,
}

/// What the peers have used up.
pub(super) struct Quotas {
    /// Votes so far above the last stable checkpoint are of use: the stable checkpoint of a peer may be ahead.
    reach: u64,
    said: BTreeMap<ReplicaId, BTreeSet<(SeqNum, View, Phase)>>,
    place: Place,
    throttle: Throttle<(ReplicaId, Account)>,
}

impl Quotas {
    /// Nobody has sent anything yet. `window` is the protocol's.
    pub(super) fn new(window: u64, place: Place) -> Self {
        Self {
            reach: window.saturating_mul(2),
            said: BTreeMap::new(),
            place,
            throttle: Throttle::new(QUOTA),
        }
    }

    /// This replica stands there now.
    pub(super) fn at(&mut self, place: Place) {
        if self.place == place {
            return;
        }
        self.place = place;
        let of_use = |(seq, view, _): &(SeqNum, View, Phase)| {
            *seq > place.stable && (*view == place.view || *view == place.target)
        };
        for said in self.said.values_mut() {
            said.retain(of_use);
        }
    }

    /// Whether to look at this message of `from`; `owed` says whether it answers a question.
    pub(super) fn admit(&mut self, from: ReplicaId, message: &Message, owed: bool, now: Instant) -> Admitted {
        if owed {
            return Admitted::Counted;
        }
        if self.is_needed(from, message) {
            return Admitted::Needed;
        }
        let account = match message {
            Message::PrePrepare { .. } | Message::Vote(_) => Account::Votes,
            _ => Account::Rest,
        };
        if self.throttle.is_exhausted((from, account), now) {
            return Admitted::No;
        }
        self.throttle.charge((from, account), cost(message), now);
        Admitted::Counted
    }

    /// Of what `from` has sent so many signatures were bad, without its being their signer.
    pub(super) fn wasted(&self, from: ReplicaId, signatures: usize, now: Instant) {
        self.throttle
            .charge((from, Account::Rest), count(signatures), now);
    }

    /// Whether it is the first vote of this peer for its place in the agreement.
    fn is_needed(&mut self, from: ReplicaId, message: &Message) -> bool {
        let (Message::PrePrepare { vote, .. } | Message::Vote(vote)) = message else {
            return false;
        };
        let Vote {
            phase,
            view,
            seq,
            sender,
            ..
        } = *vote;
        let Place { stable, .. } = self.place;
        let current = view == self.place.view || view == self.place.target;
        let in_reach = seq > stable && seq.above(stable) <= self.reach;
        sender == from && current && in_reach && self.said.entry(from).or_default().insert((seq, view, phase))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts within a frame are far below 2^53"
)]
fn count(items: usize) -> f64 {
    items as f64
}

/// What a message costs if it is of no use.
fn cost(message: &Message) -> f64 {
    let hashed = |items: usize| count(items) / HASHED;
    match message {
        Message::PrePrepare { batch, .. } => {
            1.0 + batch.as_ref().map_or(0.0, |batch| hashed(batch.requests.len()))
        }
        Message::Vote(_)
        | Message::Checkpoint(_)
        | Message::FetchBody { .. }
        | Message::FetchBlocks { .. } => 1.0,
        Message::Stable(certificate) => count(certificate.checkpoints.len()),
        Message::ViewChange(message) => 1.0 + hashed(message.prepared.len()),
        Message::NewView(message) => {
            let prepared = message.view_changes.iter().map(|one| one.prepared.len());
            1.0 + hashed(message.proposals.len() + prepared.sum::<usize>())
        }
        // Three signatures if it speaks of this replica's own, and an answer.
        Message::Status(status) => {
            if status.yours.is_some() {
                4.0
            } else {
                1.0
            }
        }
        Message::Forward(requests) => 1.0 + hashed(requests.len()),
        Message::Body(batch) => count(batch.requests.len()),
        Message::Blocks { blocks, .. } => {
            let commits = blocks.iter().map(|block| block.certificate.commits.len());
            1.0 + count(commits.sum())
        }
        Message::FetchState { .. } | Message::StatePart { .. } => 1.0 / HASHED,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tagma_crypto::{Digest, Signature};

    use super::*;

    const WINDOW: u64 = 8;
    const START: Place = Place {
        view: View::new(3),
        target: View::new(3),
        stable: SeqNum::new(100),
    };

    fn vote(phase: Phase, view: u64, seq: u64, sender: u16) -> Message {
        Message::Vote(Vote {
            phase,
            view: View::new(view),
            seq: SeqNum::new(seq),
            digest: Digest::ZERO,
            sender: ReplicaId::new(sender),
            signature: Signature::from_bytes([0; 64]),
        })
    }

    fn admits(quotas: &mut Quotas, from: ReplicaId, message: &Message, owed: bool, now: Instant) -> bool {
        quotas.admit(from, message, owed, now) != Admitted::No
    }

    /// How many of a peer's votes like this one are looked at.
    fn flood(quotas: &mut Quotas, message: &Message, now: Instant) -> usize {
        let peer = ReplicaId::new(2);
        (0..10_000)
            .filter(|_| admits(quotas, peer, message, false, now))
            .count()
    }

    #[test]
    fn what_agreement_needs_is_looked_at_whatever_else_was_sent() {
        let (mut quotas, now) = (Quotas::new(WINDOW, START), Instant::now());
        let again = vote(Phase::Prepare, 3, 101, 2);
        // The first one is free.
        assert_eq!(flood(&mut quotas, &again, now), 2049);
        let peer = ReplicaId::new(2);
        for seq in 102..=116 {
            for phase in [Phase::Prepare, Phase::Commit] {
                assert!(
                    admits(&mut quotas, peer, &vote(phase, 3, seq, 2), false, now),
                    "{phase:?} {seq}"
                );
            }
        }
        for useless in [
            vote(Phase::Prepare, 3, 116, 2),
            vote(Phase::Prepare, 3, 100, 2),
            vote(Phase::Prepare, 3, 117, 2),
            vote(Phase::Prepare, 4, 105, 2),
            vote(Phase::Prepare, 2, 105, 2),
            vote(Phase::Prepare, 3, 105, 1),
        ] {
            assert!(!admits(&mut quotas, peer, &useless, false, now), "{useless:?}");
        }
        assert!(
            admits(
                &mut quotas,
                peer,
                &Message::Body(tagma_pbft::Batch {
                    time_ms: 1,
                    requests: Vec::new().into()
                }),
                true,
                now
            ),
            "an answer is looked at"
        );
        assert!(
            admits(&mut quotas, ReplicaId::new(1), &again, false, now),
            "others have quotas of their own"
        );
        let later = now + Duration::from_secs(9);
        assert_eq!(flood(&mut quotas, &again, later), 2048);
    }

    #[test]
    fn votes_that_are_of_no_use_yet_do_not_keep_out_what_a_replica_catches_up_by() {
        let (mut quotas, now) = (Quotas::new(WINDOW, START), Instant::now());
        assert_eq!(flood(&mut quotas, &vote(Phase::Commit, 3, 999, 2), now), 2048);
        let question = Message::FetchBody {
            seq: SeqNum::new(101),
            digest: Digest::ZERO,
        };
        assert_eq!(flood(&mut quotas, &question, now), 2048);
        let (mut quotas, peer) = (Quotas::new(WINDOW, START), ReplicaId::new(2));
        quotas.wasted(peer, 3000, now);
        assert!(
            !admits(&mut quotas, peer, &question, false, now),
            "bad requests were forwarded"
        );
    }

    #[test]
    fn the_next_view_and_a_later_window_have_votes_of_their_own() {
        let (mut quotas, now) = (Quotas::new(WINDOW, START), Instant::now());
        flood(&mut quotas, &vote(Phase::Commit, 3, 101, 2), now);
        let peer = ReplicaId::new(2);
        let next = vote(Phase::Commit, 4, 101, 2);
        assert!(!admits(&mut quotas, peer, &next, false, now));
        quotas.at(Place {
            target: View::new(4),
            ..START
        });
        assert!(admits(&mut quotas, peer, &next, false, now));
        assert!(!admits(&mut quotas, peer, &next, false, now));
        let beyond = vote(Phase::Commit, 4, 124, 2);
        assert!(!admits(&mut quotas, peer, &beyond, false, now));
        quotas.at(Place {
            view: View::new(4),
            target: View::new(4),
            stable: SeqNum::new(108),
        });
        assert!(admits(&mut quotas, peer, &beyond, false, now));
    }

    #[test]
    fn what_is_remembered_of_a_peer_is_bounded_by_the_window() {
        let (mut quotas, now) = (Quotas::new(WINDOW, START), Instant::now());
        let peer = ReplicaId::new(2);
        for stable in 100..1000 {
            quotas.at(Place {
                stable: SeqNum::new(stable),
                ..START
            });
            for seq in stable..stable + 100 {
                admits(&mut quotas, peer, &vote(Phase::Prepare, 3, seq, 2), false, now);
            }
        }
        assert!(quotas.said.values().all(|said| said.len() <= 16));
    }
}
