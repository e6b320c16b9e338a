//! The threads that work for the loop.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use tagma_evidence::Judge;
use tagma_pbft::Verifier;
use tagma_pbft::evidence::Evidence;
use tagma_pbft::io::Check;

use super::clients::Clients;
use super::mesh::Mesh;
use super::reader::{self, ClientQuestion, PeerQuestion};
use super::shared::Shared;
use super::sync::Disk;
use super::transcript::Transcript;
use super::verification::run_checks;
use super::{Inbox, evidence, execution, sync};
use crate::core::Executor;
use crate::exit::{Exit, Failure};
use crate::metrics::Metrics;
use crate::storage::RocksStore;

/// What the threads beside the loop are made of.
pub(super) struct BesideParts {
    pub(super) store: Arc<RocksStore>,
    pub(super) executor: Executor<Arc<RocksStore>>,
    pub(super) verifier: Verifier,
    pub(super) mesh: Mesh,
    pub(super) clients: Clients,
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: Metrics,
    pub(super) inbox: Inbox,
    pub(super) judge: Judge,
    /// Where files of evidence go.
    pub(super) evidence: PathBuf,
    /// Where the transcript goes, and the bytes it may take, if one is kept.
    pub(super) transcript: Option<(PathBuf, u64)>,
}

/// The threads that work for the loop, and the ways to them.
pub(super) struct Beside {
    pub(super) disk: Arc<Disk<Arc<RocksStore>>>,
    pub(super) sync: Sender<sync::Group>,
    pub(super) executor: execution::Executing<Arc<RocksStore>>,
    pub(super) checker: Sender<Check>,
    pub(super) peer_reader: Sender<PeerQuestion>,
    pub(super) client_reader: Sender<ClientQuestion>,
    pub(super) evidence: Sender<Evidence>,
    pub(super) transcript: Transcript,
    pub(super) threads: Vec<JoinHandle<()>>,
}

impl Beside {
    pub(super) fn start(parts: BesideParts) -> Result<Self, Failure> {
        let BesideParts {
            store,
            executor,
            verifier,
            mesh,
            clients,
            shared,
            metrics,
            inbox,
            judge,
            evidence: directory,
            transcript,
        } = parts;
        let (sync, groups): (_, Receiver<sync::Group>) = mpsc::channel();
        let (executions, jobs) = mpsc::channel();
        let (checker, checks) = mpsc::channel();
        let (peer_reader, of_peers) = mpsc::channel();
        let (client_reader, of_clients) = mpsc::channel();
        let (evidence, found) = mpsc::channel();
        let mut recorder = None;
        let transcript = match transcript {
            None => Transcript::none(metrics.clone()),
            Some((directory, max_bytes)) => {
                let (transcript, entries) = Transcript::new(metrics.clone());
                recorder = Some(thread("transcript", move || {
                    super::transcript::run(&directory, max_bytes, &entries);
                })?);
                transcript
            }
        };
        let disk = Disk::new(store, metrics.clone(), {
            let interposer = mesh.interposer.clone();
            move || {
                if let Some(interposer) = &interposer {
                    interposer.syncing();
                }
            }
        });
        let disk = Arc::new(disk);
        let executing = execution::Executing {
            jobs: executions,
            shared: Arc::new(execution::Shared::new(executor)),
        };
        let mut threads = vec![
            thread("sync", {
                let (disk, inbox) = (Arc::clone(&disk), inbox.clone());
                move || sync::run(&disk, &groups, &inbox)
            })?,
            thread("executor", {
                let (inbox, mesh) = (inbox.clone(), mesh.clone());
                let execute = execution::Execute {
                    shared: Arc::clone(&executing.shared),
                    inbox,
                    mesh,
                };
                move || execute.run(&jobs)
            })?,
            thread("checker", move || {
                run_checks(&verifier, &checks, &inbox, &metrics);
            })?,
            thread("peer-reader", {
                let shared = Arc::clone(&shared);
                move || reader::answer_peers(&of_peers, &shared, &mesh)
            })?,
            thread("client-reader", move || {
                reader::answer_clients(&of_clients, &shared, &clients);
            })?,
            thread("evidence", move || {
                evidence::run(&judge, &directory, &found);
            })?,
        ];
        threads.extend(recorder);
        Ok(Self {
            disk,
            sync,
            executor: executing,
            checker,
            peer_reader,
            client_reader,
            evidence,
            transcript,
            threads,
        })
    }
}

/// Starts a thread with a name that shows in tools.
pub(super) fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Failure> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(Failure::with(Exit::Internal))
}
