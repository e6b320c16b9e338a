//! `ps`, `status`, `logs`, `check`: looking, changing nothing.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

use comfy_table::{Table, presets};
use serde_json::{Value, json};
use tagma_wire::client_protocol::StatusReport;

use super::{CheckArgs, Format, NodeName, block_on, resolve};
use crate::audit;
use crate::byzantine::control;
use crate::check::{self, Report, Verdict};
use crate::error::Error;
use crate::network::{Network, Statuses};
use crate::observe::Observer;
use crate::process::Activity;

/// Between two looks at something that changes.
const WATCH: Duration = Duration::from_secs(1);
const FOLLOW: Duration = Duration::from_millis(100);

pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

pub(crate) fn print_json(value: &Value) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::io("write", std::path::Path::new("stdout"), error.into()))?;
    println!("{text}");
    Ok(())
}

fn activity_name(activity: Activity) -> &'static str {
    match activity {
        Activity::Running { .. } => "running",
        Activity::Paused { .. } => "paused",
        Activity::Down => "down",
    }
}

pub(super) fn ps(network: &mut Network, format: Format) -> Result<(), Error> {
    let replicas = network.genesis().replicas.to_vec();
    let mut rows = table(&[
        "node", "state", "lies", "pid", "replicas", "clients", "http", "log",
    ]);
    let mut list = Vec::new();
    for replica in replicas {
        let activity = network.activity(replica.id);
        let log = network.layout().log(replica.id).display().to_string();
        let pid = activity.pid();
        let order = control::order(network.layout(), replica.id)?;
        rows.add_row([
            format!("n{}", replica.id),
            activity_name(activity).to_owned(),
            order.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            replica.peer_address.to_string(),
            replica.client_address.to_string(),
            replica.http_address.to_string(),
            log.clone(),
        ]);
        list.push(json!({
            "node": replica.id, "state": activity_name(activity), "pid": pid, "byzantine": order,
            "peer_address": replica.peer_address.as_str(), "client_address": replica.client_address.as_str(),
            "http_address": replica.http_address.as_str(), "log": log,
        }));
    }
    match format {
        Format::Table => println!("{rows}"),
        Format::Json => print_json(&json!({ "schema": "ps/v1", "nodes": list }))?,
    }
    Ok(())
}

pub(super) fn status(network: &Network, format: Format, watch: bool) -> Result<(), Error> {
    loop {
        let statuses = block_on(async { Ok(network.statuses(&Observer::new(network.genesis())?).await) })?;
        let traitors = control::traitors(network)?;
        match format {
            Format::Table => {
                if watch {
                    // Clears the screen and goes to its upper left corner.
                    print!("\x1b[2J\x1b[H");
                }
                println!("{}", status_table(&statuses));
                for (node, order) in &traitors {
                    println!("n{node} lies, also here: {order}");
                }
            }
            Format::Json => print_json(&json!({
                "schema": "testnet-status/v1",
                "nodes": statuses.iter().map(|(node, status)| status_json(*node, status)).collect::<Vec<_>>(),
                "byzantine": traitors.iter().map(|(node, order)| json!({ "node": node, "order": order }))
                    .collect::<Vec<_>>(),
            }))?,
        }
        if !watch {
            return Ok(());
        }
        std::thread::sleep(WATCH);
    }
}

/// What every node says of itself, as a table; unreachable ones with their error.
fn status_table(statuses: &Statuses) -> Table {
    let mut rows = table(&[
        "node",
        "standing",
        "view",
        "primary",
        "executed",
        "stable",
        "tip",
        "pending",
        "connected",
        "up",
    ]);
    for (node, status) in statuses {
        match status {
            Ok(status) => {
                let view = if status.view == status.target {
                    status.view.to_string()
                } else {
                    format!("{} → {}", status.view, status.target)
                };
                let connected = status.connected.iter().filter(|connected| **connected).count();
                rows.add_row([
                    format!("n{node}"),
                    status.standing.to_string(),
                    view,
                    format!("n{}", status.primary),
                    status.executed.to_string(),
                    status.stable.to_string(),
                    status.tip.short(),
                    status.pending.to_string(),
                    format!("{connected}/{}", status.connected.len()),
                    format!("{} s", status.uptime_ms / 1000),
                ]);
            }
            Err(Error::NoAnswer { reason, .. }) => {
                rows.add_row([format!("n{node}"), reason.clone()]);
            }
            Err(error) => {
                rows.add_row([format!("n{node}"), error.to_string()]);
            }
        }
    }
    rows
}

fn status_json(node: u16, status: &Result<StatusReport, Error>) -> Value {
    match status {
        Ok(status) => json!({
            "node": node, "chain": status.chain, "version": status.version.as_str(),
            "standing": status.standing.as_str(), "view": status.view.to_string(),
            "target": status.target.to_string(), "primary": status.primary,
            "executed": status.executed.to_string(), "stable": status.stable.to_string(), "tip": status.tip,
            "state_height": status.state_height.to_string(), "state_root": status.state_root,
            "pending": status.pending.to_string(),
            "connected": status.connected.to_vec(), "uptime_ms": status.uptime_ms.to_string(),
        }),
        Err(error) => json!({ "node": node, "error": error.to_string() }),
    }
}

pub(super) fn logs(network: &Network, name: NodeName, follow: bool) -> Result<(), Error> {
    let path = network.layout().log(resolve(network, name)?);
    let mut file = File::open(&path).map_err(|source| Error::io("open", &path, source))?;
    let mut stdout = io::stdout();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = file
            .read(&mut buffer)
            .map_err(|source| Error::io("read", &path, source))?;
        if read > 0 {
            let written = stdout
                .write_all(buffer.get(..read).unwrap_or_default())
                .and_then(|()| stdout.flush());
            match written {
                // Who reads us has seen enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                other => {
                    other.map_err(|source| Error::io("write", std::path::Path::new("stdout"), source))?;
                }
            }
        } else if follow {
            std::thread::sleep(FOLLOW);
        } else {
            return Ok(());
        }
    }
}

/// Compares the nodes and audits their homes, as asked.
pub(super) fn check(network: &Network, args: &CheckArgs, format: Format) -> Result<(), Error> {
    let compared = if args.offline {
        None
    } else {
        Some(block_on(check::check(network, args.patience)))
    };
    // Whom a network that does not answer has to blame is to be found in its homes all the same.
    let audited = if args.audit || args.offline || args.export.is_some() {
        Some(audit::audit(network.layout(), network.genesis())?)
    } else {
        None
    };
    let reports = (
        compared.as_ref().and_then(|report| report.as_ref().ok()),
        audited.as_ref(),
    );
    match (format, reports) {
        (Format::Table, (report, audit)) => {
            if let Some(report) = report {
                println!("{report}");
            }
            if let Some(audit) = audit {
                println!("{audit}");
            }
        }
        (Format::Json, (Some(report), None)) => print_json(&check_json(report))?,
        (Format::Json, (report, audit)) => print_json(&json!({
            "schema": "check-audit/v1",
            "check": report.map(check_json),
            "audit": audit.map(audit_json),
        }))?,
    }
    if let (Some(audit), Some(directory)) = (&audited, &args.export) {
        for path in audit.export(directory)? {
            eprintln!("wrote {}", path.display());
        }
    }
    if let Some(report) = compared {
        report?.into_result()?;
    }
    match audited.map(|report| report.audit.forks) {
        Some(forks) if !forks.is_empty() => {
            let each: Vec<String> = forks.iter().map(audit::fork_sentence).collect();
            Err(Error::Verdict(each.join("; ")))
        }
        _ => Ok(()),
    }
}

fn audit_json(report: &audit::Report) -> Value {
    let ids = |ids: &std::collections::BTreeSet<tagma_pbft::ReplicaId>| -> Vec<u16> {
        ids.iter().map(|id| id.get()).collect()
    };
    let forks: Vec<Value> = report
        .audit
        .forks
        .iter()
        .map(|fork| {
            json!({
                "height": fork.seq.get().to_string(), "batches": [fork.first.digest, fork.second.digest],
                "views": [fork.first.view.get().to_string(), fork.second.view.get().to_string()],
                "culprits": ids(&fork.culprits), "sentence": audit::fork_sentence(fork),
            })
        })
        .collect();
    let convicted: Vec<Value> = report
        .sentences()
        .into_iter()
        .map(|(culprit, sentences)| json!({ "culprit": culprit, "sentences": sentences }))
        .collect();
    json!({
        "schema": "audit/v1", "stores": report.stores, "transcripts": report.transcripts, "forks": forks,
        "convicted": convicted, "gaps": report.gaps,
    })
}

fn check_json(report: &Report) -> Value {
    json!({
        "schema": "check/v1",
        "verdict": match report.verdict() {
            Verdict::Converged => "converged",
            Verdict::Degraded => "degraded",
            Verdict::Diverged => "diverged",
        },
        "chain": report.chain, "replicas": report.replicas, "answering": report.answering,
        "height": report.height.to_string(), "tip": report.tip,
        "state_height": report.state_root.map(|(height, _)| height.to_string()),
        "state_root": report.state_root.map(|(_, root)| root),
        "executed": report.executed, "accounts": report.holdings.len(),
        "sum": report.sum.to_string(), "supply": report.supply.to_string(),
        "contradictions": report.contradictions, "gaps": report.gaps,
    })
}
