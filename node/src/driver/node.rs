//! A running replica: what `start` opens, and what `stop` closes, in that order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use tagma_crypto::{Digest, SecretKey};
use tagma_ledger::store::{Durability, Store, StoreError, Table};
use tagma_ledger::{Genesis, GenesisReplica, LedgerStore, ledger_store};
use tagma_pbft::{Replica, ReplicaId, Ticket, Tuning, Verifier};
use tagma_wire::{ClientListener, Identity, PeerEndpoint, WireCounters};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::admission::Admission;
use super::mesh::Mesh;
use super::reader::Questions;
use super::shared::{Published, Shared};
use super::turn::Loop;
use super::verification::{Verification, run_checks};
use super::{Clock, Inbox, Wake, execution, reader, sync};
use crate::config::Config;
use crate::core::{
    Core, CoreOutputs, CoreSetup, Executor, LedgerRules, key_ring, protocol_parameters, records,
};
use crate::exit::{Exit, Failure};
use crate::home::Home;
use crate::http;
use crate::metrics::Metrics;
use crate::storage::{DirectoryLock, LockError, RocksStore};

/// How long queued frames have to leave when the process ends.
const LAST_FRAMES: Duration = Duration::from_secs(1);

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

/// A replica that runs in this process.
pub struct Node {
    inbox: Inbox,
    the_loop: JoinHandle<()>,
    beside: Vec<JoinHandle<()>>,
    gates: Vec<JoinHandle<()>>,
    stop_gates: watch::Sender<bool>,
    peers: Arc<PeerEndpoint>,
    clients: Arc<ClientListener>,
    http: http::Server,
    shared: Arc<Shared>,
    metrics: Metrics,
    me: ReplicaId,
    _lock: DirectoryLock,
}

impl Node {
    /// Opens the data, recovers, and begins to take part. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the data is in use, damaged or another chain's, or an address cannot be bound.
    pub async fn start(setup: NodeSetup) -> Result<Self, Failure> {
        let clock = Clock::start();
        let NodeSetup {
            home,
            config,
            genesis,
            vote_key,
            network_key,
        } = &setup;
        let replica = setup.replica()?;
        let me = ReplicaId::new(replica.id);
        std::fs::create_dir_all(home.data()).map_err(Failure::with(Exit::Data))?;
        let lock = DirectoryLock::take(&home.lock()).map_err(lock_failure)?;
        let store = open_store(home, config, genesis)?;

        let ring = Arc::new(key_ring(genesis).map_err(Failure::with(Exit::Config))?);
        let rules = Arc::new(LedgerRules::new(ring.chain, genesis.parameters.clone()));
        let verifier = Verifier::new(me, ring, protocol_parameters(genesis), Arc::clone(&rules) as _);
        let recovered = records::load(&*store, &genesis.chain_id()).map_err(store_failure)?;
        let (mut executor, start) = Executor::open(Arc::clone(&store), genesis).map_err(store_failure)?;
        executor.retain(config.storage.kept_blocks());
        let last_checkpoint = last_state_root(executor.ledger(), start.executed.checkpoint.0.get())?;
        let core_setup = CoreSetup {
            id: me,
            key: vote_key.clone(),
            genesis: Arc::clone(genesis),
            tuning: Tuning::from(&config.consensus),
            rules: Arc::clone(&rules),
        };
        let mut out = CoreOutputs::default();
        let core = Core::recover(core_setup, recovered, start, clock.now(), &mut out)
            .map_err(Failure::with(Exit::Config))?;

        let wire = Arc::new(WireCounters::new(
            others(genesis, me).map(|id| u32::from(id.get())),
        ));
        let metrics = Metrics::new(Arc::clone(&wire));
        let published = Published::of(&core, last_checkpoint);
        let ledger = LedgerStore::new(Arc::clone(&store), genesis);
        let shared = Shared::new(
            me,
            Arc::clone(genesis),
            clock,
            Arc::clone(&wire),
            ledger,
            published,
        );
        let shared = Arc::new(shared);

        let identity = Identity {
            id: u32::from(me.get()),
            network_secret: network_key.clone(),
            chain: genesis.chain_id(),
        };
        let bind = |error| Failure::new(Exit::Internal, error).hint("is another process using the port?");
        let http_address = config.http(replica).map_err(Failure::with(Exit::Config))?;
        let http = http::Server::bind(http_address, Arc::clone(&shared), metrics.clone()).await?;
        let listener_config = config
            .client_listener(replica)
            .map_err(Failure::with(Exit::Config))?;
        let (clients, client_events) =
            ClientListener::bind(listener_config, &identity, Arc::clone(&wire)).map_err(bind)?;
        let peer_config = config
            .peers(genesis, replica)
            .map_err(Failure::with(Exit::Config))?;
        let peer_infos = config.peer_infos(genesis).map_err(Failure::with(Exit::Config))?;
        let (peers, peer_events) =
            PeerEndpoint::bind(peer_config, &identity, peer_infos, wire).map_err(bind)?;
        let (peers, clients) = (Arc::new(peers), Arc::new(clients));

        let mesh = Mesh {
            endpoint: Arc::clone(&peers),
            others: others(genesis, me).collect(),
            metrics: metrics.clone(),
        };
        let (inbox, wakes) = mpsc::channel();
        let beside = Beside::start(BesideParts {
            store,
            executor,
            verifier: verifier.clone(),
            mesh: mesh.clone(),
            clients: Arc::clone(&clients),
            shared: Arc::clone(&shared),
            metrics: metrics.clone(),
            inbox: inbox.clone(),
        })?;
        let runtime = Handle::current();
        let stop_gates = watch::Sender::new(false);
        let verification = Verification {
            events: peer_events,
            runtime: runtime.clone(),
            stopping: stop_gates.subscribe(),
            verifier,
            mesh: mesh.clone(),
            inbox: inbox.clone(),
            metrics: metrics.clone(),
            strikes: BTreeMap::new(),
        };
        let admission = Admission {
            events: client_events,
            runtime,
            stopping: stop_gates.subscribe(),
            rules,
            chain: genesis.chain_id(),
            listener: Arc::clone(&clients),
            inbox: inbox.clone(),
            reader: beside.reader.clone(),
            metrics: metrics.clone(),
            max_strikes: config.clients.max_bad_signatures,
            strikes: BTreeMap::new(),
        };
        let gates = vec![
            thread("verifier", move || verification.run())?,
            thread("admission", move || admission.run())?,
        ];
        let the_loop = Loop {
            core,
            clock,
            inbox: wakes,
            mesh,
            listener: Arc::clone(&clients),
            sync: beside.sync,
            executor: beside.executor,
            checker: beside.checker,
            reader: beside.reader,
            questions: Questions::default(),
            shared: Arc::clone(&shared),
            metrics: metrics.clone(),
            synced: Ticket::default(),
        };
        let the_loop = thread("loop", move || the_loop.run(out))?;
        Ok(Self {
            inbox,
            the_loop,
            beside: beside.threads,
            gates,
            stop_gates,
            peers,
            clients,
            http,
            shared,
            metrics,
            me,
            _lock: lock,
        })
    }

    /// Which replica this is.
    pub fn id(&self) -> ReplicaId {
        self.me
    }

    /// What it shows of itself.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Its counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The addresses it is bound to: replicas, clients, HTTP.
    ///
    /// # Errors
    /// If the system cannot tell.
    pub fn addresses(&self) -> std::io::Result<(SocketAddr, SocketAddr, SocketAddr)> {
        Ok((
            self.peers.local_addr()?,
            self.clients.local_addr()?,
            self.http.address(),
        ))
    }

    /// Stops: no more steps, everything handed out to the disk is synced, connections are closed with `reason`.
    pub async fn stop(self, reason: &str) {
        let _ = self.inbox.send(Wake::Stop);
        join(vec![self.the_loop]).await;
        self.http.stop().await;
        self.clients.close(reason, LAST_FRAMES).await;
        self.peers.close(reason, LAST_FRAMES).await;
        self.stop_gates.send_replace(true);
        // The gates first: one of them holds a way to the reader.
        join(self.gates).await;
        join(self.beside).await;
    }
}

/// Waits for threads without holding up the runtime that some of them use.
async fn join(threads: Vec<JoinHandle<()>>) {
    let joined = tokio::task::spawn_blocking(move || {
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread had panicked");
            }
        }
    });
    if joined.await.is_err() {
        tracing::error!("waiting for the threads failed");
    }
}

fn others(genesis: &Genesis, me: ReplicaId) -> impl Iterator<Item = ReplicaId> {
    let all = genesis.replicas.iter().map(|replica| ReplicaId::new(replica.id));
    all.filter(move |id| *id != me)
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Failure> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(Failure::with(Exit::Internal))
}

/// Opens the database of a home. One without a ledger gets that of genesis, but not the record that its key has never
/// voted, which `init` alone writes: without it this replica is a learner.
fn open_store(home: &Home, config: &Config, genesis: &Genesis) -> Result<Arc<RocksStore>, Failure> {
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

/// The state root at a checkpoint.
fn last_state_root(ledger: &LedgerStore<Arc<RocksStore>>, height: u64) -> Result<(u64, Digest), Failure> {
    let header = ledger.header(height).map_err(store_failure)?;
    Ok((
        height,
        header
            .and_then(|header| header.state_root)
            .unwrap_or(Digest::ZERO),
    ))
}

/// What the threads beside the loop are made of.
struct BesideParts {
    store: Arc<RocksStore>,
    executor: Executor<Arc<RocksStore>>,
    verifier: Verifier,
    mesh: Mesh,
    clients: Arc<ClientListener>,
    shared: Arc<Shared>,
    metrics: Metrics,
    inbox: Inbox,
}

/// The threads that work for the loop, and the ways to them.
struct Beside {
    sync: Sender<sync::Group>,
    executor: Sender<execution::Job>,
    checker: Sender<tagma_pbft::io::Check>,
    reader: Sender<reader::Job>,
    threads: Vec<JoinHandle<()>>,
}

impl Beside {
    fn start(parts: BesideParts) -> Result<Self, Failure> {
        let BesideParts {
            store,
            executor,
            verifier,
            mesh,
            clients,
            shared,
            metrics,
            inbox,
        } = parts;
        let (sync, groups): (_, Receiver<sync::Group>) = mpsc::channel();
        let (executions, jobs) = mpsc::channel();
        let (checker, checks) = mpsc::channel();
        let (reader, questions) = mpsc::channel();
        let threads = vec![
            thread("sync", {
                let (inbox, metrics) = (inbox.clone(), metrics.clone());
                move || sync::run(&store, &groups, &inbox, &metrics)
            })?,
            thread("executor", {
                let (inbox, mesh) = (inbox.clone(), mesh.clone());
                {
                    let execute = execution::Execute {
                        executor,
                        inbox,
                        mesh,
                    };
                    move || execute.run(&jobs)
                }
            })?,
            thread("checker", move || {
                run_checks(&verifier, &checks, &inbox, &metrics)
            })?,
            thread("reader", move || {
                reader::run(&questions, &shared, &mesh, &clients)
            })?,
        ];
        Ok(Self {
            sync,
            executor: executions,
            checker,
            reader,
            threads,
        })
    }
}
