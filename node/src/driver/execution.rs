//! Blocks, executed in order beside the loop, and what else needs the executor's states.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use tagma_crypto::Blob;
use tagma_ledger::store::StoreError;
use tagma_pbft::{Execution, Message, Recipient, ReplicaId, SeqNum};

use super::mesh::Mesh;
use super::reader::Place;
use super::{Inbox, Wake, fatal};
use crate::core::{CoreInput, Executor, TransferJob};
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

/// The thread that executes.
pub(super) struct Execute {
    pub(super) executor: Executor<Arc<RocksStore>>,
    pub(super) inbox: Inbox,
    pub(super) mesh: Mesh,
}

impl Execute {
    /// Executes until the loop is gone.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            if let Err(error) = self.work(job) {
                fatal::storage(&error);
            }
        }
    }

    fn work(&mut self, job: Job) -> Result<(), StoreError> {
        let input = match job {
            Job::Execute(execution) => CoreInput::Executed(self.executor.execute(&execution)?),
            Job::Transfer(job) => match self.executor.transfer(job)? {
                Some(event) => CoreInput::Transfer(event),
                None => return Ok(()),
            },
            Job::Stable(height) => {
                self.executor.on_stable(height);
                return Ok(());
            }
            Job::ServeState {
                to,
                seq,
                part,
                _place,
            } => {
                let data = self.executor.serve_state(seq, &part);
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
