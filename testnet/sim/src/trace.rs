//! What happened in a run: a hash over all of it, and lines for people when they are wanted.

use std::collections::VecDeque;

use tagma_crypto::{Digest, Hasher};

use crate::time::show;

/// Most lines kept: the end of a failing run is what matters.
const MAX_LINES: usize = 20_000;

/// The record of a run.
pub struct Trace {
    hasher: Hasher,
    events: u64,
    lines: Option<VecDeque<String>>,
}

impl Trace {
    /// An empty trace; with lines for people if they are wanted.
    #[must_use]
    pub fn new(readable: bool) -> Self {
        Self {
            hasher: Hasher::new("tagma/sim-trace"),
            events: 0,
            lines: readable.then(VecDeque::new),
        }
    }

    /// Adds an event to the hash.
    pub fn event(&mut self, at: u64, kind: &str, place: usize, detail: &[u8]) {
        self.events += 1;
        self.hasher.part(&at.to_le_bytes());
        self.hasher.part(kind.as_bytes());
        self.hasher.part(&(place as u64).to_le_bytes());
        self.hasher.part(detail);
    }

    /// Adds a line, which is only made if somebody wants it.
    pub fn line(&mut self, at: u64, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            if lines.len() >= MAX_LINES {
                lines.pop_front();
            }
            lines.push_back(format!("{} {}", show(at), text()));
        }
    }

    /// Whether lines are wanted.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.lines.is_some()
    }

    /// The hash over all events so far: equal for equal seeds.
    #[must_use]
    pub fn hash(&self) -> Digest {
        self.hasher.finish()
    }

    /// How many events there were.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The last lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flatten().map(String::as_str)
    }
}
