//! Whether all replicas hold the same chain and the same money, computed from what each of them shows.
//!
//! Compared are heights, the header of every height with its links, bodies and receipts, the state roots of the last
//! checkpoint, and every account, each against the others and against a second bookkeeping ([`tally`]).

pub mod tally;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use tagma_crypto::{Digest, PublicKey};
use tagma_ledger::block::{receipts_root, verify_link};
use tagma_ledger::{BlockHeader, Genesis, Outcome};
use tagma_wire::client_protocol::{BlockReport, StatusReport};

use crate::byzantine::control;
use crate::error::Error;
use crate::network::{Network, Statuses};
use crate::observe::Observer;
use tally::{Holding, Tally};

/// Between two looks at replicas that are not equal yet.
const POLL: Duration = Duration::from_millis(100);
/// The most heights, nodes or accounts named in one line.
const MOST_NAMED: usize = 5;

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All replicas answer, and all agree.
    Converged,
    /// Those that can be compared agree; some cannot be.
    Degraded,
    /// Replicas contradict each other, or their own blocks.
    Diverged,
}

/// What a check found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The chain id.
    pub chain: Digest,
    /// N.
    pub replicas: usize,
    /// The replicas that answered.
    pub answering: Vec<u16>,
    /// The height up to which all that answered were compared.
    pub height: u64,
    /// The header hash at that height, if all agree on it.
    pub tip: Option<Digest>,
    /// The checkpoint whose state root is the same everywhere, with the root.
    pub state_root: Option<(u64, Digest)>,
    /// How many requests were executed.
    pub executed: usize,
    /// Each of them, with the height of its block and what came of it.
    pub outcomes: BTreeMap<Digest, (u64, Outcome)>,
    /// The accounts that exist, and what each owns at `height`, by the second bookkeeping.
    pub holdings: BTreeMap<PublicKey, Holding>,
    /// The supply of genesis.
    pub supply: u128,
    /// The sum of all balances.
    pub sum: u128,
    /// What contradicts something: any of these is divergence.
    pub contradictions: Vec<String>,
    /// What could not be compared.
    pub gaps: Vec<String>,
}

impl Report {
    /// What it comes to.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if !self.contradictions.is_empty() {
            Verdict::Diverged
        } else if !self.gaps.is_empty() {
            Verdict::Degraded
        } else {
            Verdict::Converged
        }
    }

    /// An error unless everything is in order.
    ///
    /// # Errors
    /// [`Error::Verdict`] for divergence (exit 9), [`Error::Degraded`] for replicas missing or behind (exit 8).
    pub fn into_result(self) -> Result<Self, Error> {
        match self.verdict() {
            Verdict::Converged => Ok(self),
            Verdict::Degraded => Err(Error::Degraded(self.gaps.join("; "))),
            Verdict::Diverged => Err(Error::Verdict(self.contradictions.join("; "))),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answering = names(&self.answering);
        writeln!(
            f,
            "replicas   {}/{} answer: {answering}",
            self.answering.len(),
            self.replicas
        )?;
        match self.tip {
            Some(tip) => writeln!(
                f,
                "headers    equal at all heights 0 to {}, tip {}",
                self.height,
                tip.short()
            )?,
            None => writeln!(f, "headers    not equal")?,
        }
        match self.state_root {
            Some((height, root)) => {
                writeln!(
                    f,
                    "state      equal roots {} at checkpoint {height}",
                    root.short()
                )?;
            }
            None => writeln!(f, "state      no common checkpoint to compare")?,
        }
        writeln!(
            f,
            "money      {} in {} accounts, supply {}; {} requests executed, each once",
            self.sum,
            self.holdings.len(),
            self.supply,
            self.executed
        )?;
        for line in &self.contradictions {
            writeln!(f, "✘ {line}")?;
        }
        for line in &self.gaps {
            writeln!(f, "! {line}")?;
        }
        match self.verdict() {
            Verdict::Converged => write!(f, "✔ all replicas hold the same chain and the same balances"),
            Verdict::Degraded => write!(f, "! degraded: what answers agrees"),
            Verdict::Diverged => write!(f, "✘ DIVERGED"),
        }
    }
}

/// Checks a network. Replicas have up to `patience` to become equal; after that they are compared as they are. Replicas that
/// are ordered to lie are not asked: what they say of themselves is worth nothing.
///
/// # Errors
/// If no replica answers, or no socket can be had. What the check finds is in the report.
pub async fn check(network: &Network, patience: Duration) -> Result<Report, Error> {
    let observer = Observer::new(network.genesis())?;
    let deadline = Instant::now() + patience;
    let traitors = control::traitors(network)?;
    let honest: Vec<u16> = network
        .nodes()
        .into_iter()
        .filter(|node| traitors.iter().all(|(traitor, _)| traitor != node))
        .collect();
    let statuses = loop {
        let statuses = network.statuses_of(&observer, &honest).await;
        if are_equal(&statuses) || Instant::now() >= deadline {
            break statuses;
        }
        tokio::time::sleep(POLL).await;
    };
    let mut checker = Checker::new(network.genesis(), observer, statuses)?;
    checker.compare_chains().await?;
    checker.compare_state_roots();
    checker.compare_accounts().await?;
    Ok(checker.report)
}

fn are_equal(statuses: &Statuses) -> bool {
    let tips = statuses
        .iter()
        .map(|(_, status)| status.as_ref().ok().map(|status| (status.executed, status.tip)));
    let mut tips: Vec<_> = tips.collect();
    tips.dedup();
    matches!(tips.as_slice(), [Some(_)])
}

struct Checker<'a> {
    genesis: &'a Genesis,
    observer: Observer,
    statuses: Vec<(u16, StatusReport)>,
    tally: Tally,
    /// Whether the tally knows every block up to the common height.
    complete: bool,
    report: Report,
}

impl<'a> Checker<'a> {
    fn new(genesis: &'a Genesis, observer: Observer, statuses: Statuses) -> Result<Self, Error> {
        let tally = Tally::new(genesis);
        let mut gaps = Vec::new();
        let mut answering = Vec::new();
        let replicas = statuses.len();
        for (node, status) in statuses {
            match status {
                Ok(status) => {
                    if status.standing.as_str() != "voting" {
                        gaps.push(format!("n{node} is not voting: {}", status.standing));
                    }
                    answering.push((node, status));
                }
                Err(error) => gaps.push(error.to_string()),
            }
        }
        let Some(height) = answering.iter().map(|(_, status)| status.executed).min() else {
            return Err(Error::Degraded(format!(
                "no replica answers: {}",
                gaps.join("; ")
            )));
        };
        let highest = answering
            .iter()
            .map(|(_, status)| status.executed)
            .max()
            .unwrap_or(height);
        for (node, status) in &answering {
            if status.executed < highest {
                gaps.push(format!(
                    "n{node} has executed {} of {highest} blocks",
                    status.executed
                ));
            }
        }
        Ok(Self {
            genesis,
            observer,
            report: Report {
                chain: genesis.chain_id(),
                replicas,
                answering: answering.iter().map(|(node, _)| *node).collect(),
                height,
                tip: None,
                state_root: None,
                executed: 0,
                outcomes: BTreeMap::new(),
                holdings: BTreeMap::new(),
                supply: tally.supply(),
                sum: 0,
                contradictions: Vec::new(),
                gaps,
            },
            statuses: answering,
            tally,
            complete: true,
        })
    }

    /// Walks all chains side by side from genesis to the common height; stops at the first contradiction.
    async fn compare_chains(&mut self) -> Result<(), Error> {
        let (_, mut parent) = self.genesis.start();
        let mut missing: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
        for height in 1..=self.report.height {
            let mut blocks = Vec::new();
            for node in self.report.answering.clone() {
                match self.observer.block(node, height).await? {
                    Some(block) => blocks.push((node, block)),
                    None => missing.entry(node).or_default().push(height),
                }
            }
            match self.compare_blocks(&parent, &blocks) {
                Ok(Some(header)) => parent = header,
                // Nobody has the block, so the chain above hangs in the air, and so do the books.
                Ok(None) => {
                    self.complete = false;
                    break;
                }
                Err(contradiction) => {
                    self.report
                        .contradictions
                        .push(format!("height {height}: {contradiction}"));
                    self.complete = false;
                    break;
                }
            }
        }
        for (node, heights) in missing {
            self.report
                .gaps
                .push(format!("n{node} does not have the blocks {}", some(&heights)));
        }
        if self.complete {
            self.report.tip = Some(parent.digest());
        }
        self.report.executed = self.tally.executed();
        self.report.outcomes.clone_from(self.tally.outcomes());
        self.report.sum = self.tally.sum();
        self.report.holdings = self
            .tally
            .holdings()
            .map(|(key, holding)| (*key, *holding))
            .collect();
        Ok(())
    }

    /// The header of the blocks at one height, if there are any and they agree with each other, their parent and the
    /// books.
    fn compare_blocks(
        &mut self,
        parent: &BlockHeader,
        blocks: &[(u16, BlockReport)],
    ) -> Result<Option<BlockHeader>, String> {
        let Some((first, reference)) = blocks.first() else {
            return Ok(None);
        };
        let digest = reference.header.digest();
        for (node, block) in blocks {
            let found = block.header.digest();
            if found != digest {
                return Err(format!(
                    "n{first} has header {}, n{node} has {}",
                    digest.short(),
                    found.short()
                ));
            }
            if receipts_root(&block.receipts) != block.header.receipts_root {
                return Err(format!("n{node} shows receipts that are not those of its header"));
            }
            if block != reference {
                return Err(format!(
                    "n{first} and n{node} show different bodies under one header"
                ));
            }
        }
        verify_link(
            parent,
            &reference.header,
            self.genesis.parameters.checkpoint_interval,
        )
        .map_err(|error| error.to_string())?;
        self.tally.apply(reference)?;
        Ok(Some(reference.header.clone()))
    }

    /// Replicas that executed the same last checkpoint must have the same root there.
    fn compare_state_roots(&mut self) {
        let mut roots: BTreeMap<u64, BTreeMap<Digest, Vec<u16>>> = BTreeMap::new();
        for (node, status) in &self.statuses {
            let at = roots.entry(status.state_height).or_default();
            at.entry(status.state_root).or_default().push(*node);
        }
        for (height, by_root) in &roots {
            if by_root.len() > 1 {
                let sides: Vec<String> = by_root
                    .iter()
                    .map(|(root, nodes)| format!("{} at {}", root.short(), names(nodes)))
                    .collect();
                self.report
                    .contradictions
                    .push(format!("state roots at {height}: {}", sides.join(", ")));
            }
        }
        if let Some((height, by_root)) = roots.first_key_value()
            && roots.len() == 1
            && by_root.len() == 1
        {
            self.report.state_root = by_root.keys().next().map(|root| (*height, *root));
        }
    }

    /// Asks every replica for every account and compares with the books.
    async fn compare_accounts(&mut self) -> Result<(), Error> {
        if !self.complete {
            return Ok(());
        }
        let books = self.report.holdings.clone();
        for (node, status) in self.statuses.clone() {
            if status.executed != self.report.height {
                continue;
            }
            let mut wrong = Vec::new();
            for (key, holding) in &books {
                let (height, account) = self.observer.account(node, *key).await?;
                if height != self.report.height {
                    self.report
                        .gaps
                        .push(format!("n{node} went on to {height} while it was compared"));
                    break;
                }
                let found = account.map(|account| Holding {
                    balance: account.balance,
                    next_nonce: account.next_nonce,
                });
                if found != Some(*holding) {
                    wrong.push(self.describe(key, found, holding));
                }
            }
            if !wrong.is_empty() {
                wrong.truncate(MOST_NAMED);
                self.report
                    .contradictions
                    .push(format!("n{node}: {}", wrong.join(", ")));
            }
        }
        Ok(())
    }

    fn describe(&self, key: &PublicKey, found: Option<Holding>, booked: &Holding) -> String {
        let name = self
            .genesis
            .account_name(key)
            .map_or_else(|| key.short(), ToString::to_string);
        match found {
            Some(found) => format!(
                "{name} has {} (nonce {}), its blocks say {} (nonce {})",
                found.balance, found.next_nonce, booked.balance, booked.next_nonce
            ),
            None => format!("{name} does not exist, its blocks say {}", booked.balance),
        }
    }
}

fn names(nodes: &[u16]) -> String {
    nodes
        .iter()
        .map(|node| format!("n{node}"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn some(heights: &[u64]) -> String {
    let shown: Vec<String> = heights.iter().take(MOST_NAMED).map(ToString::to_string).collect();
    match heights.len().checked_sub(MOST_NAMED) {
        Some(more) if more > 0 => format!("{} and {more} more", shown.join(", ")),
        _ => shown.join(", "),
    }
}
