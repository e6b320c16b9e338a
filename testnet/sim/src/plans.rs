//! Plans by name.

use clap::ValueEnum;

use crate::hunts;
use crate::network::Weather;
use crate::schedule::{Disturbance, Plan, Wishes};
use crate::time::{MILLI, SECOND};

/// What kind of run a seed is made into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Everything that can go wrong, drawn by the seed
    #[default]
    Mixed,
    /// The plans that planted bugs are hunted with
    Hunts,
    /// The primary is hit again and again, until 10,000 views were entered, or those of so many minutes
    ViewChanges,
    /// Half of all messages are lost, for an hour or so many minutes
    Loss,
}

impl Kind {
    /// The plan of a seed.
    #[must_use]
    pub fn plan(self, seed: u64, wishes: &Wishes) -> Plan {
        match self {
            Self::Mixed => Plan::from_seed(seed, wishes),
            Self::Hunts => hunts::plan(seed),
            Self::ViewChanges => match wishes.seconds {
                Some(seconds) => view_changes(seed, nodes(wishes), None, seconds),
                None => view_changes(seed, nodes(wishes), Some(10_000), 100_000),
            },
            Self::Loss => loss(seed, nodes(wishes), wishes.seconds.unwrap_or(3600)),
        }
    }
}

fn nodes(wishes: &Wishes) -> u16 {
    wishes.nodes.unwrap_or(4)
}

/// The primary of whatever view there is crashes, stands still, is cut off, or loses power at a boundary, about every two
/// seconds while clients go on: until so many views were entered, or these seconds are over (VC1, VC2, VC12, NW2).
#[must_use]
pub fn view_changes(seed: u64, nodes: u16, views: Option<u64>, seconds: u64) -> Plan {
    let mut plan = Plan::calm(seed, nodes);
    plan.chain.retain = Some(8);
    plan.weather = Weather {
        delay_max: 20 * MILLI,
        loss_permille: 10,
        duplicate_permille: 10,
        ..Weather::FAIR
    };
    plan.disturbances = vec![(SECOND, Disturbance::Churn(1200 * MILLI, 2800 * MILLI))];
    plan.pause = (200 * MILLI, 800 * MILLI);
    plan.clients.truncate(3);
    plan.heal_at = seconds * SECOND;
    plan.views = views;
    plan.progress = Some((60 * SECOND, 5));
    plan
}

/// Half of everything that is sent is lost, by replicas and clients alike (NW2).
#[must_use]
pub fn loss(seed: u64, nodes: u16, seconds: u64) -> Plan {
    let mut plan = Plan::calm(seed, nodes);
    plan.chain.retain = Some(8);
    plan.weather = Weather {
        delay_max: 20 * MILLI,
        loss_permille: 500,
        duplicate_permille: 20,
        ..Weather::FAIR
    };
    plan.pause = (200 * MILLI, 2 * SECOND);
    plan.clients.truncate(3);
    plan.heal_at = seconds * SECOND;
    plan.progress = Some((600 * SECOND, 60));
    plan
}
