//! The state all replicas share: who owns how much, and what came of their last requests.

use crate::account::{self, Account, AccountEntry, SettledRequest};
use crate::partition_tree::{PartitionTree, Place};
use imbl::{OrdMap, Vector};
use std::sync::Arc;
use tagma_crypto::{Digest, HashedSet, PublicKey};

/// All accounts, in a persistent map: a clone costs nothing, shares what it has in common, and never changes.
///
/// The partition tree is brought up to date at checkpoints only ([`State::root`]).
#[derive(Clone, Debug)]
pub struct State {
    accounts: OrdMap<Place, Arc<Account>>,
    tree: PartitionTree,
    /// Accounts that may differ from what the tree covers, as each block left them: sets are joined once, at a checkpoint.
    touched: Vector<Arc<[Place]>>,
}

/// Two states are equal if their accounts are; how far their trees are up to date does not matter.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.accounts == other.accounts
    }
}

impl Eq for State {}

/// What a nonce means to an account at some height: how admission treats a request (protocol.md §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceStatus<'a> {
    /// It is the account's next: the request is *pending*, and timed, unless its expiry has passed.
    Next,
    /// It lies `by` above the next, within the look-ahead: the request may be queued, but cannot execute yet.
    Ahead {
        /// The distance from the next nonce, from 1 to W − 1.
        by: u64,
    },
    /// It lies at or beyond the look-ahead: the request is not admitted.
    TooFarAhead,
    /// It was consumed, and the account still remembers by which request and with what outcome.
    Settled(&'a SettledRequest),
    /// It was consumed longer ago than the account remembers.
    Forgotten,
    /// There is no such account.
    UnknownAccount,
}

impl State {
    /// The state of genesis. If a key stands there twice, which a valid genesis excludes, the last balance counts.
    #[must_use]
    pub fn genesis(accounts: impl IntoIterator<Item = (PublicKey, u64)>, buckets: u32) -> Self {
        let entries = accounts.into_iter().map(|(key, balance)| AccountEntry {
            key,
            account: Account::with_balance(balance),
        });
        Self::from_entries(entries, buckets)
    }

    /// The state of exactly these accounts, with its tree built from nothing.
    #[must_use]
    pub fn from_entries(entries: impl IntoIterator<Item = AccountEntry>, buckets: u32) -> Self {
        let tree = PartitionTree::empty(buckets);
        let mut state = Self {
            accounts: OrdMap::new(),
            tree,
            touched: Vector::new(),
        };
        let mut touched = Vec::new();
        for entry in entries {
            touched.push(state.replace(entry.key, entry.account));
        }
        state.touch(touched);
        state.refresh();
        state
    }

    /// An account, if it exists.
    #[must_use]
    pub fn account(&self, key: &PublicKey) -> Option<&Account> {
        self.accounts.get(&self.place(*key)).map(|account| &**account)
    }

    /// The number of accounts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether there is no account.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// All accounts, by bucket and key.
    pub fn iter(&self) -> impl Iterator<Item = (&PublicKey, &Account)> {
        self.accounts
            .iter()
            .map(|(place, account)| (&place.key, &**account))
    }

    /// The sum of all balances: the genesis supply, at every height.
    #[must_use]
    pub fn total_balance(&self) -> u128 {
        self.iter().map(|(_, account)| u128::from(account.balance)).sum()
    }

    /// What `nonce` means to the account `key` with look-ahead `lookahead` (W).
    #[must_use]
    pub fn nonce_status(&self, key: &PublicKey, nonce: u64, lookahead: u32) -> NonceStatus<'_> {
        let Some(account) = self.account(key) else {
            return NonceStatus::UnknownAccount;
        };
        match nonce.checked_sub(account.next_nonce) {
            Some(0) => NonceStatus::Next,
            Some(by) if by < u64::from(lookahead) => NonceStatus::Ahead { by },
            Some(_) => NonceStatus::TooFarAhead,
            None => account
                .settled_by_nonce(nonce)
                .map_or(NonceStatus::Forgotten, NonceStatus::Settled),
        }
    }

    /// The settled request with this digest among the last W of the account, for whoever retransmits it.
    #[must_use]
    pub fn settled(&self, key: &PublicKey, request: &Digest) -> Option<&SettledRequest> {
        self.account(key)?.settled_by_digest(request)
    }

    /// The partition tree, up to date as of the last checkpoint.
    #[must_use]
    pub fn tree(&self) -> &PartitionTree {
        &self.tree
    }

    /// The state root as of the last checkpoint: of this state iff nothing was touched since.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.tree.root()
    }

    /// Whether the tree covers this very state.
    #[must_use]
    pub fn is_refreshed(&self) -> bool {
        self.touched.is_empty()
    }

    /// The entries of a bucket, sorted by key.
    pub fn bucket(&self, bucket: u32) -> impl Iterator<Item = AccountEntry> + '_ {
        self.accounts
            .range(Place::all_of(bucket))
            .map(|(place, account)| {
                let (key, account) = (place.key, Account::clone(account));
                mutant!(CheckpointsWithoutReceipts, {
                    let settled = account::Settled::default();
                    let account = Account { settled, ..account };
                    return AccountEntry { key, account };
                });
                mutant!(CheckpointsWithoutNonces, {
                    let next_nonce = 0;
                    let account = Account {
                        next_nonce,
                        ..account
                    };
                    return AccountEntry { key, account };
                });
                AccountEntry { key, account }
            })
    }

    /// The place of a key in this state's tree.
    #[must_use]
    pub fn place(&self, key: PublicKey) -> Place {
        Place::of(key, self.tree.buckets())
    }

    /// Changes an account in place; `None` if it does not exist. Whoever changes one says so with [`State::touch`] in the end.
    pub(crate) fn account_mut(&mut self, place: &Place) -> Option<&mut Account> {
        self.accounts.get_mut(place).map(Arc::make_mut)
    }

    /// The accounts at these places may have changed.
    pub(crate) fn touch(&mut self, places: Vec<Place>) {
        if !places.is_empty() {
            self.touched.push_back(places.into());
        }
    }

    pub(crate) fn account_at(&self, place: &Place) -> Option<&Account> {
        self.accounts.get(place).map(|account| &**account)
    }

    /// Sets an account, whether it exists or not, and gives its place, to be told to [`State::touch`].
    pub(crate) fn replace(&mut self, key: PublicKey, account: Account) -> Place {
        let place = self.place(key);
        self.accounts.insert(place, Arc::new(account));
        place
    }

    /// Brings the tree up to date, and gives the keys of the accounts it did not cover before, by bucket and key.
    pub(crate) fn refresh(&mut self) -> Vec<PublicKey> {
        let blocks = std::mem::take(&mut self.touched);
        let touched: HashedSet<Place> = blocks.iter().flat_map(|places| places.iter().copied()).collect();
        let mut touched: Vec<Place> = touched.into_iter().collect();
        touched.sort_unstable();
        let changed: Vec<(Place, Digest)> = touched
            .iter()
            .filter_map(|place| Some((*place, account::leaf(&place.key, self.accounts.get(place)?))))
            .collect();
        self.tree.update(changed);
        touched.iter().map(|place| place.key).collect()
    }
}
