//! A running replica: what `start` opens, and what `stop` closes, in that order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tagma_crypto::{Digest, KnownSignatures};
use tagma_evidence::Judge;
use tagma_ledger::{Genesis, LedgerStore};
use tagma_pbft::{ReplicaId, Ticket, Verifier};
use tagma_wire::{ClientEvents, ClientListener, Identity, PeerEndpoint, PeerEvents, PeerInfo, WireCounters};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle as Task;

use super::admission::Admission;
use super::beside::{Beside, BesideParts, thread};
use super::clients::Clients;
use super::company::Company;
use super::interposer::{Interposer, Wire};
use super::mesh::Mesh;
use super::phases::Phases;
use super::quota::Quotas;
use super::reader::Questions;
use super::setup::{NodeSetup, lock_failure, open_store, store_failure};
use super::shared::{Published, Shared};
use super::turn::Loop;
use super::verification::{self, Verification};
use super::views::SyncedViews;
use super::{Clock, Inbox, Wake, gate};
use crate::config::ConfigError;
use crate::core::{
    Core, CoreOutputs, CoreSetup, Executor, LedgerRules, key_ring, protocol_parameters, records,
};
use crate::exit::{Exit, Failure};
use crate::http;
use crate::metrics::Metrics;
use crate::storage::{DirectoryLock, RocksStore};

/// How long queued frames have to leave when the process ends.
const LAST_FRAMES: Duration = Duration::from_secs(1);

/// How many signatures of replicas each of the two generations of the memory holds, about 50 bytes each: all votes of several
/// windows of a large network.
const KNOWN_SIGNATURES: usize = 1 << 15;

/// A replica that runs in this process.
pub struct Node {
    /// The thread of the sockets and the loop.
    io: IoThread,
    inbox: Inbox,
    the_loop: Task<()>,
    gates: Vec<Task<()>>,
    beside: Vec<JoinHandle<()>>,
    stop_gates: watch::Sender<bool>,
    peers: Arc<PeerEndpoint>,
    clients: Arc<ClientListener>,
    http: http::Server,
    shared: Arc<Shared>,
    metrics: Metrics,
    _lock: DirectoryLock,
}

impl Node {
    /// Opens the data, recovers, and begins to take part. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the data is in use, damaged or another chain's, or an address cannot be bound.
    pub async fn start(setup: NodeSetup) -> Result<Self, Failure> {
        Self::start_with(setup, None).await
    }

    /// As [`Node::start`], with somebody between the replica and its sockets.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_behind(setup: NodeSetup, interposer: Arc<dyn Interposer>) -> Result<Self, Failure> {
        Self::start_with(setup, Some(interposer)).await
    }

    async fn start_with(setup: NodeSetup, interposer: Option<Arc<dyn Interposer>>) -> Result<Self, Failure> {
        let Opened {
            lock,
            store,
            core,
            out,
            executor,
            verifier,
            rules,
            checkpoint,
            clock,
        } = open(&setup)?;
        let NodeSetup {
            home,
            config,
            genesis,
            ..
        } = &setup;
        let me = core.replica().id();
        let wire = Arc::new(WireCounters::new(
            others(genesis, me).map(|id| u32::from(id.get())),
        ));
        let metrics = Metrics::new(Arc::clone(&wire));
        let published = Published::of(&core, checkpoint);
        // Before anybody can ask for them.
        published.count(&metrics);
        let views = SyncedViews::new((published.view, published.target, published.primary));
        let ledger = LedgerStore::new(Arc::clone(&store), genesis);
        let found = records::evidence(&*store).map_err(store_failure)?;
        let judge = Judge::new(genesis).map_err(Failure::with(Exit::Config))?;
        let shared = Shared::new(
            (me, setup.vote_key.clone()),
            Arc::clone(genesis),
            judge.clone(),
            clock,
            Arc::clone(&wire),
            ledger,
            published,
        );
        let shared = Arc::new(shared);
        let io = IoThread::start()?;
        let sockets = Sockets::bind(io.runtime(), &setup, &shared, &metrics, &wire).await?;
        let Sockets {
            http,
            clients,
            client_events,
            peers,
            peer_events,
        } = sockets;

        let mesh = Mesh {
            endpoint: Arc::clone(&peers),
            others: others(genesis, me).collect(),
            metrics: metrics.clone(),
            interposer: interposer.clone(),
            asked: Arc::default(),
        };
        if let Some(interposer) = &interposer {
            interposer.started(Wire(mesh.clone()));
        }
        let answers = Clients::new(Arc::clone(&clients), interposer);
        let (inbox, wakes) = mpsc::unbounded_channel();
        let mut beside = Beside::start(BesideParts {
            judge,
            evidence: home.evidence(),
            transcript: config
                .transcript
                .enabled
                .then(|| (home.transcript(), config.transcript.max_bytes.0 as u64)),
            store,
            executor,
            verifier: verifier.clone(),
            mesh: mesh.clone(),
            clients: answers.clone(),
            shared: Arc::clone(&shared),
            metrics: metrics.clone(),
            inbox: inbox.clone(),
        })?;
        for evidence in found {
            let _ = beside.evidence.send(evidence);
        }
        let stop_gates = watch::Sender::new(false);
        let quorum = verifier.ring().quorum;
        let verification = Verification {
            verifier,
            mesh: mesh.clone(),
            inbox: inbox.clone(),
            transcript: beside.transcript.clone(),
            metrics: metrics.clone(),
            quotas: Mutex::new(Quotas::new(genesis.parameters.window, shared.published().place())),
            shared: Arc::clone(&shared),
            company: Mutex::new(Company::new(me, quorum)),
            held: Notify::new(),
            strikes: Mutex::new(BTreeMap::new()),
        };
        let admission = Admission {
            rules,
            chain: genesis.chain_id(),
            clients: answers.clone(),
            inbox: inbox.clone(),
            reader: beside.client_reader,
            metrics: metrics.clone(),
            shared: Arc::clone(&shared),
            max_strikes: config.clients.max_bad_signatures,
            conduct: Mutex::new(BTreeMap::new()),
        };
        let (verification, admission) = (Arc::new(verification), Arc::new(admission));
        let (verifying, verify) = gate::beside(Arc::clone(&verification));
        let (admitting, admit) = gate::beside(Arc::clone(&admission));
        beside.threads.push(thread("verifier", verify)?);
        beside.threads.push(thread("admission", admit)?);
        let stopping = || stop_gates.subscribe();
        let gates = vec![
            io.runtime()
                .spawn(verification::dismiss(Arc::clone(&verification), stopping())),
            io.runtime()
                .spawn(gate::run(peer_events, verification, verifying, stopping())),
            io.runtime()
                .spawn(gate::run(client_events, admission, admitting, stopping())),
        ];
        let the_loop = Loop {
            core,
            clock,
            mesh,
            clients: answers,
            disk: beside.disk,
            sync: beside.sync,
            executor: beside.executor,
            checker: beside.checker,
            reader: beside.peer_reader,
            evidence: beside.evidence,
            transcript: beside.transcript,
            questions: Questions::default(),
            shared: Arc::clone(&shared),
            metrics: metrics.clone(),
            phases: Phases::new(metrics.clone()),
            synced: Ticket::default(),
            issued: Ticket::default(),
            views,
            checkpoint,
        };
        let the_loop = io.runtime().spawn(the_loop.run(wakes, out));
        Ok(Self {
            io,
            inbox,
            the_loop,
            gates,
            beside: beside.threads,
            stop_gates,
            peers,
            clients,
            http,
            shared,
            metrics,
            _lock: lock,
        })
    }

    /// Which replica this is.
    pub fn id(&self) -> ReplicaId {
        self.shared.me()
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

    /// Has other replicas dialed where `peers` says from now on. Connections to other addresses are given up for it.
    pub fn move_peers(&self, peers: &[PeerInfo]) {
        for peer in peers {
            self.peers.move_peer(peer.id, peer.address);
        }
    }

    /// Stops: no more steps, everything handed out to the disk is synced, connections are closed with `reason`.
    pub async fn stop(self, reason: &str) {
        let _ = self.inbox.send(Wake::Stop);
        joined(self.the_loop).await;
        tokio::join!(
            self.http.stop(),
            self.clients.close(reason, LAST_FRAMES),
            self.peers.close(reason, LAST_FRAMES),
        );
        self.stop_gates.send_replace(true);
        for gate in self.gates {
            joined(gate).await;
        }
        join(self.beside).await;
        drop(self.io);
    }
}

/// The runtime of the one thread that reads and writes the sockets and runs the loop.
struct IoThread(Option<Runtime>);

impl IoThread {
    fn start() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("loop")
            .enable_all()
            .build()
            .map_err(Failure::with(Exit::Internal))?;
        Ok(Self(Some(runtime)))
    }

    fn runtime(&self) -> &Runtime {
        let Self(runtime) = self;
        assert!(runtime.is_some(), "the runtime lives as long as this");
        #[allow(clippy::unwrap_used, reason = "asserted above")]
        runtime.as_ref().unwrap()
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        // A runtime that is dropped waits for its threads, which must not happen on another runtime's.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

async fn joined(task: Task<()>) {
    if task.await.is_err() {
        tracing::error!("a task had panicked");
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

/// What a recovered replica is made of, before it has sockets.
struct Opened {
    lock: DirectoryLock,
    store: Arc<RocksStore>,
    core: Core,
    /// What the recovery asks for.
    out: CoreOutputs,
    executor: Executor<Arc<RocksStore>>,
    verifier: Verifier,
    rules: Arc<LedgerRules>,
    /// Height and state root of the last checkpoint.
    checkpoint: (u64, Digest),
    clock: Clock,
}

fn open(setup: &NodeSetup) -> Result<Opened, Failure> {
    let clock = Clock::start();
    let NodeSetup {
        home,
        config,
        genesis,
        vote_key,
        ..
    } = setup;
    let id = ReplicaId::new(setup.replica()?.id);
    std::fs::create_dir_all(home.data()).map_err(Failure::with(Exit::Data))?;
    let lock = DirectoryLock::take(&home.lock()).map_err(lock_failure)?;
    let store = open_store(home, config, genesis)?;
    let ring = Arc::new(key_ring(genesis).map_err(Failure::with(Exit::Config))?);
    let rules = Arc::new(LedgerRules::new(ring.chain, genesis.parameters.clone()));
    let known = Arc::new(KnownSignatures::new(KNOWN_SIGNATURES));
    let verifier = Verifier::new(id, ring, protocol_parameters(genesis), Arc::clone(&rules) as _)
        .remembering(Arc::clone(&known));
    let recovered = records::load(&*store, &genesis.chain_id()).map_err(store_failure)?;
    let (mut executor, start) = Executor::open(Arc::clone(&store), genesis).map_err(store_failure)?;
    executor.retain(config.storage.kept_blocks());
    let checkpoint = last_state_root(executor.ledger(), start.executed.checkpoint.0.get())?;
    let core_setup = CoreSetup {
        id,
        key: vote_key.clone().remembering(known),
        genesis: Arc::clone(genesis),
        tuning: config.consensus.tuning(genesis.parameters.window),
        rules: Arc::clone(&rules),
    };
    let mut out = CoreOutputs::default();
    let core = Core::recover(core_setup, recovered, start, clock.now(), &mut out)
        .map_err(Failure::with(Exit::Config))?;
    Ok(Opened {
        lock,
        store,
        core,
        out,
        executor,
        verifier,
        rules,
        checkpoint,
        clock,
    })
}

/// The state root at a checkpoint.
fn last_state_root(ledger: &LedgerStore<Arc<RocksStore>>, height: u64) -> Result<(u64, Digest), Failure> {
    let header = ledger.header(height).map_err(store_failure)?;
    let root = header.and_then(|header| header.state_root);
    Ok((height, root.unwrap_or(Digest::ZERO)))
}

/// A replica's three sockets.
struct Sockets {
    http: http::Server,
    clients: Arc<ClientListener>,
    client_events: ClientEvents,
    peers: Arc<PeerEndpoint>,
    peer_events: PeerEvents,
}

impl Sockets {
    async fn bind(
        io: &Runtime,
        setup: &NodeSetup,
        shared: &Arc<Shared>,
        metrics: &Metrics,
        wire: &Arc<WireCounters>,
    ) -> Result<Self, Failure> {
        let NodeSetup {
            config,
            genesis,
            network_key,
            ..
        } = setup;
        let replica = setup.replica()?;
        let identity = Identity {
            id: u32::from(replica.id),
            network_secret: network_key.clone(),
            chain: genesis.chain_id(),
        };
        let failed = |error| Failure::new(Exit::Internal, error).hint("is another process using the port?");
        let config_failure = Failure::with::<ConfigError>;
        let address = config.http(replica).map_err(config_failure(Exit::Config))?;
        let http = http::Server::bind(address, Arc::clone(shared), metrics.clone()).await?;
        let listener = config
            .client_listener(replica)
            .map_err(config_failure(Exit::Config))?;
        // What they spawn and poll belongs to that thread.
        let _there = io.enter();
        let (clients, client_events) =
            ClientListener::bind(listener, &identity, Arc::clone(wire)).map_err(failed)?;
        let peer_config = config
            .peers(genesis, replica)
            .map_err(config_failure(Exit::Config))?;
        let infos = config.peer_infos(genesis).map_err(config_failure(Exit::Config))?;
        let (peers, peer_events) =
            PeerEndpoint::bind(peer_config, &identity, infos, Arc::clone(wire)).map_err(failed)?;
        Ok(Self {
            http,
            clients: Arc::new(clients),
            client_events,
            peers: Arc::new(peers),
            peer_events,
        })
    }
}
