//! A network to be loaded, looked at from outside: by its counters before and after, and every second by its memory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use tagma_client::{Client, Config, Retry};
use tagma_ledger::{Genesis, Parameters};

use super::accounts::Accounts;
use super::generator::{Generator, Pace, Span, Tally};
use super::measured::{Measured, Memory};
use super::transfers::Transfers;
use crate::bench::quiet::Quiet;
use crate::bench::usage::{Cores, Usage, disk_bytes, threads};
use crate::error::Error;
use crate::network::{GRACE, Network, READY};
use crate::observe::Metrics;
use crate::plan::Extras;
use crate::process::Programs;

/// The settings of the nodes that are measured, where they are not those of a development network.
pub const NODE_SETTINGS: &str = "transcript.enabled = false\nlog.filter = \"warn\"\n";
/// T_c of the client library while measuring: longer than queues get, so that a full queue is not filled twice.
pub const RETRY: Duration = Duration::from_secs(4);
/// Between two looks at the memory.
const SAMPLE: Duration = Duration::from_secs(1);

/// What to load.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// N.
    pub nodes: u16,
    /// Backups killed (SIGKILL) before anything is sent.
    pub crashed: u16,
    /// Funded accounts that pay each other.
    pub accounts: u64,
    /// W: how many transfers of an account may be outstanding.
    pub lookahead: u32,
    /// What keys, accounts and arrivals are drawn from.
    pub seed: u64,
    /// When a load is measured again.
    #[serde(flatten)]
    pub quiet: Quiet,
}

/// A running network with a client that loads it.
pub struct Bed {
    network: Network,
    generator: Option<Generator<Transfers>>,
    alive: Vec<u16>,
    seed: u64,
    loads: u64,
    quiet: Quiet,
}

/// A living replica and what it has used.
struct Living {
    node: u16,
    pid: i32,
    usage: Usage,
}

/// The counters of one replica at one moment.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) usage: Usage,
    /// Processor time by the names of threads.
    pub(super) threads: BTreeMap<String, Duration>,
    pub(super) executed: f64,
    pub(super) batches: f64,
    pub(super) view: f64,
    pub(super) view_changes: f64,
    pub(super) syncs: f64,
    pub(super) disk: u64,
}

/// All living replicas and this process at one moment.
pub(super) struct Looks {
    pub(super) replicas: Vec<Look>,
    pub(super) own: Usage,
    pub(super) cores: Option<Cores>,
}

impl Bed {
    /// Makes and starts a network, kills what is to be killed, and connects. Its processes end with this value.
    ///
    /// # Errors
    /// Whatever keeps the network from being ready.
    pub async fn start(bench: &Bench, programs: Programs) -> Result<Self, Error> {
        let parameters = Parameters {
            lookahead: bench.lookahead,
            ..Parameters::default()
        };
        let accounts = Accounts::derive(bench.accounts, bench.seed, bench.lookahead);
        let extras = Extras {
            accounts: accounts.genesis(),
            settings: NODE_SETTINGS.to_owned(),
        };
        let mut network = Network::ephemeral_furnished(bench.nodes, programs, parameters, extras)?;
        network.start_all()?;
        let nodes = network.nodes();
        network.wait_ready(&nodes, READY).await?;
        // View 0 belongs to replica 0: the last ones are backups, and stay backups as long as nothing goes wrong.
        let survivors = nodes.len().saturating_sub(usize::from(bench.crashed));
        let (alive, crashed) = nodes.split_at(survivors);
        network.kill_together(crashed)?;
        let client = connect(network.genesis())?;
        let connected = client.connected(alive.len(), READY).await;
        if connected < alive.len() {
            return Err(Error::Degraded(format!(
                "the load is connected to {connected} of {} replicas",
                alive.len()
            )));
        }
        Ok(Self {
            generator: Some(Generator::new(Transfers::new(client, accounts, bench.seed))),
            alive: alive.to_vec(),
            network,
            seed: bench.seed,
            loads: 0,
            quiet: bench.quiet,
        })
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Loads the network and measures, again if the host took too much meanwhile. The outcome of everything sent is waited for before this
    /// returns.
    ///
    /// # Errors
    /// [`Error::NothingMeasured`] if nothing was acknowledged; [`Error::NodeEnded`] if a replica ended.
    pub async fn measure(&mut self, pace: Pace, span: Span) -> Result<Measured, Error> {
        let quiet = self.quiet;
        let (mut counts, spoilt) = quiet
            .measure(
                |measured: &Measured| measured.cores,
                async || self.measure_once(pace, span).await,
            )
            .await?;
        // Whatever the host did, a view change is to be seen.
        counts.views += spoilt.iter().map(|run| run.views).sum::<u64>();
        counts.view_changes += spoilt.iter().map(|run| run.view_changes).sum::<u64>();
        counts.spoilt = spoilt.len();
        Ok(counts)
    }

    async fn measure_once(&mut self, pace: Pace, span: Span) -> Result<Measured, Error> {
        let generator = self
            .generator
            .take()
            .ok_or_else(|| Error::NothingMeasured("an earlier load failed".to_owned()))?;
        self.loads += 1;
        let seed = self.seed.wrapping_add(self.loads);
        let began = Instant::now() + Duration::from_millis(5);
        let load = generator.drive(pace, span, seed, began);
        tokio::time::sleep_until((began + span.warm_up).into()).await;
        let (before, from) = (self.look().await?, Instant::now());
        let memory = self.watch_memory(began, span).await?;
        let (after, to) = (self.look().await?, Instant::now());
        let (mut generator, tally) = load.finish().await?;
        generator.target_mut().settle().await;
        self.generator = Some(generator);
        if tally.acknowledged == 0 {
            return Err(Error::NothingMeasured(nothing(&tally, &after)));
        }
        Ok(Measured::new(
            pace,
            span,
            &tally,
            (&before, &after),
            to.saturating_duration_since(from),
            memory,
        ))
    }

    /// Samples memory until the measured time is over.
    async fn watch_memory(&mut self, began: Instant, span: Span) -> Result<Vec<Memory>, Error> {
        let mut samples = Vec::new();
        let end = began + span.end();
        let mut next = began + span.warm_up;
        loop {
            tokio::time::sleep_until(next.min(end).into()).await;
            let mut replicas = Vec::new();
            for living in self.usages()? {
                replicas.push(living.usage.rss);
            }
            samples.push(Memory {
                second: began.elapsed().as_secs_f64(),
                replicas,
                generator: Usage::own().unwrap_or_default().rss,
            });
            if next >= end {
                return Ok(samples);
            }
            next += SAMPLE;
        }
    }

    fn usages(&mut self) -> Result<Vec<Living>, Error> {
        let alive = self.alive.clone();
        alive
            .into_iter()
            .map(|node| {
                let pid = self.network.activity(node).pid();
                let living = pid.and_then(|pid| {
                    let usage = Usage::of(pid)?;
                    Some(Living { node, pid, usage })
                });
                living.ok_or_else(|| Error::NodeEnded {
                    node,
                    what: "ended under load; the end of its log:".to_owned(),
                    log: crate::process::log_tail(self.network.layout(), node, 40),
                })
            })
            .collect()
    }

    async fn look(&mut self) -> Result<Looks, Error> {
        let nodes: Vec<(PathBuf, Living)> = self
            .usages()?
            .into_iter()
            .map(|living| (self.network.layout().home(living.node).join("data"), living))
            .collect();
        let genesis = self.network.genesis().clone();
        let looking = tokio::task::spawn_blocking(move || {
            let replicas = nodes
                .into_iter()
                .map(|(data, living)| {
                    let metrics = Metrics::of(&genesis, living.node)?;
                    let sum = |name: &str| metrics.sum(name, &[]);
                    Ok(Look {
                        usage: living.usage,
                        threads: threads(living.pid),
                        executed: sum("tagma_executed_requests_total"),
                        batches: sum("tagma_committed_batches_total"),
                        view: sum("tagma_view"),
                        view_changes: sum("tagma_view_changes_total"),
                        syncs: sum("tagma_storage_sync_seconds_count"),
                        disk: disk_bytes(&data),
                    })
                })
                .collect::<Result<_, Error>>()?;
            Ok(Looks {
                replicas,
                own: Usage::own().unwrap_or_default(),
                cores: Cores::now(),
            })
        });
        looking
            .await
            .map_err(|error| Error::NothingMeasured(format!("the counters cannot be read: {error}")))?
    }

    /// Stops the network in good order.
    ///
    /// # Errors
    /// See [`Network::stop`].
    pub fn stop(mut self) -> Result<(), Error> {
        drop(self.generator.take());
        self.network.stop(&self.alive, GRACE).map(drop)
    }
}

fn connect(genesis: &Genesis) -> Result<Client, Error> {
    let failed = |message: String| Error::Client {
        message,
        code: tagma_client::ExitCode::Internal.code(),
    };
    let network = tagma_client::Network::from_genesis(genesis).map_err(|error| failed(error.to_string()))?;
    let config = Config {
        retry: Retry {
            first: RETRY,
            longest: RETRY,
        },
        queue_frames: 1 << 15,
        ..Config::default()
    };
    Client::start(network, config).map_err(|error| failed(error.to_string()))
}

/// Why nothing was acknowledged, as far as the counters say.
fn nothing(tally: &Tally, after: &Looks) -> String {
    let executed: Vec<String> = after
        .replicas
        .iter()
        .map(|look| format!("{}", look.executed))
        .collect();
    let failed: Vec<String> = tally
        .failed
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    format!(
        "of {} transfers sent none was acknowledged by f + 1 replicas in the measured time; failed: {}; executed by the replicas so \
         far: {}",
        tally.sent,
        if failed.is_empty() {
            "none".to_owned()
        } else {
            failed.join(", ")
        },
        executed.join(", ")
    )
}
