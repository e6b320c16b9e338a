//! Agrees with everybody, each for himself: what more than f of them need to fork the chain, and f of them cannot (PS6).

use std::collections::BTreeSet;
use std::sync::Arc;

use tagma_crypto::Digest;
use tagma_pbft::message::Phase;
use tagma_pbft::{Message, ReplicaId, SeqNum, View};
use tagma_sim::byzantine::{About, Behaviour, Equivocation, Forge, SAFE};

pub(super) const ABOUT: About = About {
    name: "collude",
    does: "as a primary assigns two batches to a sequence number, each towards half of the others; and always votes with each \
           replica for whatever that one prepares, so that everybody has its votes for his own batch",
    safety: SAFE,
    liveness: "neither batch gets a quorum, and the primary is replaced when its two proposals meet",
    caught: "itself as a primary, by two PRE-PREPAREs for one sequence number that it signed",
};

/// Most votes remembered.
const MAX_KEPT: usize = 4096;

/// A replica's PREPARE.
type Prepared = (View, SeqNum, ReplicaId, Digest);

#[derive(Debug)]
pub(super) struct Collude {
    equivocation: Equivocation,
    /// Whom it agreed with already.
    agreed: BTreeSet<Prepared>,
    /// Whom it agrees with next.
    next: Vec<Prepared>,
}

impl Default for Collude {
    fn default() -> Self {
        Self {
            equivocation: Equivocation::careful(),
            agreed: BTreeSet::new(),
            next: Vec::new(),
        }
    }
}

impl Behaviour for Collude {
    fn name(&self) -> &'static str {
        "byzantine: colludes"
    }

    fn send(&mut self, forge: &mut Forge<'_>, to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        if let Message::Vote(vote) = &**message
            && vote.sender == forge.id
            && forge.ring.quorum.primary(vote.view) != to
        {
            // It does not know yet what that one prepares, and of two votes only the first counts.
            return Vec::new();
        }
        self.equivocation.send(forge, to, message)
    }

    fn observe(&mut self, _forge: &mut Forge<'_>, message: &Message) {
        let Message::Vote(vote) = message else {
            return;
        };
        let prepared = (vote.view, vote.seq, vote.sender, vote.digest);
        if vote.phase == Phase::Prepare && self.agreed.insert(prepared) {
            self.next.push(prepared);
        }
        if self.agreed.len() > MAX_KEPT {
            self.agreed.pop_first();
        }
    }

    fn tick(&mut self, forge: &mut Forge<'_>) -> Vec<(ReplicaId, Message)> {
        let mut sent = self.equivocation.tick(forge);
        for (view, seq, sender, digest) in std::mem::take(&mut self.next) {
            // A primary's PREPARE would count for nothing.
            if forge.ring.quorum.primary(view) != forge.id {
                let prepare = forge.vote(Phase::Prepare, view, seq, digest);
                sent.push((sender, Message::Vote(prepare)));
            }
            let commit = forge.vote(Phase::Commit, view, seq, digest);
            sent.push((sender, Message::Vote(commit)));
        }
        sent
    }
}
