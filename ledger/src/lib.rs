//! What Tagma's replicas agree on: transactions, the state they act on, and the chain of blocks they leave behind.
//!
//! Everything here is a function of its inputs. There is no clock, no randomness, no thread and no unordered map, and
//! no I/O but reading a genesis file: two replicas that execute the same batches reach the same bytes.
//!
//! - [`genesis`]: who the replicas are, who owns what, the parameters; hashed into the chain id.
//! - [`transaction`]: what a client signs, and the checks that need no state.
//! - [`batch`]: the requests of a block and the digest that binds them.
//! - [`outcome`]: what became of a request.
//! - [`account`], [`state`]: balances, nonces, last outcomes; persistent, so that a snapshot costs nothing.
//! - [`mod@execute`]: the pure function from state and batch to state, header and receipts (protocol.md §2).
//! - [`block`]: headers and the chain they form. [`proof`]: a request's way into a header, checked offline.
//! - [`partition_tree`], [`snapshot`]: the state root, and fetching of a state in checked parts (TOCS '02 §5.3.1).
//! - [`store`]: the level below, tables of bytes. [`ledger_store`]: blocks and state on it, and recovery.

#![forbid(unsafe_code)]

#[macro_use(mutant)]
extern crate tagma_crypto;

pub mod account;
pub mod batch;
pub mod block;
pub mod execute;
pub mod genesis;
pub mod ledger_store;
pub mod outcome;
pub mod partition_tree;
pub mod proof;
pub mod snapshot;
pub mod state;
pub mod store;
pub mod transaction;

pub use account::{Account, AccountEntry, Settled, SettledRequest};
pub use batch::{Batch, Request, digests_of};
pub use block::{Block, BlockHeader, BlockParts, LinkError};
pub use execute::{ExecContext, Executed, execute};
pub use genesis::{Genesis, GenesisAccount, GenesisError, GenesisReplica, Parameters};
pub use ledger_store::LedgerStore;
pub use outcome::{ExecutedReceipt, NoOpReason, NoOpReceipt, Outcome, Receipt};
pub use proof::TransactionProof;
pub use snapshot::Snapshot;
pub use state::{NonceStatus, State};
pub use transaction::{Operation, Rejection, SignedTransaction, StaticChecks, Transaction};
