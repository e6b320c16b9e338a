//! The two clocks a replica is told of.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tagma_pbft::{Now, Time};

/// A monotonic clock that starts with the process, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Both clocks. A wall clock before 1970 counts as 0: peers then see proposals from the past, which is allowed.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            clock: self.time(),
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// How long this process has run.
    pub fn uptime(&self) -> Duration {
        self.0.elapsed()
    }

    fn time(&self) -> Time {
        Time::from_nanos(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// How long it is until `deadline`, zero if it is past.
    pub fn until(&self, deadline: Time) -> Duration {
        deadline.since(self.time())
    }
}
