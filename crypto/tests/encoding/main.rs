//! The encoding is canonical, and decoding survives whatever it is given, within bounded memory.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails is to stop at once"
)]

mod allocation;
mod canonical;
mod messages;
