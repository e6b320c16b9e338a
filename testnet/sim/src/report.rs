//! What many runs came to.

use std::fmt;
use std::time::Instant;

use crate::counts::Counts;
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
    /// Blocks.
    pub blocks: u64,
    /// Views entered.
    pub view_changes: u64,
    /// How often what was injected or happened.
    pub counts: Counts,
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
            blocks: 0,
            view_changes: 0,
            counts: Counts::default(),
        }
    }

    /// Adds a run.
    pub fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.failures += u64::from(outcome.failure.is_some());
        self.simulated += outcome.simulated;
        self.events += outcome.events;
        self.executions += outcome.executions;
        self.blocks += outcome.height;
        self.view_changes += outcome.view_changes;
        self.counts.add(&outcome.counts);
    }

    /// How far and how fast, in one line.
    #[must_use]
    pub fn speed(&self) -> String {
        let elapsed = self.begun.elapsed().as_secs_f64().max(1e-9);
        #[allow(clippy::cast_precision_loss, reason = "numbers for people")]
        let (seconds, per_minute) = (
            self.simulated as f64 / SECOND as f64,
            self.runs as f64 * 60.0 / elapsed,
        );
        format!(
            "{seconds:.0} simulated seconds in {elapsed:.1} real ones: {:.0} x real time, {per_minute:.1} runs per minute",
            seconds / elapsed
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.counts)?;
        writeln!(
            f,
            "{} runs, {} failed; {} blocks, {} requests executed, {} views entered, {} events",
            self.runs, self.failures, self.blocks, self.executions, self.view_changes, self.events
        )?;
        write!(f, "{}", self.speed())
    }
}
