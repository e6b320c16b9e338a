//! Where a replica keeps its files.

use std::path::{Path, PathBuf};

/// A replica's home directory:
///
/// ```text
/// config.toml  genesis.json  keys/{replica,network}.key  data/{lock,db,evidence,transcript}  run/
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The home at this path. Nothing is read or created.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// This replica's settings.
    pub fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }
    /// The chain's genesis, as JSON.
    pub fn genesis(&self) -> PathBuf {
        self.0.join("genesis.json")
    }
    /// The directory of secret keys.
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }
    /// The key that signs votes.
    pub fn vote_key(&self) -> PathBuf {
        self.keys().join("replica.key")
    }
    /// The key that connections are made with.
    pub fn network_key(&self) -> PathBuf {
        self.keys().join("network.key")
    }
    /// What a replica must not lose.
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }
    /// The database.
    pub fn database(&self) -> PathBuf {
        self.data().join("db")
    }
    /// Provable faults of other replicas, a file each, to be taken away; the database has them too.
    pub fn evidence(&self) -> PathBuf {
        self.data().join("evidence")
    }
    /// What was said and heard, for audits.
    pub fn transcript(&self) -> PathBuf {
        self.data().join("transcript")
    }
    /// Held by the process that uses the data.
    pub fn lock(&self) -> PathBuf {
        self.data().join("lock")
    }
    /// What concerns a running process only.
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }
    /// What a running replica listens on, as `key = "value"` lines.
    pub fn endpoints(&self) -> PathBuf {
        self.run().join("endpoints.toml")
    }
}
