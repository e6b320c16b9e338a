//! Statements that only a faulty replica signs. A record names its culprit and can be checked by anybody with genesis.
//!
//! What leaves no such record: silence and delay, STATUS and the other unsigned messages, and whatever a client is told (a
//! reply is bound to its replica by the channel alone, so nobody can show it to a third party).

use std::sync::Arc;

use tagma_crypto::Digest;
use tagma_crypto::encode::{Decode, Encode, encode};
use tagma_crypto::signature::{signed_bytes, verify};

use crate::batch::{Batch, Body};
use crate::certificate::KeyRing;
use crate::config::Parameters;
use crate::message::{Checkpoint, NewView, Phase, ViewChange, Vote};
use crate::types::{ReplicaId, View};
use crate::verify::{RequestRules, check_batch, check_new_view, check_view_change, view_change_claim};

/// One provable fault.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub enum Evidence {
    /// Two votes of one phase for one (v, n) with different digests.
    ConflictingVotes(Vote, Vote),
    /// Two VIEW-CHANGEs for one target with different content.
    ConflictingViewChanges(Arc<ViewChange>, Arc<ViewChange>),
    /// Two NEW-VIEWs for one view with different content.
    ConflictingNewViews(Arc<NewView>, Arc<NewView>),
    /// A NEW-VIEW with an invalid V, or an O that does not follow from it.
    BadNewView(Arc<NewView>),
    /// A PRE-PREPARE for a batch that no correct primary proposes.
    BadBatch(Vote, Batch),
    /// A PRE-PREPARE for the null batch where the primary's own NEW-VIEW did not choose it.
    UnchosenNull(Vote, Arc<NewView>),
    /// A VIEW-CHANGE with an invalid C or P.
    BadViewChange(Arc<ViewChange>),
    /// Two CHECKPOINTs for one n with different headers: execution is deterministic, and nothing executed is undone.
    ConflictingCheckpoints(Checkpoint, Checkpoint),
    /// A COMMIT in a view below the target of a VIEW-CHANGE of the same replica, and no prepared certificate of that
    /// view or a higher one in its P. Whoever has ever released a COMMIT shows the certificate until n ≤ h.
    HiddenCertificate(Vote, Arc<ViewChange>),
}

/// Whether this VIEW-CHANGE leaves out what its sender had to show after it had sent this COMMIT. Checks no signature.
pub fn hides(commit: &Vote, message: &ViewChange) -> bool {
    commit.phase == Phase::Commit
        && commit.sender == message.sender
        && commit.view < message.target
        && commit.seq > message.stable_seq()
        && !message.prepared.iter().any(|held| {
            let higher = held.view > commit.view;
            held.seq == commit.seq && (higher || (held.view == commit.view && held.digest == commit.digest))
        })
}

impl Evidence {
    /// Whom it accuses.
    pub fn culprit(&self, ring: &KeyRing) -> ReplicaId {
        match self {
            Self::ConflictingVotes(vote, _) | Self::BadBatch(vote, _) | Self::UnchosenNull(vote, _) => {
                vote.sender
            }
            Self::ConflictingViewChanges(message, _)
            | Self::BadViewChange(message)
            | Self::HiddenCertificate(_, message) => message.sender,
            Self::ConflictingCheckpoints(checkpoint, _) => checkpoint.sender,
            Self::ConflictingNewViews(message, _) | Self::BadNewView(message) => {
                ring.quorum.primary(message.view)
            }
        }
    }

    /// The kind of fault, snake case, for file names and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ConflictingVotes(vote, _) => match vote.phase {
                Phase::PrePrepare => "conflicting_pre_prepares",
                Phase::Prepare => "conflicting_prepares",
                Phase::Commit => "conflicting_commits",
            },
            Self::ConflictingViewChanges(..) => "conflicting_view_changes",
            Self::ConflictingNewViews(..) => "conflicting_new_views",
            Self::BadNewView(_) => "bad_new_view",
            Self::BadBatch(..) => "bad_batch",
            Self::UnchosenNull(..) => "unchosen_null",
            Self::BadViewChange(_) => "bad_view_change",
            Self::ConflictingCheckpoints(..) => "conflicting_checkpoints",
            Self::HiddenCertificate(..) => "hidden_certificate",
        }
    }

    /// A digest by which one record is told from another.
    pub fn id(&self) -> Digest {
        Digest::of("tagma/evidence", &[&encode(self)])
    }

    /// What the culprit did, as one sentence without a full stop. It is true only if the record [proves](Self::proves)
    /// it.
    pub fn sentence(&self, ring: &KeyRing) -> String {
        let culprit = self.culprit(ring);
        match self {
            Self::ConflictingVotes(a, b) => {
                let kind = match a.phase {
                    Phase::PrePrepare => "PRE-PREPAREs",
                    Phase::Prepare => "PREPAREs",
                    Phase::Commit => "COMMITs",
                };
                let (first, second) = (a.digest.short(), b.digest.short());
                format!(
                    "{culprit} signed two {kind} for sequence number {} in view {}: one for batch {first}, one for batch {second}",
                    a.seq, a.view
                )
            }
            Self::ConflictingViewChanges(a, _) => {
                format!(
                    "{culprit} signed two different VIEW-CHANGEs for view {}",
                    a.target
                )
            }
            Self::ConflictingNewViews(a, _) => {
                format!(
                    "{culprit}, primary of view {}, signed two different NEW-VIEWs for it",
                    a.view
                )
            }
            Self::BadNewView(message) => format!(
                "{culprit}, primary of view {}, signed a NEW-VIEW that its VIEW-CHANGEs do not justify",
                message.view
            ),
            Self::BadBatch(vote, _) => format!(
                "{culprit}, primary of view {}, proposed batch {} for sequence number {}, which no correct primary proposes",
                vote.view,
                vote.digest.short(),
                vote.seq
            ),
            Self::UnchosenNull(vote, _) => format!(
                "{culprit}, primary of view {}, proposed nothing for sequence number {}, where its NEW-VIEW had not chosen that",
                vote.view, vote.seq
            ),
            Self::BadViewChange(message) => format!(
                "{culprit} signed a VIEW-CHANGE for view {} with certificates that do not hold",
                message.target
            ),
            Self::ConflictingCheckpoints(a, b) => format!(
                "{culprit} signed two CHECKPOINTs at {}: one for header {}, one for header {}",
                a.seq,
                a.header.short(),
                b.header.short()
            ),
            Self::HiddenCertificate(vote, message) => format!(
                "{culprit} sent a COMMIT for batch {} at sequence number {} in view {}, and hid its certificate in its \
                 VIEW-CHANGE for view {}",
                vote.digest.short(),
                vote.seq,
                vote.view,
                message.target
            ),
        }
    }

    /// Whether this proves the culprit's fault to somebody who trusts nothing but genesis: every signature is checked
    /// again, and so is what makes the statements contradict each other.
    pub fn proves(&self, ring: &KeyRing, parameters: &Parameters, rules: &dyn RequestRules) -> bool {
        match self {
            Self::ConflictingVotes(a, b) => {
                a.sender == b.sender
                    && a.phase == b.phase
                    && (a.view, a.seq) == (b.view, b.seq)
                    && a.digest != b.digest
                    && vote_is_signed(ring, a)
                    && vote_is_signed(ring, b)
            }
            Self::ConflictingViewChanges(a, b) => {
                a.sender == b.sender
                    && a.target == b.target
                    && a.content_digest() != b.content_digest()
                    && view_change_is_signed(ring, a)
                    && view_change_is_signed(ring, b)
            }
            Self::ConflictingNewViews(a, b) => {
                a.view == b.view
                    && a.content_digest() != b.content_digest()
                    && new_view_is_signed(ring, a)
                    && new_view_is_signed(ring, b)
            }
            Self::BadNewView(message) => {
                new_view_is_signed(ring, message) && check_new_view(ring, parameters, message).is_err()
            }
            Self::BadBatch(vote, batch) => {
                let body = Body::new(&ring.chain, batch.clone());
                // Every honest new primary signs null batches where V holds nothing; only view 0 has no NEW-VIEW.
                let misplaced = !body.is_null() || vote.view == View::ZERO;
                misplaced
                    && vote.phase == Phase::PrePrepare
                    && vote.digest == body.digest()
                    && vote_is_signed(ring, vote)
                    && check_batch(parameters, rules, &body).is_err()
            }
            Self::UnchosenNull(vote, message) => {
                let null = Body::null(&ring.chain).digest();
                vote.phase == Phase::PrePrepare
                    && vote.digest == null
                    && vote.view == message.view
                    && vote.sender == ring.quorum.primary(message.view)
                    && vote_is_signed(ring, vote)
                    && new_view_is_signed(ring, message)
                    && check_new_view(ring, parameters, message)
                        .is_ok_and(|decision| !decision.choices.contains(&(vote.seq, null)))
            }
            Self::BadViewChange(message) => {
                view_change_is_signed(ring, message) && check_view_change(ring, parameters, message).is_err()
            }
            Self::ConflictingCheckpoints(a, b) => {
                a.sender == b.sender
                    && a.seq == b.seq
                    && a.header != b.header
                    && checkpoint_is_signed(ring, a)
                    && checkpoint_is_signed(ring, b)
            }
            Self::HiddenCertificate(commit, message) => {
                hides(commit, message) && vote_is_signed(ring, commit) && view_change_is_signed(ring, message)
            }
        }
    }
}

fn vote_is_signed(ring: &KeyRing, vote: &Vote) -> bool {
    ring.vote_claim(
        vote.phase,
        vote.view,
        vote.seq,
        &vote.digest,
        (vote.sender, &vote.signature),
    )
    .is_some_and(|claim| verify(&claim.key, &claim.message, &claim.signature))
}

fn checkpoint_is_signed(ring: &KeyRing, checkpoint: &Checkpoint) -> bool {
    ring.checkpoint_claim(
        checkpoint.seq,
        &checkpoint.header,
        (checkpoint.sender, &checkpoint.signature),
    )
    .is_some_and(|claim| verify(&claim.key, &claim.message, &claim.signature))
}

fn view_change_is_signed(ring: &KeyRing, message: &ViewChange) -> bool {
    view_change_claim(ring, message).is_some_and(|claim| verify(&claim.key, &claim.message, &claim.signature))
}

fn new_view_is_signed(ring: &KeyRing, message: &NewView) -> bool {
    ring.key(ring.quorum.primary(message.view)).is_some_and(|key| {
        let bytes = signed_bytes(NewView::DOMAIN, &ring.chain, message.content_digest().as_bytes());
        verify(key, &bytes, &message.signature)
    })
}
