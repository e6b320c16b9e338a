//! Records to the disk: whatever waits becomes one write and one sync.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use tagma_ledger::store::{Durability, Store, WriteBatch};
use tagma_pbft::Ticket;
use tagma_pbft::record::Record;

use super::{Inbox, Wake, fatal};
use crate::core::{CoreInput, records};
use crate::metrics::Metrics;

/// One step's records, to be written together.
pub(super) struct Group {
    pub(super) records: Vec<Record>,
    pub(super) ticket: Ticket,
}

/// While a sync, or the execution of a small block, takes no longer than this, it costs less than to wake another thread for it and to be
/// woken by that.
pub(super) const QUICK: Duration = Duration::from_millis(4);

/// Where records are written and synced: by a thread of its own, or by the loop when nothing else is to be done.
pub(super) struct Disk<S> {
    store: S,
    metrics: Metrics,
    /// Called before each write.
    syncing: Box<dyn Fn() + Send + Sync>,
    /// Whether the last write and sync was.
    quick: AtomicBool,
}

impl<S: Store> Disk<S> {
    pub(super) fn new(store: S, metrics: Metrics, syncing: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            store,
            metrics,
            syncing: Box::new(syncing),
            quick: AtomicBool::new(false),
        }
    }

    /// Whether the loop may wait for it. Not before a first sync, which may be the one that finds the disk stalled.
    pub(super) fn is_quick(&self) -> bool {
        self.quick.load(Ordering::Relaxed)
    }

    /// Writes groups with one sync; everything up to the ticket returned is on disk then.
    pub(super) fn write(&self, groups: impl IntoIterator<Item = Group>) -> Ticket {
        let mut batch = WriteBatch::new();
        let mut ticket = Ticket(0);
        let mut count = 0_u32;
        for group in groups {
            records::add_writes(&group.records, &mut batch);
            ticket = ticket.max(group.ticket);
            count = count.saturating_add(1);
        }
        let begun = Instant::now();
        (self.syncing)();
        self.sync(batch);
        let took = begun.elapsed();
        self.quick.store(took <= QUICK, Ordering::Relaxed);
        self.metrics.sync_seconds.observe(took.as_secs_f64());
        self.metrics.sync_groups.observe(f64::from(count));
        ticket
    }

    fn sync(&self, batch: WriteBatch) {
        if let Err(error) = self.store.write(batch, Durability::Synced) {
            fatal::storage(&error);
        }
    }
}

/// Writes groups until the loop is gone and everything is on disk. Tickets are reported in order: a group is only ever
/// reported with all groups before it, which are in the same write or an earlier one.
pub(super) fn run<S: Store>(disk: &Disk<S>, groups: &Receiver<Group>, inbox: &Inbox) {
    while let Ok(first) = groups.recv() {
        let ticket = disk.write(std::iter::once(first).chain(groups.try_iter()));
        // The loop may be gone already; then nothing is sent any more, and that these are on disk is enough.
        let _ = inbox.send(Wake::Input(CoreInput::Synced(ticket), None));
    }
    // The blocks written since the last sync, so that a stopped replica need not fetch them again.
    disk.sync(WriteBatch::new());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]
    use std::sync::{Arc, mpsc};

    use tagma_ledger::store::MemoryStore;
    use tagma_pbft::record::Voter;
    use tagma_wire::WireCounters;

    use super::*;

    #[test]
    fn what_waits_shares_one_sync_and_is_reported_after_it() {
        let store = Arc::new(MemoryStore::new());
        let (groups, waiting) = mpsc::channel();
        let (inbox, mut wakes) = tokio::sync::mpsc::unbounded_channel();
        for ticket in 1..=3 {
            let records = vec![Record::Voter(Voter::Complete)];
            groups
                .send(Group {
                    records,
                    ticket: Ticket(ticket),
                })
                .unwrap();
        }
        drop(groups);
        let metrics = Metrics::new(Arc::new(WireCounters::new([])));
        let disk = Disk::new(Arc::clone(&store), metrics.clone(), || {});
        run(&disk, &waiting, &inbox);
        let Ok(Wake::Input(CoreInput::Synced(ticket), None)) = wakes.try_recv() else {
            panic!("no ticket is reported")
        };
        assert_eq!(ticket, Ticket(3));
        assert!(wakes.try_recv().is_err(), "three groups made more than one sync");
        assert_eq!(store.unsynced(), 0);
        assert_eq!(
            records::load(&*store, &tagma_crypto::Digest::ZERO).unwrap().voter,
            Some(Voter::Complete)
        );
        assert!(metrics.encode().contains("tagma_storage_sync_groups_sum 3.0\n"));
    }

    #[test]
    fn the_loop_waits_for_no_disk_that_was_slow_the_last_time() {
        let slow = Arc::new(AtomicBool::new(false));
        let metrics = Metrics::new(Arc::new(WireCounters::new([])));
        let disk = Disk::new(MemoryStore::new(), metrics, {
            let slow = Arc::clone(&slow);
            move || {
                if slow.load(Ordering::Relaxed) {
                    std::thread::sleep(2 * QUICK);
                }
            }
        });
        assert!(!disk.is_quick(), "nothing is known of it yet");
        // Once undisturbed by whatever else this machine does.
        assert!((0..1000).any(|_| {
            disk.write([]);
            disk.is_quick()
        }));
        slow.store(true, Ordering::Relaxed);
        disk.write([]);
        assert!(!disk.is_quick());
    }
}
