//! Blocks, executed in order, beside the loop unless they are small, and what else needs the executor's states.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tagma_crypto::Blob;
use tagma_ledger::store::StoreError;
use tagma_pbft::{Execution, Message, Recipient, ReplicaId, SeqNum};

use super::mesh::Mesh;
use super::reader::Place;
use super::{Inbox, Wake, fatal};
use crate::core::{BlockDone, CoreInput, Executor, TransferJob};
use crate::storage::RocksStore;

/// Something for the executor.
pub(super) enum Job {
    /// The next block.
    Execute(Execution),
    /// The checkpoint at this height is stable.
    Stable(u64),
    /// A transfer's work.
    Transfer(TransferJob),
    /// A peer's question for a part of the state at a checkpoint.
    ServeState {
        to: ReplicaId,
        seq: SeqNum,
        part: Blob,
        _place: Place,
    },
}

/// While a block takes no longer than this, it costs less than to wake another thread for it and to be woken by that.
const QUICK: Duration = Duration::from_millis(1);
/// Most requests of a block that the loop executes.
const FEW: usize = 4;

/// What the loop and the executor's thread share.
pub(super) struct Shared {
    executor: Mutex<Executor<Arc<RocksStore>>>,
    /// Jobs handed to the thread and not done yet.
    waiting: AtomicUsize,
    /// Whether the last block was executed quickly.
    quick: AtomicBool,
}

impl Shared {
    pub(super) fn new(executor: Executor<Arc<RocksStore>>) -> Self {
        Self {
            executor: Mutex::new(executor),
            waiting: AtomicUsize::new(0),
            quick: AtomicBool::new(false),
        }
    }

    fn execute(&self, execution: &Execution) -> BlockDone {
        let begun = Instant::now();
        match self.executor().execute(execution) {
            Ok(done) => {
                self.quick.store(begun.elapsed() <= QUICK, Ordering::Relaxed);
                done
            }
            Err(error) => fatal::storage(&error),
        }
    }

    // After a panic on a half executed block nothing must be executed any more.
    fn executor(&self) -> MutexGuard<'_, Executor<Arc<RocksStore>>> {
        match self.executor.lock() {
            Ok(executor) => executor,
            Err(_) => fatal::storage(&StoreError::Io {
                operation: "execution",
                cause: "an earlier block panicked".to_owned(),
            }),
        }
    }
}

/// The loop's way to the executor.
pub(super) struct Executing {
    pub(super) jobs: Sender<Job>,
    pub(super) shared: Arc<Shared>,
}

impl Executing {
    /// Has the thread do this after all that was handed to it before.
    pub(super) fn hand(&self, job: Job) {
        self.shared.waiting.fetch_add(1, Ordering::AcqRel);
        // The thread ends after the loop.
        let _ = self.jobs.send(job);
    }

    /// Executes a small block here if that takes no longer than to wake the thread; else hands it to the thread. A block that
    /// turns out to take long, because the disk is stalled, holds up the loop once.
    pub(super) fn execute(&self, execution: Execution) -> Option<BlockDone> {
        let shared = &self.shared;
        let here = execution.body.batch().requests.len() <= FEW
            && shared.waiting.load(Ordering::Acquire) == 0
            && shared.quick.load(Ordering::Relaxed)
            && !shared.executor().is_checkpoint(execution.seq);
        if here {
            Some(shared.execute(&execution))
        } else {
            self.hand(Job::Execute(execution));
            None
        }
    }
}

/// The thread that executes.
pub(super) struct Execute {
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Inbox,
    pub(super) mesh: Mesh,
}

impl Execute {
    /// Executes until the loop is gone.
    pub(super) fn run(&self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            if let Err(error) = self.work(job) {
                fatal::storage(&error);
            }
            // Only now: what the loop does by itself must come after what this sent to its inbox.
            self.shared.waiting.fetch_sub(1, Ordering::Release);
        }
    }

    fn work(&self, job: Job) -> Result<(), StoreError> {
        let input = match job {
            Job::Execute(execution) => CoreInput::Executed(self.shared.execute(&execution)),
            Job::Transfer(job) => match self.shared.executor().transfer(job)? {
                Some(event) => CoreInput::Transfer(event),
                None => return Ok(()),
            },
            Job::Stable(height) => {
                self.shared.executor().on_stable(height);
                return Ok(());
            }
            Job::ServeState {
                to,
                seq,
                part,
                _place,
            } => {
                let data = self.shared.executor().serve_state(seq, &part);
                let message = Arc::new(Message::StatePart { seq, part, data });
                self.mesh.send(Recipient::One(to), &message);
                return Ok(());
            }
        };
        // The loop may be gone already; what was executed is stored all the same.
        let _ = self.inbox.send(Wake::Input(input, None));
        Ok(())
    }
}
