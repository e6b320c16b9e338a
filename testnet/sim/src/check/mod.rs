//! The invariants, one a file, each computed apart from the production predicates: from what leaves replicas and from what
//! their ledgers hold, never from what they believe.

mod agreement;
mod carried;
mod certificates;
mod effects;
mod evidence;
mod headers;
mod leaving;
mod new_views;
mod once;
mod promises;
mod supply;
mod survival;
mod targets;
mod votes;
mod window;

use tagma_crypto::Digest;
use tagma_ledger::store::Store;
use tagma_ledger::{Outcome, Receipt, Request};
use tagma_node::core::{BlockDone, LedgerView};
use tagma_pbft::evidence::Evidence;
use tagma_pbft::record::Record;
use tagma_pbft::{Batch, Execution, Message, ReplicaId, SeqNum, View};

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
    carried: carried::Carried,
    certificates: certificates::Certificates,
    targets: targets::Targets,
    window: u64,
    replicas: usize,
    null: Digest,
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
            carried: carried::Carried::default(),
            certificates: certificates::Certificates::new(chain.vote_keys.len()),
            targets: targets::Targets::default(),
            window: chain.parameters.window,
            replicas: chain.vote_keys.len(),
            null: chain.null,
        }
    }

    /// Every host's state is far above this height: in long runs what was said of lower ones would fill the memory, and nobody
    /// relies on it any more. Batches, headers and outcomes are remembered for ever.
    pub fn forget_below(&mut self, height: u64) {
        let seq = SeqNum::new(height);
        self.votes.forget_below(seq);
        self.certificates.forget_below(seq);
        self.carried.forget_below(seq);
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

    /// An honest replica's message leaves; its disk is as it is at this moment.
    ///
    /// # Errors
    /// If it contradicts an earlier one, leaves out what it must carry, or is not backed by the disk.
    pub fn sent(&mut self, id: ReplicaId, message: &Message, disk: &dyn Store) -> Checked {
        let primary = match message {
            Message::NewView(new) => new.view.get() % self.replicas as u64 == u64::from(id.get()),
            _ => false,
        };
        promises::left(id, primary, disk, &self.null, message)?;
        window::left(id, disk, self.window, message)?;
        self.carried.sent(id, message)?;
        self.votes.sent(id, message)
    }

    /// A replica that may say anything says this.
    pub fn said(&mut self, id: ReplicaId, message: &Message) {
        self.certificates.said(id, message);
    }

    /// A replica hands records to its disk.
    ///
    /// # Errors
    /// If it is honest and relies on what does not hold.
    pub fn persisted(&mut self, id: ReplicaId, honest: bool, records: &[Record]) -> Checked {
        for record in records {
            self.certificates.promised(id, record);
        }
        for record in records.iter().filter(|_| honest) {
            let header = |height| self.headers.tip(height);
            self.certificates.relied_on(id, record, header)?;
            self.targets.persisted(id, record)?;
            if let Record::EnteredView(new) = record {
                let quorum = 2 * ((self.replicas - 1) / 3) + 1;
                new_views::entered(id, new, quorum, self.null)?;
            }
        }
        Ok(())
    }

    /// An honest replica hands a batch out for execution; its disk is as it is at this moment.
    ///
    /// # Errors
    /// If the certificate does not prove that the batch is final.
    pub fn dispatched(&self, id: ReplicaId, execution: &Execution, disk: &dyn Store) -> Checked {
        promises::relied_on(id, disk, &execution.certificate)?;
        self.certificates.executed(id, &execution.certificate)
    }

    /// An honest replica that votes keeps evidence, is in `view` and wants `target`.
    ///
    /// # Errors
    /// If it stays with a primary that it can convict.
    pub fn stays(by: ReplicaId, evidence: &Evidence, view: View, target: View) -> Checked {
        leaving::accused(by, evidence, view, target)
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
