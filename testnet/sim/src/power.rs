//! Hosts that start, fail, and come back.

use tagma_ledger::store::StoreError;

use crate::check::{Checked, Violation};
use crate::time::{MILLI, SECOND};
use crate::world::{Event, ProcessEvent, World};

impl World {
    /// The power of a host fails.
    pub(crate) fn crash(&mut self, index: usize, why: &'static str) {
        let mut rng = self.rng.fork();
        let host = self.host_mut(index);
        let Some(process) = host.process.take() else {
            return;
        };
        host.incarnation += 1;
        let writing = process.syncing.map(|(batch, _)| batch);
        let loss = host.disk.crash(writing, &mut rng);
        let back = rng.between(20 * MILLI, 4_000 * MILLI);
        self.count(why);
        loss.names().for_each(|name| self.count(name));
        self.trace.event(self.now, why, index, &[]);
        self.trace.line(self.now, || format!("h{index} {why}"));
        self.schedule(back, Event::Restart(index));
    }

    /// A host's process starts.
    ///
    /// # Errors
    /// If what it wrote itself cannot be read back.
    pub fn start(&mut self, index: usize) -> Checked {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(index) else {
            return Ok(());
        };
        if let Err(error) = host.start(&self.chain, now) {
            return self.start_failed(index, &error);
        }
        self.trace.event(now, "start", index, &[]);
        self.trace.line(now, || format!("h{index} starts"));
        self.end_turn_soon(index);
        for other in 0..self.hosts.len() {
            self.connect(index, other);
        }
        Ok(())
    }

    /// A replica refuses to start on a damaged store, and cannot start on a full one.
    fn start_failed(&mut self, index: usize, error: &StoreError) -> Checked {
        let store = &self.host_mut(index).disk.store;
        match error {
            StoreError::Io { .. } if store.is_full() => self.count("disk: no start for want of room"),
            StoreError::Corrupt { .. } if store.is_damaged() => {
                self.count("disk: no start on a damaged store");
                self.replace_disk(index);
            }
            _ => return Err(Violation::new("recovery", format!("host {index}: {error}"))),
        }
        self.schedule(SECOND, Event::Restart(index));
        Ok(())
    }

    /// A store that fails ends the process: nothing leaves any more, and nothing is tried again.
    pub(crate) fn store_failed(&mut self, index: usize, what: &'static str, error: &StoreError) -> Checked {
        let store = &self.host_mut(index).disk.store;
        match error {
            StoreError::Io { .. } if store.is_full() => self.crash(index, "crash because the disk was full"),
            StoreError::Corrupt { .. } if store.is_damaged() => {
                self.crash(index, "crash over a damaged record");
                self.replace_disk(index);
            }
            _ => return Err(Violation::new(what, format!("host {index}: {error}"))),
        }
        Ok(())
    }

    /// Whoever runs the host gives it an empty disk in place of a damaged one: it is a learner from now on.
    pub(crate) fn replace_disk(&mut self, index: usize) {
        self.count("disk: a damaged store was replaced by an empty one");
        if let Some(host) = self.hosts.get_mut(index) {
            host.fault = Some(crate::host::Fault::Amnesiac);
            host.never_signs = true;
            host.wipe(&self.chain, false);
        }
    }

    /// A connection between two hosts comes up, if both run and reach each other.
    pub(crate) fn connect(&mut self, a: usize, b: usize) {
        let up = |host: Option<&crate::host::Host>| host.is_some_and(|host| host.process.is_some());
        let open = self.network.is_open(a, b) && self.network.is_open(b, a);
        if a == b || !open || !up(self.hosts.get(a)) || !up(self.hosts.get(b)) {
            return;
        }
        for (me, peer) in [(a, b), (b, a)] {
            let id = self.host_mut(peer).id;
            if id != self.host_mut(me).id {
                let delay = self.rng.between(MILLI, 50 * MILLI);
                self.later(me, delay, ProcessEvent::Connected(id));
            }
        }
    }
}
