//! Measuring again what the host of a virtual machine has spoilt.

use std::fmt;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::usage::{Shares, percent};
use crate::error::Error;

/// A load is measured so often at most.
const TIMES: usize = 5;
/// Between two of these times the machine rests: what others on the host do, and what a host allows one machine, changes within seconds.
const REST: Duration = Duration::from_secs(10);

/// How much the host of this machine may take while a load is measured.
#[derive(Args, Clone, Copy, Debug, Default, Serialize)]
pub struct Quiet {
    /// Measure a load again, up to 4 times more with 10 s of rest before each, if the host of this (virtual) machine took more than so much of
    /// the processors' time meanwhile; the time with the least counts, whatever it showed
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub max_stolen: Option<f64>,
}

fn parse_percent(text: &str) -> Result<f64, String> {
    let percent: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if (0.0..=100.0).contains(&percent) {
        Ok(percent)
    } else {
        Err("a percentage is from 0 to 100".to_owned())
    }
}

impl fmt::Display for Quiet {
    /// To follow a description of a load: nothing if nothing is asked for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.max_stolen {
            Some(most) => write!(
                f,
                " · each measured up to {TIMES} times until the host took at most {most} % of the processors' time"
            ),
            None => Ok(()),
        }
    }
}

impl Quiet {
    /// Measures until it was quiet enough, at most so often; `shares` says how the processors' time was divided meanwhile. Gives the
    /// quietest time, which counts, and the others.
    ///
    /// # Errors
    /// As `once`, whichever time it was.
    pub async fn measure<T>(
        self,
        shares: impl Fn(&T) -> Option<Shares>,
        once: impl AsyncFnMut() -> Result<T, Error>,
    ) -> Result<(T, Vec<T>), Error> {
        self.measure_with(REST, shares, once).await
    }

    async fn measure_with<T>(
        self,
        rest: Duration,
        shares: impl Fn(&T) -> Option<Shares>,
        mut once: impl AsyncFnMut() -> Result<T, Error>,
    ) -> Result<(T, Vec<T>), Error> {
        let stolen = |measured: &T| shares(measured).map_or(0.0, |shares| shares.stolen);
        let (mut quietest, mut others) = (once().await?, Vec::new());
        loop {
            let least = stolen(&quietest);
            if self.max_stolen.is_none_or(|most| least * 100.0 <= most) {
                break;
            }
            if others.len() + 1 == TIMES {
                eprintln!(
                    "the host took {} % of the processors' time at best: that counts",
                    percent(Some(least))
                );
                break;
            }
            eprintln!(
                "the host took {} % of the processors' time at best: once more …",
                percent(Some(least))
            );
            tokio::time::sleep(rest).await;
            let mut next = once().await?;
            if stolen(&next) < least {
                std::mem::swap(&mut quietest, &mut next);
            }
            others.push(next);
        }
        Ok((quietest, others))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    /// Measures what is stolen in these shares, one after the other, and gives what counts and how many were looked at.
    fn measured(max_stolen: Option<f64>, stolen: &[f64]) -> (f64, usize) {
        let shares = |stolen: &f64| {
            Some(Shares {
                idle: 0.0,
                stolen: *stolen,
            })
        };
        let mut looked = 0;
        let once = async || {
            looked += 1;
            Ok::<f64, Error>(*stolen.get(looked - 1).unwrap())
        };
        let measuring = Quiet { max_stolen }.measure_with(Duration::ZERO, shares, once);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let (least, others) = runtime.unwrap().block_on(measuring).unwrap();
        assert_eq!(others.len() + 1, looked);
        (least, looked)
    }

    #[test]
    fn the_quietest_counts_and_no_more_is_measured_than_needed() {
        assert_eq!(measured(None, &[0.9]), (0.9, 1));
        assert_eq!(measured(Some(1.0), &[0.01]), (0.01, 1));
        assert_eq!(measured(Some(1.0), &[0.2, 0.3, 0.005, 0.001]), (0.005, 3));
        assert_eq!(measured(Some(1.0), &[0.2, 0.1, 0.3, 0.4, 0.5, 0.0]), (0.1, 5));
    }

    #[test]
    fn where_nothing_is_known_of_the_host_nothing_is_repeated() {
        let mut times = 0;
        let once = async || {
            times += 1;
            Ok::<(), Error>(())
        };
        let quiet = Quiet {
            max_stolen: Some(0.0),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(quiet.measure(|()| None, once)).unwrap();
        assert_eq!(times, 1);
    }

    #[test]
    fn a_percentage_is_one() {
        assert_eq!(parse_percent("1.5"), Ok(1.5));
        for wrong in ["", "x", "-1", "101", "NaN"] {
            assert!(parse_percent(wrong).is_err(), "{wrong}");
        }
    }
}
