//! What a scenario came to: every claim, and whether it held. Processes and the simulator answer in the same words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something that must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What.
    pub what: String,
    /// Whether it did.
    pub holds: bool,
    /// What was seen.
    pub seen: String,
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Every claim, in the order in which it was looked at.
    pub claims: Vec<Claim>,
}

impl Verdict {
    /// Adds a claim.
    pub fn add(&mut self, what: impl Into<String>, holds: bool, seen: impl Into<String>) {
        self.claims.push(Claim {
            what: what.into(),
            holds,
            seen: seen.into(),
        });
    }

    /// Whether all claims hold.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.claims.iter().all(|claim| claim.holds)
    }

    /// Whether both runs come to the same: the same claims, and of each the same answer.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        let answers = |verdict: &Self| -> Vec<(String, bool)> {
            let claims = verdict.claims.iter();
            claims.map(|claim| (claim.what.clone(), claim.holds)).collect()
        };
        answers(self) == answers(other)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for claim in &self.claims {
            let mark = if claim.holds { '✔' } else { '✘' };
            writeln!(f, "{mark} {}: {}", claim.what, claim.seen)?;
        }
        f.write_str(if self.holds() {
            "✔ as it must be"
        } else {
            "✘ NOT AS IT MUST BE"
        })
    }
}
