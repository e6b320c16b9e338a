//! `tagma-sim`: runs seeds.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tagma_sim::command::{Runs, SimArguments};
use tagma_sim::model;
use tagma_sim::model::exhaustive::{self, Deviations};
use tagma_sim::twins;

#[derive(Parser)]
#[command(name = "tagma-sim", about = "The deterministic simulator of Tagma")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs seeds with random faults, as `tagma-testnet sim` does.
    Run(SimArguments),
    /// Enumerates every run of a small instance: four replicas, one of them Byzantine, two sequence numbers.
    Exhaustive {
        /// Most deviations of one run: messages lost on a link in a round, timers early or late, lies. 2 take half a minute.
        #[arg(long, default_value_t = 2)]
        depth: u8,
        /// Views before the network heals.
        #[arg(long, default_value_t = 3)]
        views: u64,
        /// Messages are lost, and nothing else goes wrong but that one replica is dead from the start.
        #[arg(long)]
        losses: bool,
    },
    /// Enumerates every scenario of four replicas of which one runs twice, over the core alone or in the simulator.
    Twins {
        /// Rounds, each with its own division into two sides.
        #[arg(long, default_value_t = 4)]
        rounds: u32,
        /// Runs scenarios in the simulator, with ledgers and disks, instead of enumerating all of them over the core.
        #[arg(long)]
        simulate: bool,
        /// The first scenario to simulate.
        #[arg(long, default_value_t = 0, requires = "simulate")]
        from: u64,
        /// How many to simulate; all of them if not given.
        #[arg(long, requires = "simulate")]
        count: Option<u64>,
    },
}

fn main() -> ExitCode {
    let clean = match Arguments::parse().command {
        Command::Run(arguments) => match arguments.check() {
            Ok(()) => told(arguments.run("tagma-sim run", &mut std::io::stdout().lock())),
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::from(2);
            }
        },
        Command::Exhaustive { depth, views, losses } => {
            let limits = exhaustive::Limits {
                depth,
                views,
                deviations: if losses {
                    Deviations::Losses
                } else {
                    Deviations::All
                },
            };
            let report = exhaustive::run(limits, &mut |round| println!("{round}"));
            println!("{report}");
            report.violation.is_none()
        }
        Command::Twins {
            rounds,
            simulate: false,
            ..
        } => {
            let report = model::twins::run(rounds, &mut |round| println!("{round}"));
            println!("{report}");
            report.violation.is_none()
        }
        Command::Twins {
            rounds, from, count, ..
        } => {
            let all_of_them = twins::count(rounds);
            let end = count.map_or(all_of_them, |count| from.saturating_add(count).min(all_of_them));
            println!(
                "{} of {all_of_them} scenarios of {rounds} rounds",
                end.saturating_sub(from)
            );
            let replay =
                |number| format!("tagma-sim twins --rounds {rounds} --simulate --from {number} --count 1");
            let runs = Runs {
                seeds: from..end,
                jobs: 1,
                trace: false,
                keep_going: true,
            };
            let plan = |number| twins::plan(rounds, number);
            told(runs.run(&plan, &replay, &mut std::io::stdout().lock()))
        }
    };
    if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Whether nothing failed; whoever does not listen to the end is told nothing.
fn told(clean: std::io::Result<bool>) -> bool {
    clean.unwrap_or(false)
}
