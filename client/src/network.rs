//! Who the replicas of a chain are, as far as a client has to know.

use std::net::SocketAddr;

use tagma_crypto::{Digest, PublicKey};
use tagma_ledger::{Genesis, Parameters};

/// Where one replica takes clients, and the key it must hold there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaAddress {
    /// Its number.
    pub id: u16,
    /// UDP address for clients.
    pub address: SocketAddr,
    /// The key its connections are pinned to.
    pub network_key: PublicKey,
}

/// The N = 3f + 1 replicas of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    chain: Digest,
    chain_name: String,
    replicas: Vec<ReplicaAddress>,
    parameters: Parameters,
}

/// A genesis that names no address clients could connect to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("replica {id}: {address:?} is no address of a client socket")]
pub struct NetworkError {
    /// The replica.
    pub id: u16,
    /// What stands in genesis.
    pub address: String,
}

impl Network {
    /// The network of a validated genesis.
    ///
    /// # Errors
    /// If a replica's client address is not an `ip:port`.
    pub fn from_genesis(genesis: &Genesis) -> Result<Self, NetworkError> {
        let replicas = genesis.replicas.iter().map(|replica| {
            let address = replica.client_address.parse().map_err(|_| NetworkError {
                id: replica.id,
                address: replica.client_address.to_string(),
            })?;
            Ok(ReplicaAddress {
                id: replica.id,
                address,
                network_key: replica.network_key,
            })
        });
        Ok(Self {
            chain: genesis.chain_id(),
            chain_name: genesis.chain_name.to_string(),
            replicas: replicas.collect::<Result<_, _>>()?,
            parameters: genesis.parameters.clone(),
        })
    }

    /// The chain id.
    #[must_use]
    pub fn chain(&self) -> Digest {
        self.chain
    }

    /// The chain's name, for people.
    #[must_use]
    pub fn chain_name(&self) -> &str {
        &self.chain_name
    }

    /// The replicas, by number.
    #[must_use]
    pub fn replicas(&self) -> &[ReplicaAddress] {
        &self.replicas
    }

    /// The chain's parameters.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// N.
    #[must_use]
    pub fn n(&self) -> usize {
        self.replicas.len()
    }

    /// f, the number of replicas that may be faulty.
    #[must_use]
    pub fn f(&self) -> usize {
        self.n().saturating_sub(1) / 3
    }

    /// f + 1: among so many replicas at least one is correct.
    #[must_use]
    pub fn weak_quorum(&self) -> usize {
        self.f() + 1
    }

    /// 2f + 1: so many must take part for requests to be ordered, and any two such sets share a correct replica.
    #[must_use]
    pub fn quorum(&self) -> usize {
        2 * self.f() + 1
    }
}
