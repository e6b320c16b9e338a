//! What a step of a scenario does, written as on the command line.

use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::byzantine::When;
use crate::cli::{NodeName, duration};
use crate::net::words::{FaultArgs, LinkName, Sides};
use crate::net::{Change, LinkFault};

/// How long progress may take unless a step says otherwise: longer than several view changes in a row.
const PROGRESS: &str = "90s";

/// Something that is done to a network, or demanded of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The processes are gone at once, all together.
    Kill(Vec<u16>),
    /// The processes end in good order.
    Stop(Vec<u16>),
    /// Processes that are gone start again on their data.
    Start(Vec<u16>),
    /// The processes stand still.
    Pause(Vec<u16>),
    /// They go on.
    Resume(Vec<u16>),
    /// All data of replicas that are down is removed, not their keys.
    Wipe(Vec<u16>),
    /// Something is done to links.
    Links(Change),
    /// One replica lies from now on.
    Lie {
        /// Who.
        node: u16,
        /// How.
        behaviour: String,
        /// When.
        when: When,
    },
    /// It is honest again.
    BeHonest(u16),
    /// A replica's disk has no room any more, or has again.
    DiskFull(u16, bool),
    /// Each sync of a replica's disk takes this much longer.
    DiskSlow(u16, Duration),
    /// Something must be acknowledged within this time.
    ExpectProgress(Duration),
    /// Nothing may be acknowledged for this time.
    ExpectNoProgress(Duration),
}

/// The words of a step.
#[derive(Parser)]
#[command(
    name = "do",
    no_binary_name = true,
    disable_help_flag = true,
    disable_help_subcommand = true
)]
struct Words {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Kill {
        nodes: Nodes,
    },
    Stop {
        nodes: Nodes,
    },
    Start {
        nodes: Nodes,
    },
    Pause {
        nodes: Nodes,
    },
    Resume {
        nodes: Nodes,
    },
    Wipe {
        nodes: Nodes,
    },
    #[command(subcommand)]
    Net(Net),
    #[command(subcommand)]
    Byz(Byz),
    #[command(subcommand)]
    Disk(Disk),
    #[command(subcommand)]
    Expect(Demand),
}

#[derive(Subcommand)]
enum Net {
    Partition {
        sides: Sides,
    },
    Isolate {
        node: NodeName,
    },
    Link {
        link: LinkName,
        #[command(flatten)]
        fault: FaultArgs,
    },
    Heal,
}

#[derive(Subcommand)]
enum Byz {
    Set {
        node: NodeName,
        name: String,
        #[arg(long, default_value = "always")]
        when: When,
    },
    Clear {
        node: NodeName,
    },
}

#[derive(Subcommand)]
enum Disk {
    Full {
        node: NodeName,
    },
    Free {
        node: NodeName,
    },
    Slow {
        node: NodeName,
        #[arg(value_parser = duration)]
        sync: Duration,
    },
}

#[derive(Subcommand)]
enum Demand {
    Progress {
        #[arg(long, default_value = PROGRESS, value_parser = duration)]
        within: Duration,
    },
    NoProgress {
        #[arg(long = "for", default_value = "3s", value_parser = duration)]
        lasting: Duration,
    },
}

/// "0,2" or "primary".
#[derive(Clone)]
struct Nodes(Vec<NodeName>);

impl FromStr for Nodes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Whether a step speaks of whoever is primary.
#[must_use]
pub fn names_primary(words: &str) -> bool {
    words.split([' ', ',']).any(|word| word == "primary")
}

/// The step with that replica's number.
#[must_use]
pub fn with_primary(words: &str, primary: u16) -> String {
    let number = format!("n{primary}");
    let parts = words.split(' ').map(|word| {
        let nodes: Vec<&str> = word
            .split(',')
            .map(|node| if node == "primary" { &number } else { node })
            .collect();
        nodes.join(",")
    });
    parts.collect::<Vec<_>>().join(" ")
}

impl Action {
    /// Whether these are words for something that can be done to so many replicas.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(words: &str, nodes: u16) -> Result<(), String> {
        Self::parse(&with_primary(words, 0), nodes).map(drop)
    }

    /// Reads words in which replicas are named by their numbers.
    ///
    /// # Errors
    /// What is wrong with them; for a word that is not known, one that looks like it.
    pub fn parse(words: &str, nodes: u16) -> Result<Self, String> {
        let wrong = |why: &dyn std::fmt::Display| format!("`{words}`: {why}");
        let parsed = Words::try_parse_from(words.split_whitespace()).map_err(|error| {
            let text = error.to_string();
            let told = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let told: Vec<&str> = told
                .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
                .collect();
            wrong(&told.join("; ").trim_start_matches("error: "))
        })?;
        let number = |name: NodeName| match name {
            NodeName::Number(node) if node < nodes => Ok(node),
            NodeName::Number(node) => Err(wrong(&format!("there is no node n{node}"))),
            NodeName::Primary => Err(wrong(&"nobody knows who is primary")),
        };
        let numbers = |names: Nodes| names.0.into_iter().map(number).collect::<Result<Vec<_>, _>>();
        let action = match parsed.verb {
            Verb::Kill { nodes } => Self::Kill(numbers(nodes)?),
            Verb::Stop { nodes } => Self::Stop(numbers(nodes)?),
            Verb::Start { nodes } => Self::Start(numbers(nodes)?),
            Verb::Pause { nodes } => Self::Pause(numbers(nodes)?),
            Verb::Resume { nodes } => Self::Resume(numbers(nodes)?),
            Verb::Wipe { nodes } => Self::Wipe(numbers(nodes)?),
            Verb::Net(net) => Self::Links(match net {
                Net::Partition { sides } => Change::Partition(sides.0),
                Net::Isolate { node } => Change::Isolate(number(node)?),
                Net::Link { link, fault } => {
                    let all: Vec<u16> = (0..nodes).collect();
                    let fault: LinkFault = fault.fault();
                    Change::Set {
                        links: link.directions(&all),
                        fault,
                    }
                }
                Net::Heal => Change::Heal,
            }),
            Verb::Byz(Byz::Set { node, name, when }) => Self::Lie {
                node: number(node)?,
                behaviour: name,
                when,
            },
            Verb::Byz(Byz::Clear { node }) => Self::BeHonest(number(node)?),
            Verb::Disk(Disk::Full { node }) => Self::DiskFull(number(node)?, true),
            Verb::Disk(Disk::Free { node }) => Self::DiskFull(number(node)?, false),
            Verb::Disk(Disk::Slow { node, sync }) => Self::DiskSlow(number(node)?, sync),
            Verb::Expect(Demand::Progress { within }) => Self::ExpectProgress(within),
            Verb::Expect(Demand::NoProgress { lasting }) => Self::ExpectNoProgress(lasting),
        };
        if let Self::Links(change) = &action {
            let all: Vec<u16> = (0..nodes).collect();
            crate::net::LinkMap::new(&all)
                .apply(change)
                .map_err(|why| wrong(&why))?;
        }
        Ok(action)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panic")]

    use super::*;

    #[test]
    fn steps_are_read_as_on_the_command_line() {
        let parse = |words: &str| Action::parse(words, 4).unwrap();
        assert_eq!(parse("kill 0,n2"), Action::Kill(vec![0, 2]));
        assert_eq!(
            parse("net partition 0,1/2,3"),
            Action::Links(Change::Partition(vec![[0, 1].into(), [2, 3].into()]))
        );
        let Action::Links(Change::Set { links, fault }) = parse("net link 0>3 --drop 10% --delay 5ms") else {
            unreachable!("a link was named")
        };
        assert_eq!(links, [(0, 3)].into());
        assert_eq!(fault.to_string(), "drop 10%, delay 5ms");
        assert_eq!(
            parse("byz set 2 silent --when as-primary"),
            Action::Lie {
                node: 2,
                behaviour: "silent".into(),
                when: When::AsPrimary
            }
        );
        assert_eq!(
            parse("expect no-progress --for 2s"),
            Action::ExpectNoProgress(Duration::from_secs(2))
        );
        assert_eq!(
            parse("disk slow n1 50ms"),
            Action::DiskSlow(1, Duration::from_millis(50))
        );
    }

    #[test]
    fn the_primary_is_whoever_that_is() {
        assert!(names_primary("net isolate primary") && names_primary("kill 1,primary"));
        assert!(!names_primary("byz set 1 equivocating-primary"));
        assert_eq!(with_primary("kill 1,primary", 3), "kill 1,n3");
        assert_eq!(
            with_primary("byz set primary equivocating-primary", 0),
            "byz set n0 equivocating-primary"
        );
    }

    #[test]
    fn links_that_are_not_there_are_refused() {
        for words in [
            "net isolate 4",
            "net link 1>1 --cut",
            "net partition 0/0,1",
            "net link 0-1",
        ] {
            assert!(Action::check(words, 4).is_err(), "{words}");
        }
    }
}
