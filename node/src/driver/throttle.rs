//! How many refusals each client connection may cause.
//!
//! To refuse a request costs almost as much as to take it, as its signature is verified first. A connection whose requests are
//! refused faster than any correct client's is answered `busy`, unverified, until it has become slower: who floods pays for
//! itself. What is admitted costs nothing here.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// So many refusals are free at once: more than an account's requests that one restart of a network can make useless.
const BURST: f64 = 256.0;
/// And so many a second.
const PER_SECOND: f64 = 64.0;
/// Connections that have nothing against them any more are forgotten once there are so many.
const TIDY: usize = 1024;

#[derive(Clone, Copy)]
struct Debt {
    refusals: f64,
    at: Instant,
}

impl Debt {
    fn now(self, now: Instant) -> f64 {
        let paid = now.saturating_duration_since(self.at).as_secs_f64() * PER_SECOND;
        (self.refusals - paid).max(0.0)
    }
}

/// The refusals that each connection has caused lately.
pub(super) struct Throttle<Id> {
    debts: Mutex<HashMap<Id, Debt>>,
}

impl<Id> Default for Throttle<Id> {
    fn default() -> Self {
        Self {
            debts: Mutex::new(HashMap::new()),
        }
    }
}

impl<Id: Copy + Eq + Hash> Throttle<Id> {
    fn debts(&self) -> MutexGuard<'_, HashMap<Id, Debt>> {
        self.debts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request of this connection was refused.
    pub(super) fn refused(&self, id: Id, now: Instant) {
        let mut debts = self.debts();
        if debts.len() >= TIDY {
            debts.retain(|_, debt| debt.now(now) > 0.0);
        }
        let debt = debts.entry(id).or_insert(Debt {
            refusals: 0.0,
            at: now,
        });
        *debt = Debt {
            refusals: debt.now(now) + 1.0,
            at: now,
        };
    }

    /// Whether the connection is to be slower.
    pub(super) fn is_exhausted(&self, id: Id, now: Instant) -> bool {
        self.debts().get(&id).is_some_and(|debt| debt.now(now) >= BURST)
    }

    /// The connection is gone.
    pub(super) fn forget(&self, id: Id) {
        self.debts().remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_is_refused_too_often_waits_and_nobody_else_does() {
        let throttle = Throttle::default();
        let start = Instant::now();
        for _ in 0..256 {
            assert!(!throttle.is_exhausted(1, start));
            throttle.refused(1, start);
        }
        assert!(throttle.is_exhausted(1, start));
        assert!(!throttle.is_exhausted(2, start));
        let later = start + Duration::from_secs(1);
        let allowed = (0..1000).take_while(|_| {
            let allowed = !throttle.is_exhausted(1, later);
            if allowed {
                throttle.refused(1, later);
            }
            allowed
        });
        assert_eq!(allowed.count(), 64);
        throttle.forget(1);
        assert!(!throttle.is_exhausted(1, later));
    }

    #[test]
    fn connections_in_good_standing_take_no_room() {
        let throttle = Throttle::default();
        let start = Instant::now();
        for id in 0..10 * TIDY {
            let seconds = u64::try_from(id / 100).unwrap_or(u64::MAX);
            throttle.refused(id, start + Duration::from_secs(seconds));
        }
        assert!(throttle.debts().len() <= TIDY);
    }
}
