//! All links of a network with their faults, and what can be done to them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::fault::LinkFault;

/// Something done to links. Links are named by their two replicas, from and to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Replicas of different sides reach each other no more, those of one side do again; who is on no side reaches nobody.
    /// What else is wrong with a link stays.
    Partition(Vec<BTreeSet<u16>>),
    /// A replica reaches nobody, nor anybody it. All other links stay as they are.
    Isolate(u16),
    /// These links behave so from now on.
    Set {
        /// From and to.
        links: BTreeSet<(u16, u16)>,
        /// How.
        fault: LinkFault,
    },
    /// All links are good again.
    Heal,
    /// All links as they were at some time.
    All(Vec<Link>),
}

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Whose packets it carries.
    pub from: u16,
    /// To whom.
    pub to: u16,
    /// What it does to them.
    pub fault: LinkFault,
}

/// All links of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    faults: BTreeMap<(u16, u16), LinkFault>,
}

impl Links {
    /// Good links between these replicas.
    #[must_use]
    pub fn new(nodes: &[u16]) -> Self {
        let pairs = nodes
            .iter()
            .flat_map(|from| nodes.iter().map(move |to| (*from, *to)));
        let links = pairs.filter(|(from, to)| from != to);
        Self {
            faults: links.map(|link| (link, LinkFault::default())).collect(),
        }
    }

    /// What is wrong with a link; nothing with one that is not there.
    #[must_use]
    pub fn fault(&self, from: u16, to: u16) -> LinkFault {
        self.faults.get(&(from, to)).copied().unwrap_or_default()
    }

    /// Every link, in the order of numbers.
    #[must_use]
    pub fn all(&self) -> Vec<Link> {
        let links = self.faults.iter();
        links
            .map(|((from, to), fault)| Link {
                from: *from,
                to: *to,
                fault: *fault,
            })
            .collect()
    }

    /// Changes them.
    ///
    /// # Errors
    /// A replica or link that is not there, or one on two sides, in words; nothing has changed then.
    pub fn apply(&mut self, change: &Change) -> Result<(), String> {
        self.check(change)?;
        match change {
            Change::Partition(sides) => {
                let side = |node: u16| sides.iter().position(|side| side.contains(&node));
                for ((from, to), fault) in &mut self.faults {
                    fault.cut = side(*from).is_none() || side(*from) != side(*to);
                }
            }
            Change::Isolate(node) => {
                for ((from, to), fault) in &mut self.faults {
                    fault.cut |= from == node || to == node;
                }
            }
            Change::Set { links, fault } => {
                for link in links {
                    self.faults.insert(*link, *fault);
                }
            }
            Change::Heal => {
                for fault in self.faults.values_mut() {
                    *fault = LinkFault::default();
                }
            }
            Change::All(links) => {
                for link in links {
                    self.faults.insert((link.from, link.to), link.fault);
                }
            }
        }
        Ok(())
    }

    fn check(&self, change: &Change) -> Result<(), String> {
        let known = |node: u16| self.faults.keys().any(|(from, _)| *from == node);
        let unknown = |node: u16| format!("there is no node n{node}");
        let links: Vec<(u16, u16)> = match change {
            Change::Partition(sides) => {
                let mut seen = BTreeSet::new();
                for node in sides.iter().flatten() {
                    if !known(*node) {
                        return Err(unknown(*node));
                    }
                    if !seen.insert(*node) {
                        return Err(format!("n{node} stands on two sides"));
                    }
                }
                return Ok(());
            }
            Change::Isolate(node) if !known(*node) => return Err(unknown(*node)),
            Change::Isolate(_) | Change::Heal => return Ok(()),
            Change::Set { links, .. } => links.iter().copied().collect(),
            Change::All(links) => links.iter().map(|link| (link.from, link.to)).collect(),
        };
        match links.iter().find(|link| !self.faults.contains_key(link)) {
            Some((from, to)) => Err(format!("there is no link from n{from} to n{to}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panic")]

    use super::*;

    fn cut(links: &Links) -> Vec<(u16, u16)> {
        let cut = links.all().into_iter().filter(|link| link.fault.cut);
        cut.map(|link| (link.from, link.to)).collect()
    }

    fn partition(sides: &[&[u16]]) -> Change {
        Change::Partition(sides.iter().map(|side| side.iter().copied().collect()).collect())
    }

    #[test]
    fn a_partition_cuts_between_sides_and_joins_within_them() {
        let mut links = Links::new(&[0, 1, 2, 3]);
        links.apply(&partition(&[&[0, 1], &[2, 3]])).unwrap();
        assert_eq!(
            cut(&links),
            [(0, 2), (0, 3), (1, 2), (1, 3), (2, 0), (2, 1), (3, 0), (3, 1)]
        );
        // Another one takes its place. 3 is on no side.
        links.apply(&partition(&[&[0, 2, 1]])).unwrap();
        assert_eq!(cut(&links), [(0, 3), (1, 3), (2, 3), (3, 0), (3, 1), (3, 2)]);
        links.apply(&Change::Heal).unwrap();
        assert_eq!(links, Links::new(&[0, 1, 2, 3]));
    }

    #[test]
    fn one_way_and_isolation_leave_the_other_links_alone() {
        let mut links = Links::new(&[0, 1, 2]);
        let one_way = Change::Set {
            links: [(0, 1)].into(),
            fault: LinkFault::cut(),
        };
        links.apply(&one_way).unwrap();
        assert_eq!(cut(&links), [(0, 1)]);
        let before = links.all();
        links.apply(&Change::Isolate(2)).unwrap();
        assert_eq!(cut(&links), [(0, 1), (0, 2), (1, 2), (2, 0), (2, 1)]);
        links.apply(&Change::All(before)).unwrap();
        assert_eq!(cut(&links), [(0, 1)]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let mut links = Links::new(&[0, 1, 2]);
        let wrong = [
            (Change::Isolate(3), "n3"),
            (partition(&[&[0, 7], &[1]]), "n7"),
            (partition(&[&[0, 1], &[1, 2]]), "n1 stands on two sides"),
            (
                Change::Set {
                    links: [(1, 1)].into(),
                    fault: LinkFault::cut(),
                },
                "from n1 to n1",
            ),
        ];
        for (change, word) in wrong {
            let error = links.apply(&change).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(links, Links::new(&[0, 1, 2]));
    }
}
