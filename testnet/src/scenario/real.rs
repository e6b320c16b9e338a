//! A scenario on real processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::runtime::Runtime;

use super::action::Action;
use super::file::{Scenario, Step};
use super::play::{Facts, Field};
use crate::byzantine::{Order, blame, control};
use crate::check::{self, Report};
use crate::disk;
use crate::error::Error;
use crate::load::{Acknowledged, Load, Pace, discrepancies};
use crate::network::{GRACE, Network, READY, Statuses};
use crate::observe::Observer;
use crate::process::{Activity, Programs};

/// How long anything in the end may take, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// A network of processes under a load.
pub struct RealField {
    runtime: Runtime,
    network: Network,
    /// Until it is ended.
    load: Option<Load>,
    began: Instant,
    liars: BTreeSet<u16>,
}

impl RealField {
    /// Makes a network for a scenario, starts it and its load, and waits until it is of use.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(scenario: &Scenario, programs: Programs, seed: u64) -> Result<Self, Error> {
        let mut network = Network::ephemeral(scenario.nodes, programs)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::io("start", std::path::Path::new("runtime"), source))?;
        let mut liars = BTreeSet::new();
        for step in scenario.steps.iter().take_while(|step| prepares(step)) {
            let action = Action::parse(&step.words, scenario.nodes)
                .map_err(|why| Error::usage(why, "mend the scenario"))?;
            if let Action::Lie { node, .. } = &action {
                liars.insert(*node);
            }
            apply(&mut network, &action)?;
        }
        network.start_all()?;
        // A liar may never say that it is ready.
        let mut nodes = network.nodes();
        nodes.retain(|node| !liars.contains(node));
        runtime.block_on(network.wait_ready(&nodes, READY))?;
        // Links are put in only where they are needed: all else runs as it does for everybody.
        let needs_links = scenario.steps.iter().any(|step| step.words.starts_with("net "));
        if needs_links {
            network.links_seeded(seed)?;
            runtime.block_on(network.wait_ready(&nodes, READY))?;
        }
        let clients = u32::try_from(scenario.load.clients).unwrap_or(1).max(1);
        let pace = Pace {
            in_flight: scenario.load.clients,
            pause: scenario.load.pause / clients,
            patience: PATIENCE,
        };
        let load = {
            let _context = runtime.enter();
            Load::start(&network, pace)?
        };
        Ok(Self {
            runtime,
            network,
            load: Some(load),
            began: Instant::now(),
            liars,
        })
    }

    /// Replicas that run and were never told to lie.
    fn honest_running(&mut self) -> Vec<u16> {
        let nodes = self.network.nodes();
        let running = |node: &u16| matches!(self.network.activity(*node), Activity::Running { .. });
        let running: Vec<u16> = nodes.into_iter().filter(running).collect();
        running
            .into_iter()
            .filter(|node| !self.liars.contains(node))
            .collect()
    }

    fn statuses(&mut self) -> Result<Statuses, Error> {
        let nodes = self.honest_running();
        self.runtime.block_on(async {
            let observer = Observer::new(self.network.genesis())?;
            Ok(self.network.statuses_of(&observer, &nodes).await)
        })
    }

    /// Waits until all honest replicas that run have the same last block; what is missing if they do not get there.
    fn converge(&mut self) -> Result<(Statuses, Option<String>), Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let statuses = self.statuses()?;
            let tips: BTreeSet<_> = statuses
                .iter()
                .map(|(_, status)| status.as_ref().ok().map(|status| (status.executed, status.tip)))
                .collect();
            if tips.len() == 1 && !tips.contains(&None) {
                return Ok((statuses, None));
            }
            if Instant::now() >= deadline {
                let heights: Vec<String> = statuses
                    .iter()
                    .map(|(node, status)| match status {
                        Ok(status) => format!("n{node} at {} ({})", status.executed, status.standing),
                        Err(error) => error.to_string(),
                    })
                    .collect();
                return Ok((statuses, Some(heights.join(", "))));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits until a replica has ended by itself.
    fn wait_down(&mut self, node: u16) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        while self.network.activity(node) != Activity::Down {
            if Instant::now() >= deadline {
                return Err(Error::Timeout {
                    what: format!("the end of n{node}"),
                    seconds: PATIENCE.as_secs(),
                    state: "it still runs".to_owned(),
                });
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// The faults that honest replicas can prove, from their stores, for which they are stopped.
    fn blamed(&mut self) -> Result<BTreeMap<u16, BTreeSet<String>>, Error> {
        let honest: Vec<u16> = self
            .network
            .nodes()
            .into_iter()
            .filter(|node| !self.liars.contains(node))
            .collect();
        let nodes = self.network.nodes();
        self.network.stop(&nodes, GRACE)?;
        let mut blamed: BTreeMap<u16, BTreeSet<String>> = BTreeMap::new();
        for fault in blame::recorded(&self.network, &honest)?.into_values().flatten() {
            let name = if fault.proved {
                fault.name.to_owned()
            } else {
                format!("{} without proof", fault.name)
            };
            blamed.entry(fault.culprit.get()).or_default().insert(name);
        }
        Ok(blamed)
    }
}

impl Field for RealField {
    fn pass(&mut self, time: Duration) -> Result<(), Error> {
        std::thread::sleep(time);
        match self.load.as_ref().and_then(Load::failure) {
            Some(why) => Err(Error::Degraded(format!("the load failed: {why}"))),
            None => Ok(()),
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn acknowledged(&self) -> u64 {
        let acknowledged = self.load.as_ref().map_or(0, Load::acknowledged);
        u64::try_from(acknowledged).unwrap_or(u64::MAX)
    }

    fn primary(&mut self) -> Result<u16, Error> {
        let statuses = self.statuses()?;
        let views = statuses.into_iter().filter_map(|(_, status)| status.ok());
        let view = views
            .map(|status| status.view)
            .max()
            .ok_or_else(|| Error::Degraded("no honest replica answers".to_owned()))?;
        let primary = view % self.network.genesis().replica_count();
        u16::try_from(primary).map_err(|_| Error::Degraded("there is no such replica".to_owned()))
    }

    fn act(&mut self, action: &Action) -> Result<(), Error> {
        if let Action::Lie { node, .. } = action {
            self.liars.insert(*node);
        }
        apply(&mut self.network, action)?;
        if let Action::DiskFull(node, true) = action {
            self.wait_down(*node)?;
        }
        Ok(())
    }

    fn digest(&self) -> Option<String> {
        None
    }

    fn end(mut self: Box<Self>) -> Result<Facts, Error> {
        let mut facts = Facts::default();
        let acknowledged = match self.load.take() {
            Some(load) => self.runtime.block_on(load.finish()),
            None => Ok(Vec::new()),
        };
        let acknowledged = acknowledged
            .inspect_err(|error| facts.missing = Some(error.to_string()))
            .ok();
        let (statuses, behind) = self.converge()?;
        facts.missing = facts.missing.take().or(behind);
        for (node, status) in statuses
            .iter()
            .filter_map(|(node, status)| Some((*node, status.as_ref().ok()?)))
        {
            facts.view = facts.view.max(status.view);
            if status.standing.as_str() == "learner" {
                facts.learners.insert(node);
            }
        }
        let report = self
            .runtime
            .block_on(check::check(&self.network, Duration::ZERO))?;
        facts.reached = format!(
            "{} transfers in {} blocks",
            acknowledged.as_ref().map_or(0, Vec::len),
            report.height
        );
        facts.unsafe_because = contradiction(&report, acknowledged.as_deref());
        facts.blamed = self.blamed()?;
        Ok(facts)
    }
}

/// What is not as it was told, if anything is.
fn contradiction(report: &Report, acknowledged: Option<&[Acknowledged]>) -> Option<String> {
    // Of a load that did not end well it is not known what there must be.
    let lost = acknowledged.map(|acknowledged| discrepancies(report, acknowledged));
    report
        .contradictions
        .iter()
        .cloned()
        .chain(lost.into_iter().flatten())
        .next()
}

/// Whether a step at the very beginning concerns how replicas start: liars lie from their first word on, as in the simulator.
fn prepares(step: &Step) -> bool {
    step.after.is_zero() && (step.words.starts_with("byz set ") || step.words.starts_with("disk slow "))
}

/// Does something to processes, except what concerns the course of the scenario itself.
fn apply(network: &mut Network, action: &Action) -> Result<(), Error> {
    match action {
        Action::Kill(nodes) => network.kill_together(nodes),
        Action::Stop(nodes) => network.stop(nodes, GRACE).map(drop),
        Action::Start(nodes) => nodes.iter().try_for_each(|node| network.start(*node)),
        Action::Pause(nodes) => nodes.iter().try_for_each(|node| network.pause(*node).map(drop)),
        Action::Resume(nodes) => nodes
            .iter()
            .try_for_each(|node| network.signal(*node, Signal::SIGCONT).map(drop)),
        Action::Wipe(nodes) => nodes.iter().try_for_each(|node| wipe(network, *node)),
        Action::Links(change) => network.links()?.change(change.clone()).map(drop),
        Action::Lie {
            node,
            behaviour,
            when,
        } => {
            let order = Order {
                behaviour: behaviour.clone(),
                when: *when,
            };
            control::set(network, *node, &order).map(drop)
        }
        Action::BeHonest(node) => control::clear(network, *node).map(drop),
        Action::DiskFull(node, full) => disk::set_full(network, *node, *full),
        Action::DiskSlow(node, sync) => disk::set_slow(network, *node, *sync),
        Action::ExpectProgress(_) | Action::ExpectNoProgress(_) => Ok(()),
    }
}

/// Removes what a replica knows, but not who it is.
///
/// # Errors
/// If it runs.
fn wipe(network: &mut Network, node: u16) -> Result<(), Error> {
    if network.activity(node) != Activity::Down {
        return Err(Error::usage(format!("n{node} is running"), "kill it first"));
    }
    let data = network.layout().home(node).join("data");
    match fs::remove_dir_all(&data) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &data, source)),
        _ => Ok(()),
    }
}
