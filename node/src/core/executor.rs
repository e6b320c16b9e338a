//! Execution, beside the loop: what is final becomes a block, in order.

use std::collections::BTreeMap;

use tagma_crypto::encode::{Blob, encode};
use tagma_crypto::{Digest, List};
use tagma_ledger::store::{Durability, Store, StoreError};
use tagma_ledger::{
    Batch, BlockHeader, BlockParts, ExecContext, Genesis, LedgerStore, Parameters, Receipt, Snapshot, State,
    execute,
};
use tagma_pbft::{Execution, SeqNum, record};

use super::transfer::{StateQuestion, TransferEvent, TransferJob};

/// The ledger as of one block, for reads. Cheap to clone; it never changes.
#[derive(Clone, Debug)]
pub struct LedgerView {
    /// The header of the block.
    pub header: BlockHeader,
    /// Its hash.
    pub tip: Digest,
    /// The state after it.
    pub state: State,
}

/// A block that was executed.
#[derive(Clone, Debug)]
pub struct BlockDone {
    /// The ledger after it.
    pub view: Box<LedgerView>,
    /// One receipt for each request, in order.
    pub receipts: Vec<Receipt>,
    /// Whether this is a checkpoint, whose state is on disk.
    pub checkpoint: bool,
}

/// Where execution resumes.
#[derive(Clone, Debug)]
pub struct ExecutorStart {
    /// The ledger at the tip.
    pub view: LedgerView,
    /// What the protocol has to know of it.
    pub executed: record::Executed,
}

/// Executes blocks and keeps them.
pub struct Executor<S> {
    ledger: LedgerStore<S>,
    chain: Digest,
    parameters: Parameters,
    view: LedgerView,
    /// States of the last checkpoints, readable until later ones are stable.
    snapshots: BTreeMap<u64, Snapshot>,
    /// How many blocks below a checkpoint keep their bodies; all of them if none.
    retain: Option<u64>,
}

/// How many stable checkpoints' states stay readable: a transfer takes longer than a busy network needs for the next.
const READABLE_CHECKPOINTS: u64 = 4;

impl<S: Store> Executor<S> {
    /// Opens the ledger of a store: loads the last written state and executes the blocks above it again.
    ///
    /// # Errors
    /// If the store fails, or holds a damaged or foreign ledger.
    pub fn open(store: S, genesis: &Genesis) -> Result<(Self, ExecutorStart), StoreError> {
        let ledger = LedgerStore::new(store, genesis);
        let recovered = ledger.recover()?;
        if let Some(checkpoint) = &recovered.unwritten {
            ledger
                .store()
                .write(ledger.checkpoint_writes(checkpoint), Durability::Synced)?;
        }
        let view = LedgerView {
            tip: recovered.tip.digest(),
            header: recovered.tip,
            state: recovered.state,
        };
        let parameters = genesis.parameters.clone();
        let checkpoint = recovered.snapshot.header().clone();
        // Digests from two windows back: the protocol forgets nothing that h or the state on disk has not passed.
        let from = checkpoint.height.saturating_sub(2 * parameters.window);
        let count = view.header.height.saturating_sub(from).saturating_add(1);
        let headers = ledger.headers(from, usize::try_from(count).unwrap_or(usize::MAX), false)?;
        let above_genesis = || headers.iter().filter(|header| header.height > 0);
        let executed = record::Executed {
            tip: SeqNum::new(view.header.height),
            recent: above_genesis()
                .map(|header| (SeqNum::new(header.height), header.batch))
                .collect(),
            headers: above_genesis()
                .filter(|header| header.height.is_multiple_of(parameters.checkpoint_interval))
                .map(|header| (SeqNum::new(header.height), header.digest()))
                .collect(),
            checkpoint: (SeqNum::new(checkpoint.height), checkpoint.digest()),
        };
        let start = ExecutorStart {
            view: view.clone(),
            executed,
        };
        let snapshots = BTreeMap::from([(recovered.snapshot.height(), recovered.snapshot)]);
        let chain = genesis.chain_id();
        Ok((
            Self {
                ledger,
                chain,
                parameters,
                view,
                snapshots,
                retain: None,
            },
            start,
        ))
    }

    /// From now on only so many blocks below each checkpoint keep their bodies.
    pub fn retain(&mut self, blocks: Option<u64>) {
        self.retain = blocks;
    }

    /// The ledger as it is.
    pub fn view(&self) -> &LedgerView {
        &self.view
    }

    /// Whether the block at this height is a checkpoint, for which the state goes to disk.
    pub fn is_checkpoint(&self, seq: SeqNum) -> bool {
        seq.get().is_multiple_of(self.parameters.checkpoint_interval)
    }

    /// The store with the ledger's records.
    pub fn ledger(&self) -> &LedgerStore<S> {
        &self.ledger
    }

    /// The state at a checkpoint, if it is still readable.
    pub fn snapshot(&self, height: u64) -> Option<&Snapshot> {
        self.snapshots.get(&height)
    }

    /// The checkpoint at `height` is stable: states of much earlier ones need not be readable any more.
    pub fn on_stable(&mut self, height: u64) {
        let kept = (READABLE_CHECKPOINTS - 1).saturating_mul(self.parameters.checkpoint_interval);
        let newest = self.snapshots.last_key_value().map_or(0, |(height, _)| *height);
        // The newest one is what this replica's own accounts on disk are, and the base of its transfers.
        self.snapshots = self.snapshots.split_off(&height.saturating_sub(kept).min(newest));
    }

    /// A peer's question for a part of a state; none if it is not readable here.
    pub fn serve_state(&self, seq: SeqNum, question: &Blob) -> Option<Blob> {
        StateQuestion::read(question)?.answer(self.snapshots.get(&seq.get())?)
    }

    /// Does a transfer's work on the store.
    ///
    /// # Errors
    /// If the store fails; the caller must stop.
    pub fn transfer(&mut self, job: TransferJob) -> Result<Option<TransferEvent>, StoreError> {
        let Some((_, base)) = self.snapshots.last_key_value() else {
            return Ok(Some(TransferEvent::Failed));
        };
        match job {
            TransferJob::Begin(target) => {
                if self.ledger.staging_target()?.as_ref() != Some(&*target) {
                    self.ledger
                        .store()
                        .write(self.ledger.begin_staging(&target), Durability::Synced)?;
                }
                Ok(Some(TransferEvent::Missing(
                    self.ledger.missing_parts(&target, base)?,
                )))
            }
            TransferJob::Stage(part) => {
                self.ledger
                    .store()
                    .write(self.ledger.stage_part(&part), Durability::Buffered)?;
                Ok(None)
            }
            TransferJob::Finish(target) => {
                let Some((snapshot, writes)) = self.ledger.finish_staging(&target, base)? else {
                    return Ok(Some(TransferEvent::Failed));
                };
                self.ledger.store().write(writes, Durability::Synced)?;
                let header = snapshot.header().clone();
                self.view = LedgerView {
                    tip: header.digest(),
                    header,
                    state: snapshot.state().clone(),
                };
                self.snapshots.insert(snapshot.height(), snapshot);
                Ok(Some(TransferEvent::Installed(Box::new(self.view.clone()))))
            }
        }
    }

    /// Executes the next block and writes it with its receipts and its certificate in one batch; at a checkpoint with
    /// the state, and synced. Between checkpoints nothing is synced: f + 1 correct replicas hold body and certificate
    /// on disk, and execution is deterministic.
    ///
    /// # Errors
    /// If the store fails; the caller must stop.
    pub fn execute(&mut self, execution: &Execution) -> Result<BlockDone, StoreError> {
        let batch = execution.body.batch();
        let executed = execute(
            &self.view.state,
            &ExecContext {
                chain: self.chain,
                parameters: &self.parameters,
            },
            &self.view.header,
            &Batch {
                height: execution.seq.get(),
                digest: execution.body.digest(),
                time_ms: batch.time_ms,
                requests: &batch.requests,
                request_digests: execution.body.request_digests(),
            },
        );
        let receipts = List::from(executed.receipts);
        let certificate = Blob::from(encode(&execution.certificate));
        let block = BlockParts {
            header: &executed.header,
            proposed_time_ms: batch.time_ms,
            requests: &batch.requests,
            receipts: &receipts,
        };
        let mut writes = self.ledger.append_block(block, &certificate);
        let durability = match &executed.checkpoint {
            Some(checkpoint) => {
                writes.append(self.ledger.checkpoint_writes(checkpoint));
                if let Some(blocks) = self.retain {
                    let below = executed.header.height.saturating_sub(blocks);
                    writes.append(self.ledger.prune_writes(below)?);
                }
                Durability::Synced
            }
            None => Durability::Buffered,
        };
        self.ledger.store().write(writes, durability)?;
        let checkpoint = executed.checkpoint.is_some();
        if let Some(checkpoint) = executed.checkpoint {
            self.snapshots
                .insert(checkpoint.snapshot.height(), checkpoint.snapshot);
        }
        self.view = LedgerView {
            tip: executed.header.digest(),
            header: executed.header,
            state: executed.state,
        };
        Ok(BlockDone {
            view: Box::new(self.view.clone()),
            receipts: receipts.into_vec(),
            checkpoint,
        })
    }
}
