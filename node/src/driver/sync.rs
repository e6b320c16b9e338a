//! Records to the disk: whatever waits becomes one write and one sync.

use std::sync::mpsc::Receiver;
use std::time::Instant;

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

/// Writes groups until the loop is gone and everything is on disk. Tickets are reported in order: a group is only ever
/// reported with all groups before it, which are in the same write or an earlier one. `syncing` is called
/// before each write.
pub(super) fn run<S: Store>(
    store: &S,
    groups: &Receiver<Group>,
    inbox: &Inbox,
    metrics: &Metrics,
    syncing: impl Fn(),
) {
    while let Ok(first) = groups.recv() {
        let mut batch = WriteBatch::new();
        let mut ticket = Ticket(0);
        let mut count = 0_u32;
        for group in std::iter::once(first).chain(groups.try_iter()) {
            records::add_writes(&group.records, &mut batch);
            ticket = ticket.max(group.ticket);
            count = count.saturating_add(1);
        }
        let begun = Instant::now();
        syncing();
        if let Err(error) = store.write(batch, Durability::Synced) {
            fatal::storage(&error);
        }
        metrics.sync_seconds.observe(begun.elapsed().as_secs_f64());
        metrics.sync_groups.observe(f64::from(count));
        // The loop may be gone already; then nothing is sent any more, and that these are on disk is enough.
        let _ = inbox.send(Wake::Input(CoreInput::Synced(ticket), None));
    }
    // The blocks written since the last sync, so that a stopped replica need not fetch them again.
    if let Err(error) = store.write(WriteBatch::new(), Durability::Synced) {
        fatal::storage(&error);
    }
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
        let store = MemoryStore::new();
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
        run(&store, &waiting, &inbox, &metrics, || {});
        let Ok(Wake::Input(CoreInput::Synced(ticket), None)) = wakes.try_recv() else {
            panic!("no ticket is reported")
        };
        assert_eq!(ticket, Ticket(3));
        assert!(wakes.try_recv().is_err(), "three groups made more than one sync");
        assert_eq!(store.unsynced(), 0);
        assert_eq!(
            records::load(&store, &tagma_crypto::Digest::ZERO).unwrap().voter,
            Some(Voter::Complete)
        );
        assert!(metrics.encode().contains("tagma_storage_sync_groups_sum 3.0\n"));
    }
}
