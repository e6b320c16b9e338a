//! `byz matrix`: every behaviour, by replicas that begin as backups and by replicas that begin as primaries, in networks of several
//! sizes with f traitors each, on real processes under load; and whether what must hold held.
//!
//! - safety: the honest replicas hold one chain with every acknowledged transfer in it once, and the supply is what it was;
//! - liveness: transfers go on being acknowledged, whatever was done;
//! - blame: who signed what proves a fault is convicted of that by the stores of the honest replicas, and nobody else of anything.

mod cell;
mod expectations;

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

pub use cell::{Cell, Finding};
pub use expectations::{Expectation, Provocation, of as expectation};

use crate::byzantine::catalogue;
use crate::error::Error;
use crate::interrupt::Interrupts;
use crate::plan::check_size;
use crate::process::Programs;

/// The account that behaviours harm that need one.
const VICTIM: &str = "alice";

/// What the traitors are when a cell begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Their turn as primary comes last.
    Backup,
    /// The first views are theirs; after a provoked view change the next ones.
    Primary,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Primary => "primary",
        }
    }
}

/// What `byz matrix` can be asked for.
#[derive(Args)]
pub struct MatrixArgs {
    /// The sizes to try, each 3f + 1, with f traitors
    #[arg(long, value_delimiter = ',', default_value = "4,7")]
    nodes: Vec<u16>,
    /// Which of `byz list`, and no others
    #[arg(long, value_delimiter = ',')]
    behaviours: Vec<String>,
    /// What the traitors are when it begins
    #[arg(long, value_delimiter = ',', value_enum, default_value = "backup,primary")]
    roles: Vec<Role>,
    /// How long the load goes on at least, in each cell
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

/// Tries all that was asked for and prints a table, or JSON.
///
/// # Errors
/// [`Error::Usage`] for a behaviour or size that does not exist; [`Error::Verdict`] (exit 9) if anything came otherwise than it
/// must; whatever keeps a network from running.
pub async fn run(args: &MatrixArgs, as_json: bool) -> Result<(), Error> {
    let cells = cells(args)?;
    let programs = Programs::find()?;
    let mut interrupts = Interrupts::listen()?;
    let began = Instant::now();
    if !as_json {
        println!("{HEADER}");
    }
    let (mut unexpected, mut all) = (0, Vec::new());
    for (cell, expectation) in &cells {
        let lasting = Duration::from_secs(args.seconds);
        let finding = interrupts
            .unless(cell.run(programs.clone(), expectation, lasting))
            .await?;
        if !finding.is_expected() {
            unexpected += 1;
        }
        if as_json {
            all.push(in_json(cell, &finding));
        } else {
            println!("{}", line(cell, expectation, &finding));
        }
    }
    if as_json {
        crate::cli::print_json(&json!({ "schema": "byzantine-matrix/v1", "cells": all }))?;
    } else {
        println!(
            "\n{} of {} cells as they must be, after {:.0} s; every line was computed from the stores of the honest replicas",
            cells.len() - unexpected,
            cells.len(),
            began.elapsed().as_secs_f64()
        );
    }
    if unexpected == 0 {
        return Ok(());
    }
    Err(Error::Verdict(format!(
        "{unexpected} of {} cells came otherwise than they must",
        cells.len()
    )))
}

/// The cells that were asked for, each with what must come of it.
fn cells(args: &MatrixArgs) -> Result<Vec<(Cell, Expectation)>, Error> {
    let known = catalogue::all();
    for name in &args.behaviours {
        if known.iter().all(|about| about.name != name) {
            return Err(Error::usage(
                format!("there is no behaviour {name:?}"),
                "tagma-testnet byz list says which there are; they come without arguments here",
            ));
        }
    }
    let mut cells = Vec::new();
    for replicas in &args.nodes {
        check_size(*replicas)?;
        for about in &known {
            if !args.behaviours.is_empty() && args.behaviours.iter().all(|name| name != about.name) {
                continue;
            }
            let expectation = expectation(about.name).ok_or_else(|| {
                Error::usage(
                    format!("it is not known what must come of {}", about.name),
                    "choose others with --behaviours",
                )
            })?;
            let behaviour = if catalogue::takes_account(about.name) {
                format!("{}:{VICTIM}", about.name)
            } else {
                about.name.to_owned()
            };
            for role in &args.roles {
                let cell = Cell {
                    behaviour: behaviour.clone(),
                    role: *role,
                    replicas: *replicas,
                };
                cells.push((cell, expectation));
            }
        }
    }
    Ok(cells)
}

const HEADER: &str = "behaviour               begin as  n  f  safety  liveness: acknowledged, longest silence, view   \
                      who is convicted, and by clients named";

fn mark(faults: &[String]) -> &'static str {
    if faults.is_empty() { "✔" } else { "✘" }
}

/// One line of the table, and one more for whatever is not as it must be.
fn line(cell: &Cell, expectation: &Expectation, finding: &Finding) -> String {
    let convicted = finding.convicted.iter().map(|(culprit, kinds)| {
        let kinds: Vec<&str> = kinds.iter().copied().collect();
        format!("n{culprit} {}", kinds.join("+"))
    });
    let named = finding.named.iter().map(|node| format!("n{node} by clients"));
    let blamed: Vec<String> = convicted.chain(named).collect();
    let blamed = match blamed.as_slice() {
        [] => "nobody".to_owned(),
        blamed => blamed.join(", "),
    };
    let liveness = format!(
        "{} {:>5} in {:>4.1} s, {:>5.2} s, view {}{}",
        mark(&finding.stuck),
        finding.acknowledged,
        finding.lasted.as_secs_f64(),
        finding.silence.as_secs_f64(),
        finding.view,
        match expectation.provocation {
            Provocation::None => "",
            Provocation::ViewChange => " (provoked)",
            Provocation::Absence => " (one away)",
        }
    );
    let mut text = format!(
        "{:<23} {:<8} {:>2}  {}  {:<6}  {liveness:<49}  {} {blamed}",
        cell.behaviour,
        cell.role.name(),
        cell.replicas,
        finding.traitors.len(),
        mark(&finding.diverged),
        mark(&finding.misjudged),
    );
    for fault in finding
        .diverged
        .iter()
        .chain(&finding.stuck)
        .chain(&finding.misjudged)
    {
        text.push_str("\n    ✘ ");
        text.push_str(fault);
    }
    text
}

fn in_json(cell: &Cell, finding: &Finding) -> Value {
    json!({
        "behaviour": cell.behaviour, "role": cell.role.name(), "replicas": cell.replicas,
        "traitors": finding.traitors, "expected": finding.is_expected(),
        "acknowledged": finding.acknowledged, "seconds": finding.lasted.as_secs_f64(),
        "longest_silence_seconds": finding.silence.as_secs_f64(), "view": finding.view.to_string(),
        "convicted": finding.convicted, "named_by_clients": finding.named,
        "safety": finding.diverged, "liveness": finding.stuck, "blame": finding.misjudged,
    })
}
