//! Deadlines, one for each purpose. The driver is told only the earliest.

use crate::types::Time;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// A batch has waited for company long enough.
    Batch,
    /// The oldest pending request has waited long enough: leave the view.
    Request,
    /// NEW-VIEW has not come: try the view after.
    ViewChange,
    /// Send the VIEW-CHANGE again.
    Resend,
    /// Send a STATUS.
    Status,
    /// Forward pending requests to the primary again.
    Forward,
    /// Ask somebody else for what is missing.
    Fetch,
    /// A proposal held for its time may be acceptable now.
    Held,
    /// A proposal that this replica stands by for is late.
    Standby,
}

const TIMERS: [Timer; 9] = [
    Timer::Batch,
    Timer::Request,
    Timer::ViewChange,
    Timer::Resend,
    Timer::Status,
    Timer::Forward,
    Timer::Fetch,
    Timer::Held,
    Timer::Standby,
];

/// The deadlines of one replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timers {
    deadlines: [Option<Time>; TIMERS.len()],
}

impl Timers {
    fn slot(&mut self, timer: Timer) -> &mut Option<Time> {
        #[allow(clippy::indexing_slicing, reason = "the array has one place for each variant")]
        &mut self.deadlines[timer as usize]
    }

    /// Sets the deadline, replacing an earlier or later one.
    pub(crate) fn set(&mut self, timer: Timer, at: Time) {
        *self.slot(timer) = Some(at);
    }

    /// Sets the deadline unless one is set.
    pub(crate) fn ensure(&mut self, timer: Timer, at: Time) {
        self.slot(timer).get_or_insert(at);
    }

    /// Sets the deadline to the earlier of this and the one set.
    pub(crate) fn advance(&mut self, timer: Timer, at: Time) {
        let slot = self.slot(timer);
        *slot = Some(slot.map_or(at, |set| set.min(at)));
    }

    /// Removes the deadline.
    pub(crate) fn clear(&mut self, timer: Timer) {
        *self.slot(timer) = None;
    }

    /// Whether a deadline is set.
    pub(crate) fn is_set(&mut self, timer: Timer) -> bool {
        self.slot(timer).is_some()
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Time> {
        self.deadlines.iter().flatten().min().copied()
    }

    /// Takes one deadline that has been reached, in a fixed order.
    pub(crate) fn expired(&mut self, now: Time) -> Option<Timer> {
        let timer = TIMERS
            .into_iter()
            .find(|timer| self.slot(*timer).is_some_and(|at| at <= now))?;
        self.clear(timer);
        Some(timer)
    }
}
