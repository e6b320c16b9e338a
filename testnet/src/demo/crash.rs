//! The story of crashes: four replicas, a backup killed and brought back, the primary killed and brought back.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use super::narrator::Narrator;
use crate::check::{self, Verdict};
use crate::error::Error;
use crate::network::{GRACE, Network, READY};
use crate::observe::Observer;
use crate::payments::{Paid, Payer};
use crate::plan::{ACCOUNT_NAMES, INITIAL_BALANCE};
use crate::process::Programs;

/// How long one payment may take, a view change included.
const PAYMENT: Duration = Duration::from_secs(60);
/// How long a replica may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(60);
/// Between two looks at a replica that is catching up.
const POLL: Duration = Duration::from_millis(50);

pub(super) async fn tell(programs: Programs) -> Result<(), Error> {
    let mut story = Story::begin(Network::ephemeral(4, programs.clone())?).await?;

    story.narrator.step("A payment, all replicas well");
    story.pay("alice", "bob", 25).await?;

    let primary = story.network.primary().await?;
    let backup = (primary + 2) % 4;
    story.narrator.step(&format!("A backup dies: kill -9 n{backup}"));
    story.kill(backup)?;
    story.pay("bob", "carol", 10).await?;

    story.narrator.step(&format!("n{backup} comes back"));
    story.bring_back(backup).await?;

    story
        .narrator
        .step(&format!("The primary dies: kill -9 n{primary}"));
    let before = story.highest_view().await?;
    story.kill(primary)?;
    let paid = story.pay("carol", "alice", 5).await?;
    let after = story.highest_view().await?;
    story.narrator.tell(&format!(
        "the backups replaced n{primary}: view {before} → {after}, the primary is now n{}, and the payment committed there",
        after % 4
    ));
    story.wait_until_missed(primary).await?;
    story.show_command(&programs, "status")?;
    if after <= before {
        let what = format!(
            "the payment at height {} committed without a new primary",
            paid.height
        );
        return Err(Error::Verdict(what));
    }

    story.narrator.step(&format!("n{primary} comes back"));
    story.bring_back(primary).await?;

    story.narrator.step("What the four of them hold now");
    story.conclude().await
}

struct Story {
    narrator: Narrator,
    network: Network,
    observer: Observer,
    payer: Payer,
    /// What the payments of this story must have left in each account.
    expected: BTreeMap<&'static str, u64>,
    payments: Vec<Paid>,
}

impl Story {
    async fn begin(mut network: Network) -> Result<Self, Error> {
        let narrator = Narrator::begin(
            "Four replicas, each a process of its own, bear one fault at a time: N = 3f + 1 = 4, f = 1.\n\
             A client believes an outcome when f + 1 = 2 replicas report it alike, as one of those must be correct.",
            network.faults(),
        );
        narrator.step("The network");
        let began = Instant::now();
        network.start_all()?;
        let nodes = network.nodes();
        network.wait_ready(&nodes, READY).await?;
        let primary = network.primary().await?;
        narrator.tell(&format!(
            "chain {}: {} nodes ready and connected after {:.1} s, n{primary} is the primary",
            network.genesis().chain_name,
            nodes.len(),
            began.elapsed().as_secs_f64()
        ));
        for (node, pid) in network.running() {
            narrator.show(&format!("n{node}  pid {pid}"));
        }
        narrator.tell(&format!(
            "{} own {INITIAL_BALANCE} each",
            ACCOUNT_NAMES.join(", ")
        ));
        Ok(Self {
            narrator,
            observer: Observer::new(network.genesis())?,
            payer: Payer::new(&network)?,
            network,
            expected: ACCOUNT_NAMES
                .iter()
                .map(|name| (*name, INITIAL_BALANCE))
                .collect(),
            payments: Vec::new(),
        })
    }

    async fn pay(&mut self, from: &'static str, to: &'static str, amount: u64) -> Result<Paid, Error> {
        self.narrator.tell(&format!("{from} pays {to} {amount}"));
        let paid = self.payer.pay(from, to, amount, PAYMENT).await?;
        let names: Vec<String> = paid.replicas.iter().map(|node| format!("n{node}")).collect();
        self.narrator.tell(&format!(
            "✔ tx {} committed at height {} · {} matching replies (f+1 = 2): {} · {:.1} ms",
            paid.request.short(),
            paid.height,
            names.len(),
            names.join(" "),
            paid.took.as_secs_f64() * 1000.0
        ));
        for (name, change) in [(from, amount.wrapping_neg()), (to, amount)] {
            let balance = self.expected.entry(name).or_default();
            *balance = balance.wrapping_add(change);
        }
        self.payments.push(paid.clone());
        Ok(paid)
    }

    fn kill(&mut self, node: u16) -> Result<(), Error> {
        if !self.network.kill(node)? {
            return Err(Error::Degraded(format!("n{node} was down already")));
        }
        self.narrator.tell(&format!("n{node} is gone"));
        self.narrator.crashed(node);
        Ok(())
    }

    /// Starts a node and waits until it holds what the others hold.
    async fn bring_back(&mut self, node: u16) -> Result<(), Error> {
        let began = Instant::now();
        self.network.start(node)?;
        let nodes = self.network.nodes();
        self.network.wait_node_ready(node, &nodes, READY).await?;
        let observer = Observer::new(self.network.genesis())?;
        let deadline = Instant::now() + CATCH_UP;
        loop {
            let mut tips = Vec::new();
            for other in &nodes {
                let status = observer.status(*other).await?;
                tips.push((status.executed, status.tip));
            }
            let (executed, _) = tips.get(usize::from(node)).copied().unwrap_or_default();
            if tips.windows(2).all(|pair| pair.first() == pair.last()) {
                self.narrator.tell(&format!(
                    "n{node} has caught up after {:.1} s: height {executed}, the same header as the others",
                    began.elapsed().as_secs_f64()
                ));
                break;
            }
            if Instant::now() >= deadline {
                return Err(Error::Timeout {
                    what: format!("catching up of n{node}"),
                    seconds: CATCH_UP.as_secs(),
                    state: format!("it has executed {executed} blocks"),
                });
            }
            tokio::time::sleep(POLL).await;
        }
        self.narrator.recovered(node);
        Ok(())
    }

    /// Waits until the others have noticed by themselves that a node is gone.
    async fn wait_until_missed(&self, node: u16) -> Result<(), Error> {
        let deadline = Instant::now() + CATCH_UP;
        loop {
            let statuses = self.network.statuses(&self.observer).await;
            let connected = statuses
                .iter()
                .filter_map(|(_, status)| status.as_ref().ok())
                .any(|status| status.connected.get(usize::from(node)).copied().unwrap_or(false));
            if !connected {
                self.narrator
                    .tell(&format!("the others have given up their connections to n{node}"));
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Error::Timeout {
                    what: format!("the loss of the connections to n{node}"),
                    seconds: CATCH_UP.as_secs(),
                    state: "it is down and still counts as connected".to_owned(),
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Shows what a command of the client says of this network.
    fn show_command(&self, programs: &Programs, command: &str) -> Result<(), Error> {
        let output = Command::new(&programs.client)
            .arg(command)
            .env("TAGMA_HOME", self.network.layout().root())
            .output()
            .map_err(|source| Error::io("run", &programs.client, source))?;
        self.narrator.tell(&format!("$ tagma {command}"));
        self.narrator.show(&String::from_utf8_lossy(&output.stdout));
        if output.status.success() {
            return Ok(());
        }
        Err(Error::Verdict(format!(
            "tagma {command}: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        )))
    }

    async fn highest_view(&self) -> Result<u64, Error> {
        let statuses = self.network.statuses(&self.observer).await;
        let views = statuses
            .into_iter()
            .filter_map(|(_, status)| Some(status.ok()?.view));
        views
            .max()
            .ok_or_else(|| Error::Degraded("no replica answers".to_owned()))
    }

    /// Compares all nodes, and the balances with what this story paid; stops the network.
    async fn conclude(mut self) -> Result<(), Error> {
        let report = check::check(&self.network, CATCH_UP).await?;
        self.narrator.show(&report.to_string());
        let genesis = self.network.genesis().clone();
        let mut wrong = Vec::new();
        for (name, expected) in &self.expected {
            let key = genesis.account_key(name);
            let found = key
                .and_then(|key| report.holdings.get(&key))
                .map(|holding| holding.balance);
            self.narrator.show(&format!(
                "{name:<6} {}",
                found.map_or_else(|| "no account".to_owned(), |balance| balance.to_string())
            ));
            if found != Some(*expected) {
                wrong.push(format!("{name} should own {expected}"));
            }
        }
        let observer = Observer::new(&genesis)?;
        for paid in &self.payments {
            for node in self.network.nodes() {
                let found = observer.transaction(node, paid.request).await?;
                if found.map(|found| (found.height, found.outcome)) != Some((paid.height, paid.outcome)) {
                    wrong.push(format!(
                        "n{node} does not have the payment {} as it was acknowledged",
                        paid.request.short()
                    ));
                }
            }
        }
        let nodes = self.network.nodes();
        let stubborn = self.network.stop(&nodes, GRACE)?;
        if !stubborn.is_empty() {
            wrong.push("nodes had to be killed in the end".to_owned());
        }

        self.narrator.step("Verdict");
        let verdict = report.verdict();
        if verdict == Verdict::Converged && wrong.is_empty() {
            println!(
                "safety    ✔ equal headers 0 to {}, equal balances, supply {}",
                report.height, report.supply
            );
            println!(
                "liveness  ✔ {} of {} payments committed, with a backup and then the primary dead",
                self.payments.len(),
                self.payments.len()
            );
            println!("culprits  none: crashed nodes lie to nobody");
            return Ok(());
        }
        for line in &wrong {
            println!("✘ {line}");
        }
        report.into_result()?;
        Err(Error::Verdict(wrong.join("; ")))
    }
}
