//! The command that runs seeds, shared by whoever offers it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use clap::Args;

use crate::plans::Kind;
use crate::report::Report;
use crate::run::{Outcome, run};
use crate::schedule::{Plan, Wishes};

/// After so many runs it is said how far things are.
const PROGRESS: u64 = 100;

/// Which runs.
#[derive(Args, Clone, Debug)]
pub struct SimArguments {
    /// The first seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many seeds
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Replicas, 3f + 1; drawn by the seed if not given
    #[arg(long)]
    nodes: Option<u16>,
    /// Simulated length of the phase of faults; drawn by the seed if not given
    #[arg(long)]
    minutes: Option<u64>,
    /// What kind of runs
    #[arg(long, value_enum, default_value_t)]
    plan: Kind,
    /// Prints what happened, too; always done for a single run that fails
    #[arg(long)]
    trace: bool,
    /// Goes on after a failure
    #[arg(long)]
    keep_going: bool,
    /// Runs so many at a time; each is the same as alone
    #[arg(long, default_value_t = 1)]
    jobs: usize,
}

/// Why runs could not even be begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{nodes} replicas cannot be: n = 3f + 1, for example 4, 7 or 10")]
pub struct BadNodes {
    nodes: u16,
}

impl SimArguments {
    /// Whether there can be such a cluster.
    ///
    /// # Errors
    /// If not.
    pub fn check(&self) -> Result<(), BadNodes> {
        match self.nodes {
            Some(nodes) if nodes < 4 || nodes % 3 != 1 || nodes > 128 => Err(BadNodes { nodes }),
            _ => Ok(()),
        }
    }

    fn wishes(&self) -> Wishes {
        Wishes {
            nodes: self.nodes,
            seconds: self.minutes.map(|minutes| minutes.saturating_mul(60)),
        }
    }

    /// What a person types to see one of the seeds again.
    fn replay(&self, program: &str, seed: u64) -> String {
        let mut command = format!("{program} --seed {seed}");
        if self.plan != Kind::Mixed {
            let name = clap::ValueEnum::to_possible_value(&self.plan);
            command.extend(name.map(|name| format!(" --plan {}", name.get_name())));
        }
        command.extend(self.nodes.map(|nodes| format!(" --nodes {nodes}")));
        command.extend(self.minutes.map(|minutes| format!(" --minutes {minutes}")));
        command + " --trace"
    }

    /// Runs the seeds and prints what comes of them to `out`; `program` is what a person types before the flags. True if
    /// nothing failed.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn run(&self, program: &str, out: &mut dyn Write) -> io::Result<bool> {
        let wishes = self.wishes();
        let seeds = self.seed..self.seed.saturating_add(self.seeds);
        let batch = Runs {
            seeds,
            jobs: self.jobs,
            trace: self.trace,
            keep_going: self.keep_going,
        };
        batch.run(
            &|seed| self.plan.plan(seed, &wishes),
            &|seed| self.replay(program, seed),
            out,
        )
    }
}

/// A batch of runs.
#[derive(Clone, Debug)]
pub struct Runs {
    /// Their numbers.
    pub seeds: Range<u64>,
    /// So many at a time.
    pub jobs: usize,
    /// Failures are told with a trace.
    pub trace: bool,
    /// Later seeds are run after a failure.
    pub keep_going: bool,
}

impl Runs {
    /// Runs the plan of each number, in order, and prints failures with what replays them, and the report. True if nothing
    /// failed.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn run(
        &self,
        plan: &(dyn Fn(u64) -> Plan + Sync),
        replay: &dyn Fn(u64) -> String,
        out: &mut dyn Write,
    ) -> io::Result<bool> {
        let single = self.seeds.end.saturating_sub(self.seeds.start) == 1;
        let mut report = Report::begin();
        let next = AtomicU64::new(self.seeds.start);
        let stop = AtomicBool::new(false);
        let (tell, told) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                let (tell, next, stop) = (tell.clone(), &next, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= self.seeds.end || tell.send((seed, run(&plan(seed), false))).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(tell);
            // Told in the order of seeds, whichever is done first.
            let mut done = BTreeMap::new();
            let mut due = self.seeds.start;
            for (seed, outcome) in told {
                done.insert(seed, outcome);
                while let Some(outcome) = done.remove(&due) {
                    report.add(&outcome);
                    self.tell(due, &outcome, plan, replay, single, out)?;
                    if outcome.failure.is_some() && !self.keep_going {
                        stop.store(true, Ordering::Relaxed);
                        return Ok(());
                    }
                    due += 1;
                    if report.runs.is_multiple_of(PROGRESS) && due < self.seeds.end {
                        writeln!(
                            out,
                            "{} runs, {} failed; {}",
                            report.runs,
                            report.failures,
                            report.speed()
                        )?;
                        out.flush()?;
                    }
                }
            }
            Ok::<(), io::Error>(())
        })?;
        writeln!(out, "{report}")?;
        Ok(report.failures == 0)
    }

    fn tell(
        &self,
        seed: u64,
        outcome: &Outcome,
        plan: &dyn Fn(u64) -> Plan,
        replay: &dyn Fn(u64) -> String,
        single: bool,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if single {
            let plan = plan(seed);
            writeln!(
                out,
                "{plan:?}\nheight {} view {} hash {}",
                outcome.height, outcome.view, outcome.hash
            )?;
        }
        let Some(failure) = &outcome.failure else {
            if single && self.trace {
                print(&run(&plan(seed), true).lines, out)?;
            }
            return Ok(());
        };
        if single || self.trace {
            print(&run(&plan(seed), true).lines, out)?;
        }
        writeln!(out, "seed {seed} FAILED at {failure}\nreplay: {}", replay(seed))
    }
}

fn print(lines: &[String], out: &mut dyn Write) -> io::Result<()> {
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))
}
