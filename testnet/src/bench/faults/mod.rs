//! What an attack costs: throughput while it goes on against throughput before it, on one network, under one load.
//!
//! The traitors run from the beginning, with an order that never applies: so the same processes are measured before and during,
//! and nothing but the lie differs. What backups or a client do is switched on and off several times, and the median of the rounds
//! counts; a primary is replaced only once. All replicas, the load and a client that floods share this machine's cores, so a traitor that
//! works more leaves less for the others, and a silent one more.

mod attack;
mod client_flood;
mod earning_flood;

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::{median, write_results};
use crate::byzantine::When;
use crate::cli::block_on;
use crate::error::Error;
use crate::interrupt::Interrupts;
use crate::load::{Acknowledged, Load, Pace};
use crate::network::{GRACE, Network, READY};
use crate::observe::Observer;
use crate::plan::{self, check_size};
use crate::process::Programs;

pub use attack::Attack;
use client_flood::{ClientFlood, Stock};

/// How long a request may take: longer than any outage that is measured.
const PATIENCE: Duration = Duration::from_secs(120);
/// The load goes on for so long before anything is measured.
const WARM_UP: Duration = Duration::from_secs(2);
/// What is not done by a primary is measured after so long.
const STEADY: Duration = Duration::from_secs(3);
/// Once a primary was replaced, the network is steady when its view has not changed for so long: the next one may be a traitor too.
const SETTLED: Duration = Duration::from_secs(10);
/// For so long a primary is given the chance to be noticed.
const NOTICE: Duration = Duration::from_secs(20);
/// The longest wait for steadiness; what is measured after it is measured of an unsteady network, and the table shows its views.
const UNREST: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// An order with this condition never applies: no chain is so long.
const NEVER: When = When::Sequence(u64::MAX, u64::MAX);

/// What was measured of one attack.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    /// The attack.
    pub attack: String,
    /// Who does it: replicas, or none if it is a client.
    pub by: Vec<u16>,
    /// Transfers acknowledged per second before it, in each round.
    pub before: Vec<f64>,
    /// From its beginning to the last view change that it caused; none without one.
    pub until_replaced: Option<f64>,
    /// Transfers per second in that time.
    pub meanwhile: Option<f64>,
    /// Transfers per second once the view is steady, the attack going on, in each round.
    pub after: Vec<f64>,
    /// The median over the rounds of `after` ÷ `before`.
    pub ratio: f64,
    /// How long 99 of 100 transfers took at most that were acknowledged while `before` was measured, milliseconds, of all rounds
    /// together.
    pub p99_before: f64,
    /// The same while `after` was measured.
    pub p99_after: f64,
    /// Views entered, from the beginning of the attack to the end of the measurement.
    pub views: u64,
}

/// What `results-faults.json` holds.
#[derive(Serialize)]
struct Results {
    schema: &'static str,
    version: &'static str,
    cores: usize,
    nodes: u16,
    faults: u16,
    window_seconds: u64,
    rounds: u32,
    in_flight: usize,
    synced_writes: bool,
    runs: Vec<Ratio>,
}

/// Measures one attack after the other, each on a network of its own, prints a table and writes `results-faults.json`.
///
/// # Errors
/// [`Error::Usage`] for an attack or a size that does not exist; [`Error::NothingMeasured`] if nothing was committed before an
/// attack; whatever keeps a network from running.
pub fn run(nodes: u16, attacks: &[String], seconds: u64, rounds: u32, out: &Path) -> Result<(), Error> {
    check_size(nodes)?;
    let faults = plan::faults(nodes);
    let attacks = Attack::chosen(attacks)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let version = env!("CARGO_PKG_VERSION");
    let pace = Pace::full(PATIENCE);
    println!(
        "throughput under attack · tagma {version} · {cores} cores for everything · n = {nodes}, f = {faults} · closed loop, {} in \
         flight · {seconds} s before and {seconds} s under each, {rounds} times · every write synced",
        pace.in_flight
    );
    let programs = Programs::find()?;
    let mut runs = Vec::new();
    for attack in &attacks {
        eprintln!("{attack} …");
        let network = Network::ephemeral(nodes, programs.clone())?;
        let span = Span {
            window: Duration::from_secs(seconds),
            // A primary that was replaced is not put back.
            rounds: if attack.is_by_primaries() { 1 } else { rounds },
        };
        runs.push(block_on(async {
            let mut interrupts = Interrupts::listen()?;
            interrupts.unless(measure(network, attack, pace, span)).await
        })?);
    }
    println!("{}", table(&runs));
    println!(
        "ratio: transfers per second under the attack, once the view was steady, ÷ before it, on the same processes. A silent \
         replica leaves its share of the cores to the others; one that floods takes some of theirs. \
         p99: of those transfers that were acknowledged in that time, by the clients that keep the rules."
    );
    let results = Results {
        schema: "bench-faults/v1",
        version,
        cores,
        nodes,
        faults,
        window_seconds: seconds,
        rounds,
        in_flight: pace.in_flight,
        synced_writes: true,
        runs,
    };
    write_results(&results, out, "results-faults.json")
}

fn table(runs: &[Ratio]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header([
        "attack",
        "by",
        "before /s",
        "replaced after s",
        "meanwhile /s",
        "after /s",
        "ratio",
        "p99 ms before",
        "after",
        "views",
    ]);
    for run in runs {
        let by: Vec<String> = run.by.iter().map(|node| format!("n{node}")).collect();
        let optional =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
        table.add_row([
            run.attack.clone(),
            if by.is_empty() {
                "a client".to_owned()
            } else {
                by.join(" ")
            },
            format!("{:.0}", middle(&run.before)),
            optional(run.until_replaced),
            optional(run.meanwhile),
            format!("{:.0}", middle(&run.after)),
            format!("{:.2}", run.ratio),
            format!("{:.0}", run.p99_before),
            format!("{:.0}", run.p99_after),
            run.views.to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// How long and how often is measured.
#[derive(Clone, Copy)]
struct Span {
    window: Duration,
    rounds: u32,
}

/// Starts the network with the traitors asleep and, in each round, measures, wakes them, waits until the view is steady, measures
/// again, and has them sleep.
async fn measure(mut network: Network, attack: &Attack, pace: Pace, span: Span) -> Result<Ratio, Error> {
    let traitors = attack.traitors(&network);
    let nodes = network.nodes();
    let is_honest = |node: &u16| !traitors.contains(node);
    let honest: Vec<u16> = nodes.iter().copied().filter(is_honest).collect();
    attack.order(&mut network, &traitors, NEVER)?;
    network.start_all()?;
    network.wait_ready(&nodes, READY).await?;
    let observer = Observer::new(network.genesis())?;
    let stock = match attack.client_flood() {
        Some(kind) => Some(Stock::new(&network, kind).await?),
        None => None,
    };
    let load = Load::start(&network, pace)?;
    let mut ratio = Ratio {
        attack: attack.to_string(),
        by: traitors.clone(),
        before: Vec::new(),
        until_replaced: None,
        meanwhile: None,
        after: Vec::new(),
        ratio: 0.0,
        p99_before: 0.0,
        p99_after: 0.0,
        views: 0,
    };
    let (mut ratios, mut calm, mut attacked) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..span.rounds {
        rate(&load, WARM_UP).await?;
        calm.push(Instant::now()..Instant::now() + span.window);
        let before = rate(&load, span.window).await?;
        if before == 0.0 {
            return Err(Error::NothingMeasured(format!(
                "no transfer was acknowledged in the {} s before the attack",
                span.window.as_secs()
            )));
        }
        let first = view(&network, &observer, &honest).await;
        let (began, already) = (Instant::now(), load.acknowledged());
        attack.order(&mut network, &traitors, When::Always)?;
        let flood = stock
            .as_ref()
            .map(|stock| ClientFlood::start(&network, stock))
            .transpose()?;
        let patience = if attack.is_by_primaries() { NOTICE } else { STEADY };
        let replaced = steady(&network, &observer, &honest, first, patience, &load).await;
        attacked.push(Instant::now()..Instant::now() + span.window);
        let after = rate(&load, span.window).await?;
        ratio.views += view(&network, &observer, &honest).await.saturating_sub(first);
        if let Some((at, acknowledged)) = replaced {
            let lasted = at.saturating_duration_since(began);
            ratio.until_replaced = Some(lasted.as_secs_f64());
            ratio.meanwhile = Some(per_second(acknowledged.saturating_sub(already), lasted));
        }
        if let Some(flood) = flood {
            flood.stop().await;
        }
        attack.order(&mut network, &traitors, NEVER)?;
        ratio.before.push(before);
        ratio.after.push(after);
        ratios.push(after / before);
    }
    ratio.ratio = middle(&ratios);
    let acknowledged = load.finish().await?;
    ratio.p99_before = p99(&acknowledged, &calm);
    ratio.p99_after = p99(&acknowledged, &attacked);
    network.kill_together(&traitors)?;
    network.stop(&honest, GRACE)?;
    Ok(ratio)
}

/// The median; zero of nothing.
fn middle(values: &[f64]) -> f64 {
    median(values.iter().copied()).unwrap_or_default()
}

/// How long 99 of 100 took at most of those acknowledged in one of these times, milliseconds. Zero of none.
fn p99(acknowledged: &[Acknowledged], times: &[Range<Instant>]) -> f64 {
    let within = acknowledged
        .iter()
        .filter(|one| times.iter().any(|time| time.contains(&one.at)));
    let mut took: Vec<Duration> = within.map(|one| one.paid.took).collect();
    took.sort_unstable();
    let place = (took.len() * 99).div_ceil(100).saturating_sub(1);
    took.get(place).map_or(0.0, |took| took.as_secs_f64() * 1000.0)
}

/// Acknowledgements per second during `window`.
async fn rate(load: &Load, window: Duration) -> Result<f64, Error> {
    let (began, before) = (Instant::now(), load.acknowledged());
    tokio::time::sleep(window).await;
    if let Some(failure) = load.failure() {
        return Err(Error::NothingMeasured(format!(
            "the load ended by itself: {failure}"
        )));
    }
    Ok(per_second(load.acknowledged() - before, began.elapsed()))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of transfers are far below 2^53"
)]
fn per_second(count: usize, span: Duration) -> f64 {
    count as f64 / span.as_secs_f64()
}

/// The highest view of the honest replicas.
async fn view(network: &Network, observer: &Observer, honest: &[u16]) -> u64 {
    let statuses = network.statuses_of(observer, honest).await;
    let views = statuses
        .into_iter()
        .filter_map(|(_, status)| Some(status.ok()?.view));
    views.max().unwrap_or_default()
}

/// Waits until the view has not changed for a while, and gives the moment of its last change, with how much was acknowledged by
/// then. The first change is waited for as long as `patience`.
async fn steady(
    network: &Network,
    observer: &Observer,
    honest: &[u16],
    first: u64,
    patience: Duration,
    load: &Load,
) -> Option<(Instant, usize)> {
    let began = Instant::now();
    let (mut last, mut changed) = (first, None);
    loop {
        tokio::time::sleep(POLL).await;
        let now = view(network, observer, honest).await;
        if now > last {
            (last, changed) = (now, Some((Instant::now(), load.acknowledged())));
        }
        let (since, enough) = changed.map_or((began, patience), |(at, _)| (at, SETTLED));
        if since.elapsed() >= enough || began.elapsed() >= UNREST {
            return changed;
        }
    }
}

#[cfg(test)]
mod tests {
    use tagma_crypto::Digest;
    use tagma_ledger::Outcome;

    use super::*;
    use crate::payments::Paid;

    #[test]
    fn of_a_hundred_within_the_time_the_second_slowest_counts() {
        let start = Instant::now();
        let second = |second: u64| start + Duration::from_secs(second);
        let acknowledged: Vec<Acknowledged> = (0..300)
            .map(|number| Acknowledged {
                paid: Paid {
                    request: Digest::ZERO,
                    outcome: Outcome::Transferred,
                    height: 1,
                    replicas: vec![0, 1],
                    liars: Vec::new(),
                    took: Duration::from_millis(number),
                },
                at: second(number),
            })
            .collect();
        let p99 = |from, to| p99(&acknowledged, &[second(from)..second(to)]).round();
        assert_eq!(p99(100, 200).to_string(), "198");
        assert_eq!(p99(7, 8).to_string(), "7");
        assert_eq!(p99(400, 500).to_string(), "0");
    }
}
