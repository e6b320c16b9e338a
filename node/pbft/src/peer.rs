//! What a replica remembers of each other one.

use crate::message::{HighestSigned, Phase, SignedTarget, Vote};
use crate::replica::Replica;
use crate::types::{SeqNum, Time, View};

/// One peer, as far as this replica knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    /// The highest statements seen signed by it.
    pub(crate) signed: HighestSigned,
    /// When a new vote of it was counted last.
    pub(crate) voted: Option<Time>,
    /// The one future view for which its votes are kept.
    pub(crate) future_view: View,
    /// Whether a NEW-VIEW of it is being checked.
    pub(crate) checking_new_view: bool,
    /// The highest view for which its NEW-VIEW was void.
    pub(crate) void_new_view: Option<View>,
    /// The last it has executed, as it says.
    pub(crate) executed: SeqNum,
    /// Blocks from here on it did not have, or did not give, when asked at that time.
    pub(crate) lacks_block: Option<(SeqNum, Time)>,
    /// When it was last told what it has signed.
    pub(crate) reminded: Option<Time>,
    /// When its STATUS was answered last.
    pub(crate) answered: Option<Time>,
}

impl Replica {
    /// Remembers the highest votes of each replica, so that it can be reminded of them if it forgets.
    pub(crate) fn note_signed(&mut self, vote: &Vote) {
        debug_assert!(vote.phase == Phase::PrePrepare || vote.sender != self.id());
        // Among votes of one view and number a COMMIT tells most.
        let by_view = |vote: &Vote| (vote.view, vote.seq, vote.phase);
        let by_seq = |vote: &Vote| (vote.seq, vote.view, vote.phase);
        let signed = &mut self.peers.entry(vote.sender).or_default().signed;
        if signed
            .view
            .as_ref()
            .is_none_or(|held| by_view(held) < by_view(vote))
        {
            signed.view = Some(vote.clone());
        }
        if signed.seq.as_ref().is_none_or(|held| by_seq(held) < by_seq(vote)) {
            signed.seq = Some(vote.clone());
        }
    }
}

impl Peer {
    /// Remembers the highest target.
    pub(crate) fn note_target(&mut self, target: SignedTarget) {
        if self.signed.target.is_none_or(|held| held.target < target.target) {
            self.signed.target = Some(target);
        }
    }
}
