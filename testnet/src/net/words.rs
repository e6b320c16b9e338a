//! Links and faults as people write them, on the command line and in scenarios.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::fault::{LinkFault, Percent};
use crate::cli::{NodeName, duration};

/// What a link is to do to packets.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[group(required = true, multiple = true)]
pub struct FaultArgs {
    /// Nothing passes
    #[arg(long)]
    cut: bool,
    /// Packets lost, e.g. 10%
    #[arg(long, value_name = "SHARE")]
    drop: Option<Percent>,
    /// Every packet takes this much longer, e.g. 50ms
    #[arg(long, value_parser = duration)]
    delay: Option<Duration>,
    /// And up to this much longer still
    #[arg(long, value_parser = duration)]
    jitter: Option<Duration>,
    /// Packets that arrive twice, e.g. 1%
    #[arg(long, value_name = "SHARE")]
    dup: Option<Percent>,
    /// Packets held back until later ones have passed them, e.g. 5%
    #[arg(long, value_name = "SHARE")]
    reorder: Option<Percent>,
}

impl FaultArgs {
    /// The fault they describe.
    #[must_use]
    pub fn fault(&self) -> LinkFault {
        LinkFault {
            cut: self.cut,
            drop: self.drop.unwrap_or_default(),
            delay: self.delay.unwrap_or_default(),
            jitter: self.jitter.unwrap_or_default(),
            dup: self.dup.unwrap_or_default(),
            reorder: self.reorder.unwrap_or_default(),
        }
    }
}

/// Sides of a partition, as people write them: "0,1/2,3".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sides(pub Vec<BTreeSet<u16>>);

impl FromStr for Sides {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let side = |side: &str| side.split(',').map(number).collect::<Result<_, _>>();
        text.split('/').map(side).collect::<Result<_, _>>().map(Self)
    }
}

/// A link, as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkName {
    /// "0>3"
    OneWay(u16, u16),
    /// "0-3"
    Both(u16, u16),
    /// "all"
    All,
}

impl FromStr for LinkName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        if let Some((from, to)) = text.split_once('>') {
            return Ok(Self::OneWay(number(from)?, number(to)?));
        }
        match text.split_once('-') {
            Some((a, b)) => Ok(Self::Both(number(a)?, number(b)?)),
            None => Err(format!("{text:?} is no link: expected 0-3, '0>3' or all")),
        }
    }
}

impl LinkName {
    /// The directions it means, among the links of these replicas.
    #[must_use]
    pub fn directions(self, nodes: &[u16]) -> BTreeSet<(u16, u16)> {
        match self {
            Self::OneWay(from, to) => [(from, to)].into(),
            Self::Both(a, b) => [(a, b), (b, a)].into(),
            Self::All => {
                let pairs = nodes
                    .iter()
                    .flat_map(|from| nodes.iter().map(move |to| (*from, *to)));
                pairs.filter(|(from, to)| from != to).collect()
            }
        }
    }
}

fn number(text: &str) -> Result<u16, String> {
    match text.trim().parse() {
        Ok(NodeName::Number(node)) => Ok(node),
        _ => Err(format!("{text:?} is no node: expected n0 or 0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_and_links_are_read_as_people_write_them() {
        assert_eq!("0,n1/2,3".parse(), Ok(Sides(vec![[0, 1].into(), [2, 3].into()])));
        assert!("0,1/".parse::<Sides>().is_err() && "0,primary/1".parse::<Sides>().is_err());
        assert_eq!("0>3".parse(), Ok(LinkName::OneWay(0, 3)));
        assert_eq!("n0-n3".parse(), Ok(LinkName::Both(0, 3)));
        assert!("03".parse::<LinkName>().is_err() && "0>".parse::<LinkName>().is_err());
        assert_eq!(
            LinkName::Both(0, 3).directions(&[0, 1, 2, 3]),
            [(0, 3), (3, 0)].into()
        );
        assert_eq!(LinkName::All.directions(&[0, 1]), [(0, 1), (1, 0)].into());
    }
}
