//! `disk`: what is done to the disks of nodes.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{NodeName, duration, resolve};
use crate::disk;
use crate::error::Error;
use crate::network::Network;

/// What `disk` can be asked for.
#[derive(Args)]
pub(super) struct DiskArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Leave no room: a node that runs ends when it next writes
    Full {
        /// n0, 0 or primary
        node: NodeName,
    },
    /// Give the room back; then start the node again
    Free {
        /// n0 or 0
        node: NodeName,
    },
    /// Have each sync take longer
    Slow {
        /// n0, 0 or primary
        node: NodeName,
        /// By how much, e.g. 50ms; 0ms is a good disk again
        #[arg(value_parser = duration)]
        sync: Duration,
    },
}

pub(super) fn run(network: &mut Network, args: &DiskArgs) -> Result<(), Error> {
    match args.what {
        What::Full { node } => {
            let node = resolve(network, node)?;
            disk::set_full(network, node, true)?;
            println!("n{node} has no room on its disk: it ends when it next writes");
        }
        What::Free { node } => {
            let node = resolve(network, node)?;
            disk::set_full(network, node, false)?;
            println!("n{node} has room on its disk again");
        }
        What::Slow { node, sync } => {
            let node = resolve(network, node)?;
            disk::set_slow(network, node, sync)?;
            println!("each sync of n{node} takes {sync:?} longer");
        }
    }
    Ok(())
}
