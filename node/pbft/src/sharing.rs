//! Sharing out: of those who take part in a batch each backup checks the signatures of half of its requests.
//!
//! It is enough that a correct replica has checked each request before anything is prepared, and so f + 1 replicas that check it are, as
//! in Mir-BFT ("signature verification sharding": Stathakopoulou, David, Pavlovic, Vukolić, "Mir-BFT: High-Throughput Robust BFT for
//! Decentralized Networks", 2019). Ours are the primary and f of the 2f backups whose turn it is ([`Quorum::share`](crate::Quorum::share)).
//! Who takes part out of turn, because a batch is late, checks all of it.
//!
//! **Nothing invalid is ever prepared.** If the primary is correct it has checked every request. If it lies, at most f - 1 of the 2f
//! backups in a prepared certificate lie with it, so at least f + 1 of them are correct; those who do not check a certain request are f;
//! so one of the f + 1 has checked it, and would not have sent PREPARE. A share is one of a certain (v, n): a body that this replica has
//! checked in part is as good as unchecked to it anywhere else ([`Extent`](crate::log::Extent)). What is committed, or chosen by a new
//! view, was prepared.
//!
//! A bad request is found by one correct replica at least, not by all. Its VIEW-CHANGE makes the others look at everything that
//! they have left to somebody until then ([`Replica::check_all_left`]), so the primary is left but one message later than if all had
//! checked all. A primary that shows its batch to others only after that is left when those who stand by find it late.

use std::sync::Arc;

use crate::batch::Body;
use crate::io::{Check, Outputs};
use crate::replica::Replica;

/// Which requests of others' proposals a replica checks the signatures of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// All, as in the paper.
    All,
    /// Its share of those in which it is its turn to take part, all of the others.
    Share,
    /// Its share of those in which it is its turn to take part, none of the others (`standby`).
    Least,
}

impl Replica {
    /// Which requests of proposals are to be checked when they come.
    pub fn duty(&self) -> Duty {
        if !self.config.tuning.standby {
            Duty::All
        } else if self.stands_by() {
            Duty::Least
        } else {
            Duty::Share
        }
    }

    /// Somebody has a reason to leave the view, or what this replica stands by for is late: whatever it has left to others and is not
    /// prepared is checked here too.
    pub(crate) fn check_all_left(&mut self, out: &mut Outputs) {
        if !self.may_sign() {
            return;
        }
        self.take_part(|_| true, out);
        let shares = self.log.take_shares(self.view, self.dispatched).into_iter();
        out.check
            .extend(shares.map(|(vote, body)| Check::Proposal(vote, body)));
    }
}

/// A body that came with a proposal.
#[derive(Clone, Debug)]
pub(crate) enum Offer {
    /// Its requests are valid.
    Checked(Arc<Body>),
    /// This replica's share of its requests is valid.
    Share(Arc<Body>),
    /// Nothing is known of its requests.
    Unchecked(Arc<Body>),
}

impl Offer {
    /// The body.
    pub(crate) fn body(&self) -> &Arc<Body> {
        let (Self::Checked(body) | Self::Share(body) | Self::Unchecked(body)) = self;
        body
    }
}
