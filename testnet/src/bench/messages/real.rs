//! Counting on real processes: by the counters of all replicas before and after, both at rest.

use std::time::{Duration, Instant};

use tagma_ledger::Parameters;

use super::counts::{Counts, Place, Span, Tally, Work};
use crate::bench::load::NODE_SETTINGS;
use crate::error::Error;
use crate::network::{GRACE, Network, READY};
use crate::observe::{Metrics, Observer};
use crate::payments::{Payer, refused};
use crate::plan::Extras;
use crate::process::Programs;

/// How long one transfer may take.
const PAYMENT: Duration = Duration::from_secs(60);
/// How long the counters may take to come to rest.
const REST: Duration = Duration::from_secs(60);
/// Between two looks at the counters.
const POLL: Duration = Duration::from_millis(100);
/// So many equal looks in a row are rest.
const EQUAL_LOOKS: u32 = 5;
/// What starting and connecting may take longer for each replica: all of them share this machine's cores.
const READY_EACH: Duration = Duration::from_secs(3);
/// Timers of the replicas that are counted. Where many replicas share few cores, a primary that is slow for want of them is not to
/// be taken for a faulty one, and a vote that is still on its way not for a lost one.
const TIMERS: [(&str, &str); 3] = [
    ("consensus.request_timeout", "60s"),
    ("consensus.view_change_timeout_max", "60s"),
    ("consensus.status_interval", "2s"),
];

/// The timers that differ from a replica's own, for people.
pub(super) fn timers() -> String {
    let said = TIMERS.map(|(key, value)| format!("{} {value}", key.trim_start_matches("consensus.")));
    said.join(", ")
}

/// A network that takes its time, with numbers of the protocol that suit its size. With `standby` f backups leave each batch to the
/// others, as they do unless told otherwise; without it everybody takes part in everything, as in the paper.
///
/// # Errors
/// See [`Network::ephemeral_furnished`].
pub fn network(
    size: u16,
    programs: Programs,
    parameters: Parameters,
    standby: bool,
) -> Result<Network, Error> {
    let timers = TIMERS.map(|(key, value)| format!("{key} = \"{value}\"\n"));
    let standby = format!("consensus.standby = {standby}\n");
    let extras = Extras {
        settings: timers.concat() + &standby + NODE_SETTINGS,
        ..Extras::default()
    };
    Network::ephemeral_furnished(size, programs, parameters, extras)
}

/// The usual numbers of the protocol, with as large a window as a NEW-VIEW of so many replicas has room for.
#[must_use]
pub fn parameters(size: u16) -> Parameters {
    let mut parameters = Parameters::default();
    while parameters.validate(u64::from(size)).is_err() && parameters.window > 2 {
        parameters.window /= 2;
        parameters.checkpoint_interval = parameters.window / 2;
    }
    parameters
}

/// Starts the network and counts over so many transfers, one after the other, each a batch.
///
/// # Errors
/// [`Error::NothingMeasured`] if nothing was committed, and whatever keeps a network from running.
pub async fn measure(mut network: Network, batches: u32) -> Result<Counts, Error> {
    let mut payer = begin(&mut network).await?;
    let before = Look::at_rest(&network).await?;
    for _ in 0..batches {
        payer.pay("alice", "bob", 1, PAYMENT).await?;
    }
    end(network, &before).await
}

/// Starts the network and counts over so many transfers, submitted all at once.
///
/// # Errors
/// As [`measure`].
pub(super) async fn measure_together(mut network: Network, transfers: u32) -> Result<Counts, Error> {
    let mut payer = begin(&mut network).await?;
    let before = Look::at_rest(&network).await?;
    let mut signed = Vec::new();
    for (from, to) in [("alice", "bob"), ("bob", "carol"), ("carol", "alice")]
        .iter()
        .cycle()
        .take(transfers as usize)
    {
        signed.push(payer.sign(from, to, 1).await?);
    }
    let (sender, mut completions) = tokio::sync::mpsc::unbounded_channel();
    for transaction in &signed {
        payer.client().submit_to(transaction, PAYMENT, &sender);
    }
    for _ in 0..transfers {
        // A sender lives here, so the channel is open.
        if let Some(completion) = completions.recv().await {
            completion.result.map_err(|error| refused(&error))?;
        }
    }
    end(network, &before).await
}

/// Starts all replicas. One transfer is done when this returns: nonces and the primary are learned before anything is counted.
async fn begin(network: &mut Network) -> Result<Payer, Error> {
    network.start_all()?;
    let nodes = network.nodes();
    let bound = READY + READY_EACH * u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    network.wait_ready(&nodes, bound).await?;
    let mut payer = Payer::new(network)?;
    for (from, to) in [("alice", "bob"), ("bob", "carol"), ("carol", "alice")] {
        payer.pay(from, to, 1, PAYMENT).await?;
    }
    Ok(payer)
}

async fn end(mut network: Network, before: &Look) -> Result<Counts, Error> {
    let after = Look::at_rest(&network).await?;
    let counts = after.since(before, &network)?;
    let nodes = network.nodes();
    network.stop(&nodes, GRACE)?;
    Ok(counts)
}

/// All replicas' counters at one moment.
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
        Tally::of_metrics(&self.metrics).votes()
    }

    fn height(&self) -> u64 {
        self.heights.iter().max().copied().unwrap_or(0)
    }

    /// Requests executed by the replica that has executed most.
    fn executed(&self) -> u64 {
        let executed =
            |metrics: &Metrics| super::counts::whole(metrics.sum("tagma_executed_requests_total", &[]));
        self.metrics.iter().map(executed).max().unwrap_or(0)
    }

    fn since(&self, before: &Self, network: &Network) -> Result<Counts, Error> {
        let span = Span {
            nodes: u16::try_from(network.genesis().replica_count()).unwrap_or(u16::MAX),
            batches: self.height().saturating_sub(before.height()),
            transfers: self.executed().saturating_sub(before.executed()),
            view_changes: self.view.saturating_sub(before.view),
        };
        let sent = Tally::of_metrics(&self.metrics).since(&Tally::of_metrics(&before.metrics));
        let work = Work::of_metrics(&self.metrics).since(&Work::of_metrics(&before.metrics));
        Counts::new(Place::Processes, span, &sent, Some(work))
    }
}
