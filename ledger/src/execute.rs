//! Execution: the pure function every replica computes alike (protocol.md §2).

use crate::account::Account;
use crate::batch::Batch;
use crate::block::{BlockHeader, receipts_root};
use crate::genesis::Parameters;
use crate::outcome::{ExecutedReceipt, NoOpReason, NoOpReceipt, Outcome, Receipt};
use crate::partition_tree::Place;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::transaction::{Operation, SignedTransaction, Transaction};
use tagma_crypto::{Digest, PublicKey};

/// What execution depends on besides state and batch: fixed for a chain.
#[derive(Clone, Copy, Debug)]
pub struct ExecContext<'a> {
    /// The chain id.
    pub chain: Digest,
    /// The chain's parameters.
    pub parameters: &'a Parameters,
}

/// What an execution gives.
#[derive(Clone, Debug)]
pub struct Executed {
    /// The state after the batch.
    pub state: State,
    /// The header of the block.
    pub header: BlockHeader,
    /// One receipt for each request, in order.
    pub receipts: Vec<Receipt>,
    /// The accounts that changed, sorted by bucket and key, each once.
    pub touched: Vec<PublicKey>,
    /// At a checkpoint height, what has to become durable before CHECKPOINT is sent.
    pub checkpoint: Option<Checkpoint>,
}

/// The state at a checkpoint height.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The state with its header, readable for as long as it is kept.
    pub snapshot: Snapshot,
    /// The accounts that changed since the checkpoint before, sorted by bucket and key, each once.
    pub touched: Vec<PublicKey>,
}

/// Executes `batch` on `state`, whose header is `parent`. Signatures are not checked: what gets here was agreed on, and
/// replicas agree on nothing with a bad one.
///
/// A request is executed iff its account exists, its nonce is the account's next, and the height is not past its
/// expiry. Every other one leaves a no-op receipt and nothing else.
///
/// # Panics
/// If the batch's height is not the one after `parent`'s: replicas execute in order, without gaps. If there is not one digest for
/// each request.
#[must_use]
pub fn execute(
    state: &State,
    context: &ExecContext<'_>,
    parent: &BlockHeader,
    batch: &Batch<'_>,
) -> Executed {
    assert!(
        parent.height.checked_add(1) == Some(batch.height),
        "block {} cannot be executed on block {}",
        batch.height,
        parent.height
    );
    assert!(
        batch.requests.len() == batch.request_digests.len(),
        "a batch of {} requests with {} digests",
        batch.requests.len(),
        batch.request_digests.len()
    );
    let mut execution = Execution {
        state: state.clone(),
        context,
        height: batch.height,
        touched: Vec::new(),
    };
    let receipts: Vec<Receipt> = batch
        .requests
        .iter()
        .zip(batch.request_digests)
        .map(
            |(request, digest)| match SignedTransaction::from_request(request) {
                Ok(signed) => execution.apply(&signed.transaction, *digest),
                Err(_) => no_op(*digest, NoOpReason::Malformed),
            },
        )
        .collect();
    let Execution {
        mut state,
        mut touched,
        ..
    } = execution;
    touched.sort_unstable();
    touched.dedup();
    let keys = touched.iter().map(|place| place.key).collect();
    state.touch(touched);
    let refreshed = batch
        .height
        .is_multiple_of(context.parameters.checkpoint_interval)
        .then(|| state.refresh());
    let header = BlockHeader {
        height: batch.height,
        parent: parent.digest(),
        batch: batch.digest,
        time_ms: parent.child_time(batch.time_ms),
        receipts_root: receipts_root(&receipts),
        state_root: refreshed.is_some().then(|| state.root()),
    };
    let checkpoint = refreshed.and_then(|touched| {
        let snapshot = Snapshot::new(header.clone(), state.clone())?;
        Some(Checkpoint { snapshot, touched })
    });
    Executed {
        state,
        header,
        receipts,
        touched: keys,
        checkpoint,
    }
}

fn no_op(request: Digest, reason: NoOpReason) -> Receipt {
    Receipt::NoOp(NoOpReceipt { request, reason })
}

struct Execution<'a> {
    state: State,
    context: &'a ExecContext<'a>,
    height: u64,
    /// With repetitions.
    touched: Vec<Place>,
}

impl Execution<'_> {
    fn apply(&mut self, transaction: &Transaction, request: Digest) -> Receipt {
        let place = self.state.place(transaction.account);
        let balance = match self.admit(transaction, &place) {
            Ok(account) => account.balance,
            Err(reason) => return no_op(request, reason),
        };
        let outcome = match &transaction.operation {
            Operation::Transfer { to, amount } => self.transfer(&place, balance, *to, *amount),
            Operation::Read { account } => self.read(transaction, account),
        };
        let lookahead = self.context.parameters.lookahead;
        if let Some(account) = self.state.account_mut(&place) {
            account.settle(request, self.height, outcome, lookahead);
        }
        self.touched.push(place);
        Receipt::Executed(ExecutedReceipt {
            request,
            account: transaction.account,
            nonce: transaction.nonce,
            outcome,
        })
    }

    /// The acting account, if the transaction is to be executed here.
    fn admit(&self, transaction: &Transaction, place: &Place) -> Result<&Account, NoOpReason> {
        if transaction.chain != self.context.chain {
            return Err(NoOpReason::WrongChain);
        }
        let account = self.state.account_at(place).ok_or(NoOpReason::UnknownAccount)?;
        if transaction.nonce < account.next_nonce && !mutant!(ExecutesTwice) {
            return Err(NoOpReason::ConsumedNonce);
        }
        if transaction.nonce > account.next_nonce {
            return Err(NoOpReason::FutureNonce);
        }
        if self.height > transaction.expiry_height {
            return Err(NoOpReason::Expired);
        }
        if account.next_nonce == u64::MAX {
            return Err(NoOpReason::NoncesExhausted);
        }
        Ok(account)
    }

    /// Moves `amount` if everything allows it; otherwise nothing changes and the outcome says why.
    fn transfer(&mut self, from: &Place, balance: u64, to: PublicKey, amount: u64) -> Outcome {
        if amount == 0 {
            return Outcome::ZeroAmount;
        }
        let recipient = self.state.place(to);
        let received = match self.state.account_at(&recipient) {
            Some(account) => account.balance.checked_add(amount),
            // Only a key that is new to the state needs the costly check: no other one ever got in.
            None if to.is_acceptable() => Some(amount),
            None => return Outcome::BadRecipient,
        };
        let Some(left) = balance.checked_sub(amount) else {
            return Outcome::InsufficientFunds { balance };
        };
        if recipient == *from {
            return Outcome::Transferred;
        }
        let Some(received) = received else {
            return Outcome::Overflow;
        };
        if let Some(account) = self.state.account_mut(from) {
            account.balance = left;
        }
        match self.state.account_mut(&recipient) {
            Some(account) => account.balance = received,
            None => {
                self.state.replace(to, Account::with_balance(received));
            }
        }
        self.touched.push(recipient);
        Outcome::Transferred
    }

    fn read(&self, transaction: &Transaction, key: &PublicKey) -> Outcome {
        let Some(account) = self.state.account(key) else {
            return Outcome::NoSuchAccount;
        };
        // The reader's own nonce counts as consumed already: the answer is what the next transaction must use.
        let own = u64::from(*key == transaction.account);
        Outcome::Read {
            balance: account.balance,
            next_nonce: account.next_nonce.saturating_add(own),
        }
    }
}
