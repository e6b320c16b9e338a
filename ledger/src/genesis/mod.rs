//! Where a chain begins: who the replicas are, who owns what, and the parameters all agree on.
//!
//! The canonical encoding of the whole of it is hashed into the chain id, which every signature covers. Two replicas
//! that differ in a single address or balance are on different chains and refuse each other.

mod error;
mod file;
mod parameters;
mod validate;

pub use error::GenesisError;
pub use parameters::{MAX_MESSAGE_BYTES, Parameters, REQUEST_OVERHEAD_BYTES};
pub use validate::{MAX_NAME_BYTES, MAX_REPLICAS};

use crate::block::BlockHeader;
use crate::state::State;
use tagma_crypto::encode::{Decode, Encode, List, Text, encode};
use tagma_crypto::{Digest, PublicKey};

/// Everything that is fixed before block 1.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct Genesis {
    /// A name for people; 1 to [`MAX_NAME_BYTES`] letters, digits, `-`, `_` or `.`.
    pub chain_name: Text,
    /// The time of header 0, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The N = 3f + 1 replicas, ordered by id.
    pub replicas: List<GenesisReplica>,
    /// The first accounts; their balances are the supply of the chain for ever.
    pub accounts: List<GenesisAccount>,
    /// The protocol's numbers.
    pub parameters: Parameters,
}

/// A replica as all others know it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct GenesisReplica {
    /// Its number, equal to its position.
    pub id: u16,
    /// The key that signs its votes.
    pub vote_key: PublicKey,
    /// The key its connections are pinned to.
    pub network_key: PublicKey,
    /// UDP `ip:port` for replicas.
    pub peer_address: Text,
    /// UDP `ip:port` for clients.
    pub client_address: Text,
    /// TCP `ip:port` for HTTP.
    pub http_address: Text,
}

/// An account that exists from the start.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct GenesisAccount {
    /// A name for people; agreed on with the rest, but it means nothing to execution.
    pub name: Option<Text>,
    /// The key that owns the account.
    pub key: PublicKey,
    /// Its balance in header 0.
    pub balance: u64,
}

impl Genesis {
    /// The chain id: the digest of the canonical encoding of all of this.
    #[must_use]
    pub fn chain_id(&self) -> Digest {
        Digest::of("tagma/genesis", &[&encode(self)])
    }

    /// The state of height 0 and header 0, which has this genesis' time and a state root. Its parent is the chain
    /// id, so that no two chains share a header.
    ///
    /// Call it on a validated genesis; an invalid one gives a state nobody agrees with, but no panic.
    #[must_use]
    pub fn start(&self) -> (State, BlockHeader) {
        let accounts = self.accounts.iter().map(|account| (account.key, account.balance));
        let state = State::genesis(accounts, self.parameters.bucket_count);
        let header = BlockHeader::genesis(self.chain_id(), self.time_ms, state.root());
        (state, header)
    }

    /// N, the number of replicas.
    #[must_use]
    pub fn replica_count(&self) -> u64 {
        self.replicas.len() as u64
    }

    /// The replica with this number.
    #[must_use]
    pub fn replica(&self, id: u16) -> Option<&GenesisReplica> {
        self.replicas.get(usize::from(id))
    }

    /// The sum of all balances, `None` if it does not fit (then [`Genesis::validate`] fails).
    #[must_use]
    pub fn supply(&self) -> Option<u64> {
        self.accounts
            .iter()
            .try_fold(0u64, |sum, account| sum.checked_add(account.balance))
    }

    /// The display name of an account, if genesis gives it one.
    #[must_use]
    pub fn account_name(&self, key: &PublicKey) -> Option<&Text> {
        self.accounts
            .iter()
            .find(|account| account.key == *key)?
            .name
            .as_ref()
    }

    /// The key of the account with this display name.
    #[must_use]
    pub fn account_key(&self, name: &str) -> Option<PublicKey> {
        let named = |account: &&GenesisAccount| account.name.as_ref().is_some_and(|own| **own == *name);
        self.accounts.iter().find(named).map(|account| account.key)
    }
}
