//! What must come of each behaviour: whom the others can convict, and of what.

use super::Role;

/// What the matrix does to honest replicas, so that a behaviour has something to spoil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provocation {
    /// Nothing.
    None,
    /// The honest primary is frozen until the others leave its view: view changes, and a primary to come that lies.
    ViewChange,
    /// An honest backup is dead until the others are some checkpoints further: it has to ask for what it missed.
    Absence,
}

/// What must come of a behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// What is done to honest replicas meanwhile.
    pub provocation: Provocation,
    /// The faults that it may be convicted of. Of anything else it may not: it did not do it.
    pub provable: &'static [&'static str],
    /// Whether each traitor must be convicted if they begin as primaries.
    pub convicted_as_primary: bool,
    /// Whether each traitor must be convicted if they begin as backups.
    pub convicted_as_backup: bool,
    /// Whether clients must name somebody, who replied otherwise than f + 1 others.
    pub named_by_clients: bool,
}

impl Expectation {
    /// Nobody can prove anything.
    const UNPROVABLE: Self = Self {
        provocation: Provocation::None,
        provable: &[],
        convicted_as_primary: false,
        convicted_as_backup: false,
        named_by_clients: false,
    };

    /// Convicted of `provable` as a primary; as a backup only if it becomes one.
    const fn as_primary(provable: &'static [&'static str]) -> Self {
        Self {
            provable,
            convicted_as_primary: true,
            ..Self::UNPROVABLE
        }
    }

    /// Whether each traitor must be convicted.
    #[must_use]
    pub fn must_be_convicted(&self, role: Role) -> bool {
        match role {
            Role::Primary => self.convicted_as_primary,
            Role::Backup => self.convicted_as_backup,
        }
    }
}

/// What must come of the behaviour of this name, which comes without its argument; none for a name that is not known here.
#[must_use]
pub fn of(name: &str) -> Option<Expectation> {
    const QUIET: Expectation = Expectation::UNPROVABLE;
    Some(match name {
        "censor" | "crash" | "garbage" | "impersonate" | "replay-old" | "selective-send" | "silent"
        | "slow-primary" | "withhold-commit" => QUIET,
        "bad-checkpoint" => Expectation {
            provable: &["conflicting_checkpoints"],
            ..QUIET
        },
        "bad-signature" | "oversized-batch" => Expectation::as_primary(&["bad_batch"]),
        "corrupt-state-transfer" => Expectation {
            provocation: Provocation::Absence,
            ..QUIET
        },
        // It votes for what it told to whom, so its votes contradict each other too, and its VIEW-CHANGEs hold only one of two.
        "collude" | "equivocating-primary" => Expectation::as_primary(&[
            "conflicting_pre_prepares",
            "conflicting_prepares",
            "conflicting_commits",
            "hidden_certificate",
        ]),
        "fake-new-view" => Expectation {
            provocation: Provocation::ViewChange,
            ..Expectation::as_primary(&["bad_new_view", "conflicting_new_views"])
        },
        "forged-certificate" => Expectation {
            provocation: Provocation::ViewChange,
            provable: &["bad_view_change", "hidden_certificate"],
            ..QUIET
        },
        "flood" => Expectation {
            provable: &[
                "conflicting_prepares",
                "conflicting_commits",
                "hidden_certificate",
            ],
            convicted_as_primary: true,
            convicted_as_backup: true,
            ..QUIET
        },
        "forged-transfer" => Expectation {
            provable: &[
                "bad_batch",
                "conflicting_prepares",
                "conflicting_commits",
                "hidden_certificate",
            ],
            convicted_as_primary: true,
            convicted_as_backup: true,
            named_by_clients: true,
            ..QUIET
        },
        // Where two of its targets happen to be the same, or it had sent a COMMIT that they should tell of.
        "view-change-spam" => Expectation {
            provable: &["conflicting_view_changes", "hidden_certificate"],
            ..QUIET
        },
        "wrong-reply" => Expectation {
            named_by_clients: true,
            ..QUIET
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::byzantine::catalogue;

    #[test]
    fn it_is_known_of_every_behaviour_what_must_come_of_it() {
        for about in catalogue::all() {
            assert!(of(about.name).is_some(), "{}", about.name);
        }
    }
}
