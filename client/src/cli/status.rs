//! How the replicas are.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tagma_client::{Client, ExitCode, QueryError};
use tagma_crypto::Digest;
use tagma_wire::client_protocol::StatusReport;

use super::Require;
use super::context::Context;
use super::failure::Failure;
use super::output::{table, warn};

type Row = (u16, Result<StatusReport, QueryError>);

pub(crate) async fn status(context: Context) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let rows = client.status(context.timeout).await;
    client.close().await;
    context
        .format
        .emit(|| status_json(&client, &rows), || status_text(&client, &rows))?;
    if let Some(height) = diverging(&rows) {
        warn(&format!("replicas have different blocks at height {height}"));
        return Ok(ExitCode::Divergence);
    }
    let answered = rows.iter().any(|(_, answer)| answer.is_ok());
    Ok(if answered {
        ExitCode::Ok
    } else {
        ExitCode::NoQuorum
    })
}

fn status_json(client: &Client, rows: &[Row]) -> Value {
    let network = client.network();
    let replicas: Vec<Value> = rows
        .iter()
        .map(|(id, answer)| {
            let address = network
                .replicas()
                .get(usize::from(*id))
                .map(|replica| replica.address.to_string());
            match answer {
                Ok(report) => json!({
                    "id": id, "address": address, "reachable": true, "error": null,
                    "version": report.version.as_str(),
                    "view": report.view.to_string(), "target_view": report.target.to_string(),
                    "primary": report.primary, "standing": report.standing.as_str(),
                    "stable": report.stable.to_string(), "executed": report.executed.to_string(), "tip": report.tip,
                    "state_root": report.state_root, "state_height": report.state_height.to_string(),
                    "pending": report.pending.to_string(), "connected": report.connected,
                    "uptime_ms": report.uptime_ms.to_string(),
                }),
                Err(error) => {
                    json!({ "id": id, "address": address, "reachable": false, "error": error.to_string() })
                }
            }
        })
        .collect();
    json!({
        "schema": "status/v1", "chain": network.chain(), "chain_name": network.chain_name(),
        "n": network.n(), "f": network.f(), "quorum": network.quorum(), "replicas": replicas,
    })
}

fn status_text(client: &Client, rows: &[Row]) -> String {
    let network = client.network();
    let mut table = table(&[
        "replica",
        "view",
        "primary",
        "standing",
        "stable",
        "executed",
        "tip",
        "pending",
        "connected",
    ]);
    for (id, answer) in rows {
        let name = format!("n{id}");
        match answer {
            Ok(report) => {
                let view = if report.target == report.view {
                    report.view.to_string()
                } else {
                    format!("{} → {}", report.view, report.target)
                };
                let primary = if report.primary == *id {
                    format!("n{} (itself)", report.primary)
                } else {
                    format!("n{}", report.primary)
                };
                let up = report.connected.iter().filter(|up| **up).count();
                table.add_row([
                    name,
                    view,
                    primary,
                    report.standing.to_string(),
                    report.stable.to_string(),
                    report.executed.to_string(),
                    report.tip.short(),
                    report.pending.to_string(),
                    format!("{up}/{}", network.n()),
                ]);
            }
            Err(error) => {
                let dash = || "-".to_owned();
                let unreachable = format!("unreachable: {error}");
                table.add_row([
                    name,
                    dash(),
                    dash(),
                    unreachable,
                    dash(),
                    dash(),
                    dash(),
                    dash(),
                    dash(),
                ]);
            }
        }
    }
    let (n, f, quorum) = (network.n(), network.f(), network.quorum());
    let chain = network.chain().short();
    format!(
        "chain {} ({chain})   n={n} f={f} quorum={quorum}\n{table}",
        network.chain_name()
    )
}

/// A height at which two replicas say to have different headers. At least one of them lies, or more than f have failed.
fn diverging(rows: &[Row]) -> Option<u64> {
    let mut tips: BTreeMap<u64, Digest> = BTreeMap::new();
    for (_, answer) in rows {
        if let Ok(report) = answer
            && *tips.entry(report.executed).or_insert(report.tip) != report.tip
        {
            return Some(report.executed);
        }
    }
    None
}

pub(crate) async fn health(require: Require, context: Context) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let rows = client.status(context.timeout).await;
    client.close().await;
    let (n, quorum) = (client.network().n(), client.network().quorum());
    let required = match require {
        Require::Quorum => quorum,
        Require::All => n,
    };
    let mut problems = Vec::new();
    let mut voting = 0;
    for (id, answer) in &rows {
        match answer {
            Ok(report) if report.standing.as_str() == "voting" => voting += 1,
            Ok(report) => problems.push((*id, report.standing.to_string())),
            Err(error) => problems.push((*id, error.to_string())),
        }
    }
    let (state, exit) = if let Some(height) = diverging(&rows) {
        warn(&format!("replicas have different blocks at height {height}"));
        ("diverging", ExitCode::Divergence)
    } else if voting < quorum {
        ("no_quorum", ExitCode::NoQuorum)
    } else if voting < required {
        ("degraded", ExitCode::Degraded)
    } else {
        ("ok", ExitCode::Ok)
    };
    context.format.emit(
        || {
            let problems: Vec<Value> = problems
                .iter()
                .map(|(id, problem)| json!({ "replica": id, "problem": problem }))
                .collect();
            json!({
                "schema": "health/v1", "state": state, "voting": voting, "required": required, "quorum": quorum,
                "n": n, "problems": problems,
            })
        },
        || {
            let mark = if exit == ExitCode::Ok { "✔" } else { "✘" };
            let head = format!("{mark} {state}: {voting} of {n} replicas vote, {required} required (quorum {quorum})");
            let lines = problems.iter().map(|(id, problem)| format!("\n  n{id}: {problem}"));
            lines.fold(head, |text, line| text + &line)
        },
    )?;
    Ok(exit)
}
