//! What a replica is started with: its files, its keys, its store.

use std::sync::Arc;

use tagma_crypto::{Digest, SecretKey};
use tagma_ledger::store::{Durability, Store, StoreError, Table};
use tagma_ledger::{Genesis, GenesisReplica, LedgerStore, ledger_store};
use tagma_pbft::Replica;

use crate::config::Config;
use crate::core::records;
use crate::exit::{Exit, Failure};
use crate::home::Home;
use crate::storage::{DirectoryLock, LockError, RocksStore};

/// Everything a replica is started with.
pub struct NodeSetup {
    /// Its files.
    pub home: Home,
    /// Its settings, which have been checked against genesis.
    pub config: Config,
    /// Its chain.
    pub genesis: Arc<Genesis>,
    /// The key that signs its votes.
    pub vote_key: SecretKey,
    /// The key of its connections.
    pub network_key: SecretKey,
}

impl NodeSetup {
    /// Reads genesis and keys of a home, and checks the settings against them.
    ///
    /// # Errors
    /// If something is missing or does not fit together.
    pub fn load(home: Home, config: Config) -> Result<Self, Failure> {
        let genesis = load_genesis(&home)?;
        let key = |path: std::path::PathBuf| {
            SecretKey::load(&path).map_err(|error| {
                Failure::new(Exit::Config, error).hint("`tagma-node init` puts the keys into the home")
            })
        };
        let setup = Self {
            vote_key: key(home.vote_key())?,
            network_key: key(home.network_key())?,
            config,
            genesis: Arc::new(genesis),
            home,
        };
        setup
            .config
            .check(&setup.genesis)
            .map_err(Failure::with(Exit::Config))?;
        setup.replica()?;
        Ok(setup)
    }

    /// Who this replica is: the one whose keys these are.
    ///
    /// # Errors
    /// If the vote key is nobody's, or the network key another's.
    pub fn replica(&self) -> Result<&GenesisReplica, Failure> {
        let public = self.vote_key.public();
        let chain = self.genesis.chain_id();
        let replica = self
            .genesis
            .replicas
            .iter()
            .find(|replica| replica.vote_key == public)
            .ok_or_else(|| {
                Failure::new(
                    Exit::Config,
                    format!("vote key {public} belongs to no replica of chain {chain}"),
                )
                .hint("compare `tagma-node keys` with the genesis file")
            })?;
        if replica.network_key != self.network_key.public() {
            return Err(Failure::new(
                Exit::Config,
                format!(
                    "network key {} is not the one of replica {} in genesis, {}",
                    self.network_key.public(),
                    replica.id,
                    replica.network_key
                ),
            ));
        }
        Ok(replica)
    }
}

/// Reads the genesis of a home.
///
/// # Errors
/// If it is missing or not valid.
pub fn load_genesis(home: &Home) -> Result<Genesis, Failure> {
    Genesis::load(&home.genesis()).map_err(|error| {
        Failure::new(Exit::Config, error).hint("`tagma-node init` puts the genesis into the home")
    })
}

/// Every table of a replica's database.
pub fn tables() -> impl Iterator<Item = Table> {
    ledger_store::TABLES.into_iter().chain(records::tables())
}

/// For `map_err`: the failure of a command whose data directory is held by another.
pub fn lock_failure(error: LockError) -> Failure {
    let held = matches!(error, LockError::Held { .. });
    let failure = Failure::new(Exit::Data, error);
    if held {
        failure.hint("stop that process first: one data directory is one replica's")
    } else {
        failure
    }
}

/// For `map_err`: the failure of a command whose database is damaged or fails.
pub fn store_failure(error: StoreError) -> Failure {
    Failure::new(Exit::Data, error)
        .hint("the data is kept as it is; a replica that lost its log comes back with a new key")
}

/// Opens the database of a home. One without a ledger gets that of genesis, but not the record that its key has never
/// voted, which `init` alone writes: without it this replica is a learner.
pub(super) fn open_store(
    home: &Home,
    config: &Config,
    genesis: &Genesis,
) -> Result<Arc<RocksStore>, Failure> {
    let store = RocksStore::open(&home.database(), tables(), &config.database()).map_err(store_failure)?;
    let store = Arc::new(store);
    let ledger = LedgerStore::new(Arc::clone(&store), genesis);
    match ledger.chain().map_err(store_failure)? {
        Some(stored) => check_chain(&stored, genesis)?,
        None => store
            .write(ledger.init_writes(genesis), Durability::Synced)
            .map_err(store_failure)?,
    }
    Ok(store)
}

/// Refuses a store that was made for another genesis.
///
/// # Errors
/// If the chain ids differ; both are named.
pub fn check_chain(stored: &Digest, genesis: &Genesis) -> Result<(), Failure> {
    let ours = genesis.chain_id();
    if *stored == ours {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Config,
        format!("the data belongs to chain {stored}, the genesis file makes chain {ours}"),
    )
    .hint("a chain's genesis never changes: use the file this home was made with, or another home"))
}

/// Makes a home's database: the ledger of genesis, and the record that this key has never voted.
///
/// # Errors
/// If there is a database already, or it cannot be written.
pub fn create_store(home: &Home, genesis: &Genesis) -> Result<(), Failure> {
    std::fs::create_dir_all(home.data()).map_err(Failure::with(Exit::Data))?;
    let _lock = DirectoryLock::take(&home.lock()).map_err(lock_failure)?;
    if home.database().exists() {
        return Err(Failure::new(
            Exit::Data,
            format!("there is a database already: {}", home.database().display()),
        )
        .hint("it may hold votes of this key, which must not be forgotten"));
    }
    let config = Config::default().database();
    let store = RocksStore::open(&home.database(), tables(), &config).map_err(store_failure)?;
    let store = Arc::new(store);
    let mut batch = LedgerStore::new(Arc::clone(&store), genesis).init_writes(genesis);
    records::add_writes(&Replica::genesis_records(), &mut batch);
    store.write(batch, Durability::Synced).map_err(store_failure)
}
