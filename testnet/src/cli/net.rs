//! `net`: what is done to the links between nodes.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::look::{print_json, table};
use super::{Format, NodeName, duration, resolve};
use crate::error::Error;
use crate::net::control::State;
use crate::net::words::{FaultArgs, LinkName, Sides};
use crate::net::{Change, links};
use crate::network::Network;

/// What `net` can be asked for.
#[derive(Args)]
pub(super) struct NetArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Divide the nodes into sides that do not reach each other
    Partition {
        /// The sides, e.g. 0,1/2,3; a node on no side reaches nobody
        sides: Sides,
        #[command(flatten)]
        lasting: Lasting,
    },
    /// Cut a node off from all others
    Isolate {
        /// n0, 0 or primary
        node: NodeName,
        #[command(flatten)]
        lasting: Lasting,
    },
    /// Make a link bad
    Link {
        /// 0-3 both ways, '0>3' one way, or all
        link: LinkName,
        #[command(flatten)]
        fault: FaultArgs,
        #[command(flatten)]
        lasting: Lasting,
    },
    /// Make all links good again
    Heal,
    /// Show what is wrong with links, and what became of the packets on them
    Show,
    /// Take the links out: nodes connect directly again
    Off,
}

#[derive(Args)]
struct Lasting {
    /// Undo it after this time, e.g. 10s or 500ms
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    lasting: Option<Duration>,
}

pub(super) fn run(network: &mut Network, args: &NetArgs, format: Format) -> Result<(), Error> {
    let nodes = network.nodes();
    match &args.what {
        What::Partition { sides, lasting } => {
            change(network, Change::Partition(sides.0.clone()), lasting, format)
        }
        What::Isolate { node, lasting } => {
            let node = resolve(network, *node)?;
            change(network, Change::Isolate(node), lasting, format)
        }
        What::Link { link, fault, lasting } => {
            let links = link.directions(&nodes);
            let fault = fault.fault();
            change(network, Change::Set { links, fault }, lasting, format)
        }
        // Without links all are good.
        What::Heal | What::Show if !links::are_running(network.layout()) => {
            eprintln!("nodes are connected directly; nothing was ever done to their links");
            Ok(())
        }
        What::Heal => show(&network.links()?.heal()?, format),
        What::Show => show(&network.links()?.show()?, format),
        What::Off => {
            let were_there = network.stop_links()?;
            eprintln!(
                "nodes {} directly",
                if were_there { "connect" } else { "were connected" }
            );
            Ok(())
        }
    }
}

/// Changes links, for a while if that is asked for.
fn change(network: &mut Network, change: Change, lasting: &Lasting, format: Format) -> Result<(), Error> {
    if !links::are_running(network.layout()) {
        eprintln!("putting links between the nodes …");
    }
    let links = network.links()?;
    let before = links.show()?;
    show(&links.change(change)?, format)?;
    let Some(lasting) = lasting.lasting else {
        return Ok(());
    };
    std::thread::sleep(lasting);
    links.change(Change::All(before.links))?;
    println!("undone after {lasting:?}");
    Ok(())
}

fn show(state: &State, format: Format) -> Result<(), Error> {
    if format == Format::Json {
        return print_json(
            &json!({ "schema": "links/v1", "seed": state.seed.to_string(), "links":
            state.each().map(|(link, counts)| json!({
                "from": link.from, "to": link.to, "cut": link.fault.cut, "drop": link.fault.drop,
                "delay_ms": millis(link.fault.delay), "jitter_ms": millis(link.fault.jitter),
                "dup": link.fault.dup, "reorder": link.fault.reorder,
                "came": counts.came.to_string(), "passed": counts.passed.to_string(),
                "dropped": counts.dropped.to_string(), "cut_packets": counts.cut.to_string(),
                "doubled": counts.doubled.to_string(), "reordered": counts.reordered.to_string(),
                "overflowed": counts.overflowed.to_string(),
            })).collect::<Vec<_>>() }),
        );
    }
    let mut rows = table(&[
        "link",
        "is",
        "came",
        "passed",
        "lost",
        "cut",
        "twice",
        "held back",
    ]);
    for (link, counts) in state.each() {
        let mut row = vec![format!("n{} > n{}", link.from, link.to), link.fault.to_string()];
        let lost = counts.dropped + counts.overflowed;
        let numbers = [
            counts.came,
            counts.passed,
            lost,
            counts.cut,
            counts.doubled,
            counts.reordered,
        ];
        row.extend(numbers.map(|number| number.to_string()));
        rows.add_row(row);
    }
    println!("{rows}");
    Ok(())
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
