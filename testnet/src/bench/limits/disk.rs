//! What the disk of this machine can do: syncs of a file, and synced batches of the database that nodes use.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use tagma_ledger::store::{Durability, Store, Table, WriteBatch};
use tagma_node::storage::{RocksStore, StorageConfig};

use crate::error::Error;

/// Bytes appended before each sync.
const APPEND: usize = 256;
/// Bytes of a value written to the database before each sync.
const VALUE: usize = 1 << 10;
const TABLE: Table = Table("bench");

/// What the disk can do, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Disk {
    /// Appends of 256 bytes to a file a second, each followed by `fdatasync`.
    pub synced_appends: f64,
    /// Batches of 1 KiB a second into one database with a node's options, each synced.
    pub synced_batches: f64,
}

impl Disk {
    /// Measures each for so long, in `directory`.
    ///
    /// # Errors
    /// If the directory cannot be written to.
    pub fn measure(directory: &Path, each: Duration) -> Result<Self, Error> {
        let path = directory.join("appended");
        let failed = |source| Error::io("write", &path, source);
        let mut file = File::create(&path).map_err(failed)?;
        let synced_appends = per_second(each, || {
            file.write_all(&[7; APPEND]).map_err(failed)?;
            file.sync_data().map_err(failed)
        })?;
        let path = directory.join("database");
        let failed = |error: tagma_ledger::store::StoreError| {
            Error::io("write", &path, std::io::Error::other(error.to_string()))
        };
        let store = RocksStore::open(&path, [TABLE], &StorageConfig::default()).map_err(failed)?;
        let mut key = 0_u64;
        let synced_batches = per_second(each, || {
            let mut batch = WriteBatch::new();
            batch.put(TABLE, key.to_be_bytes(), vec![7; VALUE]);
            key += 1;
            store.write(batch, Durability::Synced).map_err(failed)
        })?;
        Ok(Self {
            synced_appends,
            synced_batches,
        })
    }
}

/// Repeats `work` for so long; how often it was done a second.
fn per_second(time: Duration, mut work: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    let began = Instant::now();
    let mut done = 0_u32;
    while began.elapsed() < time {
        work()?;
        done += 1;
    }
    Ok(f64::from(done) / began.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn both_rates_are_measured() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::measure(directory.path(), Duration::from_millis(50)).unwrap();
        assert!(disk.synced_appends > 0.0 && disk.synced_batches > 0.0, "{disk:?}");
    }
}
