//! Links between hosts: delay, loss, duplication, reordering, one-way cuts and partitions.

use crate::rng::SimRng;
use crate::time::{MICRO, MILLI};

/// Most messages on their way over one link; what exceeds it is lost, as in a bounded queue.
const MAX_IN_FLIGHT: u32 = 8192;

/// A message that was sent where a link is cut.
pub const LOST_BY_A_CUT: &str = "message lost: cut";
/// A message that was lost by chance.
pub const LOST_BY_CHANCE: &str = "message lost: chance";
/// A message for which there was no room in the queue of its link.
pub const LOST_AT_A_FULL_QUEUE: &str = "message lost: full queue";

/// How all links behave when nothing else is said of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Shortest delay, nanoseconds.
    pub delay_min: u64,
    /// Longest usual delay, nanoseconds. Every message draws its own, so messages overtake each other.
    pub delay_max: u64,
    /// How many in a thousand take up to `tail` instead.
    pub tail_permille: u64,
    /// The longest delay of all, nanoseconds.
    pub tail: u64,
    /// How many in a thousand are lost.
    pub loss_permille: u64,
    /// How many in a thousand arrive twice.
    pub duplicate_permille: u64,
}

impl Weather {
    /// A local network on a good day.
    pub const FAIR: Self = Self {
        delay_min: 100 * MICRO,
        delay_max: 2 * MILLI,
        tail_permille: 0,
        tail: 0,
        loss_permille: 0,
        duplicate_permille: 0,
    };
}

#[derive(Clone, Copy, Debug, Default)]
struct Link {
    /// Cut by itself, in this direction alone.
    cut: bool,
    /// How it behaves, if not as all links do.
    weather: Option<Weather>,
    /// Added to every delay.
    slow: u64,
    in_flight: u32,
    /// When the last of the messages sent so far arrives.
    latest: u64,
}

/// What became of a message that was given to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives after this delay.
    Arrives(u64),
    /// It arrives after the first delay, and again after the second.
    Twice(u64, u64),
    /// It is lost; the name of the reason in reports.
    Lost(&'static str),
}

impl Fate {
    /// The delays with which it arrives.
    pub fn delays(self) -> impl Iterator<Item = u64> {
        let (first, second) = match self {
            Self::Arrives(delay) => (Some(delay), None),
            Self::Twice(first, second) => (Some(first), Some(second)),
            Self::Lost(_) => (None, None),
        };
        first.into_iter().chain(second)
    }
}

/// All links of a cluster.
#[derive(Debug)]
pub struct Network {
    hosts: usize,
    links: Vec<Link>,
    /// The side of each host; hosts of different sides do not reach each other.
    sides: Vec<u8>,
    weather: Weather,
    /// Most messages on their way over one link.
    queue: u32,
}

impl Network {
    /// A whole network of this many hosts.
    #[must_use]
    pub fn new(hosts: usize, weather: Weather) -> Self {
        Self {
            hosts,
            links: vec![Link::default(); hosts * hosts],
            sides: vec![0; hosts],
            weather,
            queue: MAX_IN_FLIGHT,
        }
    }

    fn link(&mut self, from: usize, to: usize) -> Option<&mut Link> {
        self.links.get_mut(from * self.hosts + to)
    }

    /// Whether messages get from one host to the other at all.
    #[must_use]
    pub fn is_open(&self, from: usize, to: usize) -> bool {
        let cut = self.links.get(from * self.hosts + to).is_none_or(|link| link.cut);
        !cut && self.sides.get(from) == self.sides.get(to)
    }

    /// Draws a message's fate.
    pub fn send(&mut self, from: usize, to: usize, rng: &mut SimRng) -> Fate {
        if !self.is_open(from, to) {
            return Fate::Lost(LOST_BY_A_CUT);
        }
        let (weather, queue) = (self.weather, self.queue);
        let Some(link) = self.link(from, to) else {
            return Fate::Lost(LOST_BY_A_CUT);
        };
        let weather = link.weather.unwrap_or(weather);
        if rng.permille(weather.loss_permille) {
            return Fate::Lost(LOST_BY_CHANCE);
        }
        if link.in_flight >= queue {
            return Fate::Lost(LOST_AT_A_FULL_QUEUE);
        }
        let slow = link.slow;
        link.in_flight += 1;
        let first = weather.delay(rng) + slow;
        if rng.permille(weather.duplicate_permille) {
            link.in_flight += 1;
            return Fate::Twice(first, weather.delay(rng) + slow);
        }
        Fate::Arrives(first)
    }

    /// A message has left the link, whatever became of it.
    pub fn arrived(&mut self, from: usize, to: usize) {
        if let Some(link) = self.link(from, to) {
            link.in_flight = link.in_flight.saturating_sub(1);
        }
    }

    /// Notes when a message arrives; true if one that was sent before it arrives later.
    pub fn overtakes(&mut self, from: usize, to: usize, at: u64) -> bool {
        self.link(from, to).is_some_and(|link| {
            let overtakes = at < link.latest;
            link.latest = link.latest.max(at);
            overtakes
        })
    }

    /// Lets so many messages be on their way over each link; what exceeds it is lost.
    pub fn set_queue(&mut self, messages: u32) {
        self.queue = messages.min(MAX_IN_FLIGHT);
    }

    /// How all links behave from now on.
    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// How one direction between two hosts behaves from now on, until everything heals.
    pub fn set_link_weather(&mut self, from: usize, to: usize, weather: Weather) {
        if let Some(link) = self.link(from, to) {
            link.weather = Some(weather);
        }
    }

    /// How all links behave.
    #[must_use]
    pub fn weather(&self) -> Weather {
        self.weather
    }

    /// Cuts, or joins again, one direction between two hosts.
    pub fn set_cut(&mut self, from: usize, to: usize, cut: bool) {
        if let Some(link) = self.link(from, to) {
            link.cut = cut;
        }
    }

    /// Makes every message from or to a host take this much longer, nanoseconds.
    pub fn set_slow(&mut self, host: usize, slow: u64) {
        for other in 0..self.hosts {
            for (from, to) in [(host, other), (other, host)] {
                if let Some(link) = self.link(from, to) {
                    link.slow = slow;
                }
            }
        }
    }

    /// Divides the hosts: only hosts of one side reach each other.
    pub fn partition(&mut self, sides: &[u8]) {
        for (side, new) in self.sides.iter_mut().zip(sides) {
            *side = *new;
        }
    }

    /// Joins everything again.
    pub fn heal(&mut self) {
        self.sides.fill(0);
        self.queue = MAX_IN_FLIGHT;
        for link in &mut self.links {
            (link.cut, link.slow, link.weather) = (false, 0, None);
        }
    }
}

impl Weather {
    /// Draws a delay, nanoseconds.
    pub fn delay(&self, rng: &mut SimRng) -> u64 {
        if rng.permille(self.tail_permille) {
            rng.between(self.delay_max, self.tail.max(self.delay_max))
        } else {
            rng.between(self.delay_min, self.delay_max)
        }
    }
}
