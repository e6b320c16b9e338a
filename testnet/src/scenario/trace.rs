//! Recordings: a file of JSON lines that says what was played, what happened when, and what it came to.
//!
//! The first line holds the scenario as it was written and the seed; one line follows for each step, with the replicas that
//! `primary` stood for; the last one holds the verdict. Of a run in the simulator each line also has the hash over everything
//! that had happened so far, so that a replay which goes another way is caught at the first step where it does.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::file::{Scenario, Step};
use super::play::{Happened, Played};
use super::verdict::Verdict;
use crate::error::Error;

/// The shape of these files.
const SCHEMA: &str = "trace/v1";

/// Where a scenario took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Real processes.
    Processes,
    /// The simulator.
    Simulator,
}

/// A recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Where.
    pub side: Side,
    /// The seed of all chance.
    pub seed: u64,
    /// What was played.
    pub scenario: Scenario,
    /// What came of it.
    pub played: Played,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    schema: String,
    side: Side,
    seed: String,
    version: String,
    scenario: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at_us: u64,
    #[serde(rename = "do")]
    words: String,
    digest: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    took_us: u64,
    digest: Option<String>,
    verdict: Verdict,
}

impl Recording {
    /// Writes it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let failed = |source: io::Error| Error::io("write", path, source);
        let head = Head {
            schema: SCHEMA.to_owned(),
            side: self.side,
            seed: self.seed.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: self.scenario.text.clone(),
        };
        let mut lines = vec![json(&head).map_err(failed)?];
        for step in &self.played.happened {
            let line = Line {
                at_us: micros(step.at),
                words: step.words.clone(),
                digest: step.digest.clone(),
            };
            lines.push(json(&line).map_err(failed)?);
        }
        let end = End {
            took_us: micros(self.played.took),
            digest: self.played.digest.clone(),
            verdict: self.played.verdict.clone(),
        };
        lines.push(json(&end).map_err(failed)?);
        fs::write(path, lines.join("\n") + "\n").map_err(failed)
    }

    /// Reads one.
    ///
    /// # Errors
    /// If it cannot be read, or is no recording.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::io("read", path, source))?;
        Self::parse(&text).map_err(|why| {
            Error::usage(
                format!("{}: {why}", path.display()),
                "tagma-testnet run SCENARIO --record FILE makes recordings",
            )
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = |error: serde_json::Error| error.to_string();
        let lines: Vec<&str> = text.lines().collect();
        let [first, steps @ .., last] = lines.as_slice() else {
            return Err("a recording has two lines or more".to_owned());
        };
        let head: Head = serde_json::from_str(first).map_err(wrong)?;
        if head.schema != SCHEMA {
            return Err(format!("it is a {}, not a {SCHEMA}", head.schema));
        }
        let mut happened = Vec::new();
        for step in steps {
            let line: Line = serde_json::from_str(step).map_err(wrong)?;
            happened.push(Happened {
                at: Duration::from_micros(line.at_us),
                words: line.words,
                digest: line.digest,
            });
        }
        let end: End = serde_json::from_str(last).map_err(wrong)?;
        Ok(Self {
            side: head.side,
            seed: head
                .seed
                .parse()
                .map_err(|_| "its seed is no number".to_owned())?,
            scenario: Scenario::parse(&head.scenario)?,
            played: Played {
                verdict: end.verdict,
                happened,
                took: Duration::from_micros(end.took_us),
                digest: end.digest,
            },
        })
    }

    /// What the simulator is to play again. Of a run in the simulator that is the scenario itself, in which the same seed brings
    /// the same. Of a run on processes it is what happened, at the times at which it did, to the replicas it happened to.
    #[must_use]
    pub fn to_replay(&self) -> Scenario {
        let mut scenario = self.scenario.clone();
        if self.side == Side::Processes {
            let mut before = Duration::ZERO;
            let steps = self.played.happened.iter().map(|step| {
                let after = step.at.saturating_sub(before);
                before = step.at;
                // A demand takes the time it takes; the next step comes so long after its beginning.
                Step {
                    after,
                    words: step.words.clone(),
                }
            });
            scenario.steps = steps.collect();
        }
        scenario
    }

    /// Whether a replay went the same way.
    ///
    /// # Errors
    /// [`Error::Verdict`] with the first difference.
    pub fn compare(&self, replayed: &Played) -> Result<(), Error> {
        let steps = self.played.happened.iter().zip(&replayed.happened);
        let differs = steps
            .filter(|_| self.side == Side::Simulator)
            .find(|(then, now)| then != now);
        if let Some((then, now)) = differs {
            return Err(Error::Verdict(format!(
                "the replay went another way before `{}` at {:?}: the hash was {}, and is {} at {:?}",
                then.words,
                then.at,
                then.digest.as_deref().unwrap_or("none"),
                now.digest.as_deref().unwrap_or("none"),
                now.at
            )));
        }
        if self.side == Side::Simulator && self.played.digest != replayed.digest {
            return Err(Error::Verdict(format!(
                "the replay ended with another hash: {} then, {} now",
                self.played.digest.as_deref().unwrap_or("none"),
                replayed.digest.as_deref().unwrap_or("none")
            )));
        }
        if !self.played.verdict.agrees_with(&replayed.verdict) {
            return Err(Error::Verdict(format!(
                "the replay came to another verdict; then:\n{}\nnow:\n{}",
                self.played.verdict, replayed.verdict
            )));
        }
        Ok(())
    }
}

fn json(value: &impl Serialize) -> io::Result<String> {
    serde_json::to_string(value).map_err(io::Error::from)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
