//! Account keys: one file `NAME.key` for each, readable by its owner only.

use std::io;
use std::path::{Path, PathBuf};

use tagma_crypto::keys::KeyFileError;
use tagma_crypto::{PublicKey, SecretKey};
use tagma_ledger::Genesis;
use tagma_ledger::genesis::MAX_NAME_BYTES;

/// A directory of account keys.
#[derive(Clone, Debug)]
pub struct Keystore {
    dir: PathBuf,
}

/// Why an account or its key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The name would not do as a file name.
    #[error(
        "account name {0:?} must be 1 to {MAX_NAME_BYTES} letters, digits, '-', '_' or '.', not beginning with '.'"
    )]
    Name(String),
    /// There is no key of this name.
    #[error("there is no key for account {name:?} in {}{}", dir.display(), listing(known))]
    NoKey {
        /// The name.
        name: String,
        /// The directory.
        dir: PathBuf,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The text names no account.
    #[error(
        "{text:?} is neither an account's name nor the 64 hex digits of its key{}",
        listing(known)
    )]
    Unknown {
        /// The text.
        text: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The key file cannot be used.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The directory cannot be used.
    #[error("cannot use account directory {}: {source}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

fn listing(known: &[String]) -> String {
    if known.is_empty() {
        String::new()
    } else {
        format!(" (there are {})", known.join(", "))
    }
}

impl Keystore {
    /// The keys in `dir`, which need not exist yet.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The names of all keys, sorted.
    ///
    /// # Errors
    /// If the directory exists and cannot be read.
    pub fn names(&self) -> Result<Vec<String>, KeystoreError> {
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.unusable(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry.map_err(|error| self.unusable(error))?.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(".key"));
            names.extend(name.filter(|name| is_name(name)).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// The secret key of this name.
    ///
    /// # Errors
    /// If there is none, or its file cannot be used.
    pub fn load(&self, name: &str) -> Result<SecretKey, KeystoreError> {
        match SecretKey::load(&self.path(name)?) {
            Err(KeyFileError::Missing { .. }) => Err(KeystoreError::NoKey {
                name: name.to_owned(),
                dir: self.dir.clone(),
                known: self.names()?,
            }),
            loaded => Ok(loaded?),
        }
    }

    /// Keeps a key under a new name.
    ///
    /// # Errors
    /// If the name does not do or is taken, or the file cannot be written.
    pub fn add(&self, name: &str, key: &SecretKey) -> Result<PathBuf, KeystoreError> {
        let path = self.path(name)?;
        std::fs::create_dir_all(&self.dir).map_err(|error| self.unusable(error))?;
        key.save(&path)?;
        Ok(path)
    }

    /// The public key of an account given by a key's name, by its name in genesis, or as hex.
    ///
    /// # Errors
    /// If nothing of the kind exists, or a key file of that name cannot be used.
    pub fn resolve(&self, text: &str, genesis: Option<&Genesis>) -> Result<PublicKey, KeystoreError> {
        if let Ok(key) = text.parse() {
            return Ok(key);
        }
        let named = genesis.and_then(|genesis| genesis.account_key(text));
        if is_name(text) {
            match self.load(text) {
                Ok(key) => return Ok(key.public()),
                Err(KeystoreError::NoKey { .. }) => {}
                Err(error) => return named.ok_or(error),
            }
        }
        if let Some(key) = named {
            return Ok(key);
        }
        let mut known = self.names()?;
        let in_genesis = genesis.into_iter().flat_map(|genesis| genesis.accounts.iter());
        known.extend(in_genesis.filter_map(|account| account.name.as_ref().map(ToString::to_string)));
        known.sort();
        known.dedup();
        Err(KeystoreError::Unknown {
            text: text.to_owned(),
            known,
        })
    }

    /// The secret key of an account given by name, or by its public key as hex if it is among the keys here.
    ///
    /// # Errors
    /// If there is none.
    pub fn signer(&self, text: &str) -> Result<SecretKey, KeystoreError> {
        let Ok(public) = text.parse::<PublicKey>() else {
            return self.load(text);
        };
        for name in self.names()? {
            let key = self.load(&name)?;
            if key.public() == public {
                return Ok(key);
            }
        }
        Err(KeystoreError::NoKey {
            name: text.to_owned(),
            dir: self.dir.clone(),
            known: self.names()?,
        })
    }

    fn path(&self, name: &str) -> Result<PathBuf, KeystoreError> {
        if is_name(name) {
            Ok(self.dir.join(format!("{name}.key")))
        } else {
            Err(KeystoreError::Name(name.to_owned()))
        }
    }

    fn unusable(&self, source: io::Error) -> KeystoreError {
        KeystoreError::Directory {
            dir: self.dir.clone(),
            source,
        }
    }
}

/// The names of genesis, without those that would be hidden files or lead to another directory.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}
