//! `tagma-sim`: runs seeds.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use tagma_sim::run::run;
use tagma_sim::schedule::{Plan, Wishes};
use tagma_sim::time::SECOND;

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
        /// No faults.
        #[arg(long)]
        calm: bool,
    },
}

fn main() -> ExitCode {
    let Command::Run {
        seed,
        seeds,
        nodes,
        minutes,
        trace,
        keep_going,
        calm,
    } = Arguments::parse().command;
    let wishes = Wishes {
        nodes,
        seconds: minutes.map(|minutes| minutes * 60),
    };
    let begun = Instant::now();
    let (mut simulated, mut failures, mut runs) = (0u64, 0u64, 0u64);
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let (mut events, mut executions, mut views) = (0, 0, 0);
    for seed in seed..seed.saturating_add(seeds) {
        let plan = if calm {
            Plan::calm(seed, nodes.unwrap_or(4))
        } else {
            Plan::from_seed(seed, &wishes)
        };
        let outcome = run(&plan, false);
        runs += 1;
        simulated += outcome.simulated;
        events += outcome.events;
        executions += outcome.executions;
        views += outcome.view;
        for (name, count) in &outcome.counts {
            *counts.entry(name).or_default() += count;
        }
        if seeds == 1 {
            println!(
                "{plan:?}\nheight {} view {} hash {}",
                outcome.height, outcome.view, outcome.hash
            );
        }
        if let Some(failure) = &outcome.failure {
            failures += 1;
            println!("seed {seed} FAILED at {failure}");
            println!(
                "replay: tagma-sim run --seed {seed} --trace{}",
                nodes.map_or_else(String::new, |n| format!(" --nodes {n}"))
            );
            if trace {
                for line in run(&plan, true).lines {
                    println!("{line}");
                }
            }
            if !keep_going {
                break;
            }
        }
    }
    let elapsed = begun.elapsed().as_secs_f64().max(1e-9);
    for (name, count) in &counts {
        println!("{count:>12}  {name}");
    }
    #[allow(clippy::cast_precision_loss, reason = "numbers for people")]
    let (seconds, per_minute) = (simulated as f64 / SECOND as f64, runs as f64 * 60.0 / elapsed);
    println!(
        "{runs} runs, {failures} failed; {executions} requests executed, {views} views, {events} events; {:.0} simulated seconds per real second, {per_minute:.1} runs per minute",
        seconds / elapsed
    );
    if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
