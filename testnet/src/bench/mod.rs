//! Measurements: over real processes from the replicas' own counters, and of single steps of the protocol.

pub mod compare;
pub mod configuration;
pub mod faults;
pub mod limits;
pub mod load;
pub mod messages;
pub mod new_view;
pub mod quiet;
pub mod report;
mod sizes;
pub mod usage;
pub mod versus;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use tagma_wire::client_protocol::MAX_FOLLOWED;

use crate::error::Error;

/// What a load is drawn from.
#[derive(Args, Clone, Copy, Debug)]
struct Drawn {
    /// Funded accounts of Tagma that pay each other
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(2..=MAX_FOLLOWED as u64))]
    accounts: u64,
    /// What keys, accounts and arrivals are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What `bench` can be asked for.
#[derive(Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Count protocol messages per committed batch, against the model 2n(n-1)
    Messages(messages::MessagesArgs),
    /// Throughput and latency of a network under a load of signed transfers, open loop or closed
    Load(load::LoadArgs),
    /// What this machine could carry at best, and the share of it that a network reaches, in one run
    Limits(limits::LimitsArgs),
    /// The numbers of two results side by side, with their ratios
    Compare(compare::CompareArgs),
    /// The same load on systems that tolerate crashes only (etcd, ZooKeeper), if they are installed: what tolerating lies costs
    Versus(versus::VersusArgs),
    /// Throughput under attack by f replicas, or by a client, against throughput before it
    Faults {
        /// The size of the network, 3f + 1
        #[arg(long, default_value_t = 4)]
        nodes: u16,
        /// What to measure: BEHAVIOUR@backup, BEHAVIOUR@primary (see `byz list`), bad-signatures@client, valid-signatures@client,
        /// bad-after-good@client; without this a choice of them
        #[arg(long, value_delimiter = ',')]
        attacks: Vec<String>,
        /// How long to measure, before each attack and under it
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
        /// How often to switch on and off what is not done by a primary; the median counts
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
        rounds: u32,
        /// The directory that gets results-faults.json
        #[arg(long, default_value = "bench-results")]
        out: PathBuf,
    },
    /// The size of the largest NEW-VIEW against the cap, and the time to verify it against the view-change timeout
    NewView {
        /// The sizes to measure, each 3f + 1
        #[arg(long, value_delimiter = ',', default_value = "4,7")]
        nodes: Vec<u16>,
        /// Sequence numbers in the window
        #[arg(long, value_delimiter = ',', default_value = "256,512", value_parser = clap::value_parser!(u64).range(1..=4096))]
        window: Vec<u64>,
        /// How often each is verified
        #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        /// The directory that gets results-new-view.json
        #[arg(long, default_value = "bench-results")]
        out: PathBuf,
    },
}

/// Runs a measurement.
///
/// # Errors
/// [`Error::NothingMeasured`] if nothing was committed, and whatever keeps the network from running.
pub fn run(args: &BenchArgs) -> Result<(), Error> {
    match &args.what {
        What::Messages(args) => messages::run(args),
        What::Load(args) => load::run(args),
        What::Limits(args) => limits::run(args),
        What::Compare(args) => compare::run(args),
        What::Versus(args) => versus::run(args),
        What::Faults {
            nodes,
            attacks,
            seconds,
            rounds,
            out,
        } => faults::run(*nodes, attacks, *seconds, *rounds, out),
        What::NewView {
            nodes,
            window,
            rounds,
            out,
        } => new_view::run(nodes, window, *rounds, out),
    }
}

/// The middle one, or the mean of the two in the middle; none of nothing.
fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get(values.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// Writes results for machines into a file of the directory `out`, which is made if it is not there.
fn write_results(results: &impl Serialize, out: &Path, name: &str) -> Result<(), Error> {
    let path = out.join(name);
    let text =
        serde_json::to_string_pretty(results).map_err(|error| Error::io("write", &path, error.into()))?;
    std::fs::create_dir_all(out).map_err(|source| Error::io("create", out, source))?;
    std::fs::write(&path, text + "\n").map_err(|source| Error::io("write", &path, source))?;
    println!("written to {}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        assert_eq!(median([4.0, 1.0, 2.0, 10.0]), Some(3.0));
        assert_eq!(median([]), None);
    }
}
