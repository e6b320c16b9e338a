//! When requests are meant to be sent: decided before the load begins, by chance from a seed, whatever the system does.

use std::time::Duration;

use clap::ValueEnum;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// How the gaps between requests are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrival {
    /// Exponential gaps: many clients that know nothing of each other.
    Poisson,
    /// Equal gaps.
    Uniform,
}

/// The intended times of a load, from its beginning on, without end.
pub(super) struct Arrivals {
    rng: ChaCha8Rng,
    arrival: Arrival,
    /// Seconds.
    mean_gap: f64,
    /// Seconds since the beginning.
    next: f64,
}

impl Arrivals {
    /// `rate` requests a second on average.
    #[must_use]
    pub(super) fn new(arrival: Arrival, rate: f64, seed: u64) -> Self {
        let mut arrivals = Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            arrival,
            mean_gap: 1.0 / rate,
            next: 0.0,
        };
        arrivals.next = arrivals.gap();
        arrivals
    }

    /// When the next request is due.
    #[must_use]
    pub(super) fn due(&self) -> Duration {
        Duration::from_secs_f64(self.next)
    }

    /// Goes on to the one after it.
    pub(super) fn advance(&mut self) {
        self.next += self.gap();
    }

    fn gap(&mut self) -> f64 {
        match self.arrival {
            Arrival::Uniform => self.mean_gap,
            // In (0, 1], so that the logarithm is finite.
            Arrival::Poisson => -(1.0 - self.rng.random::<f64>()).ln() * self.mean_gap,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    fn first(arrival: Arrival, rate: f64, seed: u64, count: usize) -> Vec<Duration> {
        let mut arrivals = Arrivals::new(arrival, rate, seed);
        let next = || {
            let due = arrivals.due();
            arrivals.advance();
            due
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_times_and_another_seed_others() {
        let times = |seed| first(Arrival::Poisson, 500.0, seed, 1000);
        assert_eq!(times(1), times(1));
        assert_ne!(times(1), times(2));
        assert!(times(1).is_sorted());
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_the_spread_of_an_exponential() {
        let times = first(Arrival::Poisson, 100.0, 7, 20_000);
        let gaps: Vec<f64> = times
            .windows(2)
            .filter_map(|pair| Some(pair.last()?.as_secs_f64() - pair.first()?.as_secs_f64()))
            .collect();
        let count = f64::from(u32::try_from(gaps.len()).unwrap_or(u32::MAX));
        let mean = gaps.iter().sum::<f64>() / count;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
        assert!((mean - 0.01).abs() < 0.0003, "{mean}");
        // Of an exponential, the standard deviation is the mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "{variance}");
    }

    #[test]
    fn uniform_gaps_are_equal() {
        let times = first(Arrival::Uniform, 4.0, 1, 3);
        assert_eq!(times, [250, 500, 750].map(Duration::from_millis));
    }
}
