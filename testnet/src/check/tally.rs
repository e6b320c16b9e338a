//! A second, naive bookkeeping: what every account must own if the blocks say the truth.
//!
//! It shares the formats with the ledger, and nothing of its execution: maps and additions only, so that a mistake there is
//! not made here as well.

use std::collections::BTreeMap;

use tagma_crypto::{Digest, PublicKey};
use tagma_ledger::{
    ExecutedReceipt, Genesis, Operation, Outcome, Parameters, Receipt, Request, StaticChecks,
};
use tagma_wire::client_protocol::BlockReport;

/// What an account owns, and the nonce of its next transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Its balance.
    pub balance: u64,
    /// Its next nonce.
    pub next_nonce: u64,
}

/// The books from genesis up to some block.
#[derive(Clone, Debug)]
pub struct Tally {
    chain: Digest,
    parameters: Parameters,
    supply: u128,
    holdings: BTreeMap<PublicKey, Holding>,
    executed: BTreeMap<Digest, (u64, Outcome)>,
}

impl Tally {
    /// The books at genesis.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        let holding = |balance| Holding {
            balance,
            next_nonce: 0,
        };
        Self {
            chain: genesis.chain_id(),
            parameters: genesis.parameters.clone(),
            supply: genesis
                .accounts
                .iter()
                .map(|account| u128::from(account.balance))
                .sum(),
            holdings: genesis
                .accounts
                .iter()
                .map(|account| (account.key, holding(account.balance)))
                .collect(),
            executed: BTreeMap::new(),
        }
    }

    /// Every account and what it must own.
    pub fn holdings(&self) -> impl Iterator<Item = (&PublicKey, &Holding)> {
        self.holdings.iter()
    }

    /// How many requests were executed.
    #[must_use]
    pub fn executed(&self) -> usize {
        self.executed.len()
    }

    /// Every request that was executed, with the height of its block and what came of it.
    #[must_use]
    pub fn outcomes(&self) -> &BTreeMap<Digest, (u64, Outcome)> {
        &self.executed
    }

    /// The sum of all balances.
    #[must_use]
    pub fn sum(&self) -> u128 {
        self.holdings
            .values()
            .map(|holding| u128::from(holding.balance))
            .sum()
    }

    /// The supply of genesis, which [`Tally::sum`] must be for ever.
    #[must_use]
    pub fn supply(&self) -> u128 {
        self.supply
    }

    /// Books the next block.
    ///
    /// # Errors
    /// In words, what in it cannot be: an effect nobody signed, a request executed twice, money from nowhere.
    pub fn apply(&mut self, block: &BlockReport) -> Result<(), String> {
        if block.requests.len() != block.receipts.len() {
            return Err(format!(
                "{} requests but {} receipts",
                block.requests.len(),
                block.receipts.len()
            ));
        }
        for (request, receipt) in block.requests.iter().zip(block.receipts.iter()) {
            if receipt.request() != request.digest(&self.chain) {
                return Err(format!(
                    "a receipt for {} stands at another request",
                    receipt.request()
                ));
            }
            if let Receipt::Executed(executed) = receipt {
                self.book(block.header.height, request, executed)
                    .map_err(|what| format!("request {}: {what}", executed.request))?;
            }
        }
        if self.sum() == self.supply {
            Ok(())
        } else {
            Err(format!(
                "the balances add up to {}, the supply is {}",
                self.sum(),
                self.supply
            ))
        }
    }

    fn book(&mut self, height: u64, request: &Request, receipt: &ExecutedReceipt) -> Result<(), String> {
        let transaction = request
            .check_static(&self.chain, &self.parameters)
            .map_err(|rejection| format!("executed though {rejection}"))?;
        let outcome = (height, receipt.outcome);
        if self.executed.insert(receipt.request, outcome).is_some() {
            return Err("executed twice".to_owned());
        }
        if (receipt.account, receipt.nonce) != (transaction.account, transaction.nonce) {
            return Err("its receipt names another account or nonce".to_owned());
        }
        let acting = self.holdings.entry(transaction.account).or_default();
        if acting.next_nonce != transaction.nonce {
            return Err(format!(
                "executed with nonce {} when {} was next",
                transaction.nonce, acting.next_nonce
            ));
        }
        acting.next_nonce += 1;
        match (&transaction.operation, receipt.outcome) {
            (Operation::Transfer { to, amount }, Outcome::Transferred) => {
                let balance = acting.balance;
                acting.balance = balance
                    .checked_sub(*amount)
                    .ok_or_else(|| format!("moved {amount} out of {balance}"))?;
                let receiving = self.holdings.entry(*to).or_default();
                receiving.balance = receiving
                    .balance
                    .checked_add(*amount)
                    .ok_or_else(|| "moved money past the limit of an account".to_owned())?;
                Ok(())
            }
            (Operation::Transfer { amount, .. }, Outcome::InsufficientFunds { balance }) => {
                if balance == acting.balance && balance < *amount {
                    Ok(())
                } else {
                    Err(format!(
                        "refused {amount} for want of funds with {} there",
                        acting.balance
                    ))
                }
            }
            (Operation::Transfer { amount, .. }, Outcome::ZeroAmount) if *amount == 0 => Ok(()),
            (Operation::Transfer { to, .. }, Outcome::BadRecipient) if !to.is_acceptable() => Ok(()),
            (Operation::Transfer { .. }, Outcome::Overflow) => Ok(()),
            (Operation::Read { .. }, Outcome::Read { .. } | Outcome::NoSuchAccount) => Ok(()),
            (operation, outcome) => Err(format!("{outcome:?} is no outcome of {operation:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test fails by panic"
    )]

    use super::*;
    use tagma_crypto::SecretKey;
    use tagma_crypto::encode::{List, Text};
    use tagma_ledger::execute::ExecContext;
    use tagma_ledger::{Batch, GenesisAccount, Transaction, digests_of, execute};

    fn genesis(keys: &[SecretKey]) -> Genesis {
        let accounts: Vec<_> = keys
            .iter()
            .map(|key| GenesisAccount {
                name: None,
                key: key.public(),
                balance: 100,
            })
            .collect();
        Genesis {
            chain_name: Text::from("test".to_owned()),
            time_ms: 1,
            replicas: List::default(),
            accounts: List::from(accounts),
            parameters: Parameters::default(),
        }
    }

    /// The block the real ledger makes of transfers `(from, to, amount)`, each with its account's next nonce.
    fn block(genesis: &Genesis, keys: &[SecretKey], transfers: &[(usize, usize, u64)]) -> BlockReport {
        let (state, tip) = genesis.start();
        let mut nonces = vec![0; keys.len()];
        let requests: Vec<Request> = transfers
            .iter()
            .map(|(from, to, amount)| {
                nonces[*from] += 1;
                let transaction = Transaction {
                    chain: genesis.chain_id(),
                    account: keys[*from].public(),
                    nonce: nonces[*from] - 1,
                    operation: Operation::Transfer {
                        to: keys[*to].public(),
                        amount: *amount,
                    },
                    expiry_height: 100,
                };
                transaction.sign(&keys[*from]).to_request()
            })
            .collect();
        let batch = Batch {
            height: 1,
            digest: Digest::ZERO,
            time_ms: 5,
            requests: &requests,
            request_digests: &digests_of(&genesis.chain_id(), &requests),
        };
        let context = ExecContext {
            chain: genesis.chain_id(),
            parameters: &genesis.parameters,
        };
        let executed = execute(&state, &context, &tip, &batch);
        BlockReport {
            header: executed.header,
            requests: List::from(requests),
            receipts: List::from(executed.receipts),
        }
    }

    fn keys() -> Vec<SecretKey> {
        (1..4).map(|seed| SecretKey::from_seed([seed; 32])).collect()
    }

    #[test]
    fn an_honest_block_is_booked_and_a_changed_one_is_not() {
        let keys = keys();
        let genesis = genesis(&keys);
        let honest = block(&genesis, &keys, &[(0, 1, 60), (0, 2, 60), (1, 2, 160), (2, 2, 5)]);

        let mut tally = Tally::new(&genesis);
        tally.apply(&honest).unwrap();
        let balance = |key: &SecretKey| tally.holdings[&key.public()].balance;
        assert_eq!(
            [balance(&keys[0]), balance(&keys[1]), balance(&keys[2])],
            [40, 0, 260]
        );
        assert_eq!((tally.executed(), tally.sum()), (4, 300));

        // The same again: every request is executed twice.
        assert!(
            tally
                .clone()
                .apply(&honest)
                .unwrap_err()
                .contains("executed twice")
        );

        // The transfer that lacked funds is said to have moved them.
        let mut forged = honest.clone();
        let mut receipts = forged.receipts.to_vec();
        if let Receipt::Executed(receipt) = &mut receipts[1] {
            receipt.outcome = Outcome::Transferred;
        }
        forged.receipts = List::from(receipts);
        assert!(
            Tally::new(&genesis)
                .apply(&forged)
                .unwrap_err()
                .contains("moved 60 out of 40")
        );

        // A request nobody signed in this form.
        let mut forged = honest;
        let mut requests = forged.requests.to_vec();
        requests[0].signature = requests[1].signature;
        forged.requests = List::from(requests);
        assert!(
            Tally::new(&genesis)
                .apply(&forged)
                .unwrap_err()
                .contains("signature")
        );
    }
}
