//! Which attacks there are to measure.

use std::fmt;

use super::client_flood::Flooding;
use crate::byzantine::{Order, When, catalogue, control};
use crate::error::Error;
use crate::network::Network;

/// An attack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attack {
    /// The f replicas whose turn as primary comes last.
    Backups(String),
    /// The primary of the first view, and of the following ones as long as there are f of them.
    Primaries(String),
    /// A client.
    Client(Flooding),
}

/// What is measured if nothing else is asked for.
const USUAL: [&str; 11] = [
    "silent@backup",
    "withhold-commit@backup",
    "wrong-reply@backup",
    "bad-signature@backup",
    "garbage@backup",
    "flood@backup",
    "slow-primary@primary",
    "equivocating-primary@primary",
    "bad-signatures@client",
    "valid-signatures@client",
    "bad-after-good@client",
];

impl Attack {
    /// The attacks of these names, `BEHAVIOUR@backup`, `BEHAVIOUR@primary` or `bad-signatures@client`; the usual ones if there are
    /// none.
    ///
    /// # Errors
    /// [`Error::Usage`] for a name that is none.
    pub fn chosen(names: &[String]) -> Result<Vec<Self>, Error> {
        if names.is_empty() {
            return USUAL.into_iter().map(Self::parse).collect();
        }
        names.iter().map(|name| Self::parse(name)).collect()
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::usage(
                format!("{text:?} is no attack"),
                format!(
                    "expected BEHAVIOUR@backup or BEHAVIOUR@primary with a behaviour of `tagma-testnet byz list`, or {}",
                    Flooding::ALL
                        .map(|kind| format!("{}@client", kind.name()))
                        .join(" or ")
                ),
            )
        };
        let (name, by) = text.rsplit_once('@').ok_or_else(wrong)?;
        if by == "client" {
            let kind = Flooding::ALL.into_iter().find(|kind| kind.name() == name);
            return kind.map(Self::Client).ok_or_else(wrong);
        }
        let plain = name.split_once(':').map_or(name, |(plain, _)| plain);
        if !catalogue::all().iter().any(|about| about.name == plain) {
            return Err(wrong());
        }
        match by {
            "backup" => Ok(Self::Backups(name.to_owned())),
            "primary" => Ok(Self::Primaries(name.to_owned())),
            _ => Err(wrong()),
        }
    }

    /// The replicas that do it: f of them, or none if a client does.
    #[must_use]
    pub fn traitors(&self, network: &Network) -> Vec<u16> {
        let replicas = network.nodes();
        let faults = usize::from(network.faults());
        match self {
            Self::Backups(_) => replicas.into_iter().rev().take(faults).rev().collect(),
            Self::Primaries(_) => replicas.into_iter().take(faults).collect(),
            Self::Client(_) => Vec::new(),
        }
    }

    /// Orders the replicas to do it from now on, on this condition.
    ///
    /// # Errors
    /// If one does not obey.
    pub fn order(&self, network: &mut Network, traitors: &[u16], when: When) -> Result<(), Error> {
        let (Self::Backups(behaviour) | Self::Primaries(behaviour)) = self else {
            return Ok(());
        };
        let order = Order {
            behaviour: behaviour.clone(),
            when,
        };
        for traitor in traitors {
            control::set(network, *traitor, &order)?;
        }
        Ok(())
    }

    /// What the client does.
    #[must_use]
    pub fn client_flood(&self) -> Option<Flooding> {
        match self {
            Self::Client(kind) => Some(*kind),
            _ => None,
        }
    }

    /// Whether a primary does it, so that the view may change.
    #[must_use]
    pub fn is_by_primaries(&self) -> bool {
        matches!(self, Self::Primaries(_))
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backups(behaviour) => write!(f, "{behaviour}@backup"),
            Self::Primaries(behaviour) => write!(f, "{behaviour}@primary"),
            Self::Client(kind) => write!(f, "{}@client", kind.name()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panic")]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for attack in Attack::chosen(&[]).unwrap() {
            let again = Attack::chosen(&[attack.to_string()]).unwrap();
            assert_eq!(again, [attack]);
        }
        for wrong in [
            "silent",
            "silent@client",
            "nothing@backup",
            "flood@sea",
            "@backup",
        ] {
            assert!(Attack::chosen(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
        assert!(Attack::chosen(&["censor:alice@primary".to_owned()]).is_ok());
    }
}
