//! `tagma-mutants`: plants one bug after the other and counts the runs until the simulator sees it.

use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tagma_crypto::mutants::Mutant;
use tagma_sim::mutation::{Catch, gaps, hunt_all, table};

#[derive(Parser)]
#[command(
    name = "tagma-mutants",
    about = "Plants bugs and counts the runs until they are seen"
)]
struct Arguments {
    /// Most runs for each.
    #[arg(long, default_value_t = 240)]
    runs: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only these, by name; all of them if none is given.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How many at a time; one for each processor if not given.
    #[arg(long)]
    jobs: Option<usize>,
    /// Writes the table of the documentation to this file.
    #[arg(long)]
    write: Option<PathBuf>,
}

fn tell(catch: &Catch) {
    let (name, took) = (format!("{:?}", catch.mutant), catch.took.as_secs_f64());
    match &catch.seen {
        Some(sight) => {
            let line = sight.failure.lines().next().unwrap_or_default();
            let short: String = line.chars().take(200).collect();
            println!("{name:28} {:4} runs {took:6.1} s   {short}", sight.runs);
        }
        None => println!("{name:28} SURVIVED ALL RUNS {took:6.1} s"),
    }
}

fn main() -> ExitCode {
    let Arguments {
        runs,
        seed,
        only,
        jobs,
        write,
    } = Arguments::parse();
    if let Some(gaps) = gaps() {
        println!("{gaps}");
        return ExitCode::FAILURE;
    }
    let begun = Instant::now();
    let name = |mutant: &Mutant| format!("{mutant:?}");
    let wanted: Vec<Mutant> = Mutant::ALL
        .iter()
        .copied()
        .filter(|mutant| only.is_empty() || only.contains(&name(mutant)))
        .collect();
    let jobs = jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get));
    let caught = hunt_all(&wanted, seed, runs, jobs, tell);
    let survivors = caught.iter().filter(|catch| catch.seen.is_none()).count();
    let needed: u64 = caught
        .iter()
        .filter_map(|catch| Some(catch.seen.as_ref()?.runs))
        .sum();
    println!(
        "{} planted, {survivors} survived; {needed} runs in {} s, {jobs} at a time",
        caught.len(),
        begun.elapsed().as_secs()
    );
    if let Some(path) = write
        && let Err(error) = std::fs::write(&path, table(&caught, seed, runs))
    {
        println!("{}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if survivors == 0 && !caught.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
