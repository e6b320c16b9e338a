//! The protocol section by section: what Castro & Liskov, *Practical Byzantine Fault Tolerance* (OSDI '99), and the
//! rules added to it here ask of one replica, each as a plain test.
//!
//! - [`normal_case`]: §4.2, PRE-PREPARE, PREPARE, COMMIT.
//! - [`checkpoints`]: §4.3, water marks, garbage collection.
//! - [`view_changes`]: §4.4, VIEW-CHANGE and NEW-VIEW.
//! - [`liveness`]: §4.5.2, timers and the join rule.
//! - [`catching_up`]: what a replica that is behind does.
//! - [`sharing`]: which requests who checks, and what half a check is worth.
//! - [`standby`]: what f backups leave to the others, and for how long.
//! - [`durability`]: what survives a crash, and what happens when it does not.
//! - [`accountability`]: evidence, and who is never accused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

#[path = "../common/mod.rs"]
mod common;

mod accountability;
mod catching_up;
mod checkpoints;
mod durability;
mod liveness;
mod normal_case;
mod sharing;
mod standby;
mod view_changes;
