//! What stories have in common: a network, what can be done to it, and payments that are kept in mind.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use tagma_client::Completion;
use tagma_crypto::SecretKey;
use tokio::sync::mpsc;

use super::narrator::Narrator;
use crate::byzantine::{Order, When, blame, control};
use crate::error::Error;
use crate::network::{Network, READY};
use crate::observe::Observer;
use crate::payments::{Paid, Payer, refused};
use crate::plan::{ACCOUNT_NAMES, INITIAL_BALANCE};
use crate::process::Programs;

/// How long one payment may take, view changes included.
const PAYMENT: Duration = Duration::from_secs(60);
/// How long a replica may take to catch up.
pub(super) const CATCH_UP: Duration = Duration::from_secs(60);
/// Between two looks at a replica that is catching up.
const POLL: Duration = Duration::from_millis(50);

/// A network, and what has been done on it so far.
pub(super) struct Stage {
    pub(super) narrator: Narrator,
    pub(super) network: Network,
    pub(super) observer: Observer,
    pub(super) payer: Payer,
    /// What the payments of this story must have left in each account.
    pub(super) expected: BTreeMap<&'static str, u64>,
    pub(super) payments: Vec<Paid>,
    /// The nodes that were made to lie.
    pub(super) traitors: BTreeSet<u16>,
    /// Those who told a client something else than what it could believe.
    pub(super) named: BTreeSet<u16>,
    /// The longest that a payment took.
    pub(super) outage: Duration,
    /// Whether all blocks can be looked at in the end.
    pub(super) keeps_blocks: bool,
}

/// A payment whose outcome is not known yet.
pub(super) struct OnItsWay {
    from: &'static str,
    to: &'static str,
    amount: u64,
    completions: mpsc::UnboundedReceiver<Completion>,
}

impl Stage {
    /// Starts a network that has not been started, and tells of it.
    pub(super) async fn begin(mut network: Network, title: &str) -> Result<Self, Error> {
        let narrator = Narrator::begin(title, network.faults());
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
            traitors: BTreeSet::new(),
            named: BTreeSet::new(),
            outage: Duration::ZERO,
            keeps_blocks: true,
        })
    }

    /// The nodes that were not made to lie.
    pub(super) fn honest(&self) -> Vec<u16> {
        let nodes = self.network.nodes().into_iter();
        nodes.filter(|node| !self.traitors.contains(node)).collect()
    }

    /// A payment; tells whose replies decided, and who replied otherwise.
    pub(super) async fn pay(
        &mut self,
        from: &'static str,
        to: &'static str,
        amount: u64,
    ) -> Result<Paid, Error> {
        self.narrator.tell(&format!("{from} pays {to} {amount}"));
        let paid = self.payer.pay(from, to, amount, PAYMENT).await?;
        self.book(from, to, amount, &paid);
        Ok(paid)
    }

    /// Payments of 1 from one account to the other, told in one line.
    pub(super) async fn pay_often(
        &mut self,
        from: &'static str,
        to: &'static str,
        times: usize,
    ) -> Result<Vec<Paid>, Error> {
        let mut all = Vec::new();
        for _ in 0..times {
            let paid = self.payer.pay(from, to, 1, PAYMENT).await?;
            self.keep(from, Some(to), 1, &paid);
            all.push(paid);
        }
        self.tell_of_many(&format!("{times} payments of 1 from {from} to {to}"), &all);
        Ok(all)
    }

    /// Payments of 1 from an account, each to a key that had no account before.
    pub(super) async fn give_away(&mut self, from: &'static str, strangers: u8) -> Result<(), Error> {
        let mut all = Vec::new();
        for stranger in 0..strangers {
            let key = SecretKey::from_seed([stranger; 32]).public();
            let paid = self.payer.pay_to(from, key, 1, PAYMENT).await?;
            self.keep(from, None, 1, &paid);
            all.push(paid);
        }
        self.tell_of_many(
            &format!("{strangers} payments of 1 from {from} to {strangers} strangers"),
            &all,
        );
        Ok(())
    }

    fn tell_of_many(&self, what: &str, all: &[Paid]) {
        let mut took: Vec<Duration> = all.iter().map(|paid| paid.took).collect();
        took.sort_unstable();
        let at = |index: usize| took.get(index).copied().unwrap_or_default().as_secs_f64() * 1000.0;
        self.narrator.tell(&format!(
            "✔ {what}, one after the other: half of them within {:.1} ms, all within {:.1} ms",
            at(all.len() / 2),
            at(all.len().saturating_sub(1))
        ));
    }

    /// A payment that is on its way; [`Stage::arrive`] waits for it.
    pub(super) async fn send(
        &mut self,
        from: &'static str,
        to: &'static str,
        amount: u64,
    ) -> Result<OnItsWay, Error> {
        let transaction = self.payer.sign(from, to, amount).await?;
        let (sender, completions) = mpsc::unbounded_channel();
        self.payer.client().submit_to(&transaction, PAYMENT, &sender);
        self.narrator
            .tell(&format!("{from} pays {to} {amount}, and waits"));
        Ok(OnItsWay {
            from,
            to,
            amount,
            completions,
        })
    }

    /// Waits for a payment that was sent.
    pub(super) async fn arrive(&mut self, mut sent: OnItsWay) -> Result<Paid, Error> {
        let completion = sent.completions.recv().await;
        let completion = completion.ok_or_else(|| Error::Degraded("the client gave up".to_owned()))?;
        let paid = Paid::from(completion.result.map_err(|error| refused(&error))?);
        self.narrator
            .tell(&format!("what {} paid to {} has arrived", sent.from, sent.to));
        self.book(sent.from, sent.to, sent.amount, &paid);
        Ok(paid)
    }

    /// Keeps a payment in mind and tells of it.
    fn book(&mut self, from: &'static str, to: &'static str, amount: u64, paid: &Paid) {
        self.narrator.tell(&format!(
            "✔ tx {} committed at height {} · {} matching replies (f+1 = {}): {} · {:.1} ms",
            paid.request.short(),
            paid.height,
            paid.replicas.len(),
            self.network.faults() + 1,
            names(&paid.replicas),
            paid.took.as_secs_f64() * 1000.0
        ));
        if !paid.liars.is_empty() {
            self.narrator.tell(&format!(
                "the client was told something else by {}, and did not believe it",
                names(&paid.liars)
            ));
        }
        self.keep(from, Some(to), amount, paid);
    }

    fn keep(&mut self, from: &'static str, to: Option<&'static str>, amount: u64, paid: &Paid) {
        if let Some(balance) = self.expected.get_mut(from) {
            *balance = balance.saturating_sub(amount);
        }
        if let Some(balance) = to.and_then(|to| self.expected.get_mut(to)) {
            *balance = balance.saturating_add(amount);
        }
        self.named.extend(paid.liars.iter().copied());
        self.outage = self.outage.max(paid.took);
        self.payments.push(paid.clone());
    }

    pub(super) fn kill(&mut self, node: u16) -> Result<(), Error> {
        if !self.network.kill(node)? {
            return Err(Error::Degraded(format!("n{node} was down already")));
        }
        self.narrator.tell(&format!("n{node} is gone"));
        self.narrator.crashed(node);
        Ok(())
    }

    /// Makes a node lie from here on, with its own key and data.
    pub(super) async fn betray(&mut self, node: u16, behaviour: &str) -> Result<(), Error> {
        let order = Order {
            behaviour: behaviour.to_owned(),
            when: When::Always,
        };
        control::set(&mut self.network, node, &order)?;
        self.traitors.insert(node);
        // Connected to all, or there would be nobody yet to lie to.
        let nodes = self.network.nodes();
        self.network.wait_node_ready(node, &nodes, READY).await?;
        self.renew_observer()?;
        self.narrator.tell(&format!(
            "n{node} goes on as a process that lies, with its own key and data: {behaviour}"
        ));
        self.narrator.malicious(node);
        Ok(())
    }

    /// Connects to all again: the connection to a node that was started again is one to its predecessor.
    pub(super) fn renew_observer(&mut self) -> Result<(), Error> {
        self.observer = Observer::new(self.network.genesis())?;
        Ok(())
    }

    /// Starts nodes and waits until they hold what the others hold.
    pub(super) async fn bring_back(&mut self, gone: &[u16]) -> Result<(), Error> {
        let began = Instant::now();
        for node in gone {
            self.network.start(*node)?;
        }
        let nodes = self.network.nodes();
        for node in gone {
            self.network.wait_node_ready(*node, &nodes, READY).await?;
        }
        self.renew_observer()?;
        let honest = self.honest();
        let deadline = Instant::now() + CATCH_UP;
        let height = loop {
            let mut tips = BTreeSet::new();
            for node in &honest {
                let status = self.observer.status(*node).await?;
                tips.insert((status.executed, status.tip));
            }
            match tips.last() {
                Some((executed, _)) if tips.len() == 1 => break *executed,
                _ if Instant::now() < deadline => tokio::time::sleep(POLL).await,
                last => {
                    return Err(Error::Timeout {
                        what: format!("catching up of {}", names(gone)),
                        seconds: CATCH_UP.as_secs(),
                        state: format!("not all have executed {} blocks", last.map_or(0, |tip| tip.0)),
                    });
                }
            }
        };
        self.narrator.tell(&format!(
            "{} caught up {:.1} s after the start: height {height}, the same header as the others",
            names(gone),
            began.elapsed().as_secs_f64()
        ));
        for node in gone {
            self.narrator.recovered(*node);
        }
        Ok(())
    }

    /// Waits until the others have noticed by themselves that a node is gone.
    pub(super) async fn wait_until_missed(&self, node: u16) -> Result<(), Error> {
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
    pub(super) fn show_command(&self, programs: &Programs, command: &str) -> Result<(), Error> {
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

    /// Shows whom the running honest nodes count provable faults of.
    pub(super) fn show_counted_faults(&self) -> Result<(), Error> {
        let mut counted: BTreeMap<u16, BTreeSet<u16>> = BTreeMap::new();
        for node in self.honest() {
            for culprit in blame::counted(&self.network, node)?.into_keys() {
                counted.entry(culprit).or_default().insert(node);
            }
        }
        for (culprit, by) in counted {
            self.narrator.show(&format!(
                "by now {} can prove to anybody that n{culprit} lies",
                names(&by)
            ));
        }
        Ok(())
    }

    /// The highest view an honest node is in.
    pub(super) async fn highest_view(&self) -> Result<u64, Error> {
        let statuses = self.network.statuses_of(&self.observer, &self.honest()).await;
        let views = statuses
            .into_iter()
            .filter_map(|(_, status)| Some(status.ok()?.view));
        views
            .max()
            .ok_or_else(|| Error::Degraded("no replica answers".to_owned()))
    }
}

/// "n0 n2"
pub(super) fn names<'a>(nodes: impl IntoIterator<Item = &'a u16>) -> String {
    let names: Vec<String> = nodes.into_iter().map(|node| format!("n{node}")).collect();
    names.join(" ")
}
