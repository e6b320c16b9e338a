//! What is put into a network's directory before its first start: keys, genesis, homes.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tagma_crypto::encode::{List, Text};
use tagma_crypto::{Digest, SecretKey};
use tagma_ledger::{Genesis, GenesisAccount, GenesisReplica, Parameters};
use tagma_pbft::Quorum;

use crate::error::Error;
use crate::layout::Layout;
use crate::process::Programs;

/// The accounts of a development network.
pub const ACCOUNT_NAMES: [&str; 3] = ["alice", "bob", "carol"];
/// What each of them owns in the beginning.
pub const INITIAL_BALANCE: u64 = 1_000_000;
/// The ports of a network begin here unless told otherwise.
pub const DEFAULT_BASE_PORT: u16 = 7400;
/// From one replica's first port to the next one's.
pub const PORT_STEP: u16 = 10;
/// The genesis time of networks made from a seed, so that the same seed gives the same chain id: 2026-01-01, 00:00 UTC.
const SEEDED_TIME_MS: u64 = 1_767_225_600_000;

/// What to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// N.
    pub replicas: u16,
    /// Makes all keys, and with the ports the chain id, repeatable.
    pub seed: Option<u64>,
    /// The first replica's first port.
    pub base_port: u16,
    /// The protocol's numbers.
    pub parameters: Parameters,
    /// What else this network has, or does without.
    pub extras: Extras,
}

/// What a network has besides the usual. The default is that of development networks.
#[derive(Clone, Debug)]
pub struct Extras {
    /// Accounts besides those of [`ACCOUNT_NAMES`]; nothing keeps their keys.
    pub accounts: Vec<GenesisAccount>,
    /// Lines for every node's `config.toml`, after those that `tagma-node init` writes.
    pub settings: String,
}

impl Default for Extras {
    fn default() -> Self {
        Self {
            accounts: Vec::new(),
            // Small networks on one machine, made to be looked at: what nodes were told is worth its disk space.
            settings: "transcript.enabled = true\n".to_owned(),
        }
    }
}

/// How a network was made, as its marker file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marker {
    /// The shape of the file.
    pub schema: String,
    /// N.
    pub replicas: u16,
    /// The seed of its keys, if it had one.
    pub seed: Option<u64>,
}

impl Marker {
    const SCHEMA: &str = "testnet/v1";

    /// Reads the marker of a network.
    ///
    /// # Errors
    /// [`Error::NoNetwork`] if there is none, [`Error::Io`] if it cannot be read.
    pub fn load(layout: &Layout) -> Result<Self, Error> {
        let path = layout.marker();
        let text = fs::read_to_string(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::NoNetwork {
                path: layout.root().to_owned(),
            },
            _ => Error::io("read", &path, source),
        })?;
        serde_json::from_str(&text).map_err(|error| Error::io("read", &path, error.into()))
    }
}

/// Whether `replicas` is a size a network can have.
///
/// # Errors
/// [`Error::Usage`] naming the valid sizes near it.
pub fn check_size(replicas: u16) -> Result<(), Error> {
    if replicas >= 4 && replicas % 3 == 1 && u64::from(replicas) <= tagma_ledger::genesis::MAX_REPLICAS {
        return Ok(());
    }
    Err(Error::usage(
        format!("{replicas} replicas: N must be 3f + 1"),
        format!(
            "valid sizes are 4 (f = 1), 7 (f = 2), 10 (f = 3), 13, 16, … up to {}",
            tagma_ledger::genesis::MAX_REPLICAS
        ),
    ))
}

/// f: how many replicas of a network of this size may be faulty; none of a size that cannot be.
#[must_use]
pub fn faults(replicas: u16) -> u16 {
    Quorum::new(replicas.into()).map_or(0, Quorum::faults)
}

/// 2f + 1: how many replicas of a network of this size decide, whatever the others do.
#[must_use]
pub fn quorum(replicas: u16) -> u16 {
    2 * faults(replicas) + 1
}

/// The keys of a plan: derived from its seed, or new.
struct Keys {
    seed: Option<u64>,
}

impl Keys {
    fn key(&self, role: &str, index: u64) -> SecretKey {
        match self.seed {
            Some(seed) => {
                let parts: [&[u8]; 3] = [&seed.to_le_bytes(), role.as_bytes(), &index.to_le_bytes()];
                SecretKey::from_seed(*Digest::of("tagma/testnet/key", &parts).as_bytes())
            }
            None => SecretKey::generate(),
        }
    }
}

/// Makes a network's directory: keys, genesis, and a home for every replica by `tagma-node init`.
///
/// # Errors
/// If the size is not valid, the directory holds something already, or writing or `init` fails.
pub fn create(layout: &Layout, plan: &Plan, programs: &Programs) -> Result<Genesis, Error> {
    check_size(plan.replicas)?;
    let root = layout.root();
    refuse_foreign(root)?;
    make_directory(root)?;
    write_marker(layout, plan)?;
    make_directory(&layout.keys())?;
    make_directory(&layout.accounts())?;

    let keys = Keys { seed: plan.seed };
    let mut replicas = Vec::new();
    for id in 0..plan.replicas {
        let (vote, network) = (keys.key("vote", id.into()), keys.key("network", id.into()));
        vote.save(&layout.vote_key(id))?;
        network.save(&layout.network_key(id))?;
        let port = replica_port(plan.base_port, id)?;
        let address = |offset| Text::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port + offset).to_string());
        replicas.push(GenesisReplica {
            id,
            vote_key: vote.public(),
            network_key: network.public(),
            peer_address: address(0),
            client_address: address(1),
            http_address: address(2),
        });
    }
    let mut accounts = Vec::new();
    for (index, name) in (0..).zip(ACCOUNT_NAMES) {
        let key = keys.key("account", index);
        key.save(&layout.account_key(name))?;
        accounts.push(GenesisAccount {
            name: Some(Text::from(name.to_owned())),
            key: key.public(),
            balance: INITIAL_BALANCE,
        });
    }
    accounts.extend(plan.extras.accounts.iter().cloned());
    // Names are for people; the chain id comes from everything.
    let tag = replicas.first().map(|replica| replica.vote_key.short());
    let tag = tag.as_deref().and_then(|tag| tag.get(..4)).unwrap_or_default();
    let genesis = Genesis {
        chain_name: Text::from(format!("tagma-local-{tag}")),
        time_ms: if plan.seed.is_some() {
            SEEDED_TIME_MS
        } else {
            now_ms()
        },
        replicas: List::from(replicas),
        accounts: List::from(accounts),
        parameters: plan.parameters.clone(),
    };
    genesis.validate()?;
    // Homes are made from a genesis that does not have its final name yet: with that name the network is complete.
    let draft = root.join("genesis.draft.json");
    write(&draft, &genesis.to_json())?;
    for id in 0..plan.replicas {
        init_home(layout, &draft, id, programs, &plan.extras.settings)?;
    }
    fs::rename(&draft, layout.genesis()).map_err(|source| Error::io("write", &layout.genesis(), source))?;
    Ok(genesis)
}

/// Makes the home of one replica by `tagma-node init`, with the keys of the plan; `further` lines go into its settings.
///
/// # Errors
/// If the program refuses; its words are in the error.
pub fn init_home(
    layout: &Layout,
    genesis: &Path,
    id: u16,
    programs: &Programs,
    further: &str,
) -> Result<(), Error> {
    let mut command = Command::new(&programs.node);
    // Ours names the directory of a network, theirs the home of one replica.
    command.env_remove("TAGMA_HOME");
    command.arg("init").arg("--genesis").arg(genesis);
    command.arg("--id").arg(id.to_string());
    command.arg("--home").arg(layout.home(id));
    command.arg("--vote-key").arg(layout.vote_key(id));
    command.arg("--network-key").arg(layout.network_key(id));
    let output = command
        .output()
        .map_err(|source| Error::io("run", &programs.node, source))?;
    if !output.status.success() {
        return Err(Error::NodeEnded {
            node: id,
            what: format!("could not be initialised ({})", output.status),
            log: String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
        });
    }
    let settings = layout.home(id).join("config.toml");
    let mut text = fs::read_to_string(&settings).map_err(|source| Error::io("read", &settings, source))?;
    text.push_str(further);
    write(&settings, &text)?;
    make_directory(&layout.run(id))
}

fn replica_port(base: u16, id: u16) -> Result<u16, Error> {
    id.checked_mul(PORT_STEP)
        .and_then(|offset| base.checked_add(offset))
        .filter(|port| port.checked_add(PORT_STEP).is_some())
        .ok_or_else(|| {
            Error::usage(
                format!("ports from {base} on do not suffice"),
                "choose a lower --base-port",
            )
        })
}

/// A directory that is not ours, or half made, is nothing to build on.
fn refuse_foreign(root: &Path) -> Result<(), Error> {
    let empty = match fs::read_dir(root) {
        Ok(mut entries) => entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == "lock")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(Error::io("read", root, error)),
    };
    if empty {
        return Ok(());
    }
    Err(Error::usage(
        format!("{} holds something that is no complete network", root.display()),
        format!(
            "if it is left from an interrupted start: tagma-testnet clean --dir {}; or choose another --dir",
            root.display()
        ),
    ))
}

fn write_marker(layout: &Layout, plan: &Plan) -> Result<(), Error> {
    let marker = Marker {
        schema: Marker::SCHEMA.to_owned(),
        replicas: plan.replicas,
        seed: plan.seed,
    };
    let text = serde_json::to_string_pretty(&marker)
        .map_err(|error| Error::io("write", &layout.marker(), error.into()))?;
    write(&layout.marker(), &text)
}

fn make_directory(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| Error::io("create", path, source))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::io("write", path, source))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
