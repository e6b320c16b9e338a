//! Nodes of a network made to lie, and honest again.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use tagma_node::home::Home;

use super::catalogue;
use super::order::Order;
use super::traitor::{obeyed_file, order_file};
use crate::error::Error;
use crate::layout::Layout;
use crate::network::{GRACE, Network};
use crate::process::{self, Activity};

/// How long a node may take to do as it is ordered, its start included.
const OBEDIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(25);

/// What had to be done to a node's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switched {
    /// It was stopped in good order and started as another program on the same home.
    Restarted,
    /// It goes on running.
    Running,
    /// It is down, and does so from its next start on.
    Down,
}

/// The order of a node; none if it is honest.
///
/// # Errors
/// If the order cannot be read.
pub fn order(layout: &Layout, node: u16) -> Result<Option<Order>, Error> {
    Order::load(&order_file(&Home::new(layout.home(node))))
}

/// The nodes that are ordered to lie, with their orders.
///
/// # Errors
/// If an order cannot be read.
pub fn traitors(network: &Network) -> Result<Vec<(u16, Order)>, Error> {
    let mut traitors = Vec::new();
    for node in network.nodes() {
        if let Some(order) = order(network.layout(), node)? {
            traitors.push((node, order));
        }
    }
    Ok(traitors)
}

/// Refuses one more traitor than the network bears.
///
/// # Errors
/// [`Error::Usage`] if `node` would be more than the f-th.
pub fn refuse_beyond_f(network: &Network, node: u16) -> Result<(), Error> {
    let others: Vec<String> = traitors(network)?
        .into_iter()
        .filter(|(other, _)| *other != node)
        .map(|(other, order)| format!("n{other} ({order})"))
        .collect();
    if others.len() < usize::from(network.faults()) {
        return Ok(());
    }
    Err(Error::usage(
        format!(
            "{} lies already, and {} replicas bear f = {} of them",
            others.join(", "),
            network.nodes().len(),
            network.faults()
        ),
        "tagma-testnet byz clear NODE first, or say --allow-beyond-f: then nothing is promised any more",
    ))
}

/// Has a node misbehave. One that runs as `tagma-node` is restarted on its own home, with its keys and its data, as a process
/// that can lie; one that does so already changes its behaviour as it runs.
///
/// # Errors
/// [`Error::Usage`] if the order makes no sense; [`Error::NodeEnded`] or [`Error::Timeout`] if the node does not obey.
pub fn set(network: &mut Network, node: u16, order: &Order) -> Result<Switched, Error> {
    catalogue::make(&order.behaviour, network.genesis())?;
    let home = Home::new(network.layout().home(node));
    order.save(&order_file(&home))?;
    let switched = if network.activity(node) == Activity::Down {
        return Ok(Switched::Down);
    } else if process::is_traitor(network.layout(), node) {
        Switched::Running
    } else {
        remove(&obeyed_file(&home))?;
        network.stop(&[node], GRACE)?;
        network.start(node)?;
        Switched::Restarted
    };
    wait_obeyed(network, node, &order.text())?;
    Ok(switched)
}

/// Has a node be honest again: one that runs is restarted as `tagma-node`.
///
/// What it signed as a traitor stays signed. Its own log does not hold that, so the node may find that it has become a learner, or
/// that somebody else has its key; then it does not vote, and counts among the f until it has a new key.
///
/// # Errors
/// If the order cannot be removed or the node not be restarted.
pub fn clear(network: &mut Network, node: u16) -> Result<Switched, Error> {
    let home = Home::new(network.layout().home(node));
    remove(&order_file(&home))?;
    remove(&obeyed_file(&home))?;
    if network.activity(node) == Activity::Down {
        return Ok(Switched::Down);
    }
    if !process::is_traitor(network.layout(), node) {
        return Ok(Switched::Running);
    }
    network.stop(&[node], GRACE)?;
    network.start(node)?;
    Ok(Switched::Restarted)
}

fn wait_obeyed(network: &mut Network, node: u16, text: &str) -> Result<(), Error> {
    let path = obeyed_file(&Home::new(network.layout().home(node)));
    let deadline = Instant::now() + OBEDIENCE;
    loop {
        if fs::read_to_string(&path).is_ok_and(|obeyed| obeyed == text) {
            return Ok(());
        }
        if network.activity(node) == Activity::Down {
            return Err(Error::NodeEnded {
                node,
                what: "ended instead of doing as it was ordered; the end of its log:".to_owned(),
                log: process::log_tail(network.layout(), node, 12),
            });
        }
        if Instant::now() >= deadline {
            return Err(Error::Timeout {
                what: format!("obedience of n{node}"),
                seconds: OBEDIENCE.as_secs(),
                state: format!("{} does not say so", path.display()),
            });
        }
        std::thread::sleep(POLL);
    }
}

fn remove(path: &std::path::Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, source)),
        _ => Ok(()),
    }
}
