//! How far an exhaustive search goes, and what it came to.

use std::fmt;

use clap::ValueEnum;

use super::REQUESTS;

/// How far a search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most deviations of one run.
    pub depth: u8,
    /// Views before the network heals.
    pub views: u64,
    /// Which deviations there are.
    pub deviations: Deviations,
}

/// What can go wrong in a run. The fewer kinds there are, the more of them a search can afford.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Deviations {
    /// Losses, timers and lies.
    All,
    /// Losses alone, and a faulty replica that always does one thing: it votes for whatever the receiver has agreed to,
    /// proposes one thing to one and another to all others, hides what is prepared, and carries over as little as it can.
    Losses,
}

impl fmt::Display for Deviations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "deviations",
            Self::Losses => "lost links, the faulty replica colludes with everybody",
        })
    }
}

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How far it went.
    pub limits: Limits,
    /// States of the whole after some round, different ones in each.
    pub states: u64,
    /// Ways from one to another that were followed.
    pub transitions: u64,
    /// Different states of single replicas.
    pub locals: u64,
    /// Steps of single replicas, each computed once.
    pub steps: u64,
    /// Different messages.
    pub messages: u64,
    /// Final states from which progress was demanded.
    pub healed: u64,
    /// The highest view that a correct replica entered before.
    pub highest_view: u64,
    /// Different chains of correct replicas in final states.
    pub chains: u64,
    /// The first invariant that did not hold, and how it came to that.
    pub violation: Option<String>,
}

impl Report {
    /// Nothing is searched yet.
    pub(super) fn of(limits: Limits) -> Self {
        Self {
            limits,
            states: 0,
            transitions: 0,
            locals: 0,
            steps: 0,
            messages: 0,
            healed: 0,
            highest_view: 0,
            chains: 0,
            violation: None,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "every run of 4 replicas, 1 faulty in each place, {} sequence numbers, {} views, at most {} {}: {} \
             states, {} transitions; {} states and {} steps of single replicas, {} messages; {} final states healed; \
             views up to {}; {} different chains",
            REQUESTS.len(),
            self.limits.views,
            self.limits.depth,
            self.limits.deviations,
            self.states,
            self.transitions,
            self.locals,
            self.steps,
            self.messages,
            self.healed,
            self.highest_view,
            self.chains,
        )?;
        match &self.violation {
            Some(violation) => write!(f, "\nVIOLATION {violation}"),
            None => write!(f, "; every invariant holds"),
        }
    }
}
