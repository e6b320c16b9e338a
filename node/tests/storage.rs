//! The database keeps the ledger's contract, across reopening too, and a directory has one holder.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

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
