//! `tagma-node init`

use std::io::Read;
use std::path::{Path, PathBuf};

use tagma_crypto::SecretKey;
use tagma_ledger::Genesis;

use super::print;
use crate::driver::create_store;
use crate::exit::{Exit, Failure};
use crate::home::Home;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The chain's genesis, JSON or TOML.
    #[arg(long, value_name = "FILE")]
    genesis: PathBuf,
    /// Which replica of genesis this is.
    #[arg(long, value_name = "I")]
    id: u16,
    /// The home directory to make.
    #[arg(long, env = "TAGMA_HOME", value_name = "DIR")]
    home: PathBuf,
    /// The key that signs votes; left out, it must be in the home already (`tagma-node keys generate`).
    #[arg(long, value_name = "FILE", requires = "network_key")]
    vote_key: Option<PathBuf>,
    /// The key of connections.
    #[arg(long, value_name = "FILE", requires = "vote_key")]
    network_key: Option<PathBuf>,
    /// Read both keys from stdin, the vote key's line first, as they stand in key files.
    #[arg(long, conflicts_with_all = ["vote_key", "network_key"])]
    keys_from_stdin: bool,
}

/// What a new home's settings file says: nothing yet, and where to look.
const SETTINGS: &str = "# Settings of this replica. `tagma-node config show --origin` lists them all.\n";

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let home = Home::new(&args.home);
    for path in [home.genesis(), home.config(), home.database()] {
        if path.exists() {
            return Err(
                Failure::new(Exit::Config, format!("{} exists already", path.display()))
                    .hint("init never overwrites: choose another --home"),
            );
        }
    }
    let genesis = Genesis::load(&args.genesis).map_err(Failure::with(Exit::Config))?;
    let replica = genesis.replica(args.id).ok_or_else(|| {
        let last = genesis.replica_count().saturating_sub(1);
        Failure::new(
            Exit::Config,
            format!("there is no replica {} in genesis", args.id),
        )
        .hint(format!("the replicas are 0 to {last}"))
    })?;
    let (vote, network) = keys(args, &home)?;
    for (name, found, expected) in [
        ("vote", vote.key.public(), replica.vote_key),
        ("network", network.key.public(), replica.network_key),
    ] {
        if found != expected {
            return Err(Failure::new(
                Exit::Config,
                format!(
                    "the {name} key {found} is not that of replica {} in genesis, {expected}",
                    args.id
                ),
            ));
        }
    }
    let created = |error: std::io::Error| {
        Failure::new(
            Exit::Internal,
            format!("cannot write below {}: {error}", home.path().display()),
        )
    };
    std::fs::create_dir_all(home.keys()).map_err(created)?;
    vote.save(&home.vote_key())?;
    network.save(&home.network_key())?;
    create_store(&home, &genesis)?;
    std::fs::write(home.config(), SETTINGS).map_err(created)?;
    // Last: a home without a genesis was not finished, and starts nothing.
    std::fs::write(home.genesis(), genesis.to_json()).map_err(created)?;
    print(&format!(
        "initialised replica={} chain={} home={}\n",
        args.id,
        genesis.chain_id(),
        home.path().display()
    ))
}

/// A key, and whether it is in the home already.
struct Key {
    key: SecretKey,
    at_home: bool,
}

impl Key {
    fn load(path: &Path, at_home: bool) -> Result<Self, Failure> {
        let key = SecretKey::load(path).map_err(Failure::with(Exit::Config))?;
        Ok(Self { key, at_home })
    }

    fn save(&self, path: &Path) -> Result<(), Failure> {
        if self.at_home {
            return Ok(());
        }
        self.key.save(path).map_err(Failure::with(Exit::Config))
    }
}

fn keys(args: &Args, home: &Home) -> Result<(Key, Key), Failure> {
    if args.keys_from_stdin {
        let mut text = String::new();
        std::io::stdin()
            .take(1024)
            .read_to_string(&mut text)
            .map_err(|error| Failure::new(Exit::Usage, format!("cannot read keys from stdin: {error}")))?;
        let mut lines = text.lines();
        let mut next = || {
            let key = lines
                .next()
                .and_then(SecretKey::from_line)
                .ok_or_else(|| Failure::new(Exit::Config, "stdin does not hold two lines of key files"))?;
            Ok(Key { key, at_home: false })
        };
        return Ok((next()?, next()?));
    }
    match (&args.vote_key, &args.network_key) {
        (Some(vote), Some(network)) => Ok((Key::load(vote, false)?, Key::load(network, false)?)),
        _ => Ok((
            Key::load(&home.vote_key(), true)?,
            Key::load(&home.network_key(), true)?,
        )),
    }
}
