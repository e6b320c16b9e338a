//! Virtual time, in nanoseconds since the start of a run.

/// A microsecond.
pub const MICRO: u64 = 1_000;
/// A millisecond.
pub const MILLI: u64 = 1_000_000;
/// A second.
pub const SECOND: u64 = 1_000_000_000;

/// Seconds with milliseconds, for people.
#[must_use]
pub fn show(at: u64) -> String {
    format!("{}.{:06}", at / SECOND, at % SECOND / MICRO)
}
