//! What was counted, as tables for people.

use comfy_table::{CellAlignment, Table, presets};

use super::Row;
use super::batching::Batching;
use super::counts::{Counts, Place, per, standby_model};

fn right_aligned(header: &[&str], rows: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Sizes of networks, for people.
pub(super) fn sizes(sizes: &[u16]) -> String {
    if sizes.is_empty() {
        return "none".to_owned();
    }
    let named: Vec<String> = sizes.iter().map(u16::to_string).collect();
    named.join(" ")
}

fn place(row: &Row) -> &'static str {
    match row.counts.place {
        Place::Processes => "processes",
        Place::Simulator => "simulator",
    }
}

/// The messages of the normal case by phase, against the model.
pub(super) fn phases(runs: &[Row]) -> Table {
    let optional = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let header = [
        "n",
        "on",
        "batches",
        "pre-prepare",
        "prepare",
        "commit",
        "per batch",
        "2n(n-1)",
        "exponent",
        "of 2n(n-1)",
        "limit",
    ];
    let row = |row: &Row| {
        let counts = &row.counts;
        vec![
            counts.nodes.to_string(),
            place(row).to_owned(),
            counts.batches.to_string(),
            counts.pre_prepares.to_string(),
            counts.prepares.to_string(),
            counts.commits.to_string(),
            format!("{:.2}", counts.per_batch),
            counts.model.to_string(),
            optional(row.exponent),
            optional(row.model_exponent),
            "2".to_owned(),
        ]
    };
    right_aligned(&header, runs.iter().map(row).collect())
}

/// What else a batch costs, and what is counted apart.
pub(super) fn costs(runs: &[Row]) -> Table {
    let header = [
        "n",
        "messages/transfer",
        "bytes/batch",
        "messages verified/batch",
        "client requests verified/batch",
        "syncs/batch",
        "resent",
        "checkpoint",
        "status",
        "other",
        "client frames",
        "view changes",
    ];
    let row = |row: &Row| {
        let counts = &row.counts;
        let work = |count: fn(&super::Work) -> u64| {
            let per_batch = counts.work.map(|work| per(count(&work), counts.batches));
            per_batch.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
        };
        vec![
            counts.nodes.to_string(),
            format!("{:.2}", counts.per_transfer),
            format!("{:.0}", counts.bytes_per_batch),
            work(|work| work.peer_verifications),
            work(|work| work.client_verifications),
            work(|work| work.syncs),
            counts.resends.messages.to_string(),
            counts.checkpoints.messages.to_string(),
            counts.status.messages.to_string(),
            counts.other.messages.to_string(),
            counts
                .work
                .map_or_else(|| "-".to_owned(), |work| work.client_frames.to_string()),
            counts.view_changes.to_string(),
        ]
    };
    right_aligned(&header, runs.iter().map(row).collect())
}

/// What is not as the model says, in words.
pub(super) fn remarks(runs: &[Row]) -> Vec<String> {
    let odd = runs.iter().filter(|row| !row.as_modelled);
    let mut remarks: Vec<String> = odd
        .map(|row| {
            let counts = &row.counts;
            format!(
                "n = {}: not as modelled; {} view changes, {} messages sent again and {} others while counting",
                counts.nodes, counts.view_changes, counts.resends.messages, counts.other.messages
            )
        })
        .collect();
    if remarks.is_empty() {
        remarks.push("every phase of every size is exactly as modelled".to_owned());
    }
    remarks
}

/// What it saves that f backups stand by and the others share out what is to be checked, in words: `standby` against the network of the
/// same size among `runs`.
pub(super) fn standby(runs: &[Row], standby: Option<&Counts>) -> String {
    let pair = standby.and_then(|counts| {
        let all = runs.iter().map(|row| &row.counts);
        let same = |all: &&Counts| (all.nodes, all.place) == (counts.nodes, counts.place);
        Some((all.clone().find(same)?, counts))
    });
    let Some((all, counts)) = pair else {
        return "with f backups standing by: not measured, for want of a network of processes".to_owned();
    };
    let cost = |counts: &Counts| {
        let work = counts.work.unwrap_or_default();
        format!(
            "{:.2} messages, {:.1} messages verified and {:.1} syncs a batch, {:.2} verifications of each transfer",
            counts.per_batch,
            per(work.peer_verifications, counts.batches),
            per(work.syncs, counts.batches),
            per(work.client_verifications, counts.transfers)
        )
    };
    format!(
        "n = {}, f of them standing by, as they do unless told otherwise (consensus.standby): {} (2(2f+1)(n-1) = {} messages; {} view \
         changes), instead of {}",
        counts.nodes,
        cost(counts),
        standby_model(counts.nodes),
        counts.view_changes,
        cost(all)
    )
}

/// What batching does to the cost of one transfer.
pub(super) fn batching(sizes: &[Batching]) -> Table {
    let header = [
        "most in a batch",
        "transfers",
        "batches",
        "mean in a batch",
        "messages/transfer",
        "2n(n-1)/mean",
        "bytes/transfer",
        "verified/transfer",
        "syncs/transfer",
        "resent",
        "view changes",
    ];
    let row = |size: &Batching| {
        let resent = size.counts.resends.messages.to_string();
        let rest = [resent, size.counts.view_changes.to_string()];
        size.cells().into_iter().chain(rest).collect()
    };
    right_aligned(&header, sizes.iter().map(row).collect())
}
