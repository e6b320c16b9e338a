//! The database keeps the ledger's contract, across reopening too, and a directory has one holder.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

use std::process::{Command, Stdio};

use tagma_ledger::store::{Durability, Store, StoreError, Table, WriteBatch, contract};
use tagma_node::storage::{DirectoryLock, LockError, RocksStore, StorageConfig};

fn open(path: &std::path::Path) -> RocksStore {
    RocksStore::open(path, contract::TABLES, &StorageConfig::default()).unwrap()
}

#[test]
fn the_database_keeps_the_contract() {
    let root = tempfile::tempdir().unwrap();
    let mut count = 0;
    contract::run_all(|| {
        count += 1;
        open(&root.path().join(count.to_string()))
    });
}

#[test]
fn the_database_survives_reopening() {
    let root = tempfile::tempdir().unwrap();
    contract::survives_reopening(|| open(root.path()));
}

#[test]
fn a_store_opened_for_reading_writes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let table = contract::TABLES[0];
    let mut batch = WriteBatch::new();
    batch.put(table, *b"k", *b"v");
    open(root.path())
        .write(batch.clone(), Durability::Synced)
        .unwrap();
    let reader =
        RocksStore::open_read_only(root.path(), contract::TABLES, &StorageConfig::default()).unwrap();
    assert_eq!(reader.get(table, b"k").unwrap(), Some(b"v".to_vec()));
    assert!(matches!(
        reader.write(batch, Durability::Buffered),
        Err(StoreError::Io { .. })
    ));
}

#[test]
fn a_store_tells_of_the_memory_that_its_writes_take() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let before = store.memory().unwrap();
    let mut batch = WriteBatch::new();
    batch.put(contract::TABLES[0], *b"k", vec![7; 1 << 20]);
    store.write(batch, Durability::Buffered).unwrap();
    let after = store.memory().unwrap();
    assert!(
        after.memtables >= before.memtables + (1 << 20),
        "{before:?} {after:?}"
    );
    assert!(after.block_cache <= StorageConfig::default().block_cache as u64);
}

#[test]
fn after_a_failed_write_every_write_fails() {
    let root = tempfile::tempdir().unwrap();
    let table = contract::TABLES[0];
    let mut batch = WriteBatch::new();
    batch.put(table, *b"k", *b"v");
    drop(open(root.path()));
    // A database that cannot be written is a disk that fails at the first write.
    let store = RocksStore::open_read_only(root.path(), contract::TABLES, &StorageConfig::default()).unwrap();
    let first = store
        .write(batch.clone(), Durability::Synced)
        .unwrap_err()
        .to_string();
    let second = store.write(batch, Durability::Synced).unwrap_err().to_string();
    assert!(!first.contains("an earlier write failed"), "{first}");
    assert!(second.contains("an earlier write failed"), "{second}");
}

/// A database of twenty batches, each synced, whose log is then changed by `damage`.
fn damaged(path: &std::path::Path, damage: impl Fn(&mut Vec<u8>)) {
    let store = open(path);
    for number in 0..20_u8 {
        let mut batch = WriteBatch::new();
        batch.put(contract::TABLES[0], [number], [number; 100]);
        store.write(batch, Durability::Synced).unwrap();
    }
    drop(store);
    let logs = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut logs = logs.filter(|file| file.extension().is_some_and(|extension| extension == "log"));
    let log = logs.find(|file| file.metadata().unwrap().len() > 2000).unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    damage(&mut bytes);
    std::fs::write(&log, bytes).unwrap();
}

/// What a power failure leaves: the end of what was being written is missing. Everything before it is there.
#[test]
fn a_torn_end_of_the_log_costs_the_last_batch_only() {
    let root = tempfile::tempdir().unwrap();
    damaged(root.path(), |log| log.truncate(log.len() - 5));
    let store = open(root.path());
    for number in 0..19_u8 {
        assert_eq!(
            store.get(contract::TABLES[0], &[number]).unwrap(),
            Some(vec![number; 100]),
            "{number}"
        );
    }
    assert_eq!(store.get(contract::TABLES[0], &[19]).unwrap(), None);
}

/// A hole would undo synced writes and keep later ones: a replica that started over it could contradict itself.
#[test]
fn a_flipped_bit_amid_the_log_is_refused() {
    for place in [500, 1200, 1900] {
        let root = tempfile::tempdir().unwrap();
        damaged(root.path(), |log| log[place] ^= 4);
        let opened = RocksStore::open(root.path(), contract::TABLES, &StorageConfig::default());
        let error = opened.err().map(|error| error.to_string());
        assert!(
            error.as_deref().is_some_and(|text| text.contains("orruption")),
            "{place}: {error:?}"
        );
    }
}

#[test]
fn a_table_that_was_not_declared_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let outcome = open(root.path()).get(Table("no such table"), b"k");
    assert!(matches!(outcome, Err(StoreError::Io { .. })), "{outcome:?}");
}

#[test]
fn a_held_directory_names_its_holder() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("lock");
    let lock = DirectoryLock::take(&path).unwrap();
    // A lock of the same process is another open file, so it is refused like another process'.
    match DirectoryLock::take(&path) {
        Err(LockError::Held { holder, .. }) => assert_eq!(holder, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    drop(lock);
    DirectoryLock::take(&path).unwrap();
}

#[test]
fn a_holder_that_was_killed_leaves_no_lock() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("lock");
    std::fs::write(&path, "").unwrap();
    // Without a fork the process that holds the lock is the one that is killed.
    let mut holder = Command::new("flock")
        .arg("--no-fork")
        .arg(&path)
        .args(["sh", "-c", "echo held; exec sleep 600"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 5];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert!(matches!(DirectoryLock::take(&path), Err(LockError::Held { .. })));
    holder.kill().unwrap();
    holder.wait().unwrap();
    DirectoryLock::take(&path).unwrap();
}
