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

    /// A good disk again, with what is on it: what was damaged stays so.
    pub fn repair(&mut self) {
        self.store.set_full(false);
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
    pub fn crash(&self, writing: Option<WriteBatch>, rng: &mut SimRng) -> Loss {
        let was_writing = writing.is_some();
        let reached = writing.filter(|_| rng.permille(500)).is_some_and(|batch| {
            // On a full disk it has not.
            self.store.write(batch, Durability::Buffered).is_ok()
        });
        let unsynced = self.store.unsynced();
        let kept = rng.index(unsynced + 1);
        self.store.crash_keeping(kept);
        Loss {
            group: was_writing.then_some(reached && kept == unsynced),
            unsynced,
            kept,
        }
    }
}

/// What a power failure did to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Whether the group that was being synced is on the disk, if there was one.
    pub group: Option<bool>,
    /// Writes without a sync.
    pub unsynced: usize,
    /// How many of them, the first ones, are on the disk.
    pub kept: usize,
}

impl Loss {
    /// The names of what happened, in reports.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let group = self.group.map(|reached| {
            if reached {
                "disk: a group reached it without its sync"
            } else {
                "disk: a group was lost in its sync"
            }
        });
        let tail = match (self.unsynced, self.kept) {
            (0, _) => None,
            (_, 0) => Some("disk: all unsynced writes lost"),
            (all, kept) if all == kept => Some("disk: all unsynced writes kept"),
            _ => Some("disk: torn tail, the first unsynced writes kept"),
        };
        group.into_iter().chain(tail)
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}
