//! Measurements over real processes, from the replicas' own counters.

pub mod messages;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::error::Error;

/// What `bench` can be asked for.
#[derive(Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Count protocol messages per committed batch, against the model 2n(n-1)
    Messages {
        /// The sizes to measure, each 3f + 1
        #[arg(long, value_delimiter = ',', default_value = "4,7")]
        nodes: Vec<u16>,
        /// How many transfers, each a batch of its own, to count over
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
        batches: u32,
        /// The directory that gets results.json
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
        What::Messages { nodes, batches, out } => messages::run(nodes, *batches, out),
    }
}
