//! What is compared: how each system is started, loaded and stopped, and what it does and does not do.

use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::ValueEnum;
use serde::Serialize;

use super::Spread;
use super::etcd::{self, Etcd, EtcdClient};
use super::results::{Sample, SystemResult};
use super::servers::{Servers, on_path};
use super::zookeeper::{self, ZooKeeper, ZooKeeperClient};
use crate::bench::load::{Bed, Bench, Generator, Pace, Span, Target};
use crate::bench::quiet::Quiet;
use crate::bench::usage::{Cores, Shares, Usage};
use crate::error::Error;
use crate::process::Programs;

/// A system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Name {
    /// This one.
    Tagma,
    /// The key-value store of Kubernetes: Raft.
    Etcd,
    /// The coordination service of Hadoop and Kafka: Zab.
    Zookeeper,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tagma => "tagma",
            Self::Etcd => etcd::NAME,
            Self::Zookeeper => zookeeper::NAME,
        })
    }
}

/// What is the same for all rounds.
pub(super) struct Setting {
    /// Tagma's.
    pub programs: Programs,
    /// Tagma's network.
    pub bench: Bench,
    /// When a load on any of them is measured again.
    pub quiet: Quiet,
    /// Of the values that the others store.
    pub value_bytes: usize,
}

impl Name {
    /// What a request is, and what the system does and does not do for it.
    fn does(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Tagma => (
                "a signed transfer between two of the accounts",
                "tolerates f lying replicas of 3f + 1, and any number of lying clients. Clients sign each transfer; f + 1 \
                 replicas verify it and 2f + 1 vote, or all if one is late; replicas sign their votes, which are on disk \
                 (synced) before they are sent; QUIC with TLS 1.3 between all; transfers are executed on accounts under a state root; the client goes by f + 1 equal replies",
                "its replicas are one more than the others', on the same cores",
            ),
            Self::Etcd => (
                "a put of a value under a new key",
                "Raft: tolerates one crashed member of three. A put is in the synced log of two members before it is answered",
                "one lying member can tell clients anything and destroy everything: no signatures, no TLS here (plain HTTP/2), the \
                 client believes the one member it asks",
            ),
            Self::Zookeeper => (
                "a setData on one of 1000 nodes",
                "Zab: tolerates one crashed server of three. A change is in the synced log of two servers before it is answered",
                "one lying server can tell clients anything and destroy everything: no signatures, no TLS here (plain TCP), the client \
                 believes the one server it asks; all data in memory",
            ),
        }
    }

    /// Where a system that is not there can be had.
    fn absent(self) -> Option<&'static str> {
        match self {
            Self::Tagma => None,
            Self::Etcd => on_path("etcd")
                .is_none()
                .then_some("not installed, so not measured: apt-get install etcd-server"),
            Self::Zookeeper => zookeeper::find().is_none().then_some(
                "not installed, so not measured: apt-get install --no-install-recommends zookeeper",
            ),
        }
    }

    /// A result without measurements yet.
    pub(super) fn result(self, setting: &Setting) -> SystemResult {
        let (request, does, does_not) = self.does();
        SystemResult {
            name: self,
            servers: match self {
                Self::Tagma => setting.bench.nodes,
                Self::Etcd | Self::Zookeeper => super::MEMBERS,
            },
            request,
            does,
            does_not,
            absent: self.absent(),
            version: match self {
                Self::Tagma => Some(env!("CARGO_PKG_VERSION").to_owned()),
                Self::Etcd => on_path("etcd").and_then(|program| etcd::version(&program)),
                Self::Zookeeper => None,
            },
            spread: None,
            tried: Vec::new(),
            rounds: Vec::new(),
            summary: None,
        }
    }
}

/// A system that runs, with a client.
pub(super) enum Running {
    Tagma(Box<Bed>),
    Etcd(Etcd, Loaded<EtcdClient>),
    Zookeeper(ZooKeeper, Loaded<ZooKeeperClient>),
}

/// A load on a system that is not ours.
pub(super) struct Loaded<T: Target> {
    generator: Option<Generator<T>>,
    value: Bytes,
    seed: u64,
}

impl<T: Target> Loaded<T> {
    fn new(setting: &Setting) -> Self {
        // Bytes as little compressible as a signature, should anything compress.
        let value: Vec<u8> = std::iter::repeat_with(rand::random)
            .take(setting.value_bytes)
            .collect();
        Self {
            generator: None,
            value: value.into(),
            seed: setting.bench.seed,
        }
    }

    async fn measure(&mut self, servers: &mut Servers, pace: Pace, span: Span) -> Result<Sample, Error> {
        let generator = self
            .generator
            .take()
            .ok_or_else(|| Error::NothingMeasured("an earlier load failed".to_owned()))?;
        self.seed += 1;
        let began = Instant::now() + Duration::from_millis(5);
        let load = generator.drive(pace, span, self.seed, began);
        tokio::time::sleep_until((began + span.warm_up).into()).await;
        let cores = Cores::now();
        let (servers_before, own_before) = (servers.cpu()?, Usage::own().unwrap_or_default().cpu);
        tokio::time::sleep_until((began + span.end()).into()).await;
        let servers_cpu = servers.cpu()?.saturating_sub(servers_before);
        let client_cpu = Usage::own().unwrap_or_default().cpu.saturating_sub(own_before);
        let cores = Shares::between(cores, Cores::now());
        let (generator, tally) = load.finish().await?;
        self.generator = Some(generator);
        if tally.acknowledged == 0 {
            return Err(Error::NothingMeasured(format!(
                "of {} requests sent none was answered in the measured time; failed: {:?}",
                tally.sent, tally.failed
            )));
        }
        Ok(Sample::of_tally(&tally, span, [servers_cpu, client_cpu], cores))
    }
}

impl Running {
    /// Starts a system anew with these programs.
    ///
    /// # Errors
    /// Whatever keeps it from being ready.
    pub(super) async fn start(name: Name, setting: &Setting, programs: &Programs) -> Result<Self, Error> {
        let gone = |what: &'static str| Error::Compared {
            system: what,
            what: "its program is gone".to_owned(),
        };
        match name {
            Name::Tagma => {
                let bed = Bed::start(&setting.bench, programs.clone()).await?;
                Ok(Self::Tagma(Box::new(bed)))
            }
            Name::Etcd => {
                let program = on_path("etcd").ok_or_else(|| gone(etcd::NAME))?;
                let etcd = Etcd::start(&program, programs).await?;
                Ok(Self::Etcd(etcd, Loaded::new(setting)))
            }
            Name::Zookeeper => {
                let java = zookeeper::find().ok_or_else(|| gone(zookeeper::NAME))?;
                let loaded = Loaded::new(setting);
                let zookeeper = ZooKeeper::start(&java, programs, &loaded.value).await?;
                Ok(Self::Zookeeper(zookeeper, loaded))
            }
        }
    }

    /// What the running system says of its version.
    pub(super) fn version(&self) -> Option<String> {
        match self {
            Self::Zookeeper(zookeeper, _) => zookeeper.version.clone(),
            Self::Tagma(_) | Self::Etcd(..) => None,
        }
    }

    /// Whether its client may choose whom to connect to. Tagma's is connected to all replicas.
    pub(super) fn has_choice(&self) -> bool {
        !matches!(self, Self::Tagma(_))
    }

    /// Gives it a new client with such connections.
    ///
    /// # Errors
    /// If they cannot be made.
    pub(super) async fn connect(&mut self, spread: Spread) -> Result<(), Error> {
        match self {
            Self::Tagma(_) => {}
            Self::Etcd(etcd, loaded) => {
                let client = etcd.client(spread, loaded.value.clone()).await?;
                loaded.generator = Some(Generator::new(client));
            }
            Self::Zookeeper(zookeeper, loaded) => {
                let client = zookeeper.client(spread, loaded.value.clone()).await?;
                loaded.generator = Some(Generator::new(client));
            }
        }
        Ok(())
    }

    /// Loads it and measures.
    ///
    /// # Errors
    /// [`Error::NothingMeasured`] if nothing was answered; others if a server ended.
    pub(super) async fn measure(&mut self, pace: Pace, span: Span) -> Result<Sample, Error> {
        match self {
            Self::Tagma(bed) => Ok(Sample::of_measured(&bed.measure(pace, span).await?)),
            Self::Etcd(etcd, loaded) => loaded.measure(&mut etcd.servers, pace, span).await,
            Self::Zookeeper(zookeeper, loaded) => loaded.measure(&mut zookeeper.servers, pace, span).await,
        }
    }

    /// Stops it.
    ///
    /// # Errors
    /// If it cannot be stopped.
    pub(super) fn stop(self) -> Result<(), Error> {
        match self {
            Self::Tagma(bed) => bed.stop(),
            // Their data is thrown away, so they need no time to end in good order.
            Self::Etcd(..) | Self::Zookeeper(..) => Ok(()),
        }
    }
}
