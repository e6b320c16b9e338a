//! Every behaviour that people can choose by name.

use tagma_crypto::PublicKey;
use tagma_ledger::Genesis;
use tagma_sim::byzantine::{self, About, Behaviour, NAMED};

use super::{collude, crash, flood, forged_transfer};
use crate::error::Error;

/// What each behaviour is, by name.
#[must_use]
pub fn all() -> Vec<About> {
    let mut all: Vec<About> = NAMED.iter().map(|(about, _)| *about).collect();
    all.extend([
        byzantine::CENSOR,
        collude::ABOUT,
        crash::ABOUT,
        flood::ABOUT,
        forged_transfer::ABOUT,
    ]);
    all.sort_unstable_by_key(|about| about.name);
    all
}

/// The behaviour of this name on the chain of `genesis`.
///
/// # Errors
/// [`Error::Usage`] if there is no such behaviour, or its argument is wrong.
pub fn make(name: &str, genesis: &Genesis) -> Result<Box<dyn Behaviour>, Error> {
    let (name, argument) = match name.split_once(':') {
        Some((name, argument)) => (name, Some(argument)),
        None => (name, None),
    };
    if name == byzantine::CENSOR.name {
        return Ok(byzantine::censor(account(name, argument, genesis)?));
    }
    if name == forged_transfer::ABOUT.name {
        let victim = account(name, argument, genesis)?;
        return Ok(Box::new(forged_transfer::ForgedTransfer::new(victim)));
    }
    if argument.is_some() {
        return Err(Error::usage(
            format!("{name} takes no argument"),
            format!("leave out what follows {name}"),
        ));
    }
    if name == crash::ABOUT.name {
        return Ok(Box::new(crash::Crash));
    }
    if name == collude::ABOUT.name {
        return Ok(Box::new(collude::Collude::default()));
    }
    if name == flood::ABOUT.name {
        return Ok(Box::new(flood::Flood::default()));
    }
    let named = NAMED.iter().find(|(about, _)| about.name == name);
    named.map(|(_, kind)| kind.make()).ok_or_else(|| {
        Error::usage(
            format!("there is no behaviour {name:?}"),
            "tagma-testnet byz list says which there are",
        )
    })
}

/// Whether a behaviour is chosen with the account that it is to harm, as in `censor:alice`.
#[must_use]
pub fn takes_account(name: &str) -> bool {
    [byzantine::CENSOR.name, forged_transfer::ABOUT.name].contains(&name)
}

/// The account that a behaviour is to harm.
fn account(behaviour: &str, name: Option<&str>, genesis: &Genesis) -> Result<PublicKey, Error> {
    let name = name.unwrap_or_default();
    genesis.account_key(name).ok_or_else(|| {
        let message = if name.is_empty() {
            format!("{behaviour} needs to know whose account it is to harm")
        } else {
            format!("genesis has no account {name:?}")
        };
        Error::usage(message, format!("for example {behaviour}:alice"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_are_there_once() {
        let names: Vec<&str> = all().iter().map(|about| about.name).collect();
        assert_eq!(
            names,
            [
                "bad-checkpoint",
                "bad-signature",
                "censor",
                "collude",
                "corrupt-state-transfer",
                "crash",
                "equivocating-primary",
                "fake-new-view",
                "flood",
                "forged-certificate",
                "forged-transfer",
                "garbage",
                "impersonate",
                "oversized-batch",
                "replay-old",
                "selective-send",
                "silent",
                "slow-primary",
                "view-change-spam",
                "withhold-commit",
                "wrong-reply",
            ]
        );
    }
}
