//! The disk: a directory that one process holds, and RocksDB in it.

mod lock;
mod rocks;

pub use lock::{DirectoryLock, LockError};
pub use rocks::{RocksStore, StorageConfig, StorageMemory};
