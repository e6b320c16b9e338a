//! What a load has shown, as numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::bed::{Look, Looks};
use super::generator::{Pace, Span, Tally};
use crate::bench::usage::Shares;

/// Times of many requests, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half of them took no longer.
    pub p50: f64,
    /// 90 of 100.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl From<&Histogram<u64>> for Quantiles {
    fn from(micros: &Histogram<u64>) -> Self {
        let at = |quantile| millis(micros.value_at_quantile(quantile));
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: millis(micros.max()),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "times of one measurement are far below 2^53 µs"
)]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

/// One second of a load.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SecondPoint {
    /// Since the load began, warm-up included.
    pub second: usize,
    /// Requests sent in it.
    pub sent: u64,
    /// Requests acknowledged in it.
    pub acknowledged: u64,
    /// The latency of those, milliseconds; none if there were none.
    pub p50: Option<f64>,
    /// Likewise.
    pub p99: Option<f64>,
}

/// Resident memory at one moment, bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Memory {
    /// Seconds since the load began, warm-up included.
    pub second: f64,
    /// Of each living replica.
    pub replicas: Vec<u64>,
    /// Of this process: generator, client library and measurement.
    pub generator: u64,
}

/// Everything that one load has shown.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// How requests followed each other.
    pub pace: Pace,
    /// Seconds that count, after the warm-up.
    pub seconds: f64,
    /// Requests a second that were due.
    pub offered: f64,
    /// Requests a second that were sent in time to count.
    pub sent: f64,
    /// Transfers a second that f + 1 replicas acknowledged.
    pub acknowledged: f64,
    /// Requests that failed, by reason.
    pub failed: BTreeMap<&'static str, u64>,
    /// Requests that were due and neither acknowledged nor failed when the waiting ended; those never sent are among them.
    pub unfinished: u64,
    /// From the intended sending to the deciding reply, of all that were due in the measured time, milliseconds.
    pub latency: Quantiles,
    /// From the intended to the real sending, milliseconds: the generator's own lateness, or accounts without room.
    pub lag: Quantiles,
    /// The most views that a replica entered while counting, in times that do not count as well.
    pub views: u64,
    /// How often replicas wanted to leave a view while counting, all replicas together, likewise.
    pub view_changes: u64,
    /// How often the same was measured and does not count, as the host took more of the processors' time.
    pub spoilt: usize,
    /// Requests in a batch, on average.
    pub batch: f64,
    /// Processor time per executed transfer of each living replica, microseconds.
    pub replica_cpu: Vec<f64>,
    /// Processor time per executed transfer of all living replicas together by the names of their threads, microseconds.
    pub threads: BTreeMap<String, f64>,
    /// Processor time per acknowledged transfer of this process: signing, client library, measurement; microseconds.
    pub generator_cpu: f64,
    /// How the time of all cores was divided while counting; none where the kernel does not say.
    pub cores: Option<Shares>,
    /// Resident memory of each living replica at the end, bytes.
    pub rss: Vec<u64>,
    /// The most it ever was, bytes.
    pub peak_rss: Vec<u64>,
    /// Growth of the files in a replica's data directory per executed transfer, bytes, averaged over the replicas.
    pub disk_growth: f64,
    /// Bytes that a replica's process had written to the disk per executed transfer, averaged over the replicas.
    pub disk_written: f64,
    /// Syncs of a replica a second, averaged over the replicas.
    pub syncs: f64,
    /// Second by second.
    pub series: Vec<SecondPoint>,
    /// Memory, second by second.
    pub memory: Vec<Memory>,
}

impl Measured {
    pub(super) fn new(
        pace: Pace,
        span: Span,
        tally: &Tally,
        (before, after): (&Looks, &Looks),
        between: Duration,
        memory: Vec<Memory>,
    ) -> Self {
        let seconds = span.duration.as_secs_f64();
        let pairs = || before.replicas.iter().zip(&after.replicas);
        let replicas = count(before.replicas.len() as u64);
        // Some replica may lag behind: what each has executed is what its own work is divided by.
        let per_executed = |executed: f64, what: f64| if executed > 0.0 { what / executed } else { 0.0 };
        let mean = |of: &dyn Fn(f64, f64) -> f64, field: &dyn Fn(&Look) -> f64| {
            let sum: f64 = pairs()
                .map(|(before, after)| of(after.executed - before.executed, field(after) - field(before)))
                .sum();
            sum / replicas.max(1.0)
        };
        let most = |field: &dyn Fn(&Look) -> f64| {
            pairs()
                .map(|(before, after)| field(after) - field(before))
                .fold(0.0, f64::max)
        };
        let settled = tally.latency.len() + tally.failed.values().sum::<u64>();
        let own_cpu = after.own.cpu.saturating_sub(before.own.cpu);
        let view_changes: f64 = pairs()
            .map(|(before, after)| after.view_changes - before.view_changes)
            .sum();
        Self {
            pace,
            seconds,
            offered: count(tally.offered) / seconds,
            sent: count(tally.sent) / seconds,
            acknowledged: count(tally.acknowledged) / seconds,
            failed: tally.failed.clone(),
            unfinished: tally.offered.saturating_sub(settled),
            latency: Quantiles::from(&tally.latency),
            lag: Quantiles::from(&tally.lag),
            views: whole(most(&|look| look.view)),
            view_changes: whole(view_changes),
            spoilt: 0,
            batch: per_executed(most(&|look| look.batches), most(&|look| look.executed)),
            replica_cpu: pairs()
                .map(|(before, after)| {
                    let cpu = after.usage.cpu.saturating_sub(before.usage.cpu).as_secs_f64() * 1e6;
                    per_executed(after.executed - before.executed, cpu)
                })
                .collect(),
            threads: per_thread(pairs()),
            generator_cpu: own_cpu.as_secs_f64() * 1e6
                / (count(tally.acknowledged) / seconds * between.as_secs_f64()),
            cores: Shares::between(before.cores, after.cores),
            rss: after.replicas.iter().map(|look| look.usage.rss).collect(),
            peak_rss: after.replicas.iter().map(|look| look.usage.peak_rss).collect(),
            disk_growth: mean(&per_executed, &|look| count(look.disk)),
            disk_written: mean(&per_executed, &|look| count(look.usage.written)),
            syncs: mean(&|_, syncs| syncs, &|look| look.syncs) / between.as_secs_f64(),
            series: series(tally),
            memory,
        }
    }

    /// Requests that failed, for whatever reason.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Mean resident memory of the replica that takes most, in the third and in the last quarter of the samples, bytes: equal where
    /// nothing piles up. None of fewer than eight samples.
    #[must_use]
    pub fn late_memory(&self) -> Option<(f64, f64)> {
        late_memory(&self.memory)
    }

    /// Processor time per transfer of all living replicas together, microseconds.
    #[must_use]
    pub fn replicas_cpu(&self) -> f64 {
        self.replica_cpu.iter().sum()
    }
}

/// Each replica's time is divided by what that replica has executed.
fn per_thread<'a>(pairs: impl Iterator<Item = (&'a Look, &'a Look)>) -> BTreeMap<String, f64> {
    let mut threads = BTreeMap::new();
    for (before, after) in pairs {
        let executed = after.executed - before.executed;
        for (name, used) in after.threads.iter().filter(|_| executed > 0.0) {
            let earlier = before.threads.get(name).copied().unwrap_or_default();
            let micros = used.saturating_sub(earlier).as_secs_f64() * 1e6;
            *threads.entry(name.clone()).or_default() += micros / executed;
        }
    }
    threads
}

fn late_memory(samples: &[Memory]) -> Option<(f64, f64)> {
    let quarter = samples.len() / 4;
    if quarter < 2 {
        return None;
    }
    let last = samples.len() - quarter;
    let mean = |samples: Option<&[Memory]>| {
        let samples = samples?;
        let most = |sample: &Memory| sample.replicas.iter().max().copied().unwrap_or_default();
        Some(count(samples.iter().map(most).sum()) / count(samples.len() as u64))
    };
    Some((
        mean(samples.get(last - quarter..last))?,
        mean(samples.get(last..))?,
    ))
}

fn series(tally: &Tally) -> Vec<SecondPoint> {
    let point = |(second, what): (usize, &super::generator::Second)| {
        let quantile = |at| (!what.latency.is_empty()).then(|| millis(what.latency.value_at_quantile(at)));
        SecondPoint {
            second,
            sent: what.sent,
            acknowledged: what.latency.len(),
            p50: quantile(0.5),
            p99: quantile(0.99),
        }
    };
    tally.seconds.iter().enumerate().map(point).collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of one measurement are far below 2^53"
)]
fn count(count: u64) -> f64 {
    count as f64
}

/// A counter's difference, which is whole; one that went back, as after a restart, counts as none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative after max, and far below 2^53"
)]
fn whole(difference: f64) -> u64 {
    difference.max(0.0) as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "means of equal whole numbers are exact")]
    use super::*;

    #[test]
    fn memory_is_told_of_the_largest_replica_in_the_last_two_quarters() {
        let sample = |second: u32| Memory {
            second: f64::from(second),
            replicas: vec![10, if second < 6 { 20 } else { 30 }, 5],
            generator: 99,
        };
        let samples: Vec<Memory> = (0..8).map(sample).collect();
        assert_eq!(late_memory(&samples), Some((20.0, 30.0)));
        assert_eq!(samples.get(..7).and_then(late_memory), None);
    }
}
