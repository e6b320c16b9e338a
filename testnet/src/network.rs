//! All replicas of a network: started until really ready, stopped until really gone.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use tagma_ledger::{Genesis, Parameters};
use tagma_wire::client_protocol::StatusReport;
use tempfile::TempDir;

use crate::error::Error;
use crate::layout::Layout;
use crate::net;
use crate::observe::{self, Observer};
use crate::plan::{self, Extras, Marker, Plan};
use crate::ports::{self, Lease};
use crate::process::{self, Activity, Lifetime, Programs};

/// Between two looks at something that is waited for.
const POLL: Duration = Duration::from_millis(25);
/// How long a replica may take to end after SIGTERM before it is killed.
pub const GRACE: Duration = Duration::from_secs(10);
/// How long replicas may take to be ready.
pub const READY: Duration = Duration::from_secs(60);
/// How long a command that is ending may keep the directory's lock.
const ENDING: Duration = Duration::from_secs(2);
/// How long a process may take to be gone, or frozen, after a signal that it cannot refuse.
const GONE: Duration = Duration::from_secs(10);

/// How long one without a running process has to answer.
const UNLIKELY: Duration = Duration::from_millis(500);

/// What replicas say of themselves, by number.
pub type Statuses = Vec<(u16, Result<StatusReport, Error>)>;

/// A network in its directory. With [`Lifetime::WithParent`] its processes end with this value.
pub struct Network {
    layout: Layout,
    genesis: Genesis,
    programs: Programs,
    lifetime: Lifetime,
    children: BTreeMap<u16, Child>,
    /// What carries the links, if it was started here and ends with this.
    links: Option<Child>,
    /// Of a network that lives no longer than this value: its directory and its ports.
    ephemeral: Option<(TempDir, Lease)>,
}

impl Network {
    /// Makes a new network in a directory of its own, on ports of its own. Both are given back in the end; the directory is
    /// kept, and named, if the end is a panic.
    ///
    /// # Errors
    /// See [`plan::create`], [`Lease::find`].
    pub fn ephemeral(replicas: u16, programs: Programs) -> Result<Self, Error> {
        Self::ephemeral_with(replicas, programs, Parameters::default())
    }

    /// As [`Network::ephemeral`], with other numbers of the protocol.
    ///
    /// # Errors
    /// See [`plan::create`], [`Lease::find`].
    pub fn ephemeral_with(replicas: u16, programs: Programs, parameters: Parameters) -> Result<Self, Error> {
        Self::ephemeral_furnished(replicas, programs, parameters, Extras::default())
    }

    /// As [`Network::ephemeral_with`], with accounts and settings of its own.
    ///
    /// # Errors
    /// See [`plan::create`], [`Lease::find`].
    pub fn ephemeral_furnished(
        replicas: u16,
        programs: Programs,
        parameters: Parameters,
        extras: Extras,
    ) -> Result<Self, Error> {
        let directory = temporary_directory()?;
        let lease = Lease::find(replicas)?;
        let plan = Plan {
            replicas,
            seed: None,
            base_port: lease.base,
            parameters,
            extras,
        };
        let mut network = Self::create(
            Layout::new(directory.path()),
            &plan,
            programs,
            Lifetime::WithParent,
        )?;
        network.ephemeral = Some((directory, lease));
        Ok(network)
    }

    /// Makes a new network as planned. Nothing is started yet.
    ///
    /// # Errors
    /// See [`plan::create`].
    pub fn create(
        layout: Layout,
        plan: &Plan,
        programs: Programs,
        lifetime: Lifetime,
    ) -> Result<Self, Error> {
        let genesis = plan::create(&layout, plan, &programs)?;
        Ok(Self {
            layout,
            genesis,
            programs,
            lifetime,
            children: BTreeMap::new(),
            links: None,
            ephemeral: None,
        })
    }

    /// The network that is in a directory already.
    ///
    /// # Errors
    /// [`Error::NoNetwork`] if there is none; others if its files cannot be read.
    pub fn open(layout: Layout, programs: Programs, lifetime: Lifetime) -> Result<Self, Error> {
        Marker::load(&layout)?;
        let genesis = Genesis::load(&layout.genesis())?;
        Ok(Self {
            layout,
            genesis,
            programs,
            lifetime,
            children: BTreeMap::new(),
            links: None,
            ephemeral: None,
        })
    }

    /// Keeps the directory of an ephemeral network, and gives it.
    pub fn keep(&mut self) -> &Path {
        if let Some((directory, _)) = &mut self.ephemeral {
            directory.disable_cleanup(true);
        }
        self.layout.root()
    }

    /// Where it is.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The programs that its nodes and its clients are.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// What it agreed on before block 1.
    #[must_use]
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The replicas' numbers.
    #[must_use]
    pub fn nodes(&self) -> Vec<u16> {
        self.genesis.replicas.iter().map(|replica| replica.id).collect()
    }

    /// f
    #[must_use]
    pub fn faults(&self) -> u16 {
        plan::faults(u16::try_from(self.genesis.replicas.len()).unwrap_or(u16::MAX))
    }

    /// What a replica's process does.
    pub fn activity(&mut self, node: u16) -> Activity {
        // A child that has ended must be waited for, or its entry in the process table stays.
        if let Some(child) = self.children.get_mut(&node)
            && matches!(child.try_wait(), Ok(Some(_)) | Err(_))
        {
            self.children.remove(&node);
        }
        process::activity(&self.layout, node)
    }

    /// The replicas that have a process, with it.
    pub fn running(&mut self) -> Vec<(u16, i32)> {
        let nodes = self.nodes();
        nodes
            .into_iter()
            .filter_map(|node| Some((node, self.activity(node).pid()?)))
            .collect()
    }

    /// Refuses to go on if a replica runs.
    ///
    /// # Errors
    /// [`Error::Running`] naming those that do.
    pub fn refuse_running(&mut self) -> Result<(), Error> {
        let running = self.running();
        if running.is_empty() {
            return Ok(());
        }
        Err(Error::Running {
            path: self.layout.root().to_owned(),
            running: running
                .iter()
                .map(|(node, pid)| format!("n{node} (pid {pid})"))
                .collect(),
        })
    }

    /// Starts every replica. If one cannot be, those already started are killed.
    ///
    /// # Errors
    /// A port in use, or what [`Network::start`] says.
    pub fn start_all(&mut self) -> Result<(), Error> {
        ports::check(&ports::needs(&self.genesis))?;
        for node in self.nodes() {
            if let Err(error) = self.start(node) {
                self.kill_all()?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Starts one replica's process; [`Network::wait_ready`] tells when it is of use.
    ///
    /// # Errors
    /// If it runs already or cannot be started.
    pub fn start(&mut self, node: u16) -> Result<(), Error> {
        net::links::before_start(&self.layout, node)?;
        let child = process::spawn(&self.programs, &self.layout, node, self.lifetime)?;
        if self.lifetime == Lifetime::WithParent {
            self.children.insert(node, child);
        }
        Ok(())
    }

    /// Sends a signal to one replica. False if it has no process.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn signal(&mut self, node: u16, signal: Signal) -> Result<bool, Error> {
        process::send(&self.layout, node, signal)
    }

    /// Freezes one replica (SIGSTOP) and waits until all its threads stand still. False if it has no process.
    ///
    /// # Errors
    /// If the system refuses, or the process does not stop.
    pub fn pause(&mut self, node: u16) -> Result<bool, Error> {
        if !self.signal(node, Signal::SIGSTOP)? {
            return Ok(false);
        }
        let deadline = Instant::now() + GONE;
        loop {
            match self.activity(node) {
                Activity::Paused { .. } => return Ok(true),
                Activity::Down => return Ok(false),
                Activity::Running { pid } if Instant::now() >= deadline => {
                    return Err(Error::Timeout {
                        what: format!("pausing of n{node}"),
                        seconds: GONE.as_secs(),
                        state: format!("pid {pid} still runs"),
                    });
                }
                Activity::Running { .. } => std::thread::sleep(POLL),
            }
        }
    }

    /// Kills one replica (SIGKILL) and waits until it is gone. False if it had no process.
    ///
    /// # Errors
    /// If the system refuses, or the process does not go.
    pub fn kill(&mut self, node: u16) -> Result<bool, Error> {
        let sent = self.signal(node, Signal::SIGKILL)?;
        self.wait_down(&[node], GONE)?;
        Ok(sent)
    }

    /// Kills replicas as nearly at once as one process can (SIGKILL to all, then waiting for all).
    ///
    /// # Errors
    /// As [`Network::kill`].
    pub fn kill_together(&mut self, nodes: &[u16]) -> Result<(), Error> {
        for node in nodes {
            self.signal(*node, Signal::SIGKILL)?;
        }
        self.wait_down(nodes, GONE)
    }

    /// Kills every replica.
    ///
    /// # Errors
    /// As [`Network::kill`].
    pub fn kill_all(&mut self) -> Result<(), Error> {
        let nodes = self.nodes();
        self.kill_together(&nodes)
    }

    /// Stops replicas (SIGTERM), waits for them, and kills those that do not end within `grace`. Returns these.
    ///
    /// # Errors
    /// If the system refuses, or a killed process does not go.
    pub fn stop(&mut self, nodes: &[u16], grace: Duration) -> Result<Vec<u16>, Error> {
        for node in nodes {
            // A paused process gets its SIGTERM only when it continues.
            self.signal(*node, Signal::SIGTERM)?;
            self.signal(*node, Signal::SIGCONT)?;
        }
        if self.wait_down(nodes, grace).is_ok() {
            return Ok(Vec::new());
        }
        let stubborn: Vec<u16> = nodes
            .iter()
            .copied()
            .filter(|node| self.activity(*node) != Activity::Down)
            .collect();
        self.kill_together(&stubborn)?;
        Ok(stubborn)
    }

    /// Starts what carries the links.
    pub(crate) fn spawn_links(&mut self, seed: u64) -> Result<(), Error> {
        let child = process::spawn_links(&self.programs, &self.layout, seed, self.lifetime)?;
        if self.lifetime == Lifetime::WithParent {
            self.links = Some(child);
        }
        Ok(())
    }

    /// Kills what carries the links, and waits until it is gone. False if nothing did.
    pub(crate) fn kill_links(&mut self) -> Result<bool, Error> {
        let was_there = process::kill_links(&self.layout)?;
        if let Some(mut child) = self.links.take() {
            // It fails only if the process has been waited for.
            drop(child.wait());
        }
        let deadline = Instant::now() + GONE;
        while process::links_activity(&self.layout) != Activity::Down {
            if Instant::now() >= deadline {
                return Err(Error::Timeout {
                    what: "the end of the links".to_owned(),
                    seconds: GONE.as_secs(),
                    state: "their process is still there".to_owned(),
                });
            }
            std::thread::sleep(POLL);
        }
        Ok(was_there)
    }

    fn wait_down(&mut self, nodes: &[u16], bound: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + bound;
        for node in nodes {
            loop {
                let activity = self.activity(*node);
                // A child is gone when it has been waited for, whatever was seen of it while it ended.
                if activity == Activity::Down && !self.children.contains_key(node) {
                    break;
                }
                if Instant::now() >= deadline {
                    return Err(Error::Timeout {
                        what: format!("the end of n{node}"),
                        seconds: bound.as_secs(),
                        state: format!("{activity:?}"),
                    });
                }
                std::thread::sleep(POLL);
            }
        }
        Ok(())
    }

    /// Waits until the replicas `nodes` answer over both of their ports, vote, and are connected to each other.
    ///
    /// # Errors
    /// [`Error::NodeEnded`] with the end of its log if one ends; [`Error::NotVoting`] if one never will be ready;
    /// [`Error::Timeout`].
    pub async fn wait_ready(&mut self, nodes: &[u16], bound: Duration) -> Result<(), Error> {
        // One for all: it keeps a connection to every replica.
        let observer = Observer::new(&self.genesis)?;
        for node in nodes {
            self.wait_observed(&observer, *node, nodes, bound).await?;
        }
        Ok(())
    }

    /// Waits until one replica answers over both of its ports, votes, and is connected to `nodes`.
    ///
    /// # Errors
    /// As [`Network::wait_ready`].
    pub async fn wait_node_ready(&mut self, node: u16, nodes: &[u16], bound: Duration) -> Result<(), Error> {
        let observer = Observer::new(&self.genesis)?;
        self.wait_observed(&observer, node, nodes, bound).await
    }

    async fn wait_observed(
        &mut self,
        observer: &Observer,
        node: u16,
        nodes: &[u16],
        bound: Duration,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + bound;
        loop {
            let Err(state) = self.readiness(observer, node, nodes).await else {
                return Ok(());
            };
            if let Ok(status) = observer.status(node).await
                && !matches!(status.standing.as_str(), "starting" | "voting")
            {
                return Err(Error::NotVoting {
                    node,
                    standing: status.standing.to_string(),
                });
            }
            if self.activity(node) == Activity::Down {
                return Err(Error::NodeEnded {
                    node,
                    what: "ended while starting; the end of its log:".to_owned(),
                    log: process::log_tail(&self.layout, node, 12),
                });
            }
            if Instant::now() >= deadline {
                return Err(Error::Timeout {
                    what: format!("readiness of n{node}"),
                    seconds: bound.as_secs(),
                    state,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether one replica is ready and connected to `nodes`; else in which way not.
    async fn readiness(&self, observer: &Observer, node: u16, nodes: &[u16]) -> Result<(), String> {
        let (code, body) = observe::http(&self.genesis, node, "/livez").map_err(|error| error.to_string())?;
        if code != 200 {
            return Err(format!("/livez gives {code}: {}", body.trim()));
        }
        let status = observer.status(node).await.map_err(|error| error.to_string())?;
        // Not whether it takes part in a view: one that has left alone waits in its next view until others come, which
        // they do when they have a reason, and until then it is as well as it can be.
        if status.standing.as_str() != "voting" {
            return Err(format!("it is {}", status.standing));
        }
        let missing: Vec<String> = nodes
            .iter()
            .filter(|other| {
                !status
                    .connected
                    .get(usize::from(**other))
                    .copied()
                    .unwrap_or(false)
            })
            .map(|other| format!("n{other}"))
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("not connected to {}", missing.join(", ")))
        }
    }

    /// What every replica says of itself; one that does not answer has its error in the list.
    pub async fn statuses(&self, observer: &Observer) -> Statuses {
        self.statuses_of(observer, &self.nodes()).await
    }

    /// As [`Network::statuses`], of some replicas only.
    pub async fn statuses_of(&self, observer: &Observer, nodes: &[u16]) -> Statuses {
        let mut statuses = Vec::new();
        for node in nodes.iter().copied() {
            let silence = match process::activity(&self.layout, node) {
                Activity::Running { .. } => None,
                Activity::Paused { .. } => Some("paused"),
                Activity::Down => Some("down"),
            };
            let status = match silence {
                None => observer.status(node).await,
                // Somebody else may answer in its name, but is not waited for as long.
                Some(reason) => observer
                    .status_within(node, UNLIKELY)
                    .await
                    .map_err(|_| Error::NoAnswer {
                        node,
                        reason: reason.to_owned(),
                    }),
            };
            statuses.push((node, status));
        }
        statuses
    }

    /// The primary of the highest view that a replica is in, by the word of the replicas that answer.
    ///
    /// # Errors
    /// [`Error::Degraded`] if none answers.
    pub async fn primary(&self) -> Result<u16, Error> {
        Ok(self.leader().await?.0)
    }

    /// The primary of the highest view that a replica is in, and that view.
    ///
    /// # Errors
    /// [`Error::Degraded`] if no replica answers.
    pub async fn leader(&self) -> Result<(u16, u64), Error> {
        let statuses = self.statuses(&Observer::new(&self.genesis)?).await;
        let highest = statuses
            .into_iter()
            .filter_map(|(_, status)| status.ok())
            .max_by_key(|status| status.view)
            .ok_or_else(|| Error::Degraded("no replica answers".to_owned()))?;
        let primary = u16::try_from(highest.view % self.genesis.replica_count())
            .map_err(|_| Error::Degraded("no replica answers".to_owned()))?;
        Ok((primary, highest.view))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let children = std::mem::take(&mut self.children);
        for mut child in children.into_values().chain(self.links.take()) {
            // Either fails only if the process has ended already.
            drop(child.kill());
            drop(child.wait());
        }
        if let Some((directory, _)) = self.ephemeral.take()
            && std::thread::panicking()
        {
            eprintln!(
                "the network is kept for inspection in {}",
                directory.keep().display()
            );
        }
    }
}

/// A new directory that is removed with the value.
///
/// # Errors
/// If it cannot be made.
pub fn temporary_directory() -> Result<TempDir, Error> {
    tempfile::Builder::new()
        .prefix("tagma-testnet-")
        .tempdir()
        .map_err(|source| Error::io("create", &std::env::temp_dir(), source))
}

/// Held by the command that makes, starts or removes a network, so that no two do so at once.
pub struct DirectoryLock(#[expect(dead_code, reason = "held, not read")] Flock<File>);

impl DirectoryLock {
    /// Takes the lock of a network's directory, making the directory if it is not there. Waits a moment for a command that is
    /// just ending.
    ///
    /// # Errors
    /// [`Error::Busy`] if another command has it.
    pub fn take(layout: &Layout) -> Result<Self, Error> {
        let root = layout.root();
        fs::create_dir_all(root).map_err(|source| Error::io("create", root, source))?;
        let path = layout.lock();
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| Error::io("open", &path, source))?;
        let deadline = Instant::now() + ENDING;
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Self(lock)),
                Err((file, _)) if Instant::now() < deadline => file,
                Err(_) => {
                    return Err(Error::Busy {
                        path: root.to_owned(),
                    });
                }
            };
            std::thread::sleep(POLL);
        }
    }
}
