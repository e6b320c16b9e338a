//! The load itself: requests made and sent on a thread of their own, on time as far as that thread can, and what became of each.
//!
//! Latency counts from the moment a request was *meant* to be sent, so that a system that makes the load wait cannot hide it.
//! A request that could not be sent by the end of the load, or whose outcome did not become known, is counted, never left out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::arrivals::{Arrival, Arrivals};
use super::target::{Ended, Target};
use crate::error::Error;

/// How long a request may take until its outcome counts as unknown.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Sleeping shorter than this costs more than it gains in punctuality; what is late by it is counted as late.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);
/// What was due before the end is still sent for so long after it.
const LATE: Duration = Duration::from_secs(1);
/// So many requests are sent at most before completions are looked at again.
const BURST: u32 = 64;

/// How requests follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Open loop: so many a second, whatever the system does.
    Open {
        /// Requests per second.
        rate: f64,
        /// How their gaps are drawn.
        arrival: Arrival,
    },
    /// Closed loop: so many are outstanding at any time.
    Closed {
        /// How many.
        in_flight: usize,
    },
}

impl Pace {
    /// Whether servers on the same cores have to give way to the load: it has to keep many requests in flight.
    #[must_use]
    pub fn needs_way(&self) -> bool {
        matches!(self, Self::Closed { in_flight } if *in_flight > 1)
    }
}

/// How long is measured, after how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Load before the measurement, which does not count.
    pub warm_up: Duration,
    /// What counts.
    pub duration: Duration,
}

impl Span {
    /// From the beginning of the load to its end.
    #[must_use]
    pub fn end(&self) -> Duration {
        self.warm_up + self.duration
    }

    /// Whether a moment of the load counts.
    #[must_use]
    pub fn counts(&self, at: Duration) -> bool {
        at >= self.warm_up && at < self.end()
    }
}

/// One second of a load, warm-up included.
pub struct Second {
    /// Requests sent in it.
    pub sent: u64,
    /// From the intended sending of the requests that were acknowledged in it, microseconds.
    pub latency: Histogram<u64>,
}

/// What became of a load. Times are in microseconds.
pub struct Tally {
    /// Requests that were due in the measured time.
    pub offered: u64,
    /// Those of them that were sent by its end.
    pub sent: u64,
    /// Requests acknowledged, by Tagma by f + 1 replicas, within the measured time.
    pub acknowledged: u64,
    /// Requests due in the measured time that failed, by reason.
    pub failed: BTreeMap<&'static str, u64>,
    /// From the intended sending to the deciding reply, of all that were due in the measured time, however late it came.
    pub latency: Histogram<u64>,
    /// From the intended to the real sending, likewise.
    pub lag: Histogram<u64>,
    /// Second by second from the beginning of the load.
    pub seconds: Vec<Second>,
}

impl Tally {
    fn new() -> Result<Self, Error> {
        Ok(Self {
            offered: 0,
            sent: 0,
            acknowledged: 0,
            failed: BTreeMap::new(),
            latency: histogram(3)?,
            lag: histogram(3)?,
            seconds: Vec::new(),
        })
    }

    fn second(&mut self, at: Duration) -> Result<Option<&mut Second>, Error> {
        // A load is bounded by its duration plus patience, far below what a usize holds.
        let index = usize::try_from(at.as_secs()).unwrap_or(usize::MAX);
        while self.seconds.len() <= index {
            self.seconds.push(Second {
                sent: 0,
                latency: histogram(2)?,
            });
        }
        Ok(self.seconds.get_mut(index))
    }
}

/// A histogram of microseconds that grows as it needs to.
fn histogram(digits: u8) -> Result<Histogram<u64>, Error> {
    Histogram::new(digits).map_err(|error| Error::NothingMeasured(format!("no histogram: {error}")))
}

/// Records a time; those below a microsecond count as one.
fn record(histogram: &mut Histogram<u64>, time: Duration) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    let recorded = histogram.record(micros);
    assert!(recorded.is_ok(), "a histogram that grows takes every value");
}

/// Sends requests to one target.
pub struct Generator<T: Target> {
    target: T,
    /// When each request under way was meant to be sent.
    in_flight: HashMap<T::Id, Duration>,
}

/// Sets a flag when whoever waits for the load is gone.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// A load that is under way. It ends early if this is dropped.
pub struct Driven<T: Target> {
    load: JoinHandle<(Generator<T>, Result<Tally, Error>)>,
    _guard: StopOnDrop,
}

impl<T: Target> Driven<T> {
    /// Waits for its end and the outcome of everything sent.
    ///
    /// # Errors
    /// [`Error::NothingMeasured`] if the load failed.
    pub async fn finish(self) -> Result<(Generator<T>, Tally), Error> {
        let finished = self.load.await;
        let (generator, tally) =
            finished.map_err(|error| Error::NothingMeasured(format!("the load failed: {error}")))?;
        Ok((generator, tally?))
    }
}

impl<T: Target> Generator<T> {
    /// A generator of what `target` takes.
    #[must_use]
    pub fn new(target: T) -> Self {
        Self {
            target,
            in_flight: HashMap::new(),
        }
    }

    /// What it loads.
    pub fn target_mut(&mut self) -> &mut T {
        &mut self.target
    }

    /// Begins a load on a thread of its own, from the moment `began` on; `seed` decides the arrivals. Must be called within a
    /// tokio runtime.
    #[must_use]
    pub fn drive(mut self, pace: Pace, span: Span, seed: u64, began: Instant) -> Driven<T> {
        let stopped = Arc::new(AtomicBool::new(false));
        let guard = StopOnDrop(Arc::clone(&stopped));
        let load = tokio::task::spawn_blocking(move || {
            let tally = self.run(pace, span, seed, began, &stopped);
            (self, tally)
        });
        Driven { load, _guard: guard }
    }

    /// Loads from the moment `began` on, then waits for the outcome of all that was sent. Blocks its thread; `seed` decides the
    /// arrivals; ends early once `stopped` is set.
    ///
    /// # Errors
    /// If the histograms cannot be made.
    fn run(
        &mut self,
        pace: Pace,
        span: Span,
        seed: u64,
        began: Instant,
        stopped: &AtomicBool,
    ) -> Result<Tally, Error> {
        let mut tally = Tally::new()?;
        std::thread::sleep(began.saturating_duration_since(Instant::now()));
        match pace {
            Pace::Open { rate, arrival } => {
                let arrivals = Arrivals::new(arrival, rate, seed);
                self.open(arrivals, span, began, stopped, &mut tally)?;
            }
            Pace::Closed { in_flight } => self.closed(in_flight, span, began, stopped, &mut tally)?,
        }
        let deadline = Instant::now() + PATIENCE;
        while !self.in_flight.is_empty() && Instant::now() < deadline && !stopped.load(Relaxed) {
            let left = deadline.saturating_duration_since(Instant::now());
            self.wait(left, began, span, &mut tally)?;
        }
        Ok(tally)
    }

    fn open(
        &mut self,
        mut arrivals: Arrivals,
        span: Span,
        began: Instant,
        stopped: &AtomicBool,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let mut now = began.elapsed();
        while arrivals.due() < span.end() && now < span.end() + LATE && !stopped.load(Relaxed) {
            self.receive(began, span, tally)?;
            let mut room = true;
            for _ in 0..BURST {
                let due = arrivals.due();
                if due > now || due >= span.end() {
                    break;
                }
                room = self.send(due, began, span, tally)?;
                if !room {
                    break;
                }
                tally.offered += u64::from(span.counts(due));
                arrivals.advance();
            }
            now = began.elapsed();
            let wait = if room {
                arrivals.due().saturating_sub(now)
            } else {
                SHORTEST_SLEEP
            };
            if !wait.is_zero() {
                std::thread::sleep(wait.max(SHORTEST_SLEEP));
                now = began.elapsed();
            }
        }
        // What was due and could not be sent any more was offered all the same.
        while arrivals.due() < span.end() {
            tally.offered += u64::from(span.counts(arrivals.due()));
            arrivals.advance();
        }
        Ok(())
    }

    fn closed(
        &mut self,
        in_flight: usize,
        span: Span,
        began: Instant,
        stopped: &AtomicBool,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        loop {
            let now = began.elapsed();
            if now >= span.end() || stopped.load(Relaxed) {
                return Ok(());
            }
            for _ in 0..BURST {
                let due = began.elapsed();
                if self.in_flight.len() >= in_flight || !self.send(due, began, span, tally)? {
                    break;
                }
                tally.offered += u64::from(span.counts(due));
            }
            if self.in_flight.len() >= in_flight {
                self.wait(span.end().saturating_sub(now), began, span, tally)?;
            }
            self.receive(began, span, tally)?;
        }
    }

    /// Sends one; false if the target has no room for it.
    fn send(&mut self, due: Duration, began: Instant, span: Span, tally: &mut Tally) -> Result<bool, Error> {
        let at = began.elapsed();
        let Some(id) = self.target.begin() else {
            return Ok(false);
        };
        self.in_flight.insert(id, due);
        if span.counts(due) {
            tally.sent += u64::from(at < span.end());
            record(&mut tally.lag, at.saturating_sub(due));
        }
        if let Some(second) = tally.second(at)? {
            second.sent += 1;
        }
        Ok(true)
    }

    /// Takes in all requests that have ended.
    fn receive(&mut self, began: Instant, span: Span, tally: &mut Tally) -> Result<(), Error> {
        while let Some(ended) = self.target.ended() {
            self.settle(ended, began, span, tally)?;
        }
        Ok(())
    }

    /// Takes in the next request that ends, if one does within so long.
    fn wait(&mut self, within: Duration, began: Instant, span: Span, tally: &mut Tally) -> Result<(), Error> {
        let target = &mut self.target;
        let next = async { tokio::time::timeout(within, target.next_ended()).await };
        if let Ok(Some(ended)) = Handle::current().block_on(next) {
            self.settle(ended, began, span, tally)?;
        }
        Ok(())
    }

    fn settle(
        &mut self,
        ended: Ended<T::Id>,
        began: Instant,
        span: Span,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let Some(due) = self.in_flight.remove(&ended.id) else {
            return Ok(());
        };
        match ended.result {
            Ok(()) => {
                let decided = ended.at.saturating_duration_since(began);
                let latency = decided.saturating_sub(due);
                tally.acknowledged += u64::from(span.counts(decided));
                if span.counts(due) {
                    record(&mut tally.latency, latency);
                }
                if let Some(second) = tally.second(decided)? {
                    record(&mut second.latency, latency);
                }
            }
            Err(failure) if span.counts(due) => *tally.failed.entry(failure).or_default() += 1,
            Err(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn only_what_was_due_after_the_warm_up_and_before_the_end_counts() {
        let span = Span {
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(2),
        };
        let counts = [0, 999, 1000, 2999, 3000].map(|at| span.counts(Duration::from_millis(at)));
        assert_eq!(counts, [false, false, true, true, false]);
    }

    #[test]
    fn histograms_hold_a_thousandth_of_any_time() {
        let mut latency = histogram(3).unwrap();
        record(&mut latency, Duration::ZERO);
        record(&mut latency, Duration::from_millis(20));
        record(&mut latency, Duration::from_secs(40));
        let near = |quantile: f64, micros: u64| {
            let value = latency.value_at_quantile(quantile);
            assert!(value.abs_diff(micros) <= micros / 500, "{value} for {micros}");
        };
        near(0.0, 1);
        near(0.5, 20_000);
        near(1.0, 40_000_000);
    }
}
