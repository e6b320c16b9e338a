//! How many messages a batch costs.
//!
//! In the normal case the primary sends n − 1 PRE-PREPAREs, each of the n − 1 backups sends n − 1 PREPAREs, and each of the n
//! replicas sends n − 1 COMMITs (OSDI '99 §4.2): (n − 1) + (n − 1)² + n(n − 1) = 2n(n − 1). Messages sent again in answer
//! to a STATUS, checkpoints, STATUS itself and what passes between clients and replicas are counted apart.

use std::path::Path;
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::write_results;
use crate::cli::block_on;
use crate::error::Error;
use crate::interrupt::Interrupts;
use crate::network::{GRACE, Network, READY};
use crate::observe::{Metrics, Observer};
use crate::payments::Payer;
use crate::plan::check_size;
use crate::process::Programs;

/// How long one transfer may take.
const PAYMENT: Duration = Duration::from_secs(30);
/// How long the counters may take to come to rest.
const REST: Duration = Duration::from_secs(60);
/// Between two looks at the counters.
const POLL: Duration = Duration::from_millis(100);
/// So many equal looks in a row are rest.
const EQUAL_LOOKS: u32 = 5;

/// The kinds of the normal case, as the counters name them.
const NORMAL_CASE: [&str; 3] = ["pre_prepare", "prepare", "commit"];
const SENT: &str = "tagma_messages_sent_total";

/// What was measured of one network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Counts {
    /// N.
    pub nodes: u16,
    /// Batches committed while counting.
    pub batches: u64,
    /// Views entered while counting. The model is that of the normal case: it holds where this is 0.
    pub view_changes: u64,
    /// PRE-PREPAREs sent for the first time, to each receiver.
    pub pre_prepares: u64,
    /// PREPAREs, likewise.
    pub prepares: u64,
    /// COMMITs, likewise.
    pub commits: u64,
    /// The first sends of these three per batch.
    pub per_batch: f64,
    /// What the model says: 2n(n - 1).
    pub model: u64,
    /// Messages of these three sent again.
    pub resends: u64,
    /// CHECKPOINTs and stable certificates.
    pub checkpoints: u64,
    /// STATUS messages.
    pub status: u64,
    /// All other messages between replicas: requests forwarded, bodies and blocks fetched, view changes.
    pub other: u64,
    /// Frames between clients and replicas, the questions of this measurement among them.
    pub client_frames: u64,
}

impl Counts {
    /// Whether the first sends are exactly those of the model.
    #[must_use]
    pub fn is_as_modelled(&self) -> bool {
        self.pre_prepares + self.prepares + self.commits == self.batches * self.model
    }
}

/// 2n(n - 1)
#[must_use]
pub fn model(nodes: u16) -> u64 {
    let n = u64::from(nodes);
    2 * n * n.saturating_sub(1)
}

/// What `results.json` holds.
#[derive(Serialize)]
struct Results {
    schema: &'static str,
    version: &'static str,
    cores: usize,
    synced_writes: bool,
    runs: Vec<Counts>,
}

/// Measures networks of these sizes one after the other, prints a table and writes `results.json` into `out`.
///
/// # Errors
/// [`Error::NothingMeasured`] if nothing was committed, and whatever keeps a network from running.
pub fn run(sizes: &[u16], batches: u32, out: &Path) -> Result<(), Error> {
    for size in sizes {
        check_size(*size)?;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let version = env!("CARGO_PKG_VERSION");
    println!(
        "messages per batch · tagma {version} · {cores} cores · {batches} transfers one after the other, each a batch · \
         every write synced"
    );
    let programs = Programs::find()?;
    let mut runs = Vec::new();
    for size in sizes {
        eprintln!("n = {size} …");
        runs.push(block_on(async {
            let mut interrupts = Interrupts::listen()?;
            interrupts
                .unless(measure(Network::ephemeral(*size, programs.clone())?, batches))
                .await
        })?);
    }
    println!("{}", table(&runs));
    for run in runs.iter().filter(|run| !run.is_as_modelled()) {
        println!(
            "n = {}: not as modelled; {} view changes and {} other messages while counting",
            run.nodes, run.view_changes, run.other
        );
    }
    let results = Results {
        schema: "bench-messages/v1",
        version,
        cores,
        synced_writes: true,
        runs,
    };
    write_results(&results, out, "results.json")
}

fn table(runs: &[Counts]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header([
        "n",
        "batches",
        "pre-prepare",
        "prepare",
        "commit",
        "per batch",
        "2n(n-1)",
        "resent",
        "checkpoint",
        "status",
        "other",
        "client frames",
    ]);
    for run in runs {
        table.add_row([
            run.nodes.to_string(),
            run.batches.to_string(),
            run.pre_prepares.to_string(),
            run.prepares.to_string(),
            run.commits.to_string(),
            format!("{:.2}", run.per_batch),
            run.model.to_string(),
            run.resends.to_string(),
            run.checkpoints.to_string(),
            run.status.to_string(),
            run.other.to_string(),
            run.client_frames.to_string(),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Starts the network and counts over `batches` transfers.
///
/// # Errors
/// As [`run`].
pub async fn measure(mut network: Network, batches: u32) -> Result<Counts, Error> {
    network.start_all()?;
    let nodes = network.nodes();
    network.wait_ready(&nodes, READY).await?;
    let mut payer = Payer::new(&network)?;
    // Nonces and the primary are learned before anything is counted.
    payer.pay("alice", "bob", 1, PAYMENT).await?;
    let before = Look::at_rest(&network).await?;
    for _ in 0..batches {
        payer.pay("alice", "bob", 1, PAYMENT).await?;
    }
    let after = Look::at_rest(&network).await?;
    let counts = Counts::between(&network, &before, &after)?;
    network.stop(&nodes, GRACE)?;
    Ok(counts)
}

/// All replicas' counters at one moment.
#[derive(PartialEq)]
struct Look {
    heights: Vec<u64>,
    view: u64,
    metrics: Vec<Metrics>,
}

impl Look {
    async fn now(network: &Network, observer: &Observer) -> Result<Self, Error> {
        let mut look = Self {
            heights: Vec::new(),
            view: 0,
            metrics: Vec::new(),
        };
        for node in network.nodes() {
            let status = observer.status(node).await?;
            look.heights.push(status.executed);
            look.view = look.view.max(status.target);
            look.metrics.push(Metrics::of(network.genesis(), node)?);
        }
        Ok(look)
    }

    /// The counters once all replicas have executed the same and no vote is under way any more.
    async fn at_rest(network: &Network) -> Result<Self, Error> {
        let observer = Observer::new(network.genesis())?;
        let deadline = Instant::now() + REST;
        let mut before = Self::now(network, &observer).await?;
        let mut equal = 0;
        loop {
            tokio::time::sleep(POLL).await;
            let now = Self::now(network, &observer).await?;
            let level = now.heights.windows(2).all(|pair| pair.first() == pair.last());
            equal = if level && now.votes() == before.votes() {
                equal + 1
            } else {
                0
            };
            if equal >= EQUAL_LOOKS {
                return Ok(now);
            }
            if Instant::now() >= deadline {
                return Err(Error::Timeout {
                    what: "rest of the counters".to_owned(),
                    seconds: REST.as_secs(),
                    state: format!("the nodes are at heights {:?}", now.heights),
                });
            }
            before = now;
        }
    }

    fn votes(&self) -> u64 {
        NORMAL_CASE
            .iter()
            .map(|kind| self.sum(SENT, &[("kind", kind)]))
            .sum()
    }

    /// A counter's sum over all replicas. Counters are whole numbers far below 2^53.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counters are whole, not negative, and far below 2^53"
    )]
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.metrics
            .iter()
            .map(|metrics| metrics.sum(name, labels))
            .sum::<f64>() as u64
    }
}

impl Counts {
    fn between(network: &Network, before: &Look, after: &Look) -> Result<Self, Error> {
        let nodes = u16::try_from(network.genesis().replica_count()).unwrap_or(u16::MAX);
        let difference = |name: &str, labels: &[(&str, &str)]| {
            after.sum(name, labels).saturating_sub(before.sum(name, labels))
        };
        let height = |look: &Look| look.heights.iter().max().copied().unwrap_or(0);
        let batches = height(after).saturating_sub(height(before));
        if batches == 0 {
            return Err(Error::NothingMeasured(format!(
                "no batch was committed: all nodes stayed at height {}",
                height(before)
            )));
        }
        let first = |kind| difference(SENT, &[("kind", kind), ("resend", "false")]);
        let all = |kind| difference(SENT, &[("kind", kind)]);
        let [pre_prepares, prepares, commits] = NORMAL_CASE.map(first);
        let sent = NORMAL_CASE.map(all).iter().sum::<u64>();
        let checkpoints = all("checkpoint") + all("stable");
        let status = all("status");
        let normal = pre_prepares + prepares + commits;
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of one measurement are far below 2^53"
        )]
        let per_batch = normal as f64 / batches as f64;
        Ok(Self {
            nodes,
            batches,
            view_changes: after.view.saturating_sub(before.view),
            pre_prepares,
            prepares,
            commits,
            per_batch,
            model: model(nodes),
            resends: sent.saturating_sub(normal),
            checkpoints,
            status,
            other: difference(SENT, &[]).saturating_sub(sent + checkpoints + status),
            client_frames: difference("tagma_wire_frames_total", &[("socket", "clients")]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_the_sum_of_the_three_phases() {
        for n in [4, 7, 10, 31] {
            let others = u64::from(n) - 1;
            assert_eq!(model(n), others + others * others + u64::from(n) * others);
        }
    }
}
