//! Where a client finds genesis, keys and pending requests.

use std::path::{Path, PathBuf};

/// The directory of a network on this machine: `genesis.json`, `accounts/NAME.key`, `pending/HASH.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    dir: PathBuf,
    genesis: PathBuf,
}

/// There is no network to be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no network found: there is no {NAME}/{GENESIS} in {} or a directory above it", from.display())]
pub struct HomeError {
    /// Where the search began.
    pub from: PathBuf,
}

/// The name of a local network's directory.
const NAME: &str = ".testnet";

/// The name of the genesis file in it.
const GENESIS: &str = "genesis.json";

impl Home {
    /// The home in `dir`.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            genesis: dir.join(GENESIS),
        }
    }

    /// This home with another genesis file.
    #[must_use]
    pub fn with_genesis(mut self, genesis: &Path) -> Self {
        genesis.clone_into(&mut self.genesis);
        self
    }

    /// The home around a genesis file: the directory it lies in.
    #[must_use]
    pub fn of_genesis(genesis: &Path) -> Self {
        let dir = match genesis.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Self::at(dir).with_genesis(genesis)
    }

    /// The nearest `.testnet` with a genesis in `from` or a directory above it.
    ///
    /// # Errors
    /// If there is none.
    pub fn find(from: &Path) -> Result<Self, HomeError> {
        let mut candidates = from.ancestors().map(|dir| Self::at(&dir.join(NAME)));
        candidates
            .find(|home| home.genesis.is_file())
            .ok_or_else(|| HomeError {
                from: from.to_owned(),
            })
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The genesis file.
    #[must_use]
    pub fn genesis(&self) -> &Path {
        &self.genesis
    }

    /// The directory of account keys.
    #[must_use]
    pub fn accounts(&self) -> PathBuf {
        self.dir.join("accounts")
    }

    /// The directory of requests whose outcome is not known yet.
    #[must_use]
    pub fn pending(&self) -> PathBuf {
        self.dir.join("pending")
    }
}
