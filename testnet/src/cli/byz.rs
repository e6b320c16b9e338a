//! `byz`: makes running nodes lie.

use clap::{Args, Subcommand};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::json;

use super::look::print_json;
use super::{Format, NodeName, block_on, resolve};
use crate::byzantine::control::{self, Switched};
use crate::byzantine::{Order, When, catalogue};
use crate::error::Error;
use crate::matrix::MatrixArgs;
use crate::network::{Network, READY};
use crate::observe::Observer;
use crate::process::Activity;

/// The width of the list, in columns.
const WIDTH: u16 = 160;

#[derive(Args)]
pub(super) struct ByzArgs {
    #[command(subcommand)]
    pub(super) what: What,
}

#[derive(Subcommand)]
pub(super) enum What {
    /// Have a node misbehave; if it runs as tagma-node it is restarted as a process that lies, with its keys and data
    Set {
        /// n0, 0 or primary
        node: NodeName,
        /// One of `byz list`; censor takes an account: censor:alice
        name: String,
        /// always, as-primary, p=0.3 (of all messages) or seq=10..20 (both included)
        #[arg(long, default_value = "always")]
        when: When,
        /// Also if that makes more than f traitors: then nothing is promised any more
        #[arg(long)]
        allow_beyond_f: bool,
    },
    /// Have a node, or all, be honest again: restarted as tagma-node. What it signed as a traitor stays signed
    Clear {
        /// n0, 0 or primary; all traitors if left out
        node: Option<NodeName>,
    },
    /// Say what each behaviour does, and what must hold in spite of it
    List,
    /// Try every behaviour on networks of its own under load, and print whether all that must hold held
    Matrix(MatrixArgs),
}

pub(super) fn set(
    network: &mut Network,
    node: NodeName,
    order: &Order,
    allow_beyond_f: bool,
) -> Result<(), Error> {
    let node = resolve(network, node)?;
    catalogue::make(&order.behaviour, network.genesis())?;
    if !allow_beyond_f {
        control::refuse_beyond_f(network, node)?;
    }
    if matches!(network.activity(node), Activity::Paused { .. }) {
        return Err(Error::usage(
            format!("n{node} is paused, and can obey nobody"),
            format!("tagma-testnet resume n{node}"),
        ));
    }
    match control::set(network, node, order)? {
        Switched::Restarted => {
            println!("n{node} was restarted as a process that lies, with the same keys and data: {order}");
        }
        Switched::Running => println!("n{node} goes on with another behaviour: {order}"),
        Switched::Down => println!("n{node} is down, and will lie from its next start on: {order}"),
    }
    let traitors = control::traitors(network)?;
    println!(
        "traitors: {} of f = {}; tagma-testnet byz clear makes them honest again",
        traitors.len(),
        network.faults()
    );
    Ok(())
}

pub(super) fn clear(network: &mut Network, node: Option<NodeName>) -> Result<(), Error> {
    let nodes = match node {
        Some(name) => vec![resolve(network, name)?],
        None => control::traitors(network)?
            .into_iter()
            .map(|(node, _)| node)
            .collect(),
    };
    if nodes.is_empty() {
        println!("nobody lies");
    }
    for node in nodes {
        match control::clear(network, node)? {
            Switched::Restarted => {
                let standing = block_on(standing(network, node))?;
                println!("n{node} was restarted as tagma-node: {standing}");
                if standing != "voting" && standing != "starting" {
                    println!(
                        "what it signed as a traitor is not in its log, so it does not vote, and counts among the f; \
                         the only way back is a new key"
                    );
                }
            }
            Switched::Running => println!("n{node} did not lie"),
            Switched::Down => println!("n{node} is down, and will be honest from its next start on"),
        }
    }
    Ok(())
}

/// What a node that has just started turns out to be.
async fn standing(network: &mut Network, node: u16) -> Result<String, Error> {
    let running: Vec<u16> = network.running().into_iter().map(|(node, _)| node).collect();
    match network.wait_node_ready(node, &running, READY).await {
        Err(error @ (Error::NodeEnded { .. } | Error::Io { .. })) => Err(error),
        // Ready or not: it tells what it is.
        _ => {
            let observer = Observer::new(network.genesis())?;
            Ok(observer.status(node).await?.standing.to_string())
        }
    }
}

pub(super) fn list(format: Format) -> Result<(), Error> {
    let all = catalogue::all();
    match format {
        Format::Table => {
            let mut rows = Table::new();
            rows.load_style(presets::UTF8_HORIZONTAL_ONLY)
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(WIDTH)
                .set_header(["name", "what it does", "safety", "liveness", "who is caught"]);
            for about in all {
                rows.add_row([about.name, about.does, about.safety, about.liveness, about.caught]);
            }
            println!("{rows}");
            println!(
                "while at most f replicas lie; one node: tagma-testnet byz set NODE NAME [--when CONDITION]"
            );
            Ok(())
        }
        Format::Json => {
            let behaviours: Vec<_> = all
                .iter()
                .map(|about| {
                    json!({
                        "name": about.name, "does": about.does, "safety": about.safety,
                        "liveness": about.liveness, "caught": about.caught,
                    })
                })
                .collect();
            print_json(&json!({ "schema": "behaviours/v1", "behaviours": behaviours }))
        }
    }
}
