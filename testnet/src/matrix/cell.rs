//! One cell of the matrix: one behaviour, by f replicas of one network, under load.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tagma_ledger::Parameters;

use super::Role;
use super::expectations::{Expectation, Provocation};
use crate::byzantine::{Order, When, blame, control};
use crate::check::{self, Verdict};
use crate::error::Error;
use crate::load::{self, Acknowledged, Load, Pace};
use crate::network::{GRACE, Network, READY};
use crate::observe::Observer;
use crate::plan;
use crate::process::Programs;

/// How long anything here may take before the network counts as stuck: more view changes than f in a row take less.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long the traitors may take until the others know them, before they are tried as they are: some never stay connected.
const ACQUAINTANCE: Duration = Duration::from_secs(5);
/// Transfers that must be acknowledged after everything that was done to the network.
const AFTERWARDS: usize = 30;
/// Between two looks at something that is waited for.
const POLL: Duration = Duration::from_millis(20);
/// The load: enough that there is always something to spoil, little enough that all of it can be looked at in the end.
const PACE: Pace = Pace {
    in_flight: 12,
    pause: Duration::from_millis(5),
    patience: PATIENCE,
};

/// Which cell.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The behaviour, with its argument if it takes one.
    pub behaviour: String,
    /// What the traitors are when it begins.
    pub role: Role,
    /// N = 3f + 1; f of them do it.
    pub replicas: u16,
}

/// What came of it.
#[derive(Debug)]
pub struct Finding {
    /// Who did it.
    pub traitors: Vec<u16>,
    /// How many transfers were acknowledged.
    pub acknowledged: usize,
    /// For how long the load went on.
    pub lasted: Duration,
    /// The longest time without an acknowledgement.
    pub silence: Duration,
    /// The highest view that an honest replica was in.
    pub view: u64,
    /// Whom the stores of honest replicas convict, and of what.
    pub convicted: BTreeMap<u16, BTreeSet<&'static str>>,
    /// Whom clients named, as they replied otherwise than f + 1 others.
    pub named: BTreeSet<u16>,
    /// What contradicts the safety of the honest replicas.
    pub diverged: Vec<String>,
    /// What contradicts their liveness.
    pub stuck: Vec<String>,
    /// What contradicts that the right ones are blamed and nobody else.
    pub misjudged: Vec<String>,
}

impl Finding {
    /// Whether everything is as it must be.
    #[must_use]
    pub fn is_expected(&self) -> bool {
        self.diverged.is_empty() && self.stuck.is_empty() && self.misjudged.is_empty()
    }
}

impl Cell {
    /// The traitors: the primaries of the first views, or of those after an honest one that is provoked to go; or as far from
    /// that as can be.
    fn traitors(&self, provocation: Provocation) -> Vec<u16> {
        let faults = plan::faults(self.replicas);
        let first = match (self.role, provocation) {
            (Role::Primary, Provocation::ViewChange) => 1,
            (Role::Primary, _) => 0,
            (Role::Backup, _) => self.replicas - faults,
        };
        (first..first + faults).collect()
    }

    /// Tries it on a network of its own for at least `lasting`.
    ///
    /// # Errors
    /// Whatever keeps the network from running. What must not be and still is stands in the finding.
    pub async fn run(
        &self,
        programs: Programs,
        expectation: &Expectation,
        lasting: Duration,
    ) -> Result<Finding, Error> {
        let parameters = Parameters {
            checkpoint_interval: 16,
            window: 64,
            ..Parameters::default()
        };
        let mut network = Network::ephemeral_with(self.replicas, programs, parameters)?;
        let traitors = self.traitors(expectation.provocation);
        let outcome = self.run_on(&mut network, traitors, expectation, lasting).await;
        if !outcome.as_ref().is_ok_and(Finding::is_expected) {
            eprintln!(
                "the network is kept for inspection in {}",
                network.keep().display()
            );
        }
        outcome
    }

    async fn run_on(
        &self,
        network: &mut Network,
        traitors: Vec<u16>,
        expectation: &Expectation,
        lasting: Duration,
    ) -> Result<Finding, Error> {
        let nodes = network.nodes();
        let is_honest = |node: &u16| !traitors.contains(node);
        let honest: Vec<u16> = nodes.iter().copied().filter(is_honest).collect();
        let order = Order {
            behaviour: self.behaviour.clone(),
            when: When::Always,
        };
        for traitor in &traitors {
            control::set(network, *traitor, &order)?;
        }
        network.start_all()?;
        network.wait_ready(&honest, READY).await?;
        let observer = Observer::new(network.genesis())?;
        get_acquainted(network, &observer, &honest, &traitors).await;

        let began = Instant::now();
        let load = Load::start(network, PACE)?;
        let mut finding = Finding {
            traitors,
            acknowledged: 0,
            lasted: Duration::ZERO,
            silence: Duration::ZERO,
            view: 0,
            convicted: BTreeMap::new(),
            named: BTreeSet::new(),
            diverged: Vec::new(),
            stuck: Vec::new(),
            misjudged: Vec::new(),
        };
        provoke(network, &observer, &honest, expectation.provocation, &load).await?;
        tokio::time::sleep((began + lasting).saturating_duration_since(Instant::now())).await;
        let before = load.acknowledged();
        let goes_on = until(|| load.failure().is_some() || load.acknowledged() >= before + AFTERWARDS).await;
        if !goes_on {
            finding.stuck.push(format!(
                "{} transfers in the last {} s",
                load.acknowledged() - before,
                PATIENCE.as_secs()
            ));
        }
        let acknowledged = match load.finish().await {
            Ok(acknowledged) => acknowledged,
            Err(error) => {
                finding.stuck.push(error.to_string());
                Vec::new()
            }
        };
        finding.lasted = began.elapsed();
        finding.acknowledged = acknowledged.len();
        finding.silence = longest_silence(began, &acknowledged);
        finding
            .named
            .extend(acknowledged.iter().flat_map(|one| one.paid.liars.iter().copied()));
        finding
            .inspect(network, &observer, &honest, &acknowledged)
            .await?;
        finding.judge(self.role, expectation);
        Ok(finding)
    }
}

impl Finding {
    /// Compares the honest replicas with each other and with what was acknowledged, stops all of them, and reads in the honest
    /// ones' stores whom they can convict.
    async fn inspect(
        &mut self,
        network: &mut Network,
        observer: &Observer,
        honest: &[u16],
        acknowledged: &[Acknowledged],
    ) -> Result<(), Error> {
        let report = check::check(network, PATIENCE).await?;
        self.diverged.extend(report.contradictions.iter().cloned());
        self.stuck.extend(report.gaps.iter().cloned());
        if report.verdict() == Verdict::Converged && self.stuck.is_empty() {
            self.diverged.extend(load::discrepancies(&report, acknowledged));
        }
        let failed = acknowledged.iter().filter(|one| !one.paid.outcome.is_success());
        for one in failed {
            self.diverged.push(format!(
                "a client believed that {} was executed as {:?}",
                one.paid.request.short(),
                one.paid.outcome
            ));
        }
        for (_, status) in network.statuses_of(observer, honest).await {
            self.view = self.view.max(status.map_or(0, |status| status.view));
        }
        for node in honest {
            for (culprit, count) in blame::counted(network, *node)? {
                if !self.traitors.contains(&culprit) {
                    self.misjudged
                        .push(format!("n{node} counts {count} faults of n{culprit}"));
                }
            }
        }
        let traitors = self.traitors.clone();
        network.kill_together(&traitors)?;
        let stubborn = network.stop(honest, GRACE)?;
        if !stubborn.is_empty() {
            self.stuck.push(format!("{stubborn:?} had to be killed"));
        }
        for (by, faults) in blame::recorded(network, honest)? {
            for fault in faults {
                if !fault.proved {
                    self.misjudged
                        .push(format!("n{by} accuses {} without proof", fault.culprit));
                }
                let kinds = self.convicted.entry(fault.culprit.get()).or_default();
                kinds.insert(fault.name);
            }
        }
        Ok(())
    }

    /// Whether the right ones are blamed, for what they did, and nobody else.
    fn judge(&mut self, role: Role, expectation: &Expectation) {
        for (culprit, kinds) in &self.convicted {
            for kind in kinds {
                if !self.traitors.contains(culprit) {
                    self.misjudged
                        .push(format!("n{culprit} is honest and convicted of {kind}"));
                } else if !expectation.provable.contains(kind) {
                    self.misjudged
                        .push(format!("n{culprit} is convicted of {kind}, which it did not do"));
                }
            }
        }
        for named in self.named.difference(&self.traitors.iter().copied().collect()) {
            self.misjudged
                .push(format!("clients name n{named}, which is honest"));
        }
        for traitor in &self.traitors {
            if expectation.must_be_convicted(role) && !self.convicted.contains_key(traitor) {
                self.misjudged.push(format!("nobody can convict n{traitor}"));
            }
            if expectation.named_by_clients && !self.named.contains(traitor) {
                self.misjudged.push(format!("no client names n{traitor}"));
            }
        }
    }
}

/// Waits until the honest replicas have been connected to every traitor, or as long as that is worth waiting for.
async fn get_acquainted(network: &Network, observer: &Observer, honest: &[u16], traitors: &[u16]) {
    let deadline = Instant::now() + ACQUAINTANCE;
    let mut known: BTreeSet<(u16, u16)> = BTreeSet::new();
    while known.len() < honest.len() * traitors.len() && Instant::now() < deadline {
        for (node, status) in network.statuses_of(observer, honest).await {
            let connected = status.map(|status| status.connected).unwrap_or_default();
            let is_connected = |other: u16| connected.get(usize::from(other)).copied().unwrap_or(false);
            known.extend(
                traitors
                    .iter()
                    .filter(|traitor| is_connected(**traitor))
                    .map(|traitor| (node, *traitor)),
            );
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Does to honest replicas what gives the traitors something to spoil, and undoes it.
async fn provoke(
    network: &mut Network,
    observer: &Observer,
    honest: &[u16],
    provocation: Provocation,
    load: &Load,
) -> Result<(), Error> {
    if provocation == Provocation::None {
        return Ok(());
    }
    if !until(|| load.acknowledged() > 0 || load.failure().is_some()).await {
        return Ok(());
    }
    let victim = match provocation {
        Provocation::ViewChange => honest.first(),
        _ => honest.last(),
    };
    let Some(victim) = victim.copied() else {
        return Ok(());
    };
    let others: Vec<u16> = honest.iter().copied().filter(|node| *node != victim).collect();
    let parameters = &network.genesis().parameters;
    // Behind the window, so that what it missed does not just come late.
    let missed = parameters.window + 2 * parameters.checkpoint_interval;
    let enough = executed(network, observer, &others).await + missed;
    let deadline = Instant::now() + PATIENCE;
    if provocation == Provocation::ViewChange {
        network.pause(victim)?;
    } else {
        network.kill(victim)?;
    }
    let far_enough = loop {
        let done = match provocation {
            Provocation::ViewChange => {
                let statuses = network.statuses_of(observer, &others).await;
                statuses
                    .iter()
                    .all(|(_, status)| status.as_ref().is_ok_and(|status| status.target > 0))
            }
            _ => executed(network, observer, &others).await > enough,
        };
        if done || Instant::now() >= deadline {
            break done;
        }
        tokio::time::sleep(POLL).await;
    };
    if provocation == Provocation::ViewChange {
        network.signal(victim, nix::sys::signal::Signal::SIGCONT)?;
    } else {
        network.start(victim)?;
        network.wait_node_ready(victim, &others, READY).await?;
    }
    if far_enough {
        return Ok(());
    }
    Err(Error::Timeout {
        what: "a view change, or a checkpoint that one missed".to_owned(),
        seconds: PATIENCE.as_secs(),
        state: format!("{} transfers acknowledged", load.acknowledged()),
    })
}

/// The last block that one of them has executed.
async fn executed(network: &Network, observer: &Observer, nodes: &[u16]) -> u64 {
    let statuses = network.statuses_of(observer, nodes).await;
    let executed = statuses
        .into_iter()
        .filter_map(|(_, status)| Some(status.ok()?.executed));
    executed.max().unwrap_or_default()
}

/// Polls until `done`; false if it takes too long.
async fn until(mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(POLL).await;
    }
    true
}

fn longest_silence(began: Instant, acknowledged: &[Acknowledged]) -> Duration {
    let ends = acknowledged.iter().map(|one| one.at);
    let begins = std::iter::once(began).chain(ends.clone());
    let gaps = begins
        .zip(ends)
        .map(|(from, to)| to.saturating_duration_since(from));
    gaps.max().unwrap_or_else(|| began.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::expectation;

    /// What is said against the judgement on n0, an equivocating primary, when `convicted` and `named` are blamed.
    fn misjudged(behaviour: &str, convicted: &[(u16, &'static str)], named: &[u16]) -> Vec<String> {
        let mut finding = Finding {
            traitors: vec![0],
            acknowledged: 1,
            lasted: Duration::ZERO,
            silence: Duration::ZERO,
            view: 0,
            convicted: BTreeMap::new(),
            named: named.iter().copied().collect(),
            diverged: Vec::new(),
            stuck: Vec::new(),
            misjudged: Vec::new(),
        };
        for (culprit, kind) in convicted {
            finding.convicted.entry(*culprit).or_default().insert(*kind);
        }
        let expected = expectation(behaviour);
        assert!(expected.is_some(), "{behaviour}");
        if let Some(expected) = expected {
            finding.judge(Role::Primary, &expected);
        }
        finding.misjudged
    }

    #[test]
    fn the_guilty_must_be_blamed_for_what_they_did_and_nobody_else() {
        let two = "conflicting_pre_prepares";
        assert!(misjudged("equivocating-primary", &[(0, two)], &[]).is_empty());
        assert_eq!(
            misjudged("equivocating-primary", &[], &[]).len(),
            1,
            "nobody is convicted"
        );
        assert_eq!(
            misjudged("equivocating-primary", &[(0, two), (1, two)], &[]).len(),
            1,
            "an honest one is convicted"
        );
        assert_eq!(
            misjudged("equivocating-primary", &[(0, two), (0, "bad_new_view")], &[]).len(),
            1,
            "convicted of what it did not do"
        );
        assert_eq!(misjudged("silent", &[(0, two)], &[]).len(), 1);
        assert!(misjudged("wrong-reply", &[], &[0]).is_empty());
        assert_eq!(misjudged("wrong-reply", &[], &[]).len(), 1, "no client names it");
        assert_eq!(
            misjudged("wrong-reply", &[], &[0, 2]).len(),
            1,
            "clients name an honest one"
        );
    }

    #[test]
    fn the_longest_silence_counts_from_the_beginning_of_the_load() {
        let began = Instant::now();
        let at = |seconds: u64| Acknowledged {
            paid: crate::payments::Paid {
                request: tagma_crypto::Digest::ZERO,
                outcome: tagma_ledger::Outcome::Transferred,
                height: 1,
                replicas: vec![0, 1],
                liars: Vec::new(),
                took: Duration::ZERO,
            },
            at: began + Duration::from_secs(seconds),
        };
        let all = [at(3), at(4), at(6)];
        assert_eq!(longest_silence(began, &all), Duration::from_secs(3));
        assert_eq!(longest_silence(began, &[at(1), at(6)]), Duration::from_secs(5));
    }
}
