//! What a run can inject and what can come of it, by name: a report names everything, the zeros too, so that nobody believes in
//! a fault that was never injected.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::byzantine::Kind;
use crate::clients::Manner;
use crate::network::{LOST_AT_A_FULL_QUEUE, LOST_BY_A_CUT, LOST_BY_CHANCE};
use crate::schedule::Disturbance;

/// What links and the network between clients and replicas do of themselves.
const NETWORK: [&str; 8] = [
    LOST_BY_A_CUT,
    LOST_BY_CHANCE,
    LOST_AT_A_FULL_QUEUE,
    "message duplicated",
    "message overtook another",
    "message late by a second or more",
    "submission lost",
    "reply lost",
];

/// Where the power of a host fails, and what that does to its disk.
const CRASHES: [&str; 18] = [
    "crash",
    "crash for good",
    "crash before sync",
    "crash after sync",
    "crash between sends",
    "crash after a checkpoint's state was written",
    "crash after a transfer's write",
    "crash because a sync failed",
    "crash because the disk was full",
    "crash over a damaged record",
    "disk: a group reached it without its sync",
    "disk: a group was lost in its sync",
    "disk: all unsynced writes lost",
    "disk: all unsynced writes kept",
    "disk: torn tail, the first unsynced writes kept",
    "disk: no start for want of room",
    "disk: no start on a damaged store",
    "disk: a damaged store was replaced by an empty one",
];

/// What comes of all that.
const EFFECTS: [&str; 11] = [
    "a proposal was left to others",
    "a part of a proposal was left to others",
    "a proposal left to others was late",
    "a view was left",
    "a view was entered",
    "a checkpoint became stable",
    "a state was installed",
    "evidence was recorded",
    "a replica became a learner",
    "message refused at the gate",
    "submission refused at the gate",
];

/// Every name there is, in groups with a title.
#[must_use]
pub fn groups() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut world = Disturbance::NAMES.to_vec();
    world.push("fault: twins");
    // Behaviours of one name are one thing in different shapes.
    let behaviours: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.make().name()).collect();
    vec![
        ("what happens to the world", world),
        ("what links do", NETWORK.to_vec()),
        ("where the power fails, and what is left", CRASHES.to_vec()),
        ("what Byzantine replicas do", behaviours.into_iter().collect()),
        (
            "what clients do",
            Manner::ALL.iter().map(|manner| manner.name()).collect(),
        ),
        ("what came of it", EFFECTS.to_vec()),
    ]
}

/// How often what was injected or happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    /// Adds what one run counted.
    pub fn add(&mut self, counts: &BTreeMap<&'static str, u64>) {
        for (name, count) in counts {
            *self.0.entry(name).or_default() += count;
        }
    }

    /// How often.
    #[must_use]
    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// What never happened of all that can.
    pub fn missing(&self) -> impl Iterator<Item = &'static str> {
        let names = groups().into_iter().flat_map(|(_, names)| names);
        names.filter(|name| self.of(name) == 0)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut named = BTreeSet::new();
        let mut groups = groups();
        let all: BTreeSet<&str> = groups
            .iter()
            .flat_map(|(_, names)| names.iter().copied())
            .collect();
        let others = self.0.keys().filter(|name| !all.contains(**name)).copied();
        groups.push(("also", others.collect()));
        for (title, names) in groups.iter().filter(|(_, names)| !names.is_empty()) {
            writeln!(f, "{title}:")?;
            for name in names {
                named.insert(*name);
                match self.of(name) {
                    0 => writeln!(f, "           0  {name}  <- NEVER")?,
                    count => writeln!(f, "{count:>12}  {name}")?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, groups};
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn every_name_is_printed_and_zeros_are_marked() {
        let mut counts = Counts::default();
        counts.add(&BTreeMap::from([("fault: crash", 3), ("something else", 4)]));
        counts.add(&BTreeMap::from([("fault: crash", 2)]));
        let text = counts.to_string();
        for (_, names) in groups() {
            for name in names {
                let line = text.lines().find(|line| line.contains(&format!("  {name}")));
                assert!(line.is_some(), "{name} is not printed");
            }
        }
        assert!(text.contains("           5  fault: crash\n"));
        assert!(text.contains("           4  something else\n"));
        assert!(text.contains("0  fault: power cut of all  <- NEVER"));
        assert!(!counts.missing().any(|name| name == "fault: crash"));
        assert!(counts.missing().any(|name| name == "fault: twins"));
    }

    #[test]
    fn no_name_stands_for_two_things() {
        let names: Vec<&str> = groups().into_iter().flat_map(|(_, names)| names).collect();
        let distinct: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(distinct.len(), names.len());
    }
}
