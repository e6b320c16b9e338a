//! The accounts that a load pays between: their keys come from a seed, their nonces are counted here.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tagma_crypto::{Digest, PublicKey, SecretKey};
use tagma_ledger::{GenesisAccount, Operation, SignedTransaction, Transaction};

/// What each account owns in the beginning: more than it can pay in any measurement.
const BALANCE: u64 = 1_000_000_000_000;
/// A transfer that is not executed within so many blocks never will be.
const EXPIRY: u64 = 1_000_000_000;

struct Account {
    key: SecretKey,
    public: PublicKey,
    /// Of the next transfer that is signed.
    nonce: u64,
    outstanding: u32,
    /// A transfer of it failed, so that its next nonce is not known.
    doubtful: bool,
}

/// All accounts of a load.
pub(super) struct Accounts {
    all: Vec<Account>,
    lookahead: u32,
    /// How many can pay now.
    open: usize,
}

impl Accounts {
    /// `count` accounts with keys derived from `seed`, each with at most `lookahead` transfers outstanding at once.
    #[must_use]
    pub(super) fn derive(count: u64, seed: u64, lookahead: u32) -> Self {
        let derive = |index: u64| {
            let parts: [&[u8]; 2] = [&seed.to_le_bytes(), &index.to_le_bytes()];
            let key = SecretKey::from_seed(*Digest::of("tagma/bench/account", &parts).as_bytes());
            Account {
                public: key.public(),
                key,
                nonce: 0,
                outstanding: 0,
                doubtful: false,
            }
        };
        let all: Vec<Account> = (0..count).map(derive).collect();
        Self {
            open: all.len(),
            all,
            lookahead,
        }
    }

    /// How genesis is to list them.
    #[must_use]
    pub(super) fn genesis(&self) -> Vec<GenesisAccount> {
        let funded = |account: &Account| GenesisAccount {
            name: None,
            key: account.public,
            balance: BALANCE,
        };
        self.all.iter().map(funded).collect()
    }

    /// A signed transfer of 1 between two accounts drawn by chance, with the number of the one that pays. None if every
    /// account has as many outstanding as it may, or is in doubt.
    pub(super) fn sign(&mut self, chain: Digest, rng: &mut ChaCha8Rng) -> Option<(usize, SignedTransaction)> {
        if self.open == 0 {
            return None;
        }
        let count = self.all.len();
        let (drawn, to) = (rng.random_range(0..count), rng.random_range(0..count));
        let to = self.all.get(to)?.public;
        let lookahead = self.lookahead;
        let can_pay = |account: &Account| !account.doubtful && account.outstanding < lookahead;
        let from = (drawn..count)
            .chain(0..drawn)
            .find(|index| self.all.get(*index).is_some_and(can_pay))?;
        let account = self.all.get_mut(from)?;
        let transaction = Transaction {
            chain,
            account: account.public,
            nonce: account.nonce,
            operation: Operation::Transfer { to, amount: 1 },
            expiry_height: EXPIRY,
        };
        account.nonce += 1;
        account.outstanding += 1;
        if account.outstanding == lookahead {
            self.open -= 1;
        }
        Some((from, transaction.sign(&account.key)))
    }

    /// An outstanding transfer has ended. One that failed leaves its account in doubt.
    pub(super) fn ended(&mut self, index: usize, executed: bool) {
        let Some(account) = self.all.get_mut(index) else {
            return;
        };
        let could = !account.doubtful && account.outstanding < self.lookahead;
        account.outstanding = account.outstanding.saturating_sub(1);
        account.doubtful |= !executed;
        let can = !account.doubtful && account.outstanding < self.lookahead;
        match (could, can) {
            (false, true) => self.open += 1,
            (true, false) => self.open -= 1,
            _ => {}
        }
    }

    /// The accounts whose next nonce is not known, by number.
    #[must_use]
    pub(super) fn doubtful(&self) -> Vec<(usize, PublicKey)> {
        let doubtful =
            |(index, account): (usize, &Account)| account.doubtful.then_some((index, account.public));
        self.all.iter().enumerate().filter_map(doubtful).collect()
    }

    /// The next nonce of an account in doubt has been read, and nothing of it is outstanding any more.
    pub(super) fn settle(&mut self, index: usize, nonce: u64) {
        if let Some(account) = self.all.get_mut(index)
            && account.doubtful
            && account.outstanding == 0
        {
            (account.nonce, account.doubtful) = (nonce, false);
            self.open += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use rand::SeedableRng;

    const CHAIN: Digest = Digest::ZERO;

    #[test]
    fn no_account_has_more_outstanding_than_its_lookahead_and_nonces_have_no_gaps() {
        let mut accounts = Accounts::derive(3, 1, 2);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut nonces = std::collections::BTreeMap::<usize, Vec<u64>>::new();
        while let Some((from, signed)) = accounts.sign(CHAIN, &mut rng) {
            nonces.entry(from).or_default().push(signed.transaction.nonce);
        }
        assert_eq!(nonces.values().collect::<Vec<_>>(), [&[0, 1], &[0, 1], &[0, 1]]);
        accounts.ended(1, true);
        let (from, signed) = accounts.sign(CHAIN, &mut rng).unwrap();
        assert_eq!((from, signed.transaction.nonce), (1, 2));
        assert!(accounts.sign(CHAIN, &mut rng).is_none());
    }

    #[test]
    fn an_account_in_doubt_does_not_pay_until_its_nonce_is_known_again() {
        let mut accounts = Accounts::derive(1, 1, 2);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        accounts.sign(CHAIN, &mut rng).unwrap();
        accounts.ended(0, false);
        assert!(accounts.sign(CHAIN, &mut rng).is_none());
        let doubtful = accounts.doubtful();
        assert_eq!(doubtful.len(), 1);
        accounts.settle(0, 7);
        assert_eq!(accounts.sign(CHAIN, &mut rng).unwrap().1.transaction.nonce, 7);
    }
}
