//! The chain of a run: keys, genesis and rules, all from the seed's small numbers.

use std::sync::Arc;
use std::time::Duration;

use tagma_crypto::{Digest, KnownSignatures, PublicKey, SecretKey};
use tagma_ledger::{Genesis, GenesisAccount, GenesisReplica, Parameters};
use tagma_node::core::{LedgerRules, key_ring, protocol_parameters};
use tagma_pbft::{Body, KeyRing, ReplicaId, Tuning};

/// What differs between the chains of runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainPlan {
    /// N.
    pub replicas: u16,
    /// Accounts of genesis.
    pub accounts: u16,
    /// K.
    pub checkpoint_interval: u64,
    /// L.
    pub window: u64,
    /// Most requests in a batch.
    pub max_batch_requests: u32,
    /// How many blocks below a checkpoint keep their bodies; all of them if none.
    pub retain: Option<u64>,
    /// Whether f backups stand by.
    pub standby: bool,
}

/// A chain with all its keys.
pub struct Chain {
    /// The genesis.
    pub genesis: Arc<Genesis>,
    /// Its id.
    pub id: Digest,
    /// Vote keys, chain id and quorum sizes.
    pub ring: Arc<KeyRing>,
    /// The protocol's parameters.
    pub parameters: tagma_pbft::Parameters,
    /// The vote key of each replica.
    pub vote_keys: Vec<SecretKey>,
    /// The key of each account of genesis.
    pub account_keys: Vec<SecretKey>,
    /// What is statically valid. Shared by all replicas: its memory of verified requests only saves work.
    pub rules: Arc<LedgerRules>,
    /// The signatures made with any of the keys, or found good: nobody verifies them again. All others are verified.
    pub known: Arc<KnownSignatures>,
    /// How fast things move at every replica.
    pub tuning: Tuning,
    /// The digest of the null batch.
    pub null: Digest,
    /// How many blocks below a checkpoint keep their bodies; all of them if none.
    pub retain: Option<u64>,
}

/// What each account owns in genesis.
pub const BALANCE: u64 = 1_000;
/// Most signatures in each generation of the memory of good ones.
const KNOWN: usize = 200_000;
/// The wall clock at the start of every run, milliseconds since the Unix epoch.
pub const EPOCH_MS: u64 = 1_750_000_000_000;

fn seed(kind: u8, number: u16) -> [u8; 32] {
    let mut seed = [kind; 32];
    let (first, rest) = number.to_be_bytes().into();
    seed.first_chunk_mut::<2>()
        .into_iter()
        .for_each(|bytes| *bytes = [first, rest]);
    seed
}

fn key(kind: u8, number: u16) -> SecretKey {
    SecretKey::from_seed(seed(kind, number))
}

/// What the key of an account is made of.
pub(crate) fn account_seed(number: u16) -> [u8; 32] {
    seed(3, number)
}

/// The key of the account with this number, in genesis or not.
#[must_use]
pub fn account_key(number: u16) -> SecretKey {
    key(3, number)
}

impl Chain {
    /// Makes the chain.
    ///
    /// # Panics
    /// If the plan asks for a chain that genesis rules out.
    #[must_use]
    pub fn new(plan: &ChainPlan) -> Self {
        let known = Arc::new(KnownSignatures::new(KNOWN));
        let vote_keys: Vec<SecretKey> = (0..plan.replicas)
            .map(|id| key(1, id).remembering(Arc::clone(&known)))
            .collect();
        let account_keys: Vec<SecretKey> = (0..plan.accounts).map(account_key).collect();
        let replicas: Vec<GenesisReplica> = vote_keys
            .iter()
            .zip(0..)
            .map(|(vote_key, id)| GenesisReplica {
                id,
                vote_key: vote_key.public(),
                network_key: key(2, id).public(),
                peer_address: format!("127.0.0.1:{}", 10_000 + u32::from(id)).as_str().into(),
                client_address: format!("127.0.0.1:{}", 20_000 + u32::from(id)).as_str().into(),
                http_address: format!("127.0.0.1:{}", 30_000 + u32::from(id)).as_str().into(),
            })
            .collect();
        let accounts: Vec<GenesisAccount> = account_keys
            .iter()
            .map(|key| GenesisAccount {
                name: None,
                key: key.public(),
                balance: BALANCE,
            })
            .collect();
        let genesis = Genesis {
            chain_name: "sim".into(),
            time_ms: EPOCH_MS,
            replicas: replicas.into(),
            accounts: accounts.into(),
            parameters: Parameters {
                checkpoint_interval: plan.checkpoint_interval,
                window: plan.window,
                max_batch_requests: plan.max_batch_requests,
                max_batch_bytes: 64 << 10,
                max_request_bytes: 512,
                lookahead: 8,
                bucket_count: 16,
                max_clock_drift_ms: 500,
            },
        };
        assert!(
            genesis.validate().is_ok(),
            "a plan's genesis is valid: {:?}",
            genesis.validate()
        );
        let genesis = Arc::new(genesis);
        let ring = key_ring(&genesis);
        assert!(ring.is_ok(), "a valid genesis has 3f + 1 replicas");
        let ring = Arc::new(ring.unwrap_or_else(|_| unreachable!("asserted above")));
        let id = genesis.chain_id();
        Self {
            id,
            parameters: protocol_parameters(&genesis),
            rules: Arc::new(LedgerRules::new(id, genesis.parameters.clone()).remembering(Arc::clone(&known))),
            known,
            tuning: Tuning {
                batch_max_delay: Duration::from_millis(5),
                max_in_flight: plan.window,
                request_timeout: Duration::from_secs(1),
                view_change_timeout_max: Duration::from_secs(8),
                status_interval: Duration::from_millis(250),
                idle_status_interval: Duration::from_secs(2),
                fetch_timeout: Duration::from_millis(500),
                forward_room: 64,
                fetch_blocks: 16,
                standby: plan.standby,
            },
            null: Body::null(&id).digest(),
            retain: plan.retain,
            genesis,
            ring,
            vote_keys,
            account_keys,
        }
    }

    /// f.
    #[must_use]
    pub fn faults(&self) -> usize {
        usize::from(self.ring.quorum.faults())
    }

    /// f + 1.
    #[must_use]
    pub fn weak(&self) -> usize {
        self.ring.quorum.weak()
    }

    /// The vote key of a replica.
    ///
    /// # Panics
    /// If there is no such replica.
    #[must_use]
    pub fn vote_key(&self, id: ReplicaId) -> &SecretKey {
        let key = self.vote_keys.get(id.index());
        assert!(key.is_some(), "there is no replica {id}");
        key.unwrap_or_else(|| unreachable!("asserted above"))
    }

    /// The public key of an account of genesis, counted round and round.
    #[must_use]
    pub fn account(&self, number: usize) -> PublicKey {
        let key = self.account_keys.get(number % self.account_keys.len().max(1));
        key.map_or_else(|| account_key(0).public(), SecretKey::public)
    }
}
