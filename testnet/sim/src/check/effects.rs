//! S5: nothing happens to an account but what its owner signed. A naive ledger, which shares no code with the real one,
//! applies the signed transactions of each block, and must end with the same accounts.

use std::collections::{BTreeMap, BTreeSet};

use tagma_crypto::encode::decode;
use tagma_crypto::{PublicKey, Request};
use tagma_ledger::{Genesis, Operation, Transaction};
use tagma_node::core::BlockDone;
use tagma_pbft::Batch;

use super::{Checked, Violation};

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Naive {
    balance: u64,
    nonce: u64,
}

pub(super) struct Effects {
    accounts: BTreeMap<PublicKey, Naive>,
    /// Every request that a client signed: its content and its signature.
    signed: BTreeSet<(Vec<u8>, Vec<u8>)>,
}

impl Effects {
    pub(super) fn new(genesis: &Genesis) -> Self {
        let accounts = genesis
            .accounts
            .iter()
            .map(|account| {
                (
                    account.key,
                    Naive {
                        balance: account.balance,
                        nonce: 0,
                    },
                )
            })
            .collect();
        Self {
            accounts,
            signed: BTreeSet::new(),
        }
    }

    pub(super) fn signed(&mut self, request: &Request) {
        self.signed.insert(parts(request));
    }

    pub(super) fn executed(&mut self, batch: &Batch, done: &BlockDone) -> Checked {
        let height = done.view.header.height;
        for request in batch.requests.iter() {
            if !self.signed.contains(&parts(request)) {
                let detail = format!("a request in block {height} was signed by no client");
                return Err(Violation::new("S5 only signed effects", detail));
            }
            if let Ok(transaction) = decode::<Transaction>(&request.content, request.content.len()) {
                self.apply(height, &transaction);
            }
        }
        let real: BTreeMap<PublicKey, Naive> = done
            .view
            .state
            .iter()
            .map(|(key, account)| {
                (
                    *key,
                    Naive {
                        balance: account.balance,
                        nonce: account.next_nonce,
                    },
                )
            })
            .collect();
        if real == self.accounts {
            return Ok(());
        }
        Err(Violation::new(
            "S5 only signed effects",
            format!("block {height} gives other accounts than its requests ask for"),
        ))
    }

    fn apply(&mut self, height: u64, transaction: &Transaction) {
        let Some(account) = self.accounts.get_mut(&transaction.account) else {
            return;
        };
        if account.nonce != transaction.nonce || height > transaction.expiry_height {
            return;
        }
        account.nonce += 1;
        let Operation::Transfer { to, amount } = transaction.operation else {
            return;
        };
        if amount == 0 || amount > account.balance || to == transaction.account {
            return;
        }
        account.balance -= amount;
        // The supply of a simulated chain is far below the largest balance: adding cannot overflow.
        self.accounts.entry(to).or_default().balance += amount;
    }
}

fn parts(request: &Request) -> (Vec<u8>, Vec<u8>) {
    (request.content.to_vec(), request.signature.as_bytes().to_vec())
}
