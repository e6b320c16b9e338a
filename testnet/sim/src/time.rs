//! Virtual time, in nanoseconds since the start of a run.

use std::cmp::Ordering;

/// A microsecond.
pub const MICRO: u64 = 1_000;
/// A millisecond.
pub const MILLI: u64 = 1_000_000;
/// A second.
pub const SECOND: u64 = 1_000_000_000;

/// Something due at a time. Among equal times what was scheduled first comes first, so that nothing is left to chance.
#[derive(Debug)]
pub struct Scheduled<E> {
    /// When.
    pub at: u64,
    /// The how manieth thing scheduled in this run.
    pub order: u64,
    /// What.
    pub event: E,
}

impl<E> PartialEq for Scheduled<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl<E> Eq for Scheduled<E> {}

impl<E> PartialOrd for Scheduled<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The heap gives the greatest first, and the earliest is to be that.
impl<E> Ord for Scheduled<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// Seconds with milliseconds, for people.
#[must_use]
pub fn show(at: u64) -> String {
    format!("{}.{:06}", at / SECOND, at % SECOND / MICRO)
}
