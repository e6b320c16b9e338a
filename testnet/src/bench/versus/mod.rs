//! What tolerating lies costs over tolerating crashes: the same load against Tagma and against replicated stores that people use
//! where nobody lies, one at a time on the same machine, round by round.
//!
//! | to see | look at |
//! | --- | --- |
//! | what is compared, and what each does and does not do | [`systems`] |
//! | how one of them is started and loaded | [`etcd`] with [`grpc`] and [`protobuf`], [`zookeeper`] with [`jute`], [`servers`] |
//! | peaks, latencies, ratios | [`results`] |

mod ended;
mod etcd;
mod grpc;
mod jute;
mod page;
mod protobuf;
mod results;
mod servers;
mod systems;
mod zookeeper;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tagma_ledger::Parameters;

use super::configuration::Configuration;
use super::load::{Arrival, Bench, Pace, Span};
use super::quiet::Quiet;
use super::sizes::Sizes;
use super::{Drawn, write_results};
use crate::cli::{block_on, duration};
use crate::error::Error;
use crate::interrupt::Interrupts;
use crate::plan::check_size;
use crate::process::Programs;

pub use results::{Ratios, Results, Round, Sample, Summary, SystemResult, Tried};
pub use systems::Name;
use systems::{Running, Setting};

/// Servers of a system that tolerates one crash.
const MEMBERS: u16 = 3;
/// Processor time is known in steps of 10 ms only.
const SHORTEST: Duration = Duration::from_millis(200);
/// While a client's connections are tried out, so many requests are outstanding.
const TRIAL_IN_FLIGHT: usize = 256;
/// The connections of a client before any were tried.
const FIRST: Spread = Spread {
    placement: Placement::Spread,
    connections: 9,
};
/// The connections that are tried out: all to the server that leads, or the same number to each.
const SPREADS: [Spread; 4] = [
    FIRST,
    Spread {
        placement: Placement::Leader,
        connections: 2,
    },
    Spread {
        placement: Placement::Leader,
        connections: 8,
    },
    Spread {
        placement: Placement::Spread,
        connections: 3,
    },
];

/// Whom a client is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// The server that leads.
    Leader,
    /// All servers alike.
    Spread,
}

/// A client's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// Where to.
    pub placement: Placement,
    /// How many, all together.
    pub connections: usize,
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whom = match self.placement {
            Placement::Leader => "to the leader",
            Placement::Spread => "spread over all servers",
        };
        write!(f, "{} connections {whom}", self.connections)
    }
}

/// What `bench versus` can be asked for.
#[derive(Args)]
pub struct VersusArgs {
    /// What to compare
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "tagma,etcd,zookeeper"
    )]
    systems: Vec<Name>,
    /// The size of Tagma's network, 3f + 1
    #[arg(long, default_value_t = 4)]
    nodes: u16,
    /// How often each system is started and measured, in turn; medians count
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Closed loop: requests outstanding at any time; the best of these is a system's peak
    #[arg(long, value_delimiter = ',', value_name = "N", default_value = "64,256,1024,4096", value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: Vec<u32>,
    /// How long each measurement counts
    #[arg(long, default_value = "5s", value_parser = duration)]
    duration: Duration,
    /// Load before each, which does not count
    #[arg(long, default_value = "2s", value_parser = duration)]
    warm_up: Duration,
    #[command(flatten)]
    drawn: Drawn,
    #[command(flatten)]
    quiet: Quiet,
    /// The directory that gets results-versus.json and report-versus.html
    #[arg(long, default_value = "bench-results")]
    out: PathBuf,
}

/// Measures, prints tables and writes `results-versus.json` and `report-versus.html`. A system that is not installed is left out, and
/// the table says so.
///
/// # Errors
/// [`Error::NothingMeasured`] if a system acknowledged nothing; whatever keeps one from running.
pub fn run(args: &VersusArgs) -> Result<(), Error> {
    check_size(args.nodes)?;
    if args.duration < SHORTEST {
        return Err(Error::usage(
            format!("a measurement of less than {} ms", SHORTEST.as_millis()),
            "choose --duration 5s",
        ));
    }
    let configuration = Configuration::here();
    let setting = Setting {
        programs: Programs::find()?,
        bench: Bench {
            nodes: args.nodes,
            crashed: 0,
            accounts: args.drawn.accounts,
            lookahead: Parameters::default().lookahead,
            seed: args.drawn.seed,
            quiet: Quiet::default(),
        },
        quiet: args.quiet,
        value_bytes: Sizes::measured().request,
    };
    println!("versus · {configuration}");
    println!(
        "{} rounds, one system after the other, one at a time · values of {} bytes, as long as a signed transfer · {} s after {} s of \
         warm-up each · closed loop with {:?} in flight, on servers that give way to the load and on others (the better counts), then with \
         1, then open loop (Poisson, seed {}) at half the peak{}",
        args.rounds,
        setting.value_bytes,
        args.duration.as_secs_f64(),
        args.warm_up.as_secs_f64(),
        args.in_flight,
        args.drawn.seed,
        args.quiet
    );
    let mut systems: Vec<SystemResult> = args.systems.iter().map(|name| name.result(&setting)).collect();
    for system in &systems {
        println!("{}", system.describe());
    }
    for round in 1..=args.rounds {
        for system in systems.iter_mut().filter(|system| system.absent.is_none()) {
            eprintln!("round {round} of {}: {} …", args.rounds, system.name);
            let measured = block_on(async {
                let mut interrupts = Interrupts::listen()?;
                interrupts.unless(measure(args, &setting, system)).await
            })?;
            system.rounds.push(measured);
        }
    }
    for system in &mut systems {
        system.summary = Summary::of(&system.rounds);
    }
    let results = Results::new(configuration, &setting, args.duration, args.warm_up, systems);
    println!("{}", results.table());
    for line in results.lines() {
        println!("{line}");
    }
    write_results(&results, &args.out, "results-versus.json")?;
    page::report(&results).write(&args.out, "report-versus")
}

/// One round of one system, from its start to its end.
async fn measure(args: &VersusArgs, setting: &Setting, system: &mut SystemResult) -> Result<Round, Error> {
    let span = Span {
        warm_up: args.warm_up,
        duration: args.duration,
    };
    let mut running = Running::start(system.name, setting, &setting.programs.giving_way()).await?;
    system.version = running.version().or_else(|| system.version.take());
    let trial = Pace::Closed {
        in_flight: TRIAL_IN_FLIGHT,
    };
    // Once without looking: what has just started compiles itself (Java), fills its caches, makes its first files.
    running.connect(system.spread.unwrap_or(FIRST)).await?;
    running.measure(trial, span).await?;
    if system.spread.is_none() && running.has_choice() {
        for spread in SPREADS {
            running.connect(spread).await?;
            let per_second = running.measure(trial, span).await?.per_second;
            system.tried.push(Tried { spread, per_second });
        }
        let by_speed = |a: &&Tried, b: &&Tried| a.per_second.total_cmp(&b.per_second);
        system.spread = system.tried.iter().max_by(by_speed).map(|tried| tried.spread);
    }
    if let Some(spread) = system.spread {
        running.connect(spread).await?;
    }
    let mut levels = closed_loops(&mut running, args, span).await?;
    running.stop()?;
    // New ones, which do not give way. Some do better in closed loops if they do, and some worse: the better one counts.
    let mut running = Running::start(system.name, setting, &setting.programs).await?;
    running.connect(system.spread.unwrap_or(FIRST)).await?;
    running.measure(trial, span).await?;
    let others = closed_loops(&mut running, args, span).await?;
    for (level, other) in levels.iter_mut().zip(others) {
        if other.1.per_second > level.1.per_second {
            *level = other;
        }
    }
    let one_client = measure_quietly(&mut running, Pace::Closed { in_flight: 1 }, span, args.quiet).await?;
    let peak = levels
        .iter()
        .map(|(_, sample)| sample.per_second)
        .fold(0.0, f64::max);
    let half = Pace::Open {
        rate: peak / 2.0,
        arrival: Arrival::Poisson,
    };
    let half_peak = measure_quietly(&mut running, half, span, args.quiet).await?;
    running.stop()?;
    Ok(Round::new(levels, one_client, half_peak))
}

/// One load, again if the host took too much meanwhile. What was lost in times that do not count was lost all the same.
async fn measure_quietly(
    running: &mut Running,
    pace: Pace,
    span: Span,
    quiet: Quiet,
) -> Result<Sample, Error> {
    let (mut counts, spoilt) = quiet
        .measure(
            |sample: &Sample| sample.cores,
            async || running.measure(pace, span).await,
        )
        .await?;
    counts.failed += spoilt.iter().map(|sample| sample.failed).sum::<u64>();
    counts.unfinished += spoilt.iter().map(|sample| sample.unfinished).sum::<u64>();
    counts.spoilt = spoilt.len();
    Ok(counts)
}

async fn closed_loops(
    running: &mut Running,
    args: &VersusArgs,
    span: Span,
) -> Result<Vec<(usize, Sample)>, Error> {
    let mut levels = Vec::new();
    for in_flight in &args.in_flight {
        let in_flight = usize::try_from(*in_flight).unwrap_or(usize::MAX);
        let sample = measure_quietly(running, Pace::Closed { in_flight }, span, args.quiet).await?;
        levels.push((in_flight, sample));
    }
    Ok(levels)
}
