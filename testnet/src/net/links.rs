//! The process that carries the links of a network: started when it is first needed, put between the replicas as they run, and
//! taken out again.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::change::Change;
use super::control::{self, State};
use super::fault::LinkFault;
use super::settings;
use crate::error::Error;
use crate::layout::Layout;
use crate::network::Network;
use crate::process::{self, Activity};

/// How long the process may take to answer, a replica to have started, or replicas to find each other through the links.
const READY: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// The links of a network. Nothing happens to them when this goes: they are those of the network.
#[derive(Clone, Debug)]
pub struct Links {
    layout: Layout,
}

impl Links {
    /// How they are, and what became of the packets so far.
    ///
    /// # Errors
    /// If the process that carries them does not answer.
    pub fn show(&self) -> Result<State, Error> {
        control::show(&self.layout)
    }

    /// Changes them; when this returns the change is in force.
    ///
    /// # Errors
    /// If there are no such links, or the process that carries them does not answer.
    pub fn change(&self, change: Change) -> Result<State, Error> {
        control::change(&self.layout, change)
    }

    /// Divides the replicas into sides that do not reach each other.
    ///
    /// # Errors
    /// As [`Links::change`].
    pub fn partition(&self, sides: &[&[u16]]) -> Result<State, Error> {
        let sides = sides.iter().map(|side| side.iter().copied().collect());
        self.change(Change::Partition(sides.collect()))
    }

    /// Cuts a replica off from all others.
    ///
    /// # Errors
    /// As [`Links::change`].
    pub fn isolate(&self, node: u16) -> Result<State, Error> {
        self.change(Change::Isolate(node))
    }

    /// Has one direction of one link behave so.
    ///
    /// # Errors
    /// As [`Links::change`].
    pub fn one_way(&self, from: u16, to: u16, fault: LinkFault) -> Result<State, Error> {
        self.change(Change::Set {
            links: [(from, to)].into(),
            fault,
        })
    }

    /// Has every link behave so.
    ///
    /// # Errors
    /// As [`Links::change`].
    pub fn everywhere(&self, fault: LinkFault) -> Result<State, Error> {
        let state = self.show()?;
        let links: BTreeSet<(u16, u16)> = state.links.iter().map(|link| (link.from, link.to)).collect();
        self.change(Change::Set { links, fault })
    }

    /// Makes all links good again.
    ///
    /// # Errors
    /// As [`Links::change`].
    pub fn heal(&self) -> Result<State, Error> {
        self.change(Change::Heal)
    }
}

/// Whether a network has links now.
#[must_use]
pub fn are_running(layout: &Layout) -> bool {
    process::links_activity(layout) != Activity::Down
}

impl Network {
    /// The links of this network. If it has none yet, they are put between its replicas; those that run make new
    /// connections through them, for which this waits.
    ///
    /// # Errors
    /// If the process of the links cannot be started, a replica's settings not be changed, or replicas do not find each other.
    pub fn links(&mut self) -> Result<Links, Error> {
        self.links_seeded(0)
    }

    /// As [`Network::links`]; links that are new draw what they lose from this seed.
    ///
    /// # Errors
    /// As [`Network::links`].
    pub fn links_seeded(&mut self, seed: u64) -> Result<Links, Error> {
        let layout = self.layout().clone();
        let links = Links {
            layout: layout.clone(),
        };
        if are_running(&layout) {
            return Ok(links);
        }
        let path = layout.links();
        fs::create_dir_all(&path).map_err(|source| Error::io("create", &path, source))?;
        self.spawn_links(seed)?;
        let state = self.await_links(&links)?;
        self.put_between(&state.doors)?;
        self.await_packets(&links)?;
        Ok(links)
    }

    /// Takes the links out again and ends their process; replicas that run connect directly. False if there were none.
    ///
    /// # Errors
    /// If a replica's settings cannot be changed, or the process does not end.
    pub fn stop_links(&mut self) -> Result<bool, Error> {
        self.put_between(&[])?;
        self.kill_links()
    }

    fn await_links(&mut self, links: &Links) -> Result<State, Error> {
        let deadline = Instant::now() + READY;
        loop {
            match links.show() {
                Ok(state) => return Ok(state),
                Err(_) if Instant::now() < deadline && are_running(self.layout()) => std::thread::sleep(POLL),
                Err(error) => {
                    let log = self.layout().links_log();
                    let log = fs::read_to_string(log).unwrap_or_default();
                    tracing::error!(%log, "the links do not answer");
                    return Err(error);
                }
            }
        }
    }

    /// Changes where replicas find each other, and has those that run read it.
    fn put_between(&mut self, doors: &[(u16, u16, SocketAddr)]) -> Result<(), Error> {
        for node in self.nodes() {
            let own = doors.iter().filter(|(dialer, ..)| *dialer == node);
            let own: Vec<(u16, SocketAddr)> = own.map(|(_, host, address)| (*host, *address)).collect();
            if settings::write(self.layout(), node, &own)? {
                self.have_read_again(node)?;
            }
        }
        Ok(())
    }

    /// Has a replica that runs read its settings again. One that is still starting may have read the old ones, and would be killed
    /// by the signal, so it is waited for.
    fn have_read_again(&mut self, node: u16) -> Result<(), Error> {
        let deadline = Instant::now() + READY;
        loop {
            let Some(pid) = self.activity(node).pid() else {
                return Ok(());
            };
            let started = fs::read_to_string(self.layout().endpoints(node));
            let line = format!("pid = {pid}");
            if started.is_ok_and(|text| text.lines().any(|found| found == line)) {
                self.signal(node, Signal::SIGHUP)?;
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Error::Timeout {
                    what: format!("the start of n{node}"),
                    seconds: READY.as_secs(),
                    state: format!("pid {pid} has not said where it listens"),
                });
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits until all replicas that run have found each other through the links.
    fn await_packets(&mut self, links: &Links) -> Result<(), Error> {
        let deadline = Instant::now() + READY;
        loop {
            let nodes = self.nodes();
            let running: Vec<u16> = nodes
                .into_iter()
                .filter(|node| matches!(self.activity(*node), Activity::Running { .. }))
                .collect();
            let state = links.show()?;
            let silent = state.each().find(|(link, counts)| {
                running.contains(&link.from) && running.contains(&link.to) && counts.passed == 0
            });
            let Some((silent, _)) = silent else {
                return Ok(());
            };
            if Instant::now() >= deadline {
                return Err(Error::Timeout {
                    what: "finding each other through the links".to_owned(),
                    seconds: READY.as_secs(),
                    state: format!("n{} has said nothing to n{}", silent.from, silent.to),
                });
            }
            std::thread::sleep(POLL);
        }
    }
}

/// Before a replica starts: links that are gone must not be where it looks for others.
///
/// # Errors
/// If its settings cannot be read or written.
pub(crate) fn before_start(layout: &Layout, node: u16) -> Result<(), Error> {
    if !are_running(layout) {
        settings::write(layout, node, &[])?;
    }
    Ok(())
}
