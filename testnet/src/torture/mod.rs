//! `torture`: the primary of a network under load is killed at a random moment, comes back, and the next one is killed, again
//! and again.
//!
//! What must hold in the end is computed from what the replicas show: every transfer that was acknowledged stands in the
//! chain once, at the height and with the outcome that were acknowledged; all chains, state roots and balances are equal; no
//! replica ever told a lower view than before, its restarts included.

mod views;

use std::time::{Duration, Instant};

use clap::Args;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::check::{self, Report, Verdict};
use crate::cli::block_on;
use crate::error::Error;
use crate::interrupt::Interrupts;
use crate::load::{self, Acknowledged, Load, Pace};
use crate::network::{GRACE, Network, READY};
use crate::observe::Observer;
use crate::plan::check_size;
use crate::process::Programs;

pub use views::ViewWatch;

/// How long anything here may take before the network counts as stuck: more view changes than f in a row take less.
const PATIENCE: Duration = Duration::from_secs(120);
/// From the first acknowledgement after a primary is back to the next kill: a random time below this.
const SPREAD: Duration = Duration::from_millis(500);
/// Between two looks at something that is waited for.
const POLL: Duration = Duration::from_millis(5);
/// The load: enough that a kill always meets work under way, and few enough that looking at all of it in the end does not
/// take longer than the rest.
const PACE: Pace = Pace {
    in_flight: 24,
    pause: Duration::from_millis(3),
    patience: PATIENCE,
};
/// One primary in so many is started again at once; the others stay away until they have been replaced.
const AT_ONCE: u32 = 4;
/// So many acknowledged transfers are asked for one by one at every replica; all of them are looked up in the blocks.
const SAMPLES: usize = 100;

/// What `torture` can be asked for.
#[derive(Args)]
pub struct TortureArgs {
    /// How often the primary is killed
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    kills: u32,
    /// How many replicas: 4, 7, 10, … = 3f + 1
    #[arg(short = 'n', long, default_value_t = 4)]
    replicas: u16,
    /// Makes the moments of the kills, and who comes back at once, the same again [default: a random one, printed]
    #[arg(long)]
    seed: Option<u64>,
}

/// One kill and what became of it.
#[derive(Clone, Debug)]
pub struct Kill {
    /// Which one it was, from 1.
    pub number: u32,
    /// Who was killed.
    pub node: u16,
    /// The view it led.
    pub view: u64,
    /// When.
    pub at: Instant,
    /// Whether it was started again at once, or only when the others had replaced it.
    pub at_once: bool,
    /// The highest view of any replica when it was back and ready.
    pub view_after: u64,
    /// From the kill until it was back and ready.
    pub took: Duration,
}

/// What a torture came to.
#[derive(Debug)]
pub struct Outcome {
    /// All kills.
    pub kills: Vec<Kill>,
    /// How many transfers were acknowledged.
    pub acknowledged: usize,
    /// The longest time without an acknowledgement after each kill and before the next one.
    pub silences: Vec<Duration>,
    /// How often a replica told its view.
    pub looks: u64,
    /// What all replicas show in the end.
    pub report: Report,
    /// What must not be: acknowledged and lost, executed twice, a view that shrank.
    pub wrong: Vec<String>,
}

impl Outcome {
    /// How many view changes the kills brought.
    #[must_use]
    pub fn views(&self) -> u64 {
        let first = self.kills.first().map_or(0, |kill| kill.view);
        let last = self.kills.last().map_or(0, |kill| kill.view_after);
        last.saturating_sub(first)
    }

    /// An error unless everything is as it must be.
    ///
    /// # Errors
    /// [`Error::Verdict`] for what must not be, and what [`Report::into_result`] gives.
    pub fn into_result(self) -> Result<Self, Error> {
        if let Some(first) = self.wrong.first() {
            return Err(Error::Verdict(format!(
                "{first} ({} faults in all)",
                self.wrong.len()
            )));
        }
        self.report.clone().into_result()?;
        Ok(self)
    }
}

/// Kills the primary `kills` times under load, at moments that `seed` gives. All replicas must be ready; all are in the end.
///
/// # Errors
/// If the network gets stuck, a replica does not come back, or a request fails. What must not be and still is stands in the
/// outcome.
pub async fn kill_primaries(
    network: &mut Network,
    kills: u32,
    seed: u64,
    mut tell: impl FnMut(&Kill, usize),
) -> Result<Outcome, Error> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let watch = ViewWatch::start(network.genesis())?;
    let load = Load::start(network, PACE)?;
    let mut done = Vec::new();
    for number in 1..=kills {
        let before = load.acknowledged();
        until("an acknowledgement since the last kill", || {
            load.acknowledged() > before || load.failure().is_some()
        })
        .await?;
        if load.failure().is_some() {
            break;
        }
        tokio::time::sleep(rng.random_range(Duration::ZERO..SPREAD)).await;
        let at_once = rng.random_ratio(1, AT_ONCE);
        done.push(kill_one(network, &watch, number, at_once).await?);
        if let Some(kill) = done.last() {
            tell(kill, load.acknowledged());
        }
    }
    let acknowledged = load.finish().await?;
    let report = check::check(network, PATIENCE).await?;
    let (looks, mut wrong) = watch.verdict();
    wrong.extend(load::discrepancies(&report, &acknowledged));
    wrong.extend(ask_for_samples(network, &acknowledged, &mut rng).await?);
    Ok(Outcome {
        silences: silences(&done, &acknowledged),
        acknowledged: acknowledged.len(),
        kills: done,
        looks,
        report,
        wrong,
    })
}

async fn kill_one(
    network: &mut Network,
    watch: &ViewWatch,
    number: u32,
    at_once: bool,
) -> Result<Kill, Error> {
    let nodes = network.nodes();
    let (node, view) = network.leader().await?;
    let at = Instant::now();
    if !network.kill(node)? {
        return Err(Error::Degraded(format!("n{node} was down already")));
    }
    if !at_once {
        let others = || nodes.iter().copied().filter(|other| *other != node);
        until(&format!("a view above {view}"), || watch.highest(others()) > view).await?;
    }
    network.start(node)?;
    // All of them: the next kill must find no more than one replica that is not well.
    network.wait_ready(&nodes, READY).await?;
    Ok(Kill {
        number,
        node,
        view,
        at,
        at_once,
        view_after: watch.highest(nodes.iter().copied()),
        took: at.elapsed(),
    })
}

/// Polls until `done`.
async fn until(what: &str, mut done: impl FnMut() -> bool) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        if Instant::now() >= deadline {
            return Err(Error::Timeout {
                what: what.to_owned(),
                seconds: PATIENCE.as_secs(),
                state: "the network is stuck".to_owned(),
            });
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// Asks every replica for some of the acknowledged transfers, as a client would.
async fn ask_for_samples(
    network: &Network,
    acknowledged: &[Acknowledged],
    rng: &mut ChaCha8Rng,
) -> Result<Vec<String>, Error> {
    let observer = Observer::new(network.genesis())?;
    let mut wrong = Vec::new();
    for _ in 0..SAMPLES.min(acknowledged.len()) {
        let Some(one) = acknowledged.get(rng.random_range(0..acknowledged.len())) else {
            continue;
        };
        let paid = &one.paid;
        for node in network.nodes() {
            let found = observer.transaction(node, paid.request).await?;
            if found.map(|found| (found.height, found.outcome)) != Some((paid.height, paid.outcome)) {
                wrong.push(format!(
                    "n{node} does not have {} as it was acknowledged",
                    paid.request.short()
                ));
            }
        }
    }
    Ok(wrong)
}

/// The longest time without an acknowledgement after each kill and before the next one.
fn silences(kills: &[Kill], acknowledged: &[Acknowledged]) -> Vec<Duration> {
    let ends = kills.iter().skip(1).map(|next| Some(next.at)).chain([None]);
    kills
        .iter()
        .zip(ends)
        .map(|(kill, end)| {
            let mut last = kill.at;
            let mut longest = Duration::ZERO;
            let after = acknowledged
                .iter()
                .map(|one| one.at)
                .filter(|at| *at > kill.at && end.is_none_or(|end| *at < end));
            for at in after {
                longest = longest.max(at.duration_since(last));
                last = at;
            }
            longest
        })
        .collect()
}

/// Runs a torture on a network of its own and prints a verdict.
///
/// # Errors
/// [`Error::Verdict`] (exit 9) if anything was lost, doubled or different; whatever keeps the network from running.
pub fn run(args: &TortureArgs) -> Result<(), Error> {
    check_size(args.replicas)?;
    let seed = args.seed.unwrap_or_else(rand::random);
    let programs = Programs::find()?;
    println!(
        "{} replicas under load; the primary is killed {} times\nseed {seed}: again with tagma-testnet torture -n {} --kills {} --seed {seed}\n",
        args.replicas, args.kills, args.replicas, args.kills
    );
    block_on(async {
        let mut interrupts = Interrupts::listen()?;
        interrupts.unless(tell(args, seed, programs)).await
    })
}

async fn tell(args: &TortureArgs, seed: u64, programs: Programs) -> Result<(), Error> {
    let mut network = Network::ephemeral(args.replicas, programs)?;
    network.start_all()?;
    let nodes = network.nodes();
    network.wait_ready(&nodes, READY).await?;
    let began = Instant::now();
    let outcome = kill_primaries(&mut network, args.kills, seed, |kill, acknowledged| {
        println!(
            "{:7.1} s  {:>4}/{}  n{} killed in view {}, back {} after {:.1} s · view {} · {acknowledged} acknowledged",
            began.elapsed().as_secs_f64(),
            kill.number,
            args.kills,
            kill.node,
            kill.view,
            if kill.at_once { "at once" } else { "once replaced" },
            kill.took.as_secs_f64(),
            kill.view_after
        );
    })
    .await;
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            eprintln!(
                "the network is kept for inspection in {}",
                network.keep().display()
            );
            return Err(error);
        }
    };
    println!(
        "{:7.1} s  compared every block of every replica",
        began.elapsed().as_secs_f64()
    );
    print_verdict(&outcome);
    if !outcome.wrong.is_empty() || outcome.report.verdict() != Verdict::Converged {
        println!("the network is kept in {}", network.keep().display());
    }
    network.stop(&nodes, GRACE)?;
    outcome.into_result().map(drop)
}

fn print_verdict(outcome: &Outcome) {
    let mut silences = outcome.silences.clone();
    silences.sort();
    let at = |permille: usize| {
        let index = silences.len().saturating_sub(1) * permille / 1000;
        silences.get(index).copied().unwrap_or_default().as_secs_f64()
    };
    println!("\n{}", outcome.report);
    println!(
        "silence    longest time without an acknowledgement after a kill: median {:.2} s, 90 % {:.2} s, most {:.2} s",
        at(500),
        at(900),
        at(1000)
    );
    println!(
        "views      {} views left in {} kills; {} answers of replicas, {}",
        outcome.views(),
        outcome.kills.len(),
        outcome.looks,
        if outcome.wrong.iter().any(|line| line.contains("view")) {
            "NOT always growing"
        } else {
            "never a lower view than before"
        }
    );
    for line in &outcome.wrong {
        println!("✘ {line}");
    }
    if outcome.wrong.is_empty() {
        println!(
            "✔ all {} acknowledged transfers are in the chain, each once, as they were acknowledged",
            outcome.acknowledged
        );
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;
    use crate::payments::Paid;
    use tagma_crypto::Digest;
    use tagma_ledger::Outcome as Executed;

    fn kill(at: Instant) -> Kill {
        Kill {
            number: 1,
            node: 0,
            view: 0,
            at,
            at_once: false,
            view_after: 1,
            took: Duration::ZERO,
        }
    }

    fn acknowledged(at: Instant) -> Acknowledged {
        Acknowledged {
            paid: Paid {
                request: Digest::ZERO,
                outcome: Executed::Transferred,
                height: 1,
                replicas: vec![0, 1],
                liars: Vec::new(),
                took: Duration::ZERO,
            },
            at,
        }
    }

    #[test]
    fn a_silence_is_the_longest_gap_between_a_kill_and_the_next() {
        let start = Instant::now();
        let second = |seconds: u64| start + Duration::from_secs(seconds);
        let kills = [kill(second(10)), kill(second(20))];
        let replies: Vec<Acknowledged> = [1, 9, 11, 15, 16, 27].map(|at| acknowledged(second(at))).into();
        let expected = [Duration::from_secs(4), Duration::from_secs(7)];
        assert_eq!(silences(&kills, &replies), expected);
    }
}
