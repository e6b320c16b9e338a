//! Planted bugs, and how many runs it takes to see them: a simulator that misses a broken rule shows nothing about the rule.
//!
//! A build with the feature `mutants` can break one rule at a time (`tagma_crypto::mutants`); no other build contains anything of
//! it. `make mutants` hunts for all of them.
//!
#![doc = include_str!("../mutants.md")]

#[cfg(feature = "mutants")]
mod hunt;

#[cfg(feature = "mutants")]
pub use hunt::{Catch, Sight, gaps, hunt, hunt_all, rules_without, table};
