//! The ledger's tests, one file for each thing tested.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a failed expectation is a failed test"
)]

mod common;
mod execution;
mod genesis;
mod ledger_store;
mod oracle;
mod partition_tree;
mod proofs;
mod snapshots;
mod transactions;
