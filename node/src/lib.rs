//! One replica of Tagma: the core, which decides, and the process around it, which has sockets and a disk.
//!
//! - [`core`]: protocol, ledger and admission joined, without I/O.
//! - [`driver`]: the loop that steps it, and the threads beside it.
//! - [`storage`]: RocksDB, and the lock on its directory.
//! - [`http`], [`metrics`]: what people and monitors look at.
//! - [`config`], [`home`], [`cli`]: settings, files, and the commands of `tagma-node`.
//! - [`exit`]: exit codes, the same for every command.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod core;
pub mod driver;
pub mod exit;
pub mod home;
pub mod http;
pub mod metrics;
pub mod storage;
