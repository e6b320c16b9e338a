//! Where the parts of a network lie in its directory.
//!
//! ```text
//! testnet.json          how it was made; its presence says that the directory is ours to remove
//! genesis.json          written last: with it, the network is complete
//! accounts/alice.key    unsafe development keys
//! keys/n0.vote.key      where a replica's home gets its keys from
//! n0/                   a replica's home
//! n0/run/{pid,log}      its process and its output
//! links/{pid,log,…}     the process that carries the links between replicas, if there is one
//! ```

use std::path::{Path, PathBuf};

/// The directory a command uses unless told otherwise.
pub const DEFAULT_DIRECTORY: &str = ".testnet";

/// The paths of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The network in this directory, which need not exist yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How the network was made.
    #[must_use]
    pub fn marker(&self) -> PathBuf {
        self.root.join("testnet.json")
    }

    /// Locked by the command that works on the network.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// The genesis file.
    #[must_use]
    pub fn genesis(&self) -> PathBuf {
        self.root.join("genesis.json")
    }

    /// The secret keys of the accounts.
    #[must_use]
    pub fn accounts(&self) -> PathBuf {
        self.root.join("accounts")
    }

    /// The secret key of one account.
    #[must_use]
    pub fn account_key(&self, name: &str) -> PathBuf {
        self.accounts().join(format!("{name}.key"))
    }

    /// The secret keys that the replicas' homes are made with.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// A replica's vote key.
    #[must_use]
    pub fn vote_key(&self, node: u16) -> PathBuf {
        self.keys().join(format!("n{node}.vote.key"))
    }

    /// A replica's network key.
    #[must_use]
    pub fn network_key(&self, node: u16) -> PathBuf {
        self.keys().join(format!("n{node}.network.key"))
    }

    /// A replica's home.
    #[must_use]
    pub fn home(&self, node: u16) -> PathBuf {
        self.root.join(format!("n{node}"))
    }

    /// A replica's settings.
    #[must_use]
    pub fn settings(&self, node: u16) -> PathBuf {
        self.home(node).join("config.toml")
    }

    /// What a replica that has started listens on.
    #[must_use]
    pub fn endpoints(&self, node: u16) -> PathBuf {
        self.run(node).join("endpoints.toml")
    }

    /// What belongs to the process that carries the links.
    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    /// Which process carries the links.
    #[must_use]
    pub fn links_pid(&self) -> PathBuf {
        self.links().join("pid")
    }

    /// What it writes to stdout and stderr.
    #[must_use]
    pub fn links_log(&self) -> PathBuf {
        self.links().join("log")
    }

    /// Where a replica's process leaves its traces.
    #[must_use]
    pub fn run(&self, node: u16) -> PathBuf {
        self.home(node).join("run")
    }

    /// What a replica's process writes to stdout and stderr, over all its starts.
    #[must_use]
    pub fn log(&self, node: u16) -> PathBuf {
        self.run(node).join("log")
    }

    /// Which process a replica's last start was.
    #[must_use]
    pub fn pid(&self, node: u16) -> PathBuf {
        self.run(node).join("pid")
    }
}
