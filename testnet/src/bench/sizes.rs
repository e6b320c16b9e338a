//! How long the records of one transfer are.

use tagma_crypto::encode::encode;
use tagma_crypto::{Digest, SecretKey};
use tagma_ledger::ledger_store::Location;
use tagma_ledger::{ExecutedReceipt, Operation, Outcome, Receipt, SignedTransaction, Transaction};

/// Bytes of each record of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// The signed transfer, as a client sends it and batches hold it.
    pub(super) request: usize,
    /// Its receipt.
    pub(super) receipt: usize,
    /// Key and value of the index that finds it by its digest.
    pub(super) index: usize,
}

impl Sizes {
    /// As they are encoded.
    #[must_use]
    pub(super) fn measured() -> Self {
        let signed = transfer();
        let receipt = Receipt::Executed(ExecutedReceipt {
            request: Digest::ZERO,
            account: signed.transaction.account,
            nonce: 0,
            outcome: Outcome::Transferred,
        });
        let location = Location {
            height: 1,
            position: 0,
        };
        Self {
            request: encode(&signed.to_request()).len(),
            receipt: encode(&receipt).len(),
            index: Digest::ZERO.as_bytes().len() + encode(&location).len(),
        }
    }
}

fn transfer() -> SignedTransaction {
    let key = SecretKey::from_seed([1; 32]);
    let transaction = Transaction {
        chain: Digest::ZERO,
        account: key.public(),
        nonce: 0,
        operation: Operation::Transfer {
            to: key.public(),
            amount: 1,
        },
        expiry_height: 1,
    };
    transaction.sign(&key)
}
