//! One direction of a link: what becomes of each packet, and when.
//!
//! The fate of the k-th packet is drawn from the seed of the path alone, so that it does not depend on when packets come, nor on
//! what happened to those before it.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::fault::LinkFault;

/// Most bytes that a path holds back. What comes above that is lost, as on a real line.
pub const MAX_HELD_BYTES: usize = 4 << 20;
/// A packet that is reordered is held back for between one and this many milliseconds.
const MAX_HOLD_MS: u32 = 20;

/// What became of the packets of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// They came.
    pub came: u64,
    /// They were passed on, doubles included.
    pub passed: u64,
    /// They were lost by chance.
    pub dropped: u64,
    /// They met a cut.
    pub cut: u64,
    /// They were passed on twice.
    pub doubled: u64,
    /// They were held back so that later ones pass them.
    pub reordered: u64,
    /// They were lost because too much was held back already.
    pub overflowed: u64,
}

/// One direction of a link. Times are since any fixed moment.
#[derive(Debug)]
pub struct Path {
    rng: ChaCha8Rng,
    fault: LinkFault,
    counts: Counts,
    /// By when they are due, and by the order of their coming.
    held: BTreeMap<(Duration, u64), Vec<u8>>,
    held_bytes: usize,
    next: u64,
}

impl Path {
    /// A good path from one replica to another, with the chance of this seed.
    #[must_use]
    pub fn new(seed: u64, from: u16, to: u16) -> Self {
        let link = u64::from(from) << 16 | u64::from(to);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(link);
        Self {
            rng,
            fault: LinkFault::default(),
            counts: Counts::default(),
            held: BTreeMap::new(),
            held_bytes: 0,
            next: 0,
        }
    }

    /// Behaves so from now on. A cut also takes what is on its way.
    pub fn set_fault(&mut self, fault: LinkFault) {
        self.fault = fault;
        if fault.cut {
            self.counts.cut += u64::try_from(self.held.len()).unwrap_or(u64::MAX);
            self.held.clear();
            self.held_bytes = 0;
        }
    }

    /// What became of its packets so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes a packet in.
    pub fn offer(&mut self, now: Duration, packet: &[u8]) {
        self.counts.came += 1;
        let [dropped, doubled, reordered] = [0; 3].map(|_| self.rng.random::<u32>());
        let [jitter, second_jitter, hold] = [0; 3].map(|_| self.rng.random::<u32>());
        let fault = self.fault;
        if fault.cut {
            self.counts.cut += 1;
            return;
        }
        if fault.drop.holds(dropped) {
            self.counts.dropped += 1;
            return;
        }
        let mut due = now + fault.delay + share_of(fault.jitter, jitter);
        if fault.reorder.holds(reordered) {
            self.counts.reordered += 1;
            due += Duration::from_millis(u64::from(1 + hold % MAX_HOLD_MS));
        }
        self.hold(due, packet);
        if fault.dup.holds(doubled) {
            self.counts.doubled += 1;
            let second = now + fault.delay + share_of(fault.jitter, second_jitter);
            self.hold(second, packet);
        }
    }

    fn hold(&mut self, due: Duration, packet: &[u8]) {
        if self.held_bytes + packet.len() > MAX_HELD_BYTES {
            self.counts.overflowed += 1;
            return;
        }
        self.held_bytes += packet.len();
        self.held.insert((due, self.next), packet.to_vec());
        self.next += 1;
    }

    /// The next packet that is due.
    pub fn due(&mut self, now: Duration) -> Option<Vec<u8>> {
        if self.next_due()? > now {
            return None;
        }
        let (_, packet) = self.held.pop_first()?;
        self.held_bytes -= packet.len();
        self.counts.passed += 1;
        Some(packet)
    }

    /// When the next packet is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.held.first_key_value().map(|((due, _), _)| *due)
    }
}

/// So much of `span` as `draw` is of all 32-bit numbers.
fn share_of(span: Duration, draw: u32) -> Duration {
    span.mul_f64(f64::from(draw) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test fails by panic"
    )]

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn fault(drop: &str, dup: &str, reorder: &str) -> LinkFault {
        LinkFault {
            drop: drop.parse().unwrap(),
            dup: dup.parse().unwrap(),
            reorder: reorder.parse().unwrap(),
            ..LinkFault::default()
        }
    }

    /// Offers numbered packets, one a millisecond, and gives what comes out, with its time.
    fn carry(path: &mut Path, packets: u32) -> Vec<(Duration, u32)> {
        let mut out = Vec::new();
        for tick in 0..packets + 1000 {
            let now = MS * tick;
            if tick < packets {
                path.offer(now, &tick.to_le_bytes());
            }
            while let Some(packet) = path.due(now) {
                out.push((now, u32::from_le_bytes(packet.try_into().unwrap())));
            }
        }
        assert_eq!(path.next_due(), None);
        out
    }

    #[test]
    fn a_good_path_passes_everything_at_once_and_in_order() {
        let mut path = Path::new(1, 0, 1);
        let out = carry(&mut path, 100);
        let expected: Vec<(Duration, u32)> = (0..100).map(|index| (MS * index, index)).collect();
        assert_eq!(out, expected);
    }

    #[test]
    fn shares_are_kept_and_nothing_else_is_lost() {
        let mut path = Path::new(7, 0, 1);
        path.set_fault(fault("10%", "5%", "20%"));
        let out = carry(&mut path, 10_000);
        let counts = path.counts();
        assert_eq!(counts.came, 10_000);
        assert_eq!(counts.passed, out.len() as u64);
        assert_eq!(counts.passed, counts.came - counts.dropped + counts.doubled);
        assert!((900..1100).contains(&counts.dropped), "{counts:?}");
        assert!((400..500).contains(&counts.doubled), "{counts:?}");
        assert!((1700..1900).contains(&counts.reordered), "{counts:?}");
        let overtaken = out.windows(2).filter(|pair| pair[0].1 > pair[1].1).count();
        assert!(overtaken > 1000, "{overtaken} packets were passed by later ones");
    }

    #[test]
    fn delay_and_jitter_hold_back_between_their_bounds() {
        let mut path = Path::new(3, 2, 1);
        path.set_fault(LinkFault {
            delay: 50 * MS,
            jitter: 10 * MS,
            ..LinkFault::default()
        });
        let out = carry(&mut path, 500);
        assert_eq!(out.len(), 500);
        for (at, index) in out {
            let took = at - MS * index;
            assert!(
                (50 * MS..=61 * MS).contains(&took),
                "packet {index} took {took:?}"
            );
        }
    }

    #[test]
    fn the_fate_of_a_packet_is_that_of_its_seed_link_and_number() {
        let run = |seed, from, to| {
            let mut path = Path::new(seed, from, to);
            path.set_fault(fault("30%", "10%", "10%"));
            carry(&mut path, 200)
        };
        assert_eq!(run(5, 0, 1), run(5, 0, 1));
        assert_ne!(run(5, 0, 1), run(6, 0, 1));
        assert_ne!(run(5, 0, 1), run(5, 1, 0));
        // What was wrong before does not change what becomes of the later ones.
        let mut path = Path::new(5, 0, 1);
        path.set_fault(LinkFault::cut());
        let (cut, rest) = (100, 100);
        for index in 0..cut {
            path.offer(MS * index, &index.to_le_bytes());
        }
        path.set_fault(fault("30%", "10%", "10%"));
        let mut later = Vec::new();
        for index in cut..cut + rest {
            path.offer(MS * index, &index.to_le_bytes());
        }
        while let Some(packet) = path.due(10_000 * MS) {
            later.push(u32::from_le_bytes(packet.try_into().unwrap()));
        }
        let mut whole: Vec<u32> = run(5, 0, 1).into_iter().map(|(_, index)| index).collect();
        whole.retain(|index| (cut..cut + rest).contains(index));
        later.sort_unstable();
        whole.sort_unstable();
        assert_eq!(later, whole);
    }

    #[test]
    fn a_cut_takes_what_is_on_its_way_and_what_is_held_is_bounded() {
        let mut path = Path::new(1, 0, 1);
        path.set_fault(LinkFault {
            delay: 1000 * MS,
            ..LinkFault::default()
        });
        let packet = vec![0; 1 << 10];
        for _ in 0..5 << 10 {
            path.offer(Duration::ZERO, &packet);
        }
        assert_eq!(path.counts().overflowed, 1 << 10);
        path.set_fault(LinkFault::cut());
        assert_eq!(path.due(2000 * MS), None);
        assert_eq!(path.counts().cut, 4 << 10);
        path.set_fault(LinkFault::default());
        path.offer(Duration::ZERO, &packet);
        assert_eq!(path.due(Duration::ZERO).as_deref(), Some(packet.as_slice()));
    }
}
