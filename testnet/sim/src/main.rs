//! `tagma-sim`: runs seeds.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tagma_sim::hunts;
use tagma_sim::report::Report;
use tagma_sim::run::run;
use tagma_sim::schedule::{Plan, Wishes};
use tagma_sim::twins;

#[derive(Parser)]
#[command(name = "tagma-sim", about = "The deterministic simulator of Tagma")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs seeds with random faults.
    Run {
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// How many seeds.
        #[arg(long, default_value_t = 1)]
        seeds: u64,
        /// N; drawn by the seed if not given.
        #[arg(long)]
        nodes: Option<u16>,
        /// Length of the phase of faults; drawn by the seed if not given.
        #[arg(long)]
        minutes: Option<u64>,
        /// Prints the trace of a failing run.
        #[arg(long)]
        trace: bool,
        /// Goes on after a failure.
        #[arg(long)]
        keep_going: bool,
        /// The plans that planted bugs are hunted with, instead of random ones.
        #[arg(long)]
        hunts: bool,
    },
    /// Runs every scenario of four replicas of which one runs twice.
    Twins {
        /// Rounds, each with its own division into two sides.
        #[arg(long, default_value_t = 2)]
        rounds: u32,
        /// The first scenario.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many; all of them if not given.
        #[arg(long)]
        count: Option<u64>,
    },
}

fn main() -> ExitCode {
    let clean = match Arguments::parse().command {
        Command::Run {
            seed,
            seeds,
            nodes,
            minutes,
            trace,
            keep_going,
            hunts,
        } => {
            let wishes = Wishes {
                nodes,
                seconds: minutes.map(|minutes| minutes * 60),
            };
            let plan = |seed| {
                if hunts {
                    hunts::plan(seed)
                } else {
                    Plan::from_seed(seed, &wishes)
                }
            };
            let mut again = if hunts {
                " --hunts".to_owned()
            } else {
                String::new()
            };
            again.extend(nodes.map(|nodes| format!(" --nodes {nodes}")));
            again.extend(minutes.map(|minutes| format!(" --minutes {minutes}")));
            let replay = |seed| format!("tagma-sim run --seed {seed}{again} --trace");
            all(seed..seed.saturating_add(seeds), plan, replay, trace, keep_going)
        }
        Command::Twins { rounds, from, count } => {
            let all_of_them = twins::count(rounds);
            let end = count.map_or(all_of_them, |count| from.saturating_add(count).min(all_of_them));
            println!(
                "{} of {all_of_them} scenarios of {rounds} rounds",
                end.saturating_sub(from)
            );
            let replay = |number| format!("tagma-sim twins --rounds {rounds} --from {number} --count 1");
            all(
                from..end,
                |number| twins::plan(rounds, number),
                replay,
                false,
                true,
            )
        }
    };
    if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn all(
    seeds: std::ops::Range<u64>,
    plan: impl Fn(u64) -> Plan,
    replay: impl Fn(u64) -> String,
    trace: bool,
    keep_going: bool,
) -> bool {
    let mut report = Report::begin();
    let single = seeds.end.saturating_sub(seeds.start) == 1;
    for seed in seeds {
        let plan = plan(seed);
        let outcome = run(&plan, false);
        report.add(&outcome);
        if single {
            println!(
                "{plan:?}\nheight {} view {} hash {}",
                outcome.height, outcome.view, outcome.hash
            );
        }
        if let Some(failure) = &outcome.failure {
            println!("seed {seed} FAILED at {failure}\nreplay: {}", replay(seed));
            if trace {
                run(&plan, true).lines.iter().for_each(|line| println!("{line}"));
            }
            if !keep_going {
                break;
            }
        }
    }
    println!("{report}");
    report.failures == 0
}
