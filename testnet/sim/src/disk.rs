//! A host's disk: how long a sync takes, what a crash leaves, and when a sync fails.

use tagma_ledger::store::{Durability, MemoryStore, Store, WriteBatch};

use crate::rng::SimRng;
use crate::time::MILLI;

/// A disk with its contents.
#[derive(Clone)]
pub struct Disk {
    /// What is on it. Clones share their contents.
    pub store: MemoryStore,
    /// Shortest time of a sync, nanoseconds.
    pub sync_min: u64,
    /// Longest time of a sync, nanoseconds.
    pub sync_max: u64,
    /// The next sync fails.
    pub fails: bool,
}

impl Disk {
    /// A good disk with nothing on it.
    #[must_use]
    pub fn new() -> Self {
        let mut disk = Self {
            store: MemoryStore::new(),
            sync_min: 0,
            sync_max: 0,
            fails: false,
        };
        disk.repair();
        disk
    }

    /// A good disk again, with what is on it.
    pub fn repair(&mut self) {
        (self.sync_min, self.sync_max, self.fails) = (MILLI / 10, 2 * MILLI, false);
    }

    /// So many times slower than a good one.
    pub fn slow_down(&mut self, factor: u64) {
        (self.sync_min, self.sync_max) = (factor * MILLI / 10, factor * 2 * MILLI);
    }

    /// Draws how long a sync takes, nanoseconds.
    pub fn sync_time(&self, rng: &mut SimRng) -> u64 {
        rng.between(self.sync_min, self.sync_max)
    }

    /// The power fails. What was being written may have reached the disk or not, and of what was written without a sync
    /// any prefix may have.
    pub fn crash(&self, writing: Option<WriteBatch>, rng: &mut SimRng) {
        if let Some(batch) = writing.filter(|_| rng.permille(500)) {
            // The store in memory cannot fail.
            let _ = self.store.write(batch, Durability::Buffered);
        }
        let kept = rng.index(self.store.unsynced() + 1);
        self.store.crash_keeping(kept);
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}
