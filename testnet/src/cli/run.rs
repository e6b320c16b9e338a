//! `run` and `replay`: scenarios on processes and in the simulator.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::Format;
use super::look::{print_json, table};
use crate::error::Error;
use crate::process::Programs;
use crate::scenario::play::{Field, Played, play};
use crate::scenario::real::RealField;
use crate::scenario::simulated::SimField;
use crate::scenario::trace::{Recording, Side};
use crate::scenario::{Scenario, library};

/// What `run` can be asked for.
#[derive(Args)]
pub(super) struct RunArgs {
    /// Scenario files, or names of those that come with the program
    #[arg(required_unless_present_any = ["all", "list"])]
    scenarios: Vec<PathBuf>,
    /// All that come with the program
    #[arg(long, conflicts_with = "scenarios")]
    all: bool,
    /// Name those that come with the program
    #[arg(long, conflicts_with_all = ["scenarios", "all"])]
    list: bool,
    /// In the simulator instead of on processes
    #[arg(long)]
    sim: bool,
    /// What chance is drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write what happened to this file, for replay
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    record: Option<PathBuf>,
}

pub(super) fn run(args: &RunArgs, format: Format) -> Result<(), Error> {
    if args.list {
        return list();
    }
    let scenarios = if args.all {
        library::all()?
    } else {
        args.scenarios
            .iter()
            .map(|path| find(path))
            .collect::<Result<_, _>>()?
    };
    if args.record.is_some() && scenarios.len() != 1 {
        return Err(Error::usage(
            "--record is for one scenario",
            "name one scenario, or leave --record out",
        ));
    }
    let side = if args.sim {
        Side::Simulator
    } else {
        Side::Processes
    };
    let mut rows = table(&["scenario", "n", "verdict", "took"]);
    let mut results = Vec::new();
    let mut failed = Vec::new();
    for scenario in &scenarios {
        eprintln!("{}: {}", scenario.name, scenario.about);
        let began = Instant::now();
        let played = match play_on(scenario, side, args.seed) {
            // One that cannot be played does not keep the others from it.
            Err(error) if scenarios.len() > 1 => {
                eprintln!("error: {error}");
                rows.add_row([
                    scenario.name.clone(),
                    scenario.nodes.to_string(),
                    "✘ could not be played".to_owned(),
                ]);
                failed.push(scenario.name.clone());
                continue;
            }
            played => played?,
        };
        let (verdict, took) = (&played.verdict, began.elapsed());
        if scenarios.len() == 1 && format == Format::Table {
            println!("{verdict}");
        } else if !verdict.holds() {
            eprintln!("{verdict}");
        }
        let outcome = if verdict.holds() { "✔" } else { "✘" };
        rows.add_row([
            scenario.name.clone(),
            scenario.nodes.to_string(),
            format!("{outcome} {} claims", verdict.claims.len()),
            format!("{:.1} s", took.as_secs_f64()),
        ]);
        results.push(
            json!({ "scenario": scenario.name, "nodes": scenario.nodes, "holds": verdict.holds(),
            "claims": verdict.claims, "digest": played.digest, "took_ms": took.as_millis().to_string() }),
        );
        if !verdict.holds() {
            failed.push(scenario.name.clone());
        }
        if let Some(path) = &args.record {
            let recording = Recording {
                side,
                seed: args.seed,
                scenario: scenario.clone(),
                played,
            };
            recording.save(path)?;
            eprintln!("recorded; replay: tagma-testnet replay {}", path.display());
        }
    }
    match format {
        Format::Json => print_json(
            &json!({ "schema": "run/v1", "side": side, "seed": args.seed.to_string(),
            "scenarios": results }),
        )?,
        Format::Table if scenarios.len() > 1 => println!("{rows}"),
        Format::Table => {}
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Error::Verdict(format!(
            "not as it must be: {}",
            failed.join(", ")
        )))
    }
}

pub(super) fn replay(path: &Path) -> Result<(), Error> {
    let recording = Recording::load(path)?;
    let scenario = recording.to_replay();
    let played = play_on(&scenario, Side::Simulator, recording.seed)?;
    recording.compare(&played)?;
    println!("{}", played.verdict);
    match recording.side {
        Side::Simulator => println!(
            "✔ the same in every step, hash {}",
            played.digest.as_deref().unwrap_or("none")
        ),
        Side::Processes => println!("✔ the simulator comes to the same verdict as the processes did"),
    }
    Ok(())
}

/// Plays a scenario where it is to be played, and tells each step on stderr.
fn play_on(scenario: &Scenario, side: Side, seed: u64) -> Result<Played, Error> {
    let field: Box<dyn Field> = match side {
        Side::Processes => Box::new(RealField::start(scenario, Programs::find()?, seed)?),
        Side::Simulator => Box::new(SimField::start(scenario, seed)?),
    };
    play(scenario, field, |step| {
        eprintln!("  {:>7} {}", seconds(step.at), step.words);
    })
}

fn seconds(span: Duration) -> String {
    format!("{:.2} s", span.as_secs_f64())
}

/// The scenario in a file; or, if there is no such file, the one of this name.
fn find(path: &Path) -> Result<Scenario, Error> {
    if path.exists() {
        return Scenario::load(path);
    }
    library::named(&path.display().to_string())
}

fn list() -> Result<(), Error> {
    let mut rows = table(&["scenario", "n", "about"]);
    for scenario in library::all()? {
        rows.add_row([scenario.name, scenario.nodes.to_string(), scenario.about]);
    }
    println!("{rows}");
    Ok(())
}
