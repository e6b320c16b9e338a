//! A machine of the cluster: a disk, and the replica process that may run on it.

use std::collections::VecDeque;
use std::sync::Arc;

use tagma_crypto::Blob;
use tagma_ledger::LedgerStore;
use tagma_ledger::store::{Durability, MemoryStore, Store, StoreError, WriteBatch};
use tagma_node::core::{Core, CoreOutputs, CoreSetup, Executor, TransferJob, records};
use tagma_pbft::record::Record;
use tagma_pbft::{Execution, Now, Replica, ReplicaId, SeqNum, Standing, Ticket, Time};

use crate::byzantine::Behaviour;
use crate::chain::{Chain, EPOCH_MS};
use crate::disk::Disk;
use crate::time::MILLI;

/// Why a host is not expected to behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It runs a behaviour.
    Byzantine,
    /// It shares its key with another host.
    Twin,
    /// Its disk was wiped.
    Amnesiac,
}

/// A machine.
pub struct Host {
    /// Its place among hosts.
    pub index: usize,
    /// Which replica it is; twins are the same.
    pub id: ReplicaId,
    /// Its disk.
    pub disk: Disk,
    /// What runs on it, if it is up.
    pub process: Option<Process>,
    /// Counts its starts and crashes: what was meant for an earlier process is nobody's.
    pub incarnation: u64,
    /// Why it counts among the f, if it does.
    pub fault: Option<Fault>,
    /// What it does instead of what its core says.
    pub behaviours: Vec<Box<dyn Behaviour>>,
    /// How far its wall clock is off, milliseconds.
    pub skew_ms: i64,
    /// Nothing happens on it before this time.
    pub paused_until: u64,
    /// Boundaries (before a sync, after it, before each message) passed since the start.
    pub boundaries: u64,
    /// The boundary at which the power fails.
    pub crash_at: Option<u64>,
    /// Its disk was wiped and says so: it is a learner, and may sign nothing.
    pub never_signs: bool,
    /// It stays down when everything else heals.
    pub stays_down: bool,
}

/// Something for the executor, in the order of the real one's queue.
pub enum Job {
    /// The next block.
    Execute(Execution),
    /// The checkpoint at this height is stable.
    Stable(u64),
    /// A transfer's work.
    Transfer(TransferJob),
    /// A peer's question for a part of a state.
    ServeState {
        /// Who asks.
        to: ReplicaId,
        /// The checkpoint.
        seq: SeqNum,
        /// The question.
        part: Blob,
    },
}

/// A running replica.
pub struct Process {
    /// The core.
    pub core: Core,
    /// Executes blocks.
    pub executor: Executor<MemoryStore>,
    /// What the steps of the current turn ask for.
    pub out: CoreOutputs,
    /// The end of the turn is scheduled.
    pub turning: bool,
    /// The earliest wake-up that is scheduled.
    pub wake: Option<u64>,
    /// Everything up to this ticket is on disk.
    pub synced: Ticket,
    /// Groups that wait for the disk.
    pub groups: VecDeque<(Vec<Record>, Ticket)>,
    /// What is being synced.
    pub syncing: Option<(WriteBatch, Ticket)>,
    /// What waits for the executor.
    pub jobs: VecDeque<Job>,
    /// The executor is at work.
    pub executing: bool,
}

impl Host {
    /// A machine with the disk of a replica that has never voted.
    ///
    /// # Panics
    /// If the store in memory fails, which it cannot.
    #[must_use]
    pub fn new(index: usize, id: ReplicaId, chain: &Chain) -> Self {
        let host = Self {
            index,
            id,
            disk: Disk::new(),
            process: None,
            incarnation: 0,
            fault: None,
            behaviours: Vec::new(),
            skew_ms: 0,
            paused_until: 0,
            boundaries: 0,
            crash_at: None,
            never_signs: false,
            stays_down: false,
        };
        host.initialise(chain, true);
        host
    }

    /// Writes what `init` writes; without the voter's record the key's owner is a learner.
    fn initialise(&self, chain: &Chain, voter: bool) {
        let ledger = LedgerStore::new(self.disk.store.clone(), &chain.genesis);
        let mut batch = ledger.init_writes(&chain.genesis);
        if voter {
            records::add_writes(&Replica::genesis_records(), &mut batch);
        }
        let written = self.disk.store.write(batch, Durability::Synced);
        assert!(written.is_ok(), "a store in memory does not fail");
    }

    /// Replaces the disk by an empty one; with `voter` it claims to have never voted.
    pub fn wipe(&mut self, chain: &Chain, voter: bool) {
        self.disk.store = MemoryStore::new();
        self.initialise(chain, voter);
    }

    /// Whether it is expected to keep every promise.
    #[must_use]
    pub fn is_honest(&self) -> bool {
        self.fault.is_none()
    }

    /// The time as its process is told.
    #[must_use]
    pub fn now(&self, at: u64) -> Now {
        let wall = EPOCH_MS.saturating_add(at / MILLI);
        Now {
            clock: Time::from_nanos(at),
            wall_ms: wall.saturating_add_signed(self.skew_ms),
        }
    }

    /// The core, if it runs.
    #[must_use]
    pub fn core(&self) -> Option<&Core> {
        self.process.as_ref().map(|process| &process.core)
    }

    /// The last height executed, if it runs.
    #[must_use]
    pub fn height(&self) -> Option<u64> {
        self.core().map(|core| core.replica().executed().get())
    }

    /// Whether it runs and takes part.
    #[must_use]
    pub fn is_voting(&self) -> bool {
        self.core()
            .is_some_and(|core| *core.replica().standing() == Standing::Voting)
    }

    /// Starts the process from what is on the disk.
    ///
    /// # Errors
    /// If what is on the disk is damaged.
    pub fn start(&mut self, chain: &Chain, at: u64) -> Result<(), StoreError> {
        // A real store cannot be opened without room for a new log file.
        self.disk.store.write(WriteBatch::new(), Durability::Synced)?;
        let recovered = records::load(&self.disk.store, &chain.id)?;
        let (mut executor, start) = Executor::open(self.disk.store.clone(), &chain.genesis)?;
        executor.retain(chain.retain);
        let setup = CoreSetup {
            id: self.id,
            key: chain.vote_key(self.id).clone(),
            genesis: Arc::clone(&chain.genesis),
            tuning: chain.tuning,
            rules: Arc::clone(&chain.rules),
        };
        let mut out = CoreOutputs::default();
        let core = Core::recover(setup, recovered, start, self.now(at), &mut out);
        assert!(core.is_ok(), "a valid genesis has 3f + 1 replicas");
        let Ok(core) = core else { return Ok(()) };
        self.incarnation += 1;
        self.process = Some(Process {
            core,
            executor,
            out,
            turning: false,
            wake: None,
            synced: Ticket(0),
            groups: VecDeque::new(),
            syncing: None,
            jobs: VecDeque::new(),
            executing: false,
        });
        Ok(())
    }

    /// Passes a boundary; true if the power fails at it.
    pub fn passes_boundary(&mut self) -> bool {
        self.boundaries += 1;
        if self.crash_at.is_some_and(|at| at <= self.boundaries) {
            self.crash_at = None;
            return true;
        }
        false
    }
}
