//! Records to the disk: whatever waits becomes one write and one sync.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use tagma_ledger::store::{Durability, Store, WriteBatch};
use tagma_pbft::Ticket;
use tagma_pbft::record::Record;

use super::{Inbox, Wake, fatal};
use crate::core::{CoreInput, records};
use crate::metrics::Metrics;
use crate::storage::RocksStore;

/// One step's records, to be written together.
pub(super) struct Group {
    pub(super) records: Vec<Record>,
    pub(super) ticket: Ticket,
}

/// Writes groups until the loop is gone and everything is on disk. Tickets are reported in order: a group is only ever
/// reported with all groups before it, which are in the same write or an earlier one.
pub(super) fn run(store: &Arc<RocksStore>, groups: &Receiver<Group>, inbox: &Inbox, metrics: &Metrics) {
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
