//! `bench limits`: what this machine could do at best, and how near a real network on it comes, in one run.

mod disk;
mod machine;
mod peak;
mod profile;
mod quic;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use tagma_ledger::Parameters;

use super::configuration::Configuration;
use super::load::{self, Bench, Measured, Span};
use super::quiet::Quiet;
use super::sizes::Sizes;
use super::usage::Shares;
use super::{Drawn, write_results};
use crate::cli::{block_on, duration};
use crate::error::Error;
use crate::interrupt::Interrupts;
use crate::network::temporary_directory;
use crate::process::Programs;

pub use disk::Disk;
pub use machine::{BatchCost, Material, Processor, SignatureCosts};
pub use peak::{AtFraction, Carried, Crashed, Turn};
pub use quic::Quic;

/// Each bound of the machine is measured for so long.
const EACH: Duration = Duration::from_millis(700);

/// What `bench limits` can be asked for.
#[derive(Args)]
pub(super) struct LimitsArgs {
    /// The sizes of networks to load, each 3f + 1
    #[arg(long, value_delimiter = ',', default_value = "4")]
    nodes: Vec<u16>,
    /// Load networks with so many replicas killed as well, at most f
    #[arg(long, default_value_t = 0)]
    crashed: u16,
    /// Measure the machine alone, no network
    #[arg(long)]
    machine_only: bool,
    /// How long each load counts
    #[arg(long, default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// Load before each, which does not count
    #[arg(long, default_value = "3s", value_parser = duration)]
    warm_up: Duration,
    #[command(flatten)]
    drawn: Drawn,
    #[command(flatten)]
    quiet: Quiet,
    /// The directory that gets results-limits.json and report-limits.html
    #[arg(long, default_value = "bench-results")]
    out: PathBuf,
}

/// What `results-limits.json` holds.
#[derive(Serialize)]
struct Results {
    schema: &'static str,
    configuration: Configuration,
    bench: Bench,
    /// Of the first size; none without a network.
    share_of_bound: Option<f64>,
    /// Before any load.
    signatures: SignatureCosts,
    processor: Processor,
    disk: Disk,
    quic: Quic,
    networks: Vec<Carried>,
}

/// Measures the machine, then networks on it, prints tables, and writes results and a report.
///
/// # Errors
/// [`Error::Usage`] for sizes or crashes that cannot be; whatever keeps a network from running.
pub(super) fn run(args: &LimitsArgs) -> Result<(), Error> {
    let bench = |nodes: u16| Bench {
        nodes,
        crashed: args.crashed,
        accounts: args.drawn.accounts,
        lookahead: Parameters::default().lookahead,
        seed: args.drawn.seed,
        quiet: args.quiet,
    };
    for nodes in &args.nodes {
        load::check(&bench(*nodes), args.duration)?;
    }
    let span = Span {
        warm_up: args.warm_up,
        duration: args.duration,
    };
    let configuration = Configuration::here();
    println!("limits · {configuration}");
    let first = bench(args.nodes.first().copied().unwrap_or(4));
    println!("{}", load::describe(&first, span));
    let cores = configuration.cores;
    let material = Material::new(args.drawn.accounts);
    let signatures = material.costs(EACH);
    let processor = Processor::measure(&material, EACH);
    let directory = temporary_directory()?;
    let disk = Disk::measure(directory.path(), EACH)?;
    drop(directory);
    let quic = block_on(Quic::measure(EACH))?;
    println!("{}", machine_table(&signatures, &processor, &disk, &quic));
    let mut networks = Vec::new();
    if !args.machine_only {
        let programs = Programs::find()?;
        for nodes in &args.nodes {
            eprintln!(
                "n = {nodes}: about {} s of load …",
                peak::expected(span, args.crashed).as_secs()
            );
            let (bench, machine) = (bench(*nodes), (&material, cores, EACH));
            networks.push(block_on(async {
                let mut interrupts = Interrupts::listen()?;
                let measuring = Carried::measure(&bench, args.crashed, &programs, span, machine);
                interrupts.unless(measuring).await
            })?);
        }
    }
    for network in &networks {
        tell(network, cores);
    }
    let results = Results {
        schema: "bench-limits/v5",
        share_of_bound: networks.first().map(|network| network.share_of_bound),
        configuration,
        bench: first,
        signatures,
        processor,
        disk,
        quic,
        networks,
    };
    write_results(&results, &args.out, "results-limits.json")?;
    report::write(&results, span, &args.out)
}

/// The machine's bounds as names and values.
fn machine_rows(
    signatures: &SignatureCosts,
    processor: &Processor,
    disk: &Disk,
    quic: &Quic,
) -> Vec<[String; 2]> {
    let mut rows = vec![
        [
            "one ed25519 signature".to_owned(),
            format!("{:.1} µs", signatures.sign),
        ],
        [
            "one verification alone".to_owned(),
            format!("{:.1} µs", processor.verify),
        ],
    ];
    for batch in &processor.batches {
        rows.push([
            format!(
                "one verification in a batch of {}, {} accounts",
                batch.claims, processor.accounts
            ),
            format!("{:.1} µs", batch.micros),
        ]);
    }
    rows.extend([
        [
            "the same in a batch of 1024 while every core verifies".to_owned(),
            format!("{:.1} µs", signatures.batched_on_all_cores),
        ],
        [
            "one ed25519 signature while every core signs".to_owned(),
            format!("{:.1} µs", signatures.sign_on_all_cores),
        ],
        [
            "SHA-256, one core".to_owned(),
            format!("{:.2} GB/s", processor.hashed_bytes / 1e9),
        ],
        [
            "appends of 256 bytes, each synced".to_owned(),
            format!("{:.0} /s", disk.synced_appends),
        ],
        [
            "batches of 1 KiB into RocksDB, each synced".to_owned(),
            format!("{:.0} /s", disk.synced_batches),
        ],
        [
            "QUIC frames of 200 bytes on one stream, per core".to_owned(),
            format!("{:.0} /s", quic.small_frames_per_core),
        ],
        [
            "QUIC bytes in frames of 64 KiB on one stream, per core".to_owned(),
            format!("{:.0} MB/s", quic.bytes_per_core / 1e6),
        ],
    ]);
    rows
}

fn machine_table(signatures: &SignatureCosts, processor: &Processor, disk: &Disk, quic: &Quic) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_MARKDOWN)
        .set_header(["this machine", "measured now"]);
    for row in machine_rows(signatures, processor, disk, quic) {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn profile_table(alone: &Measured, busiest: &Measured) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_MARKDOWN)
        .set_header(profile::HEADER);
    for row in profile::rows(alone, busiest) {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// What a network showed, in sentences that hold its numbers.
fn sentences(network: &Carried, cores: usize) -> Vec<String> {
    let mut told = vec![
        bound_in_words(network, cores),
        format!(
            "Peak: {:.0} transfers/s, signed, executed, durable, acknowledged by f + 1 replicas: share of the bound {:.2}.",
            network.peak, network.share_of_bound
        ),
        format!(
            "One client with one transfer outstanding: median {:.2} ms, 99th percentile {:.2} ms.",
            network.alone.latency.p50, network.alone.latency.p99
        ),
    ];
    for (words, fraction) in [("a quarter", 0.25), ("half", 0.5)] {
        if let Some(run) = network.at(fraction) {
            let latency = run.latency;
            told.push(format!(
                "At {words} of the peak ({:.0}/s): median {:.2} ms, 99th percentile {:.2} ms, {:.1} times the median{}.",
                run.offered,
                latency.p50,
                latency.p99,
                latency.p99 / latency.p50,
                run.cores.map_or_else(String::new, |shares| format!(
                    "; the host of the machine took {} % of the processors' time meanwhile",
                    Shares::stolen_percent(Some(shares))
                ))
            ));
        }
    }
    if let Some(crashed) = &network.crashed {
        told.push(format!(
            "With {} of {} crashed, in turns with a network without crashes, in the busiest closed loop: {} transfers/s. The median of \
             the ratios is {:.2}.",
            crashed.crashed,
            network.nodes,
            crashed.turns.iter().map(Turn::in_words).collect::<Vec<_>>().join(", "),
            crashed.ratio
        ));
    }
    if let Some(run) = network.busiest() {
        told.push(microseconds(run, network));
        told.push(memory_and_disk(run));
        told.push(what_is_written(Sizes::measured()));
    }
    told.push(format!(
        "View changes without a fault in any of these loads: {}.",
        network.views()
    ));
    told
}

fn bound_in_words(network: &Carried, cores: usize) -> String {
    let nodes = network.nodes;
    let [before, after] = network.costs.map(|costs| {
        format!(
            "{:.0} ({nodes} × {:.1} µs + {:.1} µs)",
            costs.bound(cores, nodes),
            costs.batched,
            costs.sign
        )
    });
    format!(
        "Bound: {cores} cores ÷ ({nodes} × batched verification + signing) = {:.0} transfers/s, the mean of {before} before the closed \
         loops and {after} after them. With the costs while every core is busy, which are higher where cores share parts of the processor, \
         it is {:.0}, and the share of it {:.2}. That is for {nodes} verifications of each transfer; while all goes well only {} replicas verify it: \
         of the bound with these, {:.0}, the share is {:.2}.",
        network.bound,
        network.bound_on_all_cores,
        network.peak / network.bound_on_all_cores,
        network.verifiers,
        network.bound_of_verifiers,
        network.peak / network.bound_of_verifiers
    )
}

/// Where the processor time of a transfer goes, as far as the bounds tell.
fn microseconds(run: &Measured, network: &Carried) -> String {
    let verifiers = network.verifiers;
    let mean = |cost: fn(&SignatureCosts) -> f64| {
        let [before, after] = network.costs;
        f64::midpoint(cost(&before), cost(&after))
    };
    format!(
        "Processor time at the busiest closed loop, per transfer: {:.1} µs in all replicas together, of which at best {:.1} µs are the {verifiers} \
         verifications; {:.1} µs in the client process, of which {:.1} µs are signing.",
        run.replicas_cpu(),
        f64::from(verifiers) * mean(|costs| costs.batched),
        run.generator_cpu,
        mean(|costs| costs.sign)
    )
}

fn memory_and_disk(run: &Measured) -> String {
    let most = run.peak_rss.iter().max().copied().unwrap_or_default();
    format!(
        "Memory of the largest replica: {} MiB. Disk per transfer and replica: {:.0} bytes of new files, {:.0} bytes written.",
        most >> 20,
        run.disk_growth,
        run.disk_written
    )
}

/// Where the bytes on disk come from.
fn what_is_written(sizes: Sizes) -> String {
    let Sizes {
        request,
        receipt,
        index,
    } = sizes;
    format!(
        "Of them, per transfer, the write-ahead log gets {request} bytes of the proposed batch, {} of the block with its receipt and \
         {index} of the index of transfers: {} in all. Files keep {} of these, and are written again when they are merged: the \
         protocol's copy of a batch is deleted once a later checkpoint is stable. Votes and certificates, headers and the accounts of a checkpoint come \
         once for a batch or for many; and a sync writes whole pages, so that small batches write more for each transfer.",
        request + receipt,
        2 * request + receipt + index,
        request + receipt + index,
    )
}

fn tell(network: &Carried, cores: usize) {
    println!("n = {}", network.nodes);
    let mut runs = vec![network.alone.clone()];
    runs.extend(network.closed.iter().cloned());
    runs.extend(network.open.iter().map(|at| at.run.clone()));
    println!("{}", load::table(&runs));
    for sentence in sentences(network, cores) {
        println!("{sentence}");
    }
    if let Some(busiest) = network.busiest() {
        println!("Where that goes, by the threads of all replicas together:");
        println!("{}", profile_table(&network.alone, busiest));
    }
}
