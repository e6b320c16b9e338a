//! How much of what nobody needs each sender may cause.
//!
//! Whoever causes more than any correct sender does has to wait until it has become slower; what is useful costs nothing here. So who
//! floods pays for itself.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Senders that have nothing against them any more are forgotten once there are so many.
const TIDY: usize = 1024;

/// What is forgiven.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leniency {
    /// So much is free at once.
    pub(super) burst: f64,
    /// And so much a second.
    pub(super) per_second: f64,
}

#[derive(Clone, Copy)]
struct Debt {
    amount: f64,
    at: Instant,
}

impl Debt {
    fn now(self, now: Instant, leniency: Leniency) -> f64 {
        let paid = now.saturating_duration_since(self.at).as_secs_f64() * leniency.per_second;
        (self.amount - paid).max(0.0)
    }
}

/// What each sender has caused lately.
pub(super) struct Throttle<Id> {
    leniency: Leniency,
    debts: Mutex<HashMap<Id, Debt>>,
}

impl<Id: Copy + Eq + Hash> Throttle<Id> {
    /// Nobody has caused anything yet.
    pub(super) fn new(leniency: Leniency) -> Self {
        Self {
            leniency,
            debts: Mutex::new(HashMap::new()),
        }
    }

    fn debts(&self) -> MutexGuard<'_, HashMap<Id, Debt>> {
        self.debts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This sender has caused so much. More than twice the burst is held against nobody.
    pub(super) fn charge(&self, id: Id, amount: f64, now: Instant) {
        let leniency = self.leniency;
        let mut debts = self.debts();
        if debts.len() >= TIDY {
            debts.retain(|_, debt| debt.now(now, leniency) > 0.0);
        }
        let debt = debts.entry(id).or_insert(Debt { amount: 0.0, at: now });
        *debt = Debt {
            amount: (debt.now(now, leniency) + amount).min(2.0 * leniency.burst),
            at: now,
        };
    }

    /// Whether the sender is to be slower.
    pub(super) fn is_exhausted(&self, id: Id, now: Instant) -> bool {
        let leniency = self.leniency;
        let debts = self.debts();
        debts
            .get(&id)
            .is_some_and(|debt| debt.now(now, leniency) >= leniency.burst)
    }

    /// The sender is gone.
    pub(super) fn forget(&self, id: Id) {
        self.debts().remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LENIENCY: Leniency = Leniency {
        burst: 256.0,
        per_second: 64.0,
    };

    #[test]
    fn who_causes_too_much_waits_and_nobody_else_does() {
        let throttle = Throttle::new(LENIENCY);
        let start = Instant::now();
        for _ in 0..256 {
            assert!(!throttle.is_exhausted(1, start));
            throttle.charge(1, 1.0, start);
        }
        assert!(throttle.is_exhausted(1, start));
        assert!(!throttle.is_exhausted(2, start));
        let later = start + Duration::from_secs(1);
        let allowed = (0..1000).take_while(|_| {
            let allowed = !throttle.is_exhausted(1, later);
            if allowed {
                throttle.charge(1, 1.0, later);
            }
            allowed
        });
        assert_eq!(allowed.count(), 64);
        throttle.forget(1);
        assert!(!throttle.is_exhausted(1, later));
    }

    #[test]
    fn however_much_one_has_caused_it_is_over_after_a_while() {
        let throttle = Throttle::new(LENIENCY);
        let start = Instant::now();
        throttle.charge(1, 1e9, start);
        assert!(throttle.is_exhausted(1, start + Duration::from_secs(3)));
        assert!(!throttle.is_exhausted(1, start + Duration::from_millis(4001)));
    }

    #[test]
    fn senders_in_good_standing_take_no_room() {
        let throttle = Throttle::new(LENIENCY);
        let start = Instant::now();
        for id in 0..10 * TIDY {
            let seconds = u64::try_from(id / 100).unwrap_or(u64::MAX);
            throttle.charge(id, 1.0, start + Duration::from_secs(seconds));
        }
        assert!(throttle.debts().len() <= TIDY);
    }
}
