//! What a genesis must satisfy before a replica starts with it.

use super::{Genesis, GenesisError, GenesisReplica};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use tagma_crypto::PublicKey;

/// The most replicas of a chain: above it one NEW-VIEW outgrows a message even with the smallest windows.
pub const MAX_REPLICAS: u64 = 100;

/// The most bytes of a chain's or an account's name.
pub const MAX_NAME_BYTES: usize = 64;

impl Genesis {
    /// Checks everything that can be checked without other replicas: N = 3f + 1, ids in order, acceptable and
    /// distinct keys, usable and distinct addresses, a supply that fits, parameters within bounds.
    ///
    /// # Errors
    /// The first defect found.
    pub fn validate(&self) -> Result<(), GenesisError> {
        if !is_name(&self.chain_name) {
            return Err(GenesisError::ChainName {
                name: self.chain_name.to_string(),
                max: MAX_NAME_BYTES,
            });
        }
        self.validate_replica_count()?;
        self.validate_replicas()?;
        self.validate_accounts()?;
        self.parameters.validate(self.replica_count())
    }

    fn validate_replica_count(&self) -> Result<(), GenesisError> {
        let replicas = self.replica_count();
        if (4..=MAX_REPLICAS).contains(&replicas) && replicas % 3 == 1 {
            return Ok(());
        }
        // 3f + 1 at or below `replicas`, at most the greatest allowed size, which is itself 3f + 1.
        let floor = replicas.saturating_sub(1) / 3 * 3 + 1;
        let below = (floor >= 4).then(|| floor.min(MAX_REPLICAS));
        let above = Some(floor.saturating_add(3)).filter(|above| *above <= MAX_REPLICAS);
        Err(GenesisError::ReplicaCount {
            replicas,
            below,
            above,
        })
    }

    fn validate_replicas(&self) -> Result<(), GenesisError> {
        let mut keys = BTreeSet::new();
        let mut udp = BTreeSet::new();
        let mut tcp = BTreeSet::new();
        for (position, replica) in self.replicas.iter().enumerate() {
            let id = replica.id;
            if usize::from(id) != position {
                return Err(GenesisError::ReplicaId { position, id });
            }
            check_key(&mut keys, replica.vote_key, || format!("replica {id} vote_key"))?;
            check_key(&mut keys, replica.network_key, || {
                format!("replica {id} network_key")
            })?;
            check_address(&mut udp, replica, "peer_address", &replica.peer_address)?;
            check_address(&mut udp, replica, "client_address", &replica.client_address)?;
            check_address(&mut tcp, replica, "http_address", &replica.http_address)?;
        }
        Ok(())
    }

    fn validate_accounts(&self) -> Result<(), GenesisError> {
        if self.accounts.is_empty() {
            return Err(GenesisError::NoAccounts);
        }
        let mut keys = BTreeSet::new();
        let mut names = BTreeSet::new();
        for (position, account) in self.accounts.iter().enumerate() {
            if let Some(name) = &account.name {
                if !is_name(name) {
                    return Err(GenesisError::AccountName {
                        name: name.to_string(),
                        max: MAX_NAME_BYTES,
                    });
                }
                if !names.insert(name.to_string()) {
                    return Err(GenesisError::RepeatedAccountName(name.to_string()));
                }
            }
            check_key(&mut keys, account.key, || match &account.name {
                Some(name) => format!("account {name}"),
                None => format!("account at position {position}"),
            })?;
        }
        self.supply().map(|_| ()).ok_or(GenesisError::SupplyOverflow)
    }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn check_key(
    seen: &mut BTreeSet<PublicKey>,
    key: PublicKey,
    owner: impl Fn() -> String,
) -> Result<(), GenesisError> {
    if !key.is_acceptable() {
        return Err(GenesisError::UnacceptableKey {
            owner: owner(),
            key: Box::new(key),
        });
    }
    if !seen.insert(key) {
        return Err(GenesisError::RepeatedKey {
            owner: owner(),
            key: Box::new(key),
        });
    }
    Ok(())
}

fn check_address(
    seen: &mut BTreeSet<SocketAddr>,
    replica: &GenesisReplica,
    field: &'static str,
    text: &str,
) -> Result<(), GenesisError> {
    // Only the written form that printing gives again: one address, one chain id.
    let parsed = text.parse::<SocketAddr>().ok();
    let Some(address) = parsed.filter(|address| address.port() != 0 && address.to_string() == text) else {
        return Err(GenesisError::Address {
            id: replica.id,
            field,
            address: text.to_owned(),
        });
    };
    if !seen.insert(address) {
        return Err(GenesisError::RepeatedAddress {
            id: replica.id,
            field,
            address: text.to_owned(),
        });
    }
    Ok(())
}
