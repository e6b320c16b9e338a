//! Networks of real processes: replicas over QUIC and RocksDB, killed, restarted, lied about, and compared.
//!
//! The programs are taken from where `tagma-testnet` was built: `cargo build --workspace` comes first, `make test` sees to it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

mod audit;
mod crashes;
mod disk;
mod divergence;
mod foreground;
mod impostor;
mod learner;
mod liar;
mod links;
mod load;
mod messages;
mod refusal;
mod rejoin;
mod relay;
mod scenarios;
mod storage;
mod support;
mod together;
mod torture;
mod traitors;
mod versus;
mod views;
