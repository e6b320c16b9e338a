//! The threads that work for the loop.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use tagma_pbft::Verifier;
use tagma_pbft::io::Check;

use super::clients::Clients;
use super::mesh::Mesh;
use super::shared::Shared;
use super::verification::run_checks;
use super::{Inbox, execution, reader, sync};
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
}

/// The threads that work for the loop, and the ways to them.
pub(super) struct Beside {
    pub(super) sync: Sender<sync::Group>,
    pub(super) executor: Sender<execution::Job>,
    pub(super) checker: Sender<Check>,
    pub(super) reader: Sender<reader::Job>,
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
        } = parts;
        let (sync, groups): (_, Receiver<sync::Group>) = mpsc::channel();
        let (executions, jobs) = mpsc::channel();
        let (checker, checks) = mpsc::channel();
        let (reader, questions) = mpsc::channel();
        let threads = vec![
            thread("sync", {
                let (inbox, metrics) = (inbox.clone(), metrics.clone());
                let interposer = mesh.interposer.clone();
                let syncing = move || {
                    if let Some(interposer) = &interposer {
                        interposer.syncing();
                    }
                };
                move || sync::run(&*store, &groups, &inbox, &metrics, syncing)
            })?,
            thread("executor", {
                let (inbox, mesh) = (inbox.clone(), mesh.clone());
                let execute = execution::Execute {
                    executor,
                    inbox,
                    mesh,
                };
                move || execute.run(&jobs)
            })?,
            thread("checker", move || {
                run_checks(&verifier, &checks, &inbox, &metrics);
            })?,
            thread("reader", move || {
                reader::run(&questions, &shared, &mesh, &clients);
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

/// Starts a thread with a name that shows in tools.
pub(super) fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Failure> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(Failure::with(Exit::Internal))
}
