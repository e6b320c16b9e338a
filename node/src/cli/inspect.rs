//! `tagma-node inspect`

use std::fmt::Write;

use tagma_evidence::Judge;
use tagma_pbft::evidence::Evidence;
use tagma_pbft::{ReplicaId, record};

use super::offline::Offline;
use super::{HomeArgs, print};
use crate::core::records;
use crate::driver::store_failure;
use crate::exit::{Exit, Failure};
use crate::http::block_json;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Show a block as JSON.
    Block {
        /// Its height.
        height: u64,
        #[command(flatten)]
        home: HomeArgs,
    },
    /// Show what this replica has promised: view, stable checkpoint, proposals and certificates above it.
    Vote {
        #[command(flatten)]
        home: HomeArgs,
    },
    /// List the provable faults that were recorded, and check each again.
    Evidence {
        #[command(flatten)]
        home: HomeArgs,
    },
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Block { height, home } => block(*height, home),
        Command::Vote { home } => vote(home),
        Command::Evidence { home } => evidence(home),
    }
}

fn block(height: u64, home: &HomeArgs) -> Result<(), Failure> {
    let data = Offline::open(home)?;
    let block = crate::driver::stored_block(&data.ledger, height).map_err(store_failure)?;
    let block =
        block.ok_or_else(|| Failure::new(Exit::Verification, format!("there is no block {height} here")))?;
    print(&format!("{}\n", block_json(block)))
}

fn vote(home: &HomeArgs) -> Result<(), Failure> {
    let data = Offline::open(home)?;
    let recovered = records::load(&*data.store, &data.genesis.chain_id()).map_err(store_failure)?;
    let mut text = String::new();
    let voter = match recovered.voter {
        Some(record::Voter::Complete) => "voter: the log holds all that the key has signed",
        Some(record::Voter::Learner) => "learner: the key has signed what the log does not hold",
        None => "learner: this store was not made by `tagma-node init`",
    };
    let target = recovered.left_by.as_ref().map(|message| message.target);
    let stable = recovered
        .stable
        .as_ref()
        .map_or(0, |certificate| certificate.seq.get());
    let lines = [
        voter.to_owned(),
        format!("view {}", recovered.view),
        target.map_or("normal mode".to_owned(), |target| {
            format!("left for view {target}")
        }),
        format!("stable checkpoint {stable}"),
    ];
    text.push_str(&lines.join("\n"));
    text.push('\n');
    for ((seq, view), accepted) in &recovered.accepted {
        let prepared = recovered
            .prepared
            .get(seq)
            .is_some_and(|certificate| certificate.view == *view && certificate.digest == accepted.digest);
        let mark = if prepared { "  prepared" } else { "" };
        let line = writeln!(text, "accepted n={seq} v={view} d={}{mark}", accepted.digest);
        assert!(line.is_ok(), "writing into a string cannot fail");
    }
    print(&text)
}

/// A provable fault in a replica's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedFault {
    /// Whom it accuses.
    pub culprit: ReplicaId,
    /// The kind of fault, as in `conflicting_pre_prepares`.
    pub name: &'static str,
    /// Whether it convinces somebody who trusts nothing but genesis.
    pub proved: bool,
}

/// The faults that the replica of a home recorded, each checked again. It must not be running.
///
/// # Errors
/// If the data is in use or damaged.
pub fn recorded_faults(home: &HomeArgs) -> Result<Vec<RecordedFault>, Failure> {
    let data = Offline::open(home)?;
    let judge = Judge::new(&data.genesis).map_err(Failure::with(Exit::Config))?;
    let stored = records::evidence(&*data.store).map_err(store_failure)?;
    let fault = |evidence: &Evidence| RecordedFault {
        culprit: evidence.culprit(judge.ring()),
        name: evidence.name(),
        proved: judge.convicts(evidence).is_some(),
    };
    Ok(stored.iter().map(fault).collect())
}

fn evidence(home: &HomeArgs) -> Result<(), Failure> {
    let mut text = String::new();
    for fault in recorded_faults(home)? {
        let proof = if fault.proved { "proved" } else { "NOT PROVED" };
        let line = writeln!(text, "{}  {}  {proof}", fault.culprit, fault.name);
        assert!(line.is_ok(), "writing into a string cannot fail");
    }
    if text.is_empty() {
        text.push_str("no evidence\n");
    }
    print(&text)
}
