//! Disturbances as they happen to the world.

use crate::check::Checked;
use crate::host::Fault;
use crate::schedule::Disturbance;
use crate::time::MILLI;
use crate::world::{Event, World};

impl World {
    /// Something happens.
    ///
    /// # Errors
    /// The first invariant violated.
    pub(crate) fn disturb(&mut self, disturbance: Disturbance) -> Checked {
        self.count(disturbance.name());
        self.trace.event(
            self.now,
            disturbance.name(),
            0,
            format!("{disturbance:?}").as_bytes(),
        );
        self.trace.line(self.now, || format!("*** {disturbance:?}"));
        match disturbance {
            Disturbance::Crash(host) => self.crash(host, "crash"),
            Disturbance::Arm(host, boundaries) => {
                let host = self.host_mut(host);
                host.crash_at = Some(host.boundaries + boundaries);
            }
            Disturbance::PowerCut => {
                for host in 0..self.hosts.len() {
                    self.crash(host, "crash");
                }
            }
            Disturbance::Cut(from, to) => self.network.set_cut(from, to, true),
            Disturbance::Partition(sides) => self.network.partition(&sides),
            Disturbance::Heal => self.heal_network(),
            Disturbance::Weather(weather) => self.network.set_weather(weather),
            Disturbance::SlowHost(host, slow) => self.network.set_slow(host, slow),
            Disturbance::SlowDisk(host, factor) => self.host_mut(host).disk.slow_down(factor),
            Disturbance::FailSync(host) => self.host_mut(host).disk.fails = true,
            Disturbance::Skew(host, skew_ms) => self.host_mut(host).skew_ms = skew_ms,
            Disturbance::Pause(host, span) => {
                let until = self.now + span;
                let host = self.host_mut(host);
                host.paused_until = host.paused_until.max(until);
            }
            Disturbance::Wipe(host, voter) => {
                self.crash(host, "crash");
                if let Some(host) = self.hosts.get_mut(host) {
                    host.fault = Some(Fault::Amnesiac);
                    host.never_signs = !voter;
                    host.wipe(&self.chain, voter);
                }
                let back = self.rng.between(MILLI, 2_000 * MILLI);
                self.schedule(back, Event::Restart(host));
            }
            Disturbance::Reconnect(a, b) => self.connect(a, b),
            Disturbance::CrashPrimary => {
                for host in self.primaries() {
                    self.crash(host, "crash");
                }
            }
            Disturbance::PausePrimary(span) => {
                let until = self.now + span;
                for host in self.primaries() {
                    let host = self.host_mut(host);
                    host.paused_until = host.paused_until.max(until);
                }
            }
            Disturbance::IsolatePrimary => {
                let primaries = self.primaries();
                let sides: Vec<u8> = (0..self.hosts.len())
                    .map(|host| u8::from(primaries.contains(&host)))
                    .collect();
                self.network.partition(&sides);
            }
            Disturbance::Churn(shortest, longest) => {
                if !self.churning {
                    self.churning = true;
                    self.schedule(0, Event::Churn(shortest, longest));
                }
            }
            Disturbance::ShortQueues(messages) => self.network.set_queue(messages),
            Disturbance::FullDisk(host) => self.host_mut(host).disk.store.set_full(true),
            Disturbance::FreeDisk(host) => self.host_mut(host).disk.store.set_full(false),
            Disturbance::FlipBits(host, which) => {
                let host = self.host_mut(host);
                // It counts among the f from now on: whatever it reads may end it.
                host.fault = Some(Fault::Amnesiac);
                let stretch = host.disk.store.len() / 8 + 1;
                host.disk.store.damage(which, stretch);
            }
        }
        Ok(())
    }

    /// The hosts of the primary of the highest view that an honest replica is in.
    fn primaries(&self) -> Vec<usize> {
        let views = self
            .hosts
            .iter()
            .filter(|host| host.is_honest())
            .filter_map(|host| host.core());
        let view = views.map(|core| core.replica().view()).max().unwrap_or_default();
        let primary = self.chain.ring.quorum.primary(view);
        self.places.get(primary.index()).cloned().unwrap_or_default()
    }

    /// Something happens to the primary, and again later.
    ///
    /// # Errors
    /// The first invariant violated.
    pub(crate) fn churn(&mut self, shortest: u64, longest: u64) -> Checked {
        if !self.churning {
            return Ok(());
        }
        let next = self.rng.between(shortest, longest);
        let disturbance = match self.rng.below(5) {
            0 => Disturbance::CrashPrimary,
            1 => Disturbance::PausePrimary(next),
            2 | 3 => {
                self.schedule(next * 3 / 4, Event::Disturb(Disturbance::Heal));
                Disturbance::IsolatePrimary
            }
            _ => {
                let host = self.primaries().first().copied().unwrap_or(0);
                Disturbance::Arm(host, self.rng.between(1, 40))
            }
        };
        self.disturb(disturbance)?;
        self.schedule(next, Event::Churn(shortest, longest));
        Ok(())
    }

    /// All links are whole again, and what was cut is connected anew.
    pub(crate) fn heal_network(&mut self) {
        let hosts = self.hosts.len();
        let pairs = (0..hosts).flat_map(|a| (0..a).map(move |b| (a, b)));
        let broken: Vec<(usize, usize)> = pairs
            .filter(|(a, b)| !(self.network.is_open(*a, *b) && self.network.is_open(*b, *a)))
            .collect();
        self.network.heal();
        for (a, b) in broken {
            self.connect(a, b);
        }
    }

    /// The phase of faults is over: links, disks and clocks are good, and everything runs but what stays down.
    ///
    /// # Errors
    /// The first invariant violated.
    pub fn heal(&mut self) -> Checked {
        self.churning = false;
        self.network.set_weather(crate::network::Weather::FAIR);
        self.heal_network();
        for index in 0..self.hosts.len() {
            let now = self.now;
            let host = self.host_mut(index);
            host.disk.repair();
            host.crash_at = None;
            host.skew_ms = 0;
            host.paused_until = host.paused_until.min(now);
            if host.stays_down {
                self.crash(index, "crash for good");
            } else if host.process.is_none() {
                self.start(index)?;
            }
        }
        Ok(())
    }
}
