//! A store in memory that can lose power: the simulator's disk.

use super::{Durability, Pairs, Store, StoreError, Table, Write, WriteBatch};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Key = (Table, Vec<u8>);
type Records = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Default)]
struct Inner {
    tables: BTreeMap<Table, Records>,
    /// For each batch not yet synced, oldest first, the previous values of what it changed, in the order of change.
    undo: Vec<Vec<(Key, Option<Vec<u8>>)>>,
    /// The device is full: nothing can be written.
    full: bool,
    /// Records whose bytes changed by themselves, as their checksum will tell whoever reads them.
    damaged: BTreeSet<Key>,
}

impl Inner {
    fn set(&mut self, key: Key, value: Option<Vec<u8>>, undo: &mut Vec<(Key, Option<Vec<u8>>)>) {
        self.damaged.remove(&key);
        let previous = self.put(key.clone(), value);
        undo.push((key, previous));
    }

    fn put(&mut self, (table, key): Key, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let records = self.tables.entry(table).or_default();
        match value {
            Some(value) => records.insert(key, value),
            None => records.remove(&key),
        }
    }

    fn intact(&self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        if self.damaged.is_empty() || !self.damaged.contains(&(table, key.to_vec())) {
            return Ok(());
        }
        Err(StoreError::Corrupt {
            table,
            key: key.to_vec(),
            why: "its checksum does not match".into(),
        })
    }

    fn apply(&mut self, batch: WriteBatch) {
        let mut undo = Vec::with_capacity(batch.len());
        for write in batch.0 {
            match write {
                Write::Put { table, key, value } => self.set((table, key), Some(value), &mut undo),
                Write::Delete { table, key } => self.set((table, key), None, &mut undo),
                Write::DeleteRange { table, from, to } => {
                    // BTreeMap panics on an inverted range, the contract calls it empty.
                    if from < to {
                        let records = self.tables.entry(table).or_default();
                        let doomed: Vec<Vec<u8>> =
                            records.range(from..to).map(|(key, _)| key.clone()).collect();
                        for key in doomed {
                            self.set((table, key), None, &mut undo);
                        }
                    }
                }
            }
        }
        self.undo.push(undo);
    }
}

/// Sorted tables in memory. Clones share their contents, as two handles on one directory would.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Inner>>);

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The power fails: every batch written since the last synced one is lost.
    pub fn crash(&self) {
        self.crash_keeping(0);
    }

    /// The power fails, but the first `kept` of the batches that were not synced had reached the disk all the same.
    /// Batches are lost whole, and only from the end.
    pub fn crash_keeping(&self, kept: usize) {
        let mut inner = self.lock();
        while inner.undo.len() > kept {
            let Some(batch) = inner.undo.pop() else { break };
            for (key, previous) in batch.into_iter().rev() {
                inner.put(key, previous);
            }
        }
        inner.undo.clear();
    }

    /// The number of batches a power failure would lose now.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.lock().undo.len()
    }

    /// Whether the device has no room: then every write fails, and changes nothing.
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// Whether every write fails for want of room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.lock().full
    }

    /// Bits flip in a stretch of neighbouring records: `count` of them from the so manieth on, counted round and round. Whoever
    /// reads one is told so, as by the checksum of a real store, until it is written again.
    pub fn damage(&self, first: usize, count: usize) {
        let mut inner = self.lock();
        let records = inner
            .tables
            .iter()
            .flat_map(|(table, records)| records.keys().map(|key| (*table, key.clone())));
        let first = first % records.clone().count().max(1);
        let hit: Vec<Key> = records.skip(first).take(count).collect();
        inner.damaged.extend(hit);
    }

    /// The number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().tables.values().map(Records::len).sum()
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there are damaged records.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        !self.lock().damaged.is_empty()
    }

    // A panic elsewhere while the lock was held cannot leave a batch half applied in a way that matters: the store
    // belongs to a process that is going down with that panic.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let inner = self.lock();
        inner.intact(table, key)?;
        Ok(inner
            .tables
            .get(&table)
            .and_then(|records| records.get(key))
            .cloned())
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Pairs, StoreError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        let inner = self.lock();
        let Some(records) = inner.tables.get(&table) else {
            return Ok(Vec::new());
        };
        let upper = to.map_or(Bound::Unbounded, Bound::Excluded);
        let found = records.range::<[u8], _>((Bound::Included(from), upper));
        let copy = |(key, value): (&Vec<u8>, &Vec<u8>)| {
            inner.intact(table, key)?;
            Ok((key.clone(), value.clone()))
        };
        if reverse {
            found.rev().take(limit).map(copy).collect()
        } else {
            found.take(limit).map(copy).collect()
        }
    }

    fn write(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        let mut inner = self.lock();
        if inner.full {
            return Err(StoreError::Io {
                operation: "write",
                cause: "no space left on device".into(),
            });
        }
        inner.apply(batch);
        if durability == Durability::Synced {
            inner.undo.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a failed expectation is a failed test"
    )]

    use super::*;
    use crate::store::contract;

    const T: Table = Table("test");

    #[test]
    fn passes_the_contract() {
        contract::run_all(MemoryStore::new);
    }

    #[test]
    fn passes_the_contract_of_reopening() {
        let disk = MemoryStore::new();
        contract::survives_reopening(|| {
            disk.crash();
            disk.clone()
        });
    }

    fn put(store: &MemoryStore, key: &str, value: &str, durability: Durability) {
        let mut batch = WriteBatch::new();
        batch.put(T, key, value);
        store.write(batch, durability).unwrap();
    }

    fn get(store: &MemoryStore, key: &str) -> Option<String> {
        store
            .get(T, key.as_bytes())
            .unwrap()
            .map(|value| String::from_utf8(value).unwrap())
    }

    #[test]
    fn a_crash_loses_exactly_what_was_not_synced() {
        let store = MemoryStore::new();
        put(&store, "a", "1", Durability::Buffered);
        put(&store, "b", "1", Durability::Synced);
        put(&store, "a", "2", Durability::Buffered);
        put(&store, "c", "1", Durability::Buffered);
        let mut batch = WriteBatch::new();
        batch.delete_range(T, "a", "c");
        store.write(batch, Durability::Buffered).unwrap();
        assert_eq!((get(&store, "a"), get(&store, "b")), (None, None));
        store.crash();
        assert_eq!(
            get(&store, "a").as_deref(),
            Some("1"),
            "synced by the later synced write"
        );
        assert_eq!(get(&store, "b").as_deref(), Some("1"));
        assert_eq!(get(&store, "c"), None);
    }

    #[test]
    fn a_full_device_refuses_writes_whole_and_keeps_what_was_written() {
        let store = MemoryStore::new();
        put(&store, "a", "1", Durability::Synced);
        store.set_full(true);
        let mut batch = WriteBatch::new();
        batch.put(T, "a", "2");
        batch.put(T, "b", "2");
        assert!(matches!(
            store.write(batch, Durability::Synced),
            Err(StoreError::Io { .. })
        ));
        assert_eq!((get(&store, "a").as_deref(), get(&store, "b")), (Some("1"), None));
        store.set_full(false);
        put(&store, "a", "3", Durability::Synced);
        assert_eq!(get(&store, "a").as_deref(), Some("3"));
    }

    #[test]
    fn a_damaged_record_is_told_to_whoever_reads_it_until_it_is_written_again() {
        let store = MemoryStore::new();
        put(&store, "a", "1", Durability::Synced);
        put(&store, "b", "1", Durability::Synced);
        store.damage(3, 1);
        assert!(store.is_damaged());
        assert_eq!(get(&store, "a").as_deref(), Some("1"));
        assert!(matches!(store.get(T, b"b"), Err(StoreError::Corrupt { .. })));
        for reverse in [false, true] {
            assert!(store.range(T, b"a", None, 9, reverse).is_err());
            assert!(store.range(T, b"a", Some(b"b"), 9, reverse).is_ok());
        }
        put(&store, "b", "2", Durability::Synced);
        assert_eq!(get(&store, "b").as_deref(), Some("2"));
        assert!(!store.is_damaged());
    }

    #[test]
    fn a_crash_may_keep_a_prefix_of_the_batches() {
        for kept in 0..=4 {
            let store = MemoryStore::new();
            for n in 0..4 {
                put(&store, &format!("k{n}"), "v", Durability::Buffered);
                put(&store, "last", &n.to_string(), Durability::Buffered);
            }
            store.crash_keeping(2 * kept);
            for n in 0..4 {
                assert_eq!(get(&store, &format!("k{n}")).is_some(), n < kept);
            }
            assert_eq!(get(&store, "last"), kept.checked_sub(1).map(|n| n.to_string()));
            assert_eq!(store.unsynced(), 0);
        }
    }
}
