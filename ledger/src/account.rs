//! One account: a balance, the next nonce, and its last outcomes.

use crate::outcome::Outcome;
use serde::{Deserialize, Serialize};
use std::ops::Deref;
use std::sync::Arc;
use tagma_crypto::encode::{Decode, Encode, List, encode};
use tagma_crypto::{Digest, PublicKey, merkle};

/// The state of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct Account {
    /// What it owns.
    pub balance: u64,
    /// The nonce its next transaction must have.
    pub next_nonce: u64,
    /// Its last executed requests, at most W, oldest first. As every execution consumes one nonce, their nonces are
    /// the ones right below `next_nonce`, without gaps.
    pub settled: Settled,
}

/// Executed requests, oldest first. Clones share them: an account that is only paid keeps its outcomes, which are most of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
#[serde(from = "List<SettledRequest>", into = "List<SettledRequest>")]
pub struct Settled(Arc<List<SettledRequest>>);

impl Deref for Settled {
    type Target = [SettledRequest];

    fn deref(&self) -> &[SettledRequest] {
        &self.0
    }
}

impl From<List<SettledRequest>> for Settled {
    fn from(settled: List<SettledRequest>) -> Self {
        Self(Arc::new(settled))
    }
}

impl From<Settled> for List<SettledRequest> {
    fn from(settled: Settled) -> Self {
        Arc::unwrap_or_clone(settled.0)
    }
}

/// An executed request as its account remembers it, so that a late retransmission still finds its outcome. Part of the
/// state, and so of every checkpoint: a replica that fetched its state answers like one that executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct SettledRequest {
    /// The nonce it consumed.
    pub nonce: u64,
    /// Its digest.
    pub request: Digest,
    /// The height it was executed at.
    pub height: u64,
    /// Its outcome.
    pub outcome: Outcome,
}

impl Account {
    /// A new account that owns `balance`.
    #[must_use]
    pub fn with_balance(balance: u64) -> Self {
        Self {
            balance,
            ..Self::default()
        }
    }

    /// The executed request that consumed `nonce`, if it is among the last W.
    #[must_use]
    pub fn settled_by_nonce(&self, nonce: u64) -> Option<&SettledRequest> {
        let below_next = self.next_nonce.checked_sub(nonce)?;
        let index = (self.settled.len() as u64).checked_sub(below_next)?;
        self.settled.get(usize::try_from(index).ok()?)
    }

    /// The executed request with this digest, if it is among the last W.
    #[must_use]
    pub fn settled_by_digest(&self, request: &Digest) -> Option<&SettledRequest> {
        self.settled.iter().find(|settled| settled.request == *request)
    }

    /// Consumes the next nonce for an executed request; remembers the last `lookahead` of them.
    ///
    /// # Panics
    /// If all nonces are used up, which execution rules out first.
    pub(crate) fn settle(&mut self, request: Digest, height: u64, outcome: Outcome, lookahead: u32) {
        let nonce = self.next_nonce;
        assert!(
            nonce < u64::MAX,
            "execution settles no request of an account without nonces"
        );
        self.next_nonce += 1;
        let keep = (lookahead as usize).saturating_sub(1);
        let forgotten = self.settled.len().saturating_sub(keep);
        let kept = self.settled.get(forgotten..).unwrap_or_default();
        let mut settled = Vec::with_capacity(kept.len() + 1);
        settled.extend_from_slice(kept);
        settled.push(SettledRequest {
            nonce,
            request,
            height,
            outcome,
        });
        self.settled = List::from(settled).into();
    }
}

/// An account with its key: a leaf of the partition tree.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct AccountEntry {
    /// Whose.
    pub key: PublicKey,
    /// The account.
    pub account: Account,
}

impl AccountEntry {
    /// The entry's leaf hash in its bucket's Merkle tree.
    #[must_use]
    pub fn leaf(&self) -> Digest {
        leaf(&self.key, &self.account)
    }
}

/// The leaf hash of an account under its key, as [`AccountEntry::leaf`] has it.
pub(crate) fn leaf(key: &PublicKey, account: &Account) -> Digest {
    mutant!(CheckpointsWithoutReceipts, {
        let bare = Account {
            settled: Settled::default(),
            ..account.clone()
        };
        return merkle::leaf(&encode(&(*key, bare)));
    });
    mutant!(CheckpointsWithoutNonces, {
        let bare = Account {
            next_nonce: 0,
            ..account.clone()
        };
        return merkle::leaf(&encode(&(*key, bare)));
    });
    let mut bytes = key.as_bytes().to_vec();
    bytes.append(&mut encode(account));
    merkle::leaf(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tagma_crypto::encode::encode;

    #[test]
    fn an_entry_is_hashed_as_it_is_encoded() {
        let mut account = Account::with_balance(7);
        account.settle(Digest::of("test", &[b"r"]), 3, Outcome::Transferred, 4);
        let entry = AccountEntry {
            key: PublicKey::from_bytes([9; 32]),
            account,
        };
        assert_eq!(entry.leaf(), merkle::leaf(&encode(&entry)));
    }

    #[test]
    fn the_last_outcomes_are_found_by_nonce_and_digest() {
        let digest = |n: u64| Digest::of("test", &[&n.to_le_bytes()]);
        let mut account = Account::default();
        for n in 0..10 {
            account.settle(digest(n), n + 100, Outcome::ZeroAmount, 4);
        }
        assert_eq!(account.settled.len(), 4);
        for n in 0..12 {
            let by_nonce = account.settled_by_nonce(n).copied();
            let expected = (6..10).contains(&n).then(|| SettledRequest {
                nonce: n,
                request: digest(n),
                height: n + 100,
                outcome: Outcome::ZeroAmount,
            });
            assert_eq!(by_nonce, expected, "nonce {n}");
            assert_eq!(
                account.settled_by_digest(&digest(n)).copied(),
                expected,
                "digest of {n}"
            );
        }
    }

    #[test]
    fn a_lookahead_of_one_remembers_one() {
        let mut account = Account::default();
        for n in 0..3u64 {
            account.settle(
                Digest::of("test", &[&n.to_le_bytes()]),
                n,
                Outcome::Transferred,
                1,
            );
        }
        assert_eq!(account.settled.len(), 1);
        assert_eq!(account.settled_by_nonce(2).map(|settled| settled.height), Some(2));
    }
}
