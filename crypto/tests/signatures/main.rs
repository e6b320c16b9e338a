//! One verdict on every signature: the predicate against fixed vectors, against an independent equation, single against
//! batch, in any order and any mix.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that fails is to stop at once, and its own arithmetic is on small numbers"
)]

mod agreement;
mod crafted;
mod reference;
mod vectors;
