//! `tagma-node config`

use std::fmt::Write;

use super::{HomeArgs, print};
use crate::driver::NodeSetup;
use crate::exit::Failure;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Check settings, genesis and keys of a home against each other.
    Check {
        #[command(flatten)]
        home: HomeArgs,
    },
    /// Show the settings in force.
    Show {
        #[command(flatten)]
        home: HomeArgs,
        /// Say of each where it comes from.
        #[arg(long)]
        origin: bool,
    },
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Check { home } => {
            let setup = NodeSetup::load(home.home(), home.config()?)?;
            let replica = setup.replica()?;
            print(&format!(
                "ok replica={} chain={}\n",
                replica.id,
                setup.genesis.chain_id()
            ))
        }
        Command::Show { home, origin } => {
            let layered = home.layered()?;
            let mut text = String::new();
            for (key, value, from) in layered.values() {
                let line = if *origin {
                    writeln!(text, "{key} = {value}  # {from}")
                } else {
                    writeln!(text, "{key} = {value}")
                };
                assert!(line.is_ok(), "writing into a string cannot fail");
            }
            print(&text)
        }
    }
}
