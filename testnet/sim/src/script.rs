//! A world that somebody steers: what happens is not drawn by the seed but told, while the seed still draws everything else.

use std::collections::{BTreeMap, BTreeSet};

use tagma_pbft::ReplicaId;

use crate::byzantine::Behaviour;
use crate::check::Checked;
use crate::host::Fault;
use crate::network::Weather;
use crate::run::{build, start_all};
use crate::schedule::Plan;
use crate::time::{MILLI, SECOND};
use crate::world::{Event, World};

/// Frozen hosts are kept so for this long at a time, nanoseconds.
const SLICE: u64 = 5 * MILLI;
/// All hosts have started after this time, nanoseconds.
const STARTED: u64 = SECOND;

/// What one direction of a link does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// Nothing passes.
    pub cut: bool,
    /// How it treats messages if something passes.
    pub weather: Weather,
}

/// A world and what it is told.
pub struct Script {
    world: World,
    frozen: BTreeSet<usize>,
    ticking: BTreeSet<usize>,
}

impl Script {
    /// The world of a plan, whose disturbances are left out, with all hosts started.
    ///
    /// # Errors
    /// The first invariant violated.
    pub fn begin(plan: &Plan, readable: bool) -> Result<Self, crate::check::Violation> {
        let mut calm = plan.clone();
        calm.disturbances.clear();
        let mut world = build(&calm, readable);
        start_all(&mut world)?;
        world.run_until(STARTED)?;
        Ok(Self {
            world,
            frozen: BTreeSet::new(),
            ticking: BTreeSet::new(),
        })
    }

    /// The world.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The world, for what comes after the script.
    pub fn world_mut(&mut self) -> &mut World {
        &mut self.world
    }

    /// Lets so many nanoseconds pass.
    ///
    /// # Errors
    /// The first invariant violated.
    pub fn pass(&mut self, nanos: u64) -> Checked {
        let end = self.world.now.saturating_add(nanos);
        while self.world.now < end {
            let mut next = end;
            if !self.frozen.is_empty() {
                next = end.min(self.world.now + SLICE);
                for host in self.frozen.clone() {
                    // What is due at the end of the slice still belongs to it.
                    self.world.host_mut(host).paused_until = next + 1;
                }
            }
            self.world.run_until(next)?;
        }
        Ok(())
    }

    /// Requests that clients were told the outcome of.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.world.clients.iter().map(|client| client.accepted).sum()
    }

    /// The primary of the highest view that an honest replica is in.
    #[must_use]
    pub fn primary(&self) -> ReplicaId {
        let honest = self.world.hosts.iter().filter(|host| host.is_honest());
        let views = honest.filter_map(|host| host.core().map(|core| core.replica().view()));
        self.world
            .chain
            .ring
            .quorum
            .primary(views.max().unwrap_or_default())
    }

    /// The power of a host fails, and stays away.
    pub fn power_off(&mut self, host: usize) {
        self.frozen.remove(&host);
        self.world.host_mut(host).stays_down = true;
        self.world.crash(host, "crash");
    }

    /// The power of a host is back.
    ///
    /// # Errors
    /// If it cannot start on what it wrote itself.
    pub fn power_on(&mut self, index: usize) -> Checked {
        let now = self.world.now;
        let host = self.world.host_mut(index);
        host.stays_down = false;
        host.paused_until = host.paused_until.min(now);
        if host.process.is_some() {
            return Ok(());
        }
        self.world.start(index)
    }

    /// A host stands still, or goes on.
    pub fn freeze(&mut self, host: usize, still: bool) {
        if still {
            self.frozen.insert(host);
        } else {
            self.frozen.remove(&host);
        }
    }

    /// The disk of a host that is down is replaced by an empty one: it is a learner from now on, and counts among the f.
    pub fn erase(&mut self, index: usize) {
        let World { hosts, chain, .. } = &mut self.world;
        if let Some(host) = hosts.get_mut(index) {
            host.fault = Some(Fault::Amnesiac);
            host.never_signs = true;
            host.wipe(chain, false);
        }
    }

    /// A host misbehaves so from now on; without a behaviour it does as its core says, but is not trusted again.
    pub fn lie(&mut self, index: usize, behaviours: Vec<Box<dyn Behaviour>>) {
        let host = self.world.host_mut(index);
        host.fault = Some(Fault::Byzantine);
        host.behaviours = behaviours;
        let liars = self
            .world
            .hosts
            .iter()
            .filter(|host| host.fault.is_some())
            .count();
        self.world.beyond_f |= liars > self.world.chain.faults();
        if self.ticking.insert(index) {
            self.world.schedule(200 * MILLI, Event::Tick(index));
        }
    }

    /// A host's disk has no room any more, or has again. A process that ends over it does not come back by itself.
    pub fn fill_disk(&mut self, index: usize, full: bool) {
        let host = self.world.host_mut(index);
        host.disk.store.set_full(full);
        if full {
            host.stays_down = true;
        } else if host.process.is_some() {
            host.stays_down = false;
        }
    }

    /// Each sync of a host's disk takes this much longer than one of a good one, nanoseconds.
    pub fn slow_disk(&mut self, index: usize, nanos: u64) {
        let disk = &mut self.world.host_mut(index).disk;
        disk.repair();
        disk.sync_min += nanos;
        disk.sync_max += nanos;
    }

    /// Has links behave so. Hosts that reach each other again are connected anew.
    pub fn set_links(&mut self, state: impl Fn(usize, usize) -> LinkState) {
        let hosts = self.world.hosts.len();
        let links = (0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to)));
        let links: Vec<(usize, usize)> = links.filter(|(from, to)| from != to).collect();
        let open = |world: &World, a, b| world.network.is_open(a, b) && world.network.is_open(b, a);
        let before: Vec<bool> = links.iter().map(|(a, b)| open(&self.world, *a, *b)).collect();
        for (from, to) in &links {
            let LinkState { cut, weather } = state(*from, *to);
            self.world.network.set_cut(*from, *to, cut);
            self.world.network.set_link_weather(*from, *to, weather);
        }
        for ((a, b), was_open) in links.into_iter().zip(before) {
            if a < b && !was_open && open(&self.world, a, b) {
                self.world.connect(a, b);
            }
        }
    }

    /// Whom honest hosts have accused so far, and of what; each proof was checked.
    #[must_use]
    pub fn accused(&self) -> &BTreeMap<ReplicaId, BTreeSet<&'static str>> {
        &self.world.accused
    }
}
