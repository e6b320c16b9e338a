//! `kill`, `stop`, `start`, … `down`, `clean`: what is done to nodes by hand.

use std::fs;
use std::io::{self, BufRead, Write};

use nix::sys::signal::Signal;

use super::{Disturbance, NodeName, block_on, resolve};
use crate::error::Error;
use crate::layout::Layout;
use crate::network::{DirectoryLock, GRACE, Network, READY};
use crate::plan::Marker;
use crate::process::{self, Activity, Lifetime, Programs};

pub(super) fn kill(network: &mut Network, what: &Disturbance) -> Result<(), Error> {
    let node = resolve(network, what.node)?;
    if !network.kill(node)? {
        return Err(down_already(node));
    }
    println!("n{node} killed");
    undo_after(network, what, node, start_number)
}

pub(super) fn stop(network: &mut Network, what: &Disturbance) -> Result<(), Error> {
    let node = resolve(network, what.node)?;
    stop_number(network, node)?;
    undo_after(network, what, node, start_number)
}

pub(super) fn start(network: &mut Network, name: NodeName) -> Result<(), Error> {
    let node = resolve(network, name)?;
    start_number(network, node)
}

pub(super) fn restart(network: &mut Network, name: NodeName) -> Result<(), Error> {
    let node = resolve(network, name)?;
    stop_number(network, node)?;
    start_number(network, node)
}

pub(super) fn pause(network: &mut Network, what: &Disturbance) -> Result<(), Error> {
    let node = resolve(network, what.node)?;
    if !network.pause(node)? {
        return Err(down_already(node));
    }
    println!("n{node} paused");
    undo_after(network, what, node, resume_number)
}

pub(super) fn resume(network: &mut Network, name: NodeName) -> Result<(), Error> {
    let node = resolve(network, name)?;
    resume_number(network, node)
}

pub(super) fn wipe(network: &mut Network, name: NodeName) -> Result<(), Error> {
    let node = resolve(network, name)?;
    if network.activity(node) != Activity::Down {
        return Err(Error::usage(
            format!("n{node} is running"),
            format!("tagma-testnet kill n{node}"),
        ));
    }
    let data = network.layout().home(node).join("data");
    match fs::remove_dir_all(&data) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &data, source)),
        _ => {
            println!("n{node} wiped: its data is gone, its keys are not");
            Ok(())
        }
    }
}

pub(super) fn down(network: &mut Network) -> Result<(), Error> {
    let running = network.running();
    let nodes = network.nodes();
    let killed = network.stop(&nodes, GRACE)?;
    for node in &nodes {
        // A network without pid files is known to be down: a command in front of it ends by that.
        let pid = network.layout().pid(*node);
        match fs::remove_file(&pid) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &pid, source));
            }
            _ => {}
        }
    }
    network.stop_links()?;
    println!("{} nodes stopped", running.len());
    report_killed(&killed);
    Ok(())
}

pub(super) fn clean(layout: Layout, yes: bool) -> Result<(), Error> {
    // Only what carries our marker is removed.
    Marker::load(&layout)?;
    let root = layout.root().to_owned();
    if !yes
        && !confirmed(&format!(
            "remove {} with all its chains and keys? [y/N] ",
            root.display()
        ))?
    {
        println!("nothing removed");
        return Ok(());
    }
    // A half made network has no genesis and no processes.
    if layout.genesis().exists() {
        let mut network = Network::open(layout.clone(), Programs::find()?, Lifetime::Detached)?;
        down(&mut network)?;
    }
    let _lock = DirectoryLock::take(&layout)?;
    fs::remove_dir_all(&root).map_err(|source| Error::io("remove", &root, source))?;
    println!("{} removed", root.display());
    Ok(())
}

fn confirmed(question: &str) -> Result<bool, Error> {
    let stdin = std::path::Path::new("stdin");
    eprint!("{question}");
    io::stderr()
        .flush()
        .map_err(|source| Error::io("ask on", stdin, source))?;
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|source| Error::io("read", stdin, source))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn stop_number(network: &mut Network, node: u16) -> Result<(), Error> {
    if network.activity(node) == Activity::Down {
        return Err(down_already(node));
    }
    let killed = network.stop(&[node], GRACE)?;
    println!("n{node} stopped");
    report_killed(&killed);
    Ok(())
}

fn start_number(network: &mut Network, node: u16) -> Result<(), Error> {
    network.start(node)?;
    // It has to connect to those that are there; the rest may come later.
    let running: Vec<u16> = network.running().iter().map(|(node, _)| *node).collect();
    let waited: Vec<u16> = running
        .into_iter()
        .filter(|other| matches!(network.activity(*other), Activity::Running { .. }))
        .collect();
    if waited.len() > usize::from(network.faults()) * 2 {
        block_on(network.wait_node_ready(node, &waited, READY))?;
        println!("n{node} started and ready, pid {}", pid_text(network, node));
    } else {
        // Below a quorum no replica can become ready, however long one waits.
        println!(
            "n{node} started, pid {}; fewer than a quorum run",
            pid_text(network, node)
        );
    }
    Ok(())
}

fn resume_number(network: &mut Network, node: u16) -> Result<(), Error> {
    if !network.signal(node, Signal::SIGCONT)? {
        return Err(down_already(node));
    }
    println!("n{node} goes on");
    Ok(())
}

/// Waits as long as the disturbance is to last, then undoes it.
fn undo_after(
    network: &mut Network,
    what: &Disturbance,
    node: u16,
    undo: impl Fn(&mut Network, u16) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(lasting) = what.lasting else {
        return Ok(());
    };
    std::thread::sleep(lasting);
    undo(network, node)
}

fn pid_text(network: &mut Network, node: u16) -> String {
    network
        .activity(node)
        .pid()
        .map_or_else(|| "unknown".to_owned(), |pid| pid.to_string())
}

fn down_already(node: u16) -> Error {
    Error::usage(
        format!("n{node} is down"),
        format!("tagma-testnet start n{node}, or look with tagma-testnet ps"),
    )
}

pub(super) fn report_killed(killed: &[u16]) {
    for node in killed {
        eprintln!("n{node} did not end within {} s and was killed", GRACE.as_secs());
    }
}

/// Tells of a node that ended by itself, with the end of its log.
pub(super) fn report_ended(layout: &Layout, node: u16) {
    eprintln!("n{node} has ended; the end of its log:");
    eprintln!("{}", process::log_tail(layout, node, 5));
    eprintln!("hint: tagma-testnet start n{node}");
}
