//! `tagma-node status`

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::{HomeArgs, Output, print};
use crate::driver::NodeSetup;
use crate::exit::{Exit, Failure};

/// How long the replica may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than any status takes.
const MAX_ANSWER: u64 = 1 << 20;

pub(super) fn run(args: &HomeArgs, output: Output) -> Result<(), Failure> {
    let setup = NodeSetup::load(args.home(), args.config()?)?;
    let address = setup
        .config
        .http(setup.replica()?)
        .map_err(Failure::with(Exit::Config))?;
    let body = get(address, "/v1/status").map_err(|error| {
        Failure::new(
            Exit::NoQuorum,
            format!("no answer from http://{address}: {error}"),
        )
        .hint("does the replica run? `tagma-node start --home …`")
    })?;
    let status: Value = serde_json::from_str(&body).map_err(|error| {
        Failure::new(
            Exit::Internal,
            format!("http://{address} answered no JSON: {error}"),
        )
    })?;
    let expected = setup.genesis.chain_id().to_string();
    if status.get("chain").and_then(Value::as_str) != Some(expected.as_str()) {
        return Err(Failure::new(
            Exit::Config,
            format!(
                "at http://{address} is a replica of chain {}, this home is of chain {expected}",
                field(&status, "chain")
            ),
        ));
    }
    match output {
        Output::Json => print(&format!("{status}\n")),
        Output::Table => {
            let keys = [
                "replica",
                "standing",
                "view",
                "target",
                "primary",
                "executed",
                "stable",
                "pending",
                "tip",
                "connected",
            ];
            let lines: String = keys
                .iter()
                .map(|key| format!("{key:<10} {}\n", field(&status, key)))
                .collect();
            print(&lines)
        }
    }
}

fn field(status: &Value, key: &str) -> String {
    match status.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "?".to_owned(),
    }
}

/// One GET to a server of ours. HTTP/1.0 without keep-alive, so that the end of the connection is the end of the body.
fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer.as_str(), ""));
    if head.split_whitespace().nth(1) == Some("200") {
        Ok(body.to_owned())
    } else {
        let line = head.lines().next().unwrap_or_default();
        Err(std::io::Error::other(line.to_owned()))
    }
}
