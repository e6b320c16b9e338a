//! The load itself: transfers signed and sent on a thread of their own, on time as far as that thread can, and what became of
//! each.
//!
//! Latency counts from the moment a request was *meant* to be sent, so that a system that makes the load wait cannot hide it.
//! A request that could not be sent by the end of the load, or whose outcome did not become known, is counted, never left out.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tagma_client::{Client, Completion, SubmitError};
use tagma_crypto::Digest;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::accounts::Accounts;
use super::arrivals::{Arrival, Arrivals};
use crate::error::Error;

/// How long a request may take until its outcome counts as unknown.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Sleeping shorter than this costs more than it gains in punctuality; what is late by it is counted as late.
const SHORTEST_SLEEP: Duration = Duration::from_micros(200);
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
pub(super) struct Second {
    /// Requests sent in it.
    pub(super) sent: u64,
    /// From the intended sending of the requests that were acknowledged in it, microseconds.
    pub(super) latency: Histogram<u64>,
}

/// What became of a load. Times are in microseconds.
pub(super) struct Tally {
    /// Requests that were due in the measured time.
    pub(super) offered: u64,
    /// Those of them that were sent by its end.
    pub(super) sent: u64,
    /// Requests acknowledged by f + 1 replicas within the measured time.
    pub(super) acknowledged: u64,
    /// Requests due in the measured time that failed, by reason.
    pub(super) failed: BTreeMap<&'static str, u64>,
    /// From the intended sending to the deciding reply, of all that were due in the measured time, however late it came.
    pub(super) latency: Histogram<u64>,
    /// From the intended to the real sending, likewise.
    pub(super) lag: Histogram<u64>,
    /// Second by second from the beginning of the load.
    pub(super) seconds: Vec<Second>,
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

struct Sent {
    account: usize,
    due: Duration,
    at: Duration,
}

/// Sends transfers through one client.
pub(super) struct Generator {
    client: Client,
    accounts: Accounts,
    rng: ChaCha8Rng,
    sender: UnboundedSender<Completion>,
    completions: UnboundedReceiver<Completion>,
    in_flight: HashMap<Digest, Sent>,
}

impl Generator {
    /// A generator of transfers between `accounts`, chosen by chance from `seed`.
    #[must_use]
    pub(super) fn new(client: Client, accounts: Accounts, seed: u64) -> Self {
        let (sender, completions) = unbounded_channel();
        Self {
            client,
            accounts,
            rng: ChaCha8Rng::seed_from_u64(seed),
            sender,
            completions,
            in_flight: HashMap::new(),
        }
    }

    /// Loads from the moment `began` on, then waits for the outcome of all that was sent. Blocks its thread; `seed` decides the
    /// arrivals; ends early once `stopped` is set.
    ///
    /// # Errors
    /// If the histograms cannot be made.
    pub(super) fn run(
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
            self.wait(
                deadline.saturating_duration_since(Instant::now()),
                span,
                &mut tally,
            )?;
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
            self.receive(span, tally)?;
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
                self.wait(span.end().saturating_sub(now), span, tally)?;
            }
            self.receive(span, tally)?;
        }
    }

    /// Signs and sends one; false if no account can pay now.
    fn send(&mut self, due: Duration, began: Instant, span: Span, tally: &mut Tally) -> Result<bool, Error> {
        let chain = self.client.network().chain();
        let Some((account, transaction)) = self.accounts.sign(chain, &mut self.rng) else {
            return Ok(false);
        };
        let at = began.elapsed();
        let hash = self.client.submit_to(&transaction, PATIENCE, &self.sender);
        self.in_flight.insert(hash, Sent { account, due, at });
        if span.counts(due) {
            tally.sent += u64::from(at < span.end());
            record(&mut tally.lag, at.saturating_sub(due));
        }
        if let Some(second) = tally.second(at)? {
            second.sent += 1;
        }
        Ok(true)
    }

    /// Takes in all completions that are there.
    fn receive(&mut self, span: Span, tally: &mut Tally) -> Result<(), Error> {
        while let Ok(completion) = self.completions.try_recv() {
            self.completed(&completion, span, tally)?;
        }
        Ok(())
    }

    /// Takes in the next completion, if one comes within so long.
    fn wait(&mut self, within: Duration, span: Span, tally: &mut Tally) -> Result<(), Error> {
        let completions = &mut self.completions;
        let next = async { tokio::time::timeout(within, completions.recv()).await };
        if let Ok(Some(completion)) = Handle::current().block_on(next) {
            self.completed(&completion, span, tally)?;
        }
        Ok(())
    }

    fn completed(&mut self, completion: &Completion, span: Span, tally: &mut Tally) -> Result<(), Error> {
        let Some(Sent { account, due, at }) = self.in_flight.remove(&completion.hash) else {
            return Ok(());
        };
        self.accounts.ended(account, completion.result.is_ok());
        let failure = match &completion.result {
            Ok(accepted) if accepted.outcome.is_success() => {
                // The library saw the deciding reply at this moment, however late this thread comes to hear of it.
                let decided = at + accepted.latency;
                let latency = decided.saturating_sub(due);
                tally.acknowledged += u64::from(span.counts(decided));
                if span.counts(due) {
                    record(&mut tally.latency, latency);
                }
                if let Some(second) = tally.second(decided)? {
                    record(&mut second.latency, latency);
                }
                return Ok(());
            }
            Ok(_) => "executed without success",
            Err(SubmitError::OutcomeUnknown(_)) => "outcome unknown in time",
            Err(SubmitError::Rejected { .. }) => "rejected",
            Err(SubmitError::Unreachable { .. }) => "no replica reachable",
            Err(SubmitError::TooManyInFlight { .. }) => "too many in flight",
            Err(SubmitError::TooLarge { .. }) => "too large",
            Err(SubmitError::Closed { .. }) => "client closed",
        };
        if span.counts(due) {
            *tally.failed.entry(failure).or_default() += 1;
        }
        Ok(())
    }

    /// Reads the next nonce of every account in doubt, so that it can pay again. An account that cannot be read stays out.
    pub(super) async fn settle(&mut self) {
        for (index, key) in self.accounts.doubtful() {
            if let Ok(Some(read)) = self.client.next_nonce(key, PATIENCE).await
                && let Some(account) = read.account
            {
                self.accounts.settle(index, account.next_nonce);
            }
        }
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
