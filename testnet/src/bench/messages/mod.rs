//! How many messages a batch costs.
//!
//! In the normal case the primary sends n − 1 PRE-PREPAREs, each of the n − 1 backups sends n − 1 PREPAREs, and each of the n
//! replicas sends n − 1 COMMITs (OSDI '99 §4.2): (n − 1) + (n − 1)² + n(n − 1) = 2n(n − 1). Messages sent again in answer
//! to a STATUS, checkpoints, STATUS itself and what passes between clients and replicas are counted apart.
//!
//! That is the protocol of the paper, for which all replicas take part in everything. Unless told otherwise f of the backups stand by: then
//! only 2f + 1 replicas vote, which makes 2(2f + 1)(n − 1). The smallest network is counted that way, too.
//!
//! Small networks are counted on real processes, by the counters of all replicas; larger ones in the simulator, which runs the same
//! replica. What batching does to the cost of one transfer is measured on processes too.

mod batching;
mod counts;
mod page;
mod real;
mod simulated;
mod tables;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

pub use batching::Batching;
pub use counts::{Counts, Place, Span, Tally, Traffic, Work, exponent, model, standby_model};
pub use real::{measure, network, parameters};
pub use simulated::measure as simulate;

use super::write_results;
use crate::cli::block_on;
use crate::error::Error;
use crate::interrupt::Interrupts;
use crate::plan::check_size;
use crate::process::Programs;

/// The seed of simulated networks: any will do, as nothing goes wrong in them.
const SEED: u64 = 1;

/// What `bench messages` can be asked for.
#[derive(Args)]
pub struct MessagesArgs {
    /// The sizes to measure on real processes, each 3f + 1
    #[arg(long, value_delimiter = ',', default_value = "4,7")]
    nodes: Vec<u16>,
    /// The sizes to measure in the simulator, each 3f + 1, at most 100
    #[arg(long, value_delimiter = ',')]
    simulated: Vec<u16>,
    /// How many transfers, each a batch of its own, to count over
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batches: u32,
    /// Also measure, on the smallest network of processes, batches of at most so many transfers each
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=512))]
    batch_sizes: Vec<u32>,
    /// The directory that gets results-messages.json and report-messages.html
    #[arg(long, default_value = "bench-results")]
    out: PathBuf,
}

/// One size, and how fast messages grow from the next smaller one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What was counted.
    #[serde(flatten)]
    pub counts: Counts,
    /// Whether each phase sent exactly what the model says.
    pub as_modelled: bool,
    /// d log(messages per batch) / d log(n) from the next smaller size; none for the smallest.
    pub exponent: Option<f64>,
    /// The same of 2n(n - 1), which comes down to 2 as n grows.
    pub model_exponent: Option<f64>,
}

/// What `results-messages.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Results {
    schema: &'static str,
    version: &'static str,
    cores: usize,
    synced_writes: bool,
    timers: String,
    /// By size.
    pub runs: Vec<Row>,
    /// The smallest network of processes, with f of its backups standing by.
    pub standby: Option<Counts>,
    /// The size of the network that `batching` is about, if it was measured.
    pub batching_nodes: Option<u16>,
    /// By size of batches.
    pub batching: Vec<Batching>,
}

/// Measures networks one after the other, prints tables and writes `results-messages.json` and `report-messages.html`.
///
/// # Errors
/// [`Error::NothingMeasured`] if nothing was committed, and whatever keeps a network from running.
pub fn run(args: &MessagesArgs) -> Result<(), Error> {
    for size in args.nodes.iter().chain(&args.simulated) {
        check_size(*size)?;
    }
    if args.nodes.is_empty() && args.simulated.is_empty() {
        return Err(Error::usage("there is no size to measure", "--nodes 4,7"));
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let version = env!("CARGO_PKG_VERSION");
    println!(
        "messages per batch · tagma {version} · {cores} cores · {} transfers one after the other, each a batch · every write synced · \
         processes: {} · simulated: {}, seed {SEED} · all replicas take part in everything, as in the paper, unless said otherwise \
         · timers raised, so that no replica is suspected for want of cores: {}",
        args.batches,
        tables::sizes(&args.nodes),
        tables::sizes(&args.simulated),
        real::timers()
    );
    let mut counted = on_processes(args)?;
    for size in &args.simulated {
        eprintln!("n = {size}, simulated …");
        counted.push(simulate(*size, args.batches, SEED)?);
    }
    let runs = rows(counted);
    println!("{}", tables::phases(&runs));
    println!("{}", tables::costs(&runs));
    for remark in tables::remarks(&runs) {
        println!("{remark}");
    }
    let standby = standing_by(args)?;
    println!("{}", tables::standby(&runs, standby.as_ref()));
    let batching = batching(args)?;
    let batching_nodes = (!batching.is_empty())
        .then(|| args.nodes.iter().min().copied())
        .flatten();
    if let Some(size) = batching_nodes {
        println!(
            "what batching does to the cost of one transfer, n = {size}, transfers submitted all at once:"
        );
        println!("{}", tables::batching(&batching));
    }
    let results = Results {
        schema: "bench-messages/v4",
        version,
        cores,
        synced_writes: true,
        timers: real::timers(),
        runs,
        standby,
        batching_nodes,
        batching,
    };
    write_results(&results, &args.out, "results-messages.json")?;
    page::report(&results).write(&args.out, "report-messages")
}

fn on_processes(args: &MessagesArgs) -> Result<Vec<Counts>, Error> {
    if args.nodes.is_empty() {
        return Ok(Vec::new());
    }
    let programs = Programs::find()?;
    let measured = args.nodes.iter().map(|size| {
        eprintln!("n = {size}, {size} processes …");
        let network = network(*size, programs.clone(), parameters(*size), false)?;
        interruptible(measure(network, args.batches))
    });
    measured.collect()
}

fn standing_by(args: &MessagesArgs) -> Result<Option<Counts>, Error> {
    let Some(size) = args.nodes.iter().min() else {
        return Ok(None);
    };
    eprintln!("n = {size}, f of them standing by …");
    let network = network(*size, Programs::find()?, parameters(*size), true)?;
    interruptible(measure(network, args.batches)).map(Some)
}

fn batching(args: &MessagesArgs) -> Result<Vec<Batching>, Error> {
    let Some(size) = args.nodes.iter().min() else {
        return Ok(Vec::new());
    };
    let measured = args.batch_sizes.iter().map(|most| {
        eprintln!("n = {size}, batches of at most {most} …");
        interruptible(batching::measure(*size, *most, Programs::find()?))
    });
    measured.collect()
}

fn interruptible<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    block_on(async {
        let mut interrupts = Interrupts::listen()?;
        interrupts.unless(future).await
    })
}

/// Sorts by size, and compares each with the next smaller one.
fn rows(mut counted: Vec<Counts>) -> Vec<Row> {
    counted.sort_by_key(|counts| counts.nodes);
    let mut rows: Vec<Row> = Vec::new();
    for counts in counted {
        let smaller = rows
            .iter()
            .rfind(|row| row.counts.nodes < counts.nodes)
            .map(|row| row.counts.clone());
        let modelled = |counts: &Counts| (counts.nodes, counts::per(counts.model, 1));
        rows.push(Row {
            as_modelled: counts.is_as_modelled(),
            exponent: smaller.as_ref().map(|smaller| {
                exponent(
                    (smaller.nodes, smaller.per_batch),
                    (counts.nodes, counts.per_batch),
                )
            }),
            model_exponent: smaller.map(|smaller| exponent(modelled(&smaller), modelled(&counts))),
            counts,
        });
    }
    rows
}
