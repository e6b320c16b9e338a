//! Messages in a few words, for traces.

use tagma_node::core::TransferJob;
use tagma_pbft::message::{Phase, Vote};
use tagma_pbft::{Incoming, Message};

fn vote(vote: &Vote) -> String {
    let phase = match vote.phase {
        Phase::PrePrepare => "PRE-PREPARE",
        Phase::Prepare => "PREPARE",
        Phase::Commit => "COMMIT",
    };
    let digest = vote.digest.to_string();
    format!(
        "{phase} {:?} {:?} {} of {}",
        vote.view,
        vote.seq,
        digest.get(..8).unwrap_or_default(),
        vote.sender
    )
}

/// What came in.
#[must_use]
pub(crate) fn incoming(incoming: &Incoming) -> String {
    match incoming {
        Incoming::PrePrepare(held, body) => {
            format!(
                "{}{}",
                vote(held),
                if body.is_some() { "" } else { " without body" }
            )
        }
        Incoming::Unchecked(held, _) => format!("{} unchecked", vote(held)),
        Incoming::Shared(held, _) => format!("{} checked in part", vote(held)),
        Incoming::FaultyBatch(held, _, fault) => format!("{} with a bad batch: {fault}", vote(held)),
        Incoming::Vote(held) => vote(held),
        Incoming::Checkpoint(checkpoint) => {
            format!("CHECKPOINT {:?} of {}", checkpoint.seq, checkpoint.sender)
        }
        Incoming::Stable(certificate) => format!("STABLE {:?}", certificate.seq),
        Incoming::ViewChange(change) => {
            let held: Vec<String> = change
                .prepared
                .iter()
                .map(|entry| {
                    format!(
                        "{:?}@{:?} {}",
                        entry.seq,
                        entry.view,
                        entry.digest.to_string().get(..8).unwrap_or_default()
                    )
                })
                .collect();
            format!(
                "VIEW-CHANGE {:?} h {:?} P [{}] of {}",
                change.target,
                change.stable_seq(),
                held.join(", "),
                change.sender
            )
        }
        Incoming::NewView(new) => {
            let senders: Vec<String> = new
                .view_changes
                .iter()
                .map(|change| change.sender.to_string())
                .collect();
            format!(
                "NEW-VIEW {:?} V {} O {}",
                new.view,
                senders.join(","),
                new.proposals.len()
            )
        }
        Incoming::Status(status) => format!(
            "STATUS {:?} target {:?} {:?} h {:?} executed {:?}, {} slots{}",
            status.view,
            status.target,
            status.mode,
            status.stable,
            status.executed,
            status.slots.len(),
            if status.starting { ", starting" } else { "" }
        ),
        Incoming::Body(body, _) => format!("BODY {}", body.digest().to_string().get(..8).unwrap_or_default()),
        Incoming::Blocks(from, blocks) => format!("BLOCKS from {from:?}: {}", blocks.len()),
        Incoming::FetchBody(seq, digest) => {
            format!(
                "FETCH-BODY {seq:?} {}",
                digest.to_string().get(..8).unwrap_or_default()
            )
        }
        Incoming::Forward(requests) => format!("FORWARD {}", requests.len()),
        Incoming::Application(message) => application(message),
    }
}

fn application(message: &Message) -> String {
    match message {
        Message::FetchBlocks { from, count } => format!("FETCH-BLOCKS {from:?} {count}"),
        other => other.kind().name().to_owned(),
    }
}

/// A transfer's work.
#[must_use]
pub(crate) fn transfer(job: &TransferJob) -> &'static str {
    match job {
        TransferJob::Begin(_) => "begin",
        TransferJob::Stage(_) => "stage a part",
        TransferJob::Finish(_) => "finish",
    }
}
