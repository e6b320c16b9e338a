//! Replicas with real sockets and databases on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod agreement;
mod hostile;
