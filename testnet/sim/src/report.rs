//! What many runs came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use crate::run::Outcome;
use crate::time::SECOND;

/// Sums over runs.
#[derive(Clone, Debug)]
pub struct Report {
    begun: Instant,
    /// Runs.
    pub runs: u64,
    /// Those that failed.
    pub failures: u64,
    /// Simulated nanoseconds.
    pub simulated: u64,
    /// Things that happened.
    pub events: u64,
    /// Requests executed.
    pub executions: u64,
    /// The sum of the runs' highest views.
    pub views: u64,
    /// How often what was injected or happened.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Report {
    /// Nothing has run yet; the clock does.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            begun: Instant::now(),
            runs: 0,
            failures: 0,
            simulated: 0,
            events: 0,
            executions: 0,
            views: 0,
            counts: BTreeMap::new(),
        }
    }

    /// Adds a run.
    pub fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.failures += u64::from(outcome.failure.is_some());
        self.simulated += outcome.simulated;
        self.events += outcome.events;
        self.executions += outcome.executions;
        self.views += outcome.view;
        for (name, count) in &outcome.counts {
            *self.counts.entry(name).or_default() += count;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &self.counts {
            writeln!(f, "{count:>12}  {name}")?;
        }
        let elapsed = self.begun.elapsed().as_secs_f64().max(1e-9);
        #[allow(clippy::cast_precision_loss, reason = "numbers for people")]
        let (seconds, per_minute) = (
            self.simulated as f64 / SECOND as f64,
            self.runs as f64 * 60.0 / elapsed,
        );
        write!(
            f,
            "{} runs, {} failed; {} requests executed, {} views, {} events; {:.0} simulated seconds per real second, \
             {per_minute:.1} runs per minute",
            self.runs,
            self.failures,
            self.executions,
            self.views,
            self.events,
            seconds / elapsed
        )
    }
}
