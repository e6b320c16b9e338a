//! A scenario in the simulator: the same replicas, in simulated time, and every invariant looked at after every event.

use std::collections::BTreeSet;
use std::time::Duration;

use tagma_ledger::Genesis;
use tagma_pbft::Standing;
use tagma_sim::check::Violation;
use tagma_sim::clients::Manner;
use tagma_sim::network::Weather;
use tagma_sim::run::converge;
use tagma_sim::schedule::Plan;
use tagma_sim::script::{LinkState, Script};
use tagma_sim::time::SECOND;

use super::action::Action;
use super::file::Scenario;
use super::play::{Facts, Field};
use crate::byzantine::{catalogue, conditional};
use crate::error::Error;
use crate::net::{Change, LinkFault, LinkMap};
use crate::plan::ACCOUNT_NAMES;

/// How long clients go on after the last step, and how long all may then take to be done.
const CALM: u64 = 5 * SECOND;
const BOUND: u64 = 120 * SECOND;
/// A message that is reordered takes up to so much longer.
const REORDERED: Duration = Duration::from_millis(20);
/// The invariant whose violation is that something is missing, not that something is wrong.
const MISSING: &str = "L1 convergence";

/// A simulated network under a load.
pub struct SimField {
    script: Script,
    links: LinkMap,
    /// The chain's genesis, with the names that people give to its first accounts.
    named: Genesis,
    began: u64,
}

fn violated(violation: Violation) -> Error {
    Error::Verdict(violation.to_string())
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl SimField {
    /// Makes the network of a scenario and starts it.
    ///
    /// # Errors
    /// The first invariant violated.
    pub fn start(scenario: &Scenario, seed: u64) -> Result<Self, Error> {
        let mut plan = Plan::calm(seed, scenario.nodes);
        plan.clients = vec![Manner::Correct; scenario.load.clients];
        plan.chain.accounts =
            u16::try_from(scenario.load.clients.max(ACCOUNT_NAMES.len())).unwrap_or(u16::MAX);
        let pause = nanos(scenario.load.pause).max(1);
        plan.pause = (pause, pause + pause / 4);
        let script = Script::begin(&plan, false).map_err(violated)?;
        let mut named = Genesis::clone(&script.world().chain.genesis);
        let mut accounts = named.accounts.to_vec();
        for (account, name) in accounts.iter_mut().zip(ACCOUNT_NAMES) {
            account.name = Some(name.into());
        }
        named.accounts = accounts.into();
        let nodes: Vec<u16> = (0..scenario.nodes).collect();
        Ok(Self {
            began: script.world().now,
            links: LinkMap::new(&nodes),
            named,
            script,
        })
    }

    fn change_links(&mut self, change: &Change) -> Result<(), Error> {
        self.links
            .apply(change)
            .map_err(|why| Error::usage(why, "mend the scenario"))?;
        let links = &self.links;
        self.script.set_links(|from, to| {
            let number = |host: usize| u16::try_from(host).unwrap_or(u16::MAX);
            let fault = links.fault(number(from), number(to));
            LinkState {
                cut: fault.cut,
                weather: weather(fault),
            }
        });
        Ok(())
    }
}

/// A link with this fault, as the simulator has it. It carries whole messages, so what is lost here is lost for good, while a real
/// connection repeats it.
fn weather(fault: LinkFault) -> Weather {
    let permille = |share: crate::net::Percent| u64::from(share.hundredths() / 10);
    let fair = Weather::FAIR;
    let delay_max = fair.delay_max + nanos(fault.delay) + nanos(fault.jitter);
    Weather {
        delay_min: fair.delay_min + nanos(fault.delay),
        delay_max,
        tail_permille: permille(fault.reorder),
        tail: delay_max + nanos(REORDERED),
        loss_permille: permille(fault.drop),
        duplicate_permille: permille(fault.dup),
    }
}

impl Field for SimField {
    fn pass(&mut self, time: Duration) -> Result<(), Error> {
        self.script.pass(nanos(time)).map_err(violated)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.script.world().now - self.began)
    }

    fn acknowledged(&self) -> u64 {
        self.script.accepted()
    }

    fn primary(&mut self) -> Result<u16, Error> {
        Ok(self.script.primary().get())
    }

    fn act(&mut self, action: &Action) -> Result<(), Error> {
        let hosts = |nodes: &[u16]| nodes.iter().map(|node| usize::from(*node)).collect::<Vec<_>>();
        let script = &mut self.script;
        match action {
            Action::Kill(nodes) | Action::Stop(nodes) => {
                hosts(nodes).into_iter().for_each(|host| script.power_off(host));
            }
            Action::Start(nodes) => {
                for host in hosts(nodes) {
                    script.power_on(host).map_err(violated)?;
                }
            }
            Action::Pause(nodes) => hosts(nodes)
                .into_iter()
                .for_each(|host| script.freeze(host, true)),
            Action::Resume(nodes) => hosts(nodes)
                .into_iter()
                .for_each(|host| script.freeze(host, false)),
            Action::Wipe(nodes) => hosts(nodes).into_iter().for_each(|host| script.erase(host)),
            Action::Links(change) => self.change_links(change)?,
            Action::Lie {
                node,
                behaviour,
                when,
            } => {
                let made = catalogue::make(behaviour, &self.named)?;
                let replicas = script.world().chain.ring.quorum.replicas();
                script.lie(
                    usize::from(*node),
                    vec![conditional::only(made, *when, replicas.into())],
                );
            }
            Action::BeHonest(node) => script.lie(usize::from(*node), Vec::new()),
            Action::DiskFull(node, full) => script.fill_disk(usize::from(*node), *full),
            Action::DiskSlow(node, sync) => script.slow_disk(usize::from(*node), nanos(*sync)),
            Action::ExpectProgress(_) | Action::ExpectNoProgress(_) => {}
        }
        Ok(())
    }

    fn digest(&self) -> Option<String> {
        Some(self.script.world().trace.hash().to_string())
    }

    fn end(mut self: Box<Self>) -> Result<Facts, Error> {
        let mut facts = Facts::default();
        match converge(self.script.world_mut(), CALM, BOUND) {
            Ok(()) => {}
            Err(violation) if violation.invariant == MISSING => facts.missing = Some(violation.detail),
            Err(violation) => facts.unsafe_because = Some(violation.to_string()),
        }
        let world = self.script.world();
        facts.reached = format!(
            "{} transfers in {} blocks",
            world.checks.executions(),
            world.checks.height()
        );
        for host in &world.hosts {
            let Some(core) = host.core() else { continue };
            if host.is_honest() {
                facts.view = facts.view.max(core.replica().view().get());
            }
            if *core.replica().standing() == Standing::Learner {
                facts.learners.insert(host.id.get());
            }
        }
        for (culprit, names) in self.script.accused() {
            let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
            facts.blamed.insert(culprit.get(), names);
        }
        Ok(facts)
    }
}
