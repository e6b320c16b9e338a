//! The file of a scenario: what there is, what happens to it, and what must hold.
//!
//! ```toml
//! name = "primary-crash"
//! about = "The primary is killed under load and comes back."
//! nodes = 4
//!
//! [load]
//! clients = 4
//! pause = "100ms"
//!
//! [[step]]
//! after = "1s"
//! do = "kill primary"
//!
//! [[step]]
//! do = "expect progress"
//!
//! [expect]
//! views_at_most = 2
//! ```
//!
//! Steps happen one after the other, each so long after the one before it. What they do is written as on the command line
//! ([`action`](super::action)).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use toml::{Table, Value};

use super::action::Action;
use crate::cli::duration;
use crate::error::Error;
use crate::plan::check_size;

/// Most clients: each account may have so many requests in flight, and there are three.
const MAX_CLIENTS: usize = 24;
/// A word this many edits away from a known one is taken for a slip.
const MAX_SLIPS: usize = 3;

/// A scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// N.
    pub nodes: u16,
    /// What clients do all the while.
    pub load: Load,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// What must hold in the end, besides safety and that what was asked for is done everywhere.
    pub expect: Expect,
    /// The file as it is.
    pub text: String,
}

/// What clients do all the while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Clients, each with one request at a time.
    pub clients: usize,
    /// From an answer to the next request of a client.
    pub pause: Duration,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// How long after the step before it.
    pub after: Duration,
    /// What, as it is written. `primary` stands for whoever that is at the time.
    pub words: String,
}

/// What must hold in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// No honest replica is in a higher view.
    pub views_at_most: Option<u64>,
    /// Some honest replica is in this view or a higher one.
    pub views_at_least: Option<u64>,
    /// Honest replicas can prove a fault of each of these. Of nobody else but other liars, ever.
    pub blamed: BTreeSet<u16>,
    /// These follow and have no vote.
    pub learners: BTreeSet<u16>,
}

#[derive(Deserialize)]
struct RawScenario {
    name: String,
    about: String,
    nodes: u16,
    #[serde(default)]
    load: RawLoad,
    step: Vec<RawStep>,
    #[serde(default)]
    expect: RawExpect,
}

#[derive(Deserialize, Default)]
struct RawLoad {
    clients: Option<usize>,
    pause: Option<String>,
}

#[derive(Deserialize)]
struct RawStep {
    after: Option<String>,
    #[serde(rename = "do")]
    what: String,
}

#[derive(Deserialize, Default)]
struct RawExpect {
    views_at_most: Option<u64>,
    views_at_least: Option<u64>,
    #[serde(default)]
    blamed: BTreeSet<u16>,
    #[serde(default)]
    learners: BTreeSet<u16>,
}

/// The keys of each table.
const KEYS: [(&str, &[&str]); 4] = [
    ("", &["name", "about", "nodes", "load", "step", "expect"]),
    ("load", &["clients", "pause"]),
    ("step", &["after", "do"]),
    (
        "expect",
        &["views_at_most", "views_at_least", "blamed", "learners"],
    ),
];

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or is no scenario.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::io("read", path, source))?;
        Self::parse(&text).map_err(|why| {
            Error::usage(
                format!("{}: {why}", path.display()),
                "the scenarios that `tagma-testnet run --list` names are examples",
            )
        })
    }

    /// Reads a scenario.
    ///
    /// # Errors
    /// What is wrong with it, in words; for a word that is not known, one that looks like it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let table: Table = toml::from_str(text).map_err(|error| error.to_string())?;
        check_keys(&table)?;
        let raw: RawScenario = table.try_into().map_err(|error| error.to_string())?;
        check_size(raw.nodes).map_err(|error| error.to_string())?;
        let mut steps = Vec::new();
        for step in raw.step {
            let after = step.after.as_deref().map_or(Ok(Duration::ZERO), duration)?;
            Action::check(&step.what, raw.nodes)?;
            steps.push(Step {
                after,
                words: step.what,
            });
        }
        let named = raw.expect.blamed.iter().chain(&raw.expect.learners);
        if let Some(node) = named.copied().find(|node| *node >= raw.nodes) {
            return Err(format!("expect: there is no node n{node}"));
        }
        let clients = raw.load.clients.unwrap_or(4);
        if !(1..=MAX_CLIENTS).contains(&clients) {
            return Err(format!("load.clients is {clients}: expected 1 to {MAX_CLIENTS}"));
        }
        let pause = raw.load.pause.as_deref();
        Ok(Self {
            name: raw.name,
            about: raw.about,
            nodes: raw.nodes,
            load: Load {
                clients,
                pause: pause.map_or(Ok(Duration::from_millis(100)), duration)?,
            },
            steps,
            expect: Expect {
                views_at_most: raw.expect.views_at_most,
                views_at_least: raw.expect.views_at_least,
                blamed: raw.expect.blamed,
                learners: raw.expect.learners,
            },
            text: text.to_owned(),
        })
    }

    /// f
    #[must_use]
    pub fn faults(&self) -> u16 {
        crate::plan::faults(self.nodes)
    }
}

fn check_keys(table: &Table) -> Result<(), String> {
    for (place, keys) in KEYS {
        let tables: Vec<&Table> = match (place, table.get(place)) {
            ("", _) => vec![table],
            (_, Some(Value::Table(inner))) => vec![inner],
            (_, Some(Value::Array(many))) => many.iter().filter_map(Value::as_table).collect(),
            _ => Vec::new(),
        };
        for key in tables.iter().flat_map(|table| table.keys()) {
            if !keys.contains(&key.as_str()) {
                let place = if place.is_empty() {
                    String::new()
                } else {
                    format!("{place}: ")
                };
                let like = suggestion(key, keys).map_or_else(
                    || format!("there are {}", keys.join(", ")),
                    |like| format!("did you mean `{like}`?"),
                );
                return Err(format!("{place}there is no key `{key}`, {like}"));
            }
        }
    }
    Ok(())
}

/// The known word that `word` was probably meant to be.
fn suggestion<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let slips = |known: &&str| strsim::damerau_levenshtein(word, known);
    let nearest = known.iter().copied().min_by_key(|known| slips(known))?;
    (slips(&nearest) <= MAX_SLIPS.min(word.len() / 2)).then_some(nearest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panic")]

    use super::*;

    const GOOD: &str = "name = \"n\"\nabout = \"a\"\nnodes = 4\n[load]\nclients = 2\npause = \"20ms\"\n\
                        [[step]]\nafter = \"1s\"\ndo = \"kill primary\"\n[[step]]\ndo = \"expect progress\"\n\
                        [expect]\nviews_at_most = 3\nblamed = [1]\n";

    #[test]
    fn a_scenario_is_read() {
        let scenario = Scenario::parse(GOOD).unwrap();
        assert_eq!((scenario.nodes, scenario.faults()), (4, 1));
        assert_eq!(scenario.load.pause, Duration::from_millis(20));
        let steps: Vec<(Duration, &str)> = scenario
            .steps
            .iter()
            .map(|step| (step.after, step.words.as_str()))
            .collect();
        assert_eq!(
            steps,
            [
                (Duration::from_secs(1), "kill primary"),
                (Duration::ZERO, "expect progress")
            ]
        );
        assert_eq!(scenario.expect.blamed, [1].into());
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_was_probably_meant() {
        let wrong = [
            ("nodes = 4", "ndoes = 4", "did you mean `nodes`?"),
            (
                "pause =",
                "pasue =",
                "load: there is no key `pasue`, did you mean `pause`?",
            ),
            ("after =", "afer =", "did you mean `after`?"),
            ("blamed =", "blame =", "did you mean `blamed`?"),
            ("views_at_most", "xyz", "there are views_at_most, views_at_least"),
            ("kill primary", "kil primary", "kill"),
            ("kill primary", "kill 4", "no node n4"),
            ("expect progress", "expect progres", "progress"),
            ("nodes = 4", "nodes = 5", "3f + 1"),
            ("blamed = [1]", "blamed = [9]", "no node n9"),
            ("\"20ms\"", "\"20\"", "no duration"),
            ("clients = 2", "clients = 200", "expected 1 to"),
        ];
        for (good, bad, told) in wrong {
            let text = GOOD.replace(good, bad);
            assert_ne!(text, GOOD);
            let error = Scenario::parse(&text).unwrap_err();
            assert!(error.contains(told), "{bad}: {error}");
        }
    }
}
