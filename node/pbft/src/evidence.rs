//! Statements that only a faulty replica signs. A record names its culprit and can be checked by anybody with genesis.

use std::sync::Arc;

use tagma_crypto::encode::{Decode, Encode};
use tagma_crypto::signature::{signed_bytes, verify};

use crate::batch::{Batch, Body};
use crate::certificate::KeyRing;
use crate::config::Parameters;
use crate::message::{NewView, Phase, ViewChange, Vote};
use crate::types::{ReplicaId, View};
use crate::verify::{RequestRules, check_batch, check_new_view, view_change_claim};

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
}

impl Evidence {
    /// Whom it accuses.
    pub fn culprit(&self, ring: &KeyRing) -> ReplicaId {
        match self {
            Self::ConflictingVotes(vote, _) | Self::BadBatch(vote, _) | Self::UnchosenNull(vote, _) => {
                vote.sender
            }
            Self::ConflictingViewChanges(message, _) => message.sender,
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

fn view_change_is_signed(ring: &KeyRing, message: &ViewChange) -> bool {
    view_change_claim(ring, message).is_some_and(|claim| verify(&claim.key, &claim.message, &claim.signature))
}

fn new_view_is_signed(ring: &KeyRing, message: &NewView) -> bool {
    ring.key(ring.quorum.primary(message.view)).is_some_and(|key| {
        let bytes = signed_bytes(NewView::DOMAIN, &ring.chain, message.content_digest().as_bytes());
        verify(key, &bytes, &message.signature)
    })
}
