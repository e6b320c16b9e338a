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
    /// Processor seconds that were used before.
    used: f64,
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
            used: processor_seconds().unwrap_or(0.0),
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

    /// How far and how fast, in one line. The second speed is that of one core which has nothing else to do.
    #[must_use]
    pub fn speed(&self) -> String {
        let elapsed = self.begun.elapsed().as_secs_f64().max(1e-9);
        #[allow(clippy::cast_precision_loss, reason = "numbers for people")]
        let (seconds, per_minute) = (
            self.simulated as f64 / SECOND as f64,
            self.runs as f64 * 60.0 / elapsed,
        );
        let core = processor_seconds().map(|used| (used - self.used).max(0.01));
        let core = core.map_or_else(String::new, |used| {
            format!(
                ", {:.0} x by {used:.1} processor seconds, one core's",
                seconds / used
            )
        });
        format!(
            "{seconds:.0} simulated seconds in {elapsed:.1} real ones: {:.0} x real time{core}; {per_minute:.1} runs per minute",
            seconds / elapsed
        )
    }
}

/// What this process has used of processors, where the system tells.
fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program stands in brackets and may hold anything; user and system time are the 12th and 13th after it,
    // in hundredths of a second.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .map(|ticks| ticks.parse::<f64>().ok().map(|ticks| ticks / 100.0))
        .sum()
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
