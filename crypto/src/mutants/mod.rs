//! Planted bugs. A build with the feature `mutants` can break one rule at a time, so that the simulator can show that it
//! notices; every other build contains nothing of this but the macro, which is the word `false` there.
//!
//! The registry stands here because every crate of the replica's core reaches this one.

#[cfg(feature = "mutants")]
mod registry;

#[cfg(feature = "mutants")]
pub use registry::{Mutant, is_planted, plant};

/// Whether a planted bug is active in this run; with a block, what is done if it is. Without the feature `mutants` of this
/// crate it is `false`, and the block is not there.
#[cfg(feature = "mutants")]
#[macro_export]
macro_rules! mutant {
    ($name:ident) => {
        $crate::mutants::is_planted($crate::mutants::Mutant::$name)
    };
    ($name:ident, $instead:block) => {
        if $crate::mutant!($name) $instead
    };
}

/// Whether a planted bug is active in this run; with a block, what is done if it is. Without the feature `mutants` of this
/// crate it is `false`, and the block is not there.
#[cfg(not(feature = "mutants"))]
#[macro_export]
macro_rules! mutant {
    ($name:ident) => {
        false
    };
    ($name:ident, $instead:block) => {};
}
