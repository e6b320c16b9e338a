//! Blocks, executed in order, beside the loop unless they are small, and what else needs the executor's states.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tagma_crypto::Blob;
use tagma_ledger::store::{Store, StoreError};
use tagma_pbft::{Execution, Message, Recipient, ReplicaId, SeqNum};

use super::mesh::Mesh;
use super::reader::Place;
use super::sync::QUICK;
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

/// Most requests of a block that the loop executes.
const FEW: usize = 4;

/// What the loop and the executor's thread share.
pub(super) struct Shared<S> {
    executor: Mutex<Executor<S>>,
    /// Jobs handed to the thread and not done yet.
    waiting: AtomicUsize,
    /// Whether the last block was executed quickly.
    quick: AtomicBool,
}

impl<S: Store> Shared<S> {
    pub(super) fn new(executor: Executor<S>) -> Self {
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
    fn executor(&self) -> MutexGuard<'_, Executor<S>> {
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
pub(super) struct Executing<S> {
    pub(super) jobs: Sender<Job>,
    pub(super) shared: Arc<Shared<S>>,
}

impl<S: Store> Executing<S> {
    /// Has the thread do this after all that was handed to it before.
    pub(super) fn hand(&self, job: Job) {
        self.shared.waiting.fetch_add(1, Ordering::AcqRel);
        // The thread ends after the loop.
        let _ = self.jobs.send(job);
    }

    /// Whether the thread has done all that was handed to it. What it has to say of that is in the inbox then.
    pub(super) fn is_idle(&self) -> bool {
        self.shared.waiting.load(Ordering::Acquire) == 0
    }

    /// Executes a small block here if that costs less than to wake the thread; else hands it to the thread, as it does with
    /// checkpoints, which are synced. A block that turns out to take long, because the disk is stalled, holds up the loop once.
    pub(super) fn execute(&self, execution: Execution) -> Option<BlockDone> {
        let shared = &self.shared;
        let here = execution.body.batch().requests.len() <= FEW
            && self.is_idle()
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
    pub(super) shared: Arc<Shared<Arc<RocksStore>>>,
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
            // Only now: who finds this idle finds what it sent in the inbox.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use std::sync::mpsc::channel;

    use tagma_crypto::{Digest, Domain, List, SecretKey, Text};
    use tagma_ledger::store::{Durability, MemoryStore};
    use tagma_ledger::{Genesis, LedgerStore, Parameters};
    use tagma_pbft::certificate::CommitCertificate;
    use tagma_pbft::{Batch, Body, Request, View};

    use super::*;

    fn executing() -> (Executing<Arc<MemoryStore>>, Receiver<Job>) {
        let parameters = Parameters {
            checkpoint_interval: 4,
            window: 8,
            ..Parameters::default()
        };
        let genesis = Genesis {
            chain_name: Text::from("test".to_owned()),
            time_ms: 1,
            replicas: List::default(),
            accounts: List::default(),
            parameters,
        };
        let store = Arc::new(MemoryStore::new());
        let writes = LedgerStore::new(Arc::clone(&store), &genesis).init_writes(&genesis);
        store.write(writes, Durability::Synced).unwrap();
        let (executor, _) = Executor::open(store, &genesis).unwrap();
        let (jobs, handed) = channel();
        let shared = Arc::new(Shared::new(executor));
        (Executing { jobs, shared }, handed)
    }

    /// A block of requests that have no effect.
    fn block(seq: u64, requests: usize) -> Execution {
        let key = SecretKey::from_seed([7; 32]);
        let domain = Domain::new("tagma/test");
        let request = |number: usize| {
            let payload = [seq, number as u64].map(u64::to_le_bytes).concat();
            Request {
                signature: key.sign(domain, &Digest::ZERO, &payload),
                content: payload.into(),
            }
        };
        let batch = Batch {
            time_ms: 1 + seq,
            requests: (0..requests).map(request).collect::<Vec<_>>().into(),
        };
        let body = Body::new(&Digest::ZERO, batch);
        let seq = SeqNum::new(seq);
        let certificate = CommitCertificate {
            view: View::ZERO,
            seq,
            digest: body.digest(),
            commits: List::default(),
        };
        Execution {
            seq,
            body,
            certificate,
        }
    }

    /// What the executor's thread does with one job.
    fn work(executing: &Executing<Arc<MemoryStore>>, handed: &Receiver<Job>) {
        let Ok(Job::Execute(execution)) = handed.try_recv() else {
            unreachable!("a block was handed on")
        };
        executing.shared.execute(&execution);
        executing.shared.waiting.fetch_sub(1, Ordering::Release);
        // Whatever else this machine does.
        executing.shared.quick.store(true, Ordering::Relaxed);
    }

    #[test]
    fn small_blocks_are_executed_here_and_others_beside() {
        let (executing, handed) = executing();
        let height =
            |executing: &Executing<Arc<MemoryStore>>| executing.shared.executor().view().header.height;
        assert!(
            executing.execute(block(1, 1)).is_none(),
            "nothing is known of the disk yet"
        );
        work(&executing, &handed);
        assert!(executing.execute(block(2, FEW)).is_some());
        assert!(executing.execute(block(3, FEW + 1)).is_none(), "it is not small");
        work(&executing, &handed);
        assert!(executing.execute(block(4, 1)).is_none(), "it is a checkpoint");
        assert_eq!(height(&executing), 3);
        assert!(
            executing.execute(block(5, 1)).is_none(),
            "it must not overtake the one that was handed on"
        );
        work(&executing, &handed);
        work(&executing, &handed);
        executing.shared.quick.store(false, Ordering::Relaxed);
        assert!(executing.execute(block(6, 1)).is_none(), "the last one took long");
        work(&executing, &handed);
        assert!(executing.execute(block(7, 1)).is_some());
        assert_eq!(height(&executing), 7);
        assert!(handed.try_recv().is_err());
    }
}
