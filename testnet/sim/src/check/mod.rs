//! The invariants, one a file, each computed apart from the production predicates: from what leaves replicas and from what
//! their ledgers hold, never from what they believe.

mod agreement;
mod effects;
mod evidence;
mod headers;
mod once;
mod supply;
mod survival;
mod votes;

use tagma_crypto::Digest;
use tagma_ledger::{Outcome, Receipt, Request};
use tagma_node::core::{BlockDone, LedgerView};
use tagma_pbft::evidence::Evidence;
use tagma_pbft::{Batch, Message, ReplicaId};

use crate::chain::Chain;

/// An invariant does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {detail}")]
pub struct Violation {
    /// Which one.
    pub invariant: &'static str,
    /// What was seen.
    pub detail: String,
}

impl Violation {
    /// This invariant was violated so.
    pub fn new(invariant: &'static str, detail: impl Into<String>) -> Self {
        Self {
            invariant,
            detail: detail.into(),
        }
    }
}

/// What a check says.
pub type Checked = Result<(), Violation>;

/// All invariants of one run.
pub struct Checks {
    agreement: agreement::Agreement,
    headers: headers::Headers,
    once: once::Once,
    supply: supply::Supply,
    effects: effects::Effects,
    survival: survival::Survival,
    votes: votes::Votes,
}

impl Checks {
    /// Nothing has happened on this chain yet.
    #[must_use]
    pub fn new(chain: &Chain) -> Self {
        Self {
            agreement: agreement::Agreement::default(),
            headers: headers::Headers::default(),
            once: once::Once::default(),
            supply: supply::Supply::new(&chain.genesis),
            effects: effects::Effects::new(&chain.genesis),
            survival: survival::Survival::default(),
            votes: votes::Votes::new(chain.vote_keys.len()),
        }
    }

    /// A client has signed this request.
    pub fn signed(&mut self, request: &Request) {
        self.effects.signed(request);
    }

    /// An honest host has executed a block of this batch.
    ///
    /// # Errors
    /// The first invariant violated.
    pub fn executed(&mut self, host: usize, batch: &Batch, done: &BlockDone) -> Checked {
        let header = &done.view.header;
        self.agreement.executed(host, header.height, header.batch)?;
        self.headers.executed(host, &done.view)?;
        self.supply.executed(host, &done.view)?;
        if self.headers.is_first(header.height) {
            self.once.executed(header.height, &done.receipts)?;
            self.effects.executed(batch, done)?;
            self.survival.executed(header.height, &done.receipts);
        }
        Ok(())
    }

    /// An honest host has switched to a state that it fetched.
    ///
    /// # Errors
    /// If it is not the one that others computed.
    pub fn installed(&mut self, host: usize, view: &LedgerView) -> Checked {
        let header = &view.header;
        self.agreement.executed(host, header.height, header.batch)?;
        self.headers.executed(host, view)?;
        self.supply.executed(host, view)
    }

    /// f + 1 replicas have told a client the same outcome.
    ///
    /// # Errors
    /// If no such outcome exists.
    pub fn acknowledged(&mut self, request: Digest, outcome: Outcome, height: u64) -> Checked {
        self.survival.acknowledged(request, outcome, height)
    }

    /// The highest block that any honest host has executed.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.agreement.height()
    }

    /// The digest of the batch executed at a height.
    #[must_use]
    pub fn batch(&self, height: u64) -> Option<Digest> {
        self.agreement.batch(height)
    }

    /// Requests executed so far.
    #[must_use]
    pub fn executions(&self) -> usize {
        self.once.len()
    }

    /// An honest replica's message has left.
    ///
    /// # Errors
    /// If it contradicts an earlier one.
    pub fn sent(&mut self, id: ReplicaId, message: &Message) -> Checked {
        self.votes.sent(id, message)
    }

    /// An honest replica accuses somebody; `faulty` says who may be.
    ///
    /// # Errors
    /// If an honest one is accused, or the proof proves nothing.
    pub fn accused(
        chain: &Chain,
        by: usize,
        evidence: &Evidence,
        faulty: impl Fn(ReplicaId) -> bool,
    ) -> Checked {
        evidence::accused(chain, by, evidence, faulty)
    }
}

/// The requests of a block that were executed, with their receipts.
fn executions(receipts: &[Receipt]) -> impl Iterator<Item = &tagma_ledger::ExecutedReceipt> {
    receipts.iter().filter_map(Receipt::executed)
}

/// Whether this is a statement that `id` signs itself.
pub(crate) fn is_statement_of(id: ReplicaId, message: &Message) -> bool {
    match message {
        Message::PrePrepare { vote, .. } | Message::Vote(vote) => vote.sender == id,
        Message::Checkpoint(checkpoint) => checkpoint.sender == id,
        Message::ViewChange(change) => change.sender == id,
        _ => false,
    }
}
