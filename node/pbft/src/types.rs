//! The numbers of the protocol as types of their own, so that a view can never be taken for a sequence number.

use core::fmt;
use core::time::Duration;

use tagma_crypto::encode::{Decode, Encode};

/// A replica's number, `0 ≤ i < N`, in the order of genesis.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct ReplicaId(u16);

/// A view number `v`; its primary is `v mod N`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct View(u64);

/// A sequence number `n`; also the height of the block it becomes. 0 is genesis.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct SeqNum(u64);

/// Counts the groups of records handed out to be synced; 0 means "nothing needs to be on disk for this".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Ticket(pub u64);

impl ReplicaId {
    /// The replica with this number; whether it exists is for [`crate::quorum::Quorum::contains`] to say.
    pub const fn new(id: u16) -> Self {
        Self(id)
    }
    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
    /// The number as an index into a list ordered by replica.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl View {
    /// The first view.
    pub const ZERO: Self = Self(0);
    /// View number `v`.
    pub const fn new(v: u64) -> Self {
        Self(v)
    }
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
    /// The view after this one; the last possible view is its own successor.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl SeqNum {
    /// Genesis.
    pub const ZERO: Self = Self(0);
    /// Sequence number `n`.
    pub const fn new(n: u64) -> Self {
        Self(n)
    }
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
    /// The sequence number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
    /// The sequence number before this one; genesis has none and gives itself.
    #[must_use]
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
    /// `self + count`, stopping at the largest number there is.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
    /// How far this lies above `lower`, 0 if it does not.
    pub const fn above(self, lower: Self) -> u64 {
        self.0.saturating_sub(lower.0)
    }
    /// Every sequence number in `(self, last]`, ascending.
    pub fn up_to(self, last: Self) -> impl DoubleEndedIterator<Item = Self> {
        (self.0.saturating_add(1)..=last.0).map(Self)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}
impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}
impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}
impl fmt::Display for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
impl fmt::Debug for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A point on a replica's monotonic clock, in nanoseconds since an arbitrary start. Timers use nothing else, so a
/// stepping wall clock cannot move them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Time(u64);

impl Time {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);
    /// `nanos` nanoseconds after the start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }
    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
    /// This much later.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
    /// How long ago `earlier` was, zero if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// What a replica is told of time with every input; it has no clock of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock, for timers.
    pub clock: Time,
    /// The wall clock in milliseconds since the Unix epoch, for the proposed time of a batch and for nothing else.
    pub wall_ms: u64,
}
