//! Signed requests whose outcome is not known yet: one file `HASH.json` for each. Sending such a request again, to the last
//! byte, cannot pay twice, and finds out.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tagma_crypto::Digest;
use tagma_ledger::{Request, SignedTransaction};

/// A directory of pending requests.
#[derive(Clone, Debug)]
pub struct Pending {
    dir: PathBuf,
}

/// What a file holds.
#[derive(Serialize, Deserialize)]
struct File {
    schema: String,
    hash: Digest,
    request: Request,
}

/// The file's schema.
const SCHEMA: &str = "pending/v1";

/// A pending request as it was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRequest {
    /// Its digest.
    pub hash: Digest,
    /// The request.
    pub transaction: SignedTransaction,
}

/// Why a pending request cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum PendingError {
    /// The system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is not a pending request, or not the one of its name.
    #[error("{} is no pending request: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl PendingError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

impl Pending {
    /// The pending requests in `dir`, which need not exist yet.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Keeps a request.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, transaction: &SignedTransaction) -> Result<(), PendingError> {
        let hash = transaction.transaction.digest();
        let file = File {
            schema: SCHEMA.into(),
            hash,
            request: transaction.to_request(),
        };
        fs::create_dir_all(&self.dir).map_err(|error| PendingError::io("create", &self.dir, error))?;
        let path = self.path(&hash);
        let text = serde_json::to_string_pretty(&file)
            .map_err(|error| PendingError::io("write", &path, io::Error::other(error)))?;
        // Under another name first, so that no half a file ever has the right one.
        let draft = self.dir.join(format!(".{hash}.{}", std::process::id()));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&draft).and_then(|mut draft| {
            draft.write_all(text.as_bytes())?;
            draft.write_all(b"\n")
        });
        written
            .and_then(|()| fs::rename(&draft, &path))
            .map_err(|error| PendingError::io("write", &path, error))
    }

    /// The request with this digest, if it is kept.
    ///
    /// # Errors
    /// If its file cannot be read or is damaged.
    pub fn load(&self, hash: &Digest) -> Result<Option<PendingRequest>, PendingError> {
        let path = self.path(hash);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(PendingError::io("read", &path, error)),
        };
        let malformed = |reason: String| PendingError::Malformed {
            path: path.clone(),
            reason,
        };
        let file: File = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        if file.schema != SCHEMA {
            return Err(malformed(format!(
                "its schema is {:?}, not {SCHEMA:?}",
                file.schema
            )));
        }
        let transaction =
            SignedTransaction::from_request(&file.request).map_err(|error| malformed(error.to_string()))?;
        if transaction.transaction.digest() != *hash {
            return Err(malformed("it holds another request".into()));
        }
        Ok(Some(PendingRequest {
            hash: *hash,
            transaction,
        }))
    }

    /// All that are kept, sorted by digest. Files that are not pending requests are passed over.
    ///
    /// # Errors
    /// If the directory exists and cannot be read.
    pub fn all(&self) -> Result<Vec<PendingRequest>, PendingError> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(PendingError::io("read", &self.dir, error)),
        };
        let mut all = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let hash = name.to_str().and_then(|name| name.strip_suffix(".json"));
            if let Some(hash) = hash.and_then(|hash| hash.parse::<Digest>().ok()) {
                all.extend(self.load(&hash).ok().flatten());
            }
        }
        all.sort_by_key(|pending| pending.hash);
        Ok(all)
    }

    /// Forgets a request: its outcome is known.
    ///
    /// # Errors
    /// If its file exists and cannot be removed.
    pub fn remove(&self, hash: &Digest) -> Result<(), PendingError> {
        let path = self.path(hash);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(PendingError::io("remove", &path, error))
            }
            _ => Ok(()),
        }
    }

    fn path(&self, hash: &Digest) -> PathBuf {
        self.dir.join(format!("{hash}.json"))
    }
}
