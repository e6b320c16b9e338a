//! `bench load`: a network of real processes under a load of signed transfers, open loop or closed.

mod accounts;
mod arrivals;
mod bed;
mod generator;
mod measured;
mod report;
mod target;
mod transfers;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use tagma_ledger::Parameters;

use super::configuration::Configuration;
use super::quiet::Quiet;
use super::{Drawn, write_results};
use crate::cli::{block_on, duration};
use crate::error::Error;
use crate::interrupt::Interrupts;
use crate::plan::{self, check_size};
use crate::process::Programs;

pub use arrivals::Arrival;
pub use bed::{Bed, Bench, NODE_SETTINGS, RETRY};
pub use generator::{Driven, Generator, PATIENCE, Pace, Second, Span, Tally};
pub use measured::{Measured, Memory, Quantiles, SecondPoint};
pub(super) use report::{achieved_plot, grid, in_flight, latency_plot, memory_plot};
pub use target::{Ended, Target};

/// What `bench load` can be asked for.
#[derive(Args)]
pub(super) struct LoadArgs {
    /// The size of the network, 3f + 1
    #[arg(long, default_value_t = 4)]
    nodes: u16,
    /// Open loop: transfers a second, one measurement each
    #[arg(long, value_delimiter = ',', value_name = "PER SECOND", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Vec<u32>,
    /// Closed loop: transfers outstanding at any time, one measurement each
    #[arg(long, value_delimiter = ',', value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: Vec<u32>,
    /// How the gaps between transfers of an open loop are drawn
    #[arg(long, value_enum, default_value_t = Arrival::Poisson)]
    arrival: Arrival,
    /// How long each measurement counts
    #[arg(long, default_value = "30s", value_parser = duration)]
    duration: Duration,
    /// Load before each, which does not count
    #[arg(long, default_value = "3s", value_parser = duration)]
    warm_up: Duration,
    #[command(flatten)]
    drawn: Drawn,
    #[command(flatten)]
    quiet: Quiet,
    /// Backups to kill (SIGKILL) before the load, at most f
    #[arg(long, default_value_t = 0)]
    crashed: u16,
    /// The directory that gets results.json, report.html, CSV and SVG
    #[arg(long, default_value = "bench-results")]
    out: PathBuf,
}

/// What `results.json` holds.
#[derive(Serialize)]
struct Results {
    schema: &'static str,
    configuration: Configuration,
    bench: Bench,
    faults: u16,
    transcripts: bool,
    warm_up_seconds: f64,
    runs: Vec<Measured>,
}

/// Measures one load after the other on one network, prints a table and writes `results.json`.
///
/// # Errors
/// [`Error::Usage`] for a size or a number of crashes that cannot be; [`Error::NothingMeasured`] if nothing was acknowledged;
/// whatever keeps the network from running.
pub(super) fn run(args: &LoadArgs) -> Result<(), Error> {
    let bench = Bench {
        nodes: args.nodes,
        crashed: args.crashed,
        accounts: args.drawn.accounts,
        lookahead: Parameters::default().lookahead,
        seed: args.drawn.seed,
        quiet: args.quiet,
    };
    check(&bench, args.duration)?;
    let span = Span {
        warm_up: args.warm_up,
        duration: args.duration,
    };
    let open = args.rate.iter().map(|rate| Pace::Open {
        rate: f64::from(*rate),
        arrival: args.arrival,
    });
    let closed = args.in_flight.iter().map(|in_flight| Pace::Closed {
        in_flight: usize::try_from(*in_flight).unwrap_or(usize::MAX),
    });
    let mut paces: Vec<Pace> = open.chain(closed).collect();
    if paces.is_empty() {
        paces.push(Pace::Open {
            rate: 1000.0,
            arrival: args.arrival,
        });
    }
    let configuration = Configuration::here();
    println!("load · {configuration}");
    println!("{}", describe(&bench, span));
    let programs = Programs::find()?;
    let runs = block_on(async {
        let mut interrupts = Interrupts::listen()?;
        interrupts.unless(measure(&bench, &programs, &paces, span)).await
    })?;
    println!("{}", table(&runs));
    explain(&runs);
    let results = Results {
        schema: "bench-load/v2",
        configuration,
        faults: plan::faults(bench.nodes),
        bench,
        transcripts: false,
        warm_up_seconds: span.warm_up.as_secs_f64(),
        runs,
    };
    write_results(&results, &args.out, "results.json")?;
    report::write(&results, span, &args.out)
}

/// Whether a network can be like this.
pub(super) fn check(bench: &Bench, duration: Duration) -> Result<(), Error> {
    check_size(bench.nodes)?;
    let faults = plan::faults(bench.nodes);
    if bench.crashed > faults {
        return Err(Error::usage(
            format!(
                "{} crashed replicas of {} leave no quorum",
                bench.crashed, bench.nodes
            ),
            format!("at most f = {faults}"),
        ));
    }
    if duration < Duration::from_secs(1) {
        return Err(Error::usage(
            "a measurement of less than a second",
            "choose --duration 1s or longer",
        ));
    }
    Ok(())
}

/// What the machine's configuration does not say of a load.
pub(super) fn describe(bench: &Bench, span: Span) -> String {
    format!(
        "n = {}, f = {}, {} crashed · {} accounts, at most {} outstanding each · seed {} · {} s after {} s of warm-up · transcripts off, \
         log level warn · the client library sends again after {} s{}",
        bench.nodes,
        plan::faults(bench.nodes),
        bench.crashed,
        bench.accounts,
        bench.lookahead,
        bench.seed,
        span.duration.as_secs_f64(),
        span.warm_up.as_secs_f64(),
        RETRY.as_secs(),
        bench.quiet
    )
}

async fn measure(
    bench: &Bench,
    programs: &Programs,
    paces: &[Pace],
    span: Span,
) -> Result<Vec<Measured>, Error> {
    let mut runs = Vec::new();
    // Loads that follow each other share a network if its servers are to give way to all of them, or to none.
    for paces in paces.chunk_by(|one, other| one.needs_way() == other.needs_way()) {
        let gives_way = paces.first().is_some_and(Pace::needs_way);
        let programs = if gives_way {
            programs.giving_way()
        } else {
            programs.clone()
        };
        let mut bed = Bed::start(bench, programs).await?;
        for pace in paces {
            eprintln!("{} …", name(pace));
            runs.push(bed.measure(*pace, span).await?);
        }
        bed.stop()?;
    }
    Ok(runs)
}

/// A pace in a few characters.
pub(super) fn name(pace: &Pace) -> String {
    match pace {
        Pace::Open { rate, .. } => format!("{rate:.0}/s"),
        Pace::Closed { in_flight } => format!("{in_flight} in flight"),
    }
}

/// One row for each load, with headings short enough for a screen.
pub(super) fn table(runs: &[Measured]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header([
        "load",
        "offered/s",
        "sent/s",
        "acked/s",
        "failed",
        "open",
        "p50 ms",
        "p90",
        "p99",
        "p99.9",
        "max",
        "lag p50",
        "lag p99",
        "views",
        "batch",
        "nodes µs/tx",
        "client µs/tx",
        "stolen %",
        "MiB",
        "disk B/tx",
        "written",
        "syncs/s",
    ]);
    for row in grid(runs).rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn explain(runs: &[Measured]) {
    println!(
        "latency: from the intended sending to the f + 1st equal reply. open: due, and without any outcome in the end. lag: from the intended \
         to the real sending. µs/tx: processor time of all replicas together, and of this process (signing, client library). stolen: \
         processor time that the host of this machine gave to others, while which latency says little. MiB: \
         the largest replica's peak. disk, written, syncs: of a replica; growth of its data directory, bytes its process wrote; \
         the growth is negative where the database has dropped old logs meanwhile."
    );
    for run in runs {
        for (reason, count) in &run.failed {
            println!("{}: {count} failed: {reason}", name(&run.pace));
        }
        if let Some((before, last)) = run.late_memory() {
            println!(
                "{}: memory of the largest replica {:.1} MiB in the third quarter of the run, {:.1} MiB in the last",
                name(&run.pace),
                before / f64::from(1 << 20),
                last / f64::from(1 << 20)
            );
        }
        if run.unfinished > 0 {
            println!(
                "{}: {} transfers that were due never got an outcome or were never sent: this load is beyond what the system carries",
                name(&run.pace),
                run.unfinished
            );
        }
        if matches!(run.pace, Pace::Open { .. }) && run.lag.p99 > 5.0 {
            println!(
                "{}: the generator itself was late by {:.1} ms at the 99th percentile (no account had room, or it had too little of a core)",
                name(&run.pace),
                run.lag.p99
            );
        }
    }
}
