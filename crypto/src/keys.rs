//! Ed25519 keys, and the file a secret key is kept in.
//!
//! A key file is one line of text, `tagma-secret-key-v1 <64 hex digits of the seed>`, and a newline. It is readable by
//! its owner only, and is neither overwritten nor read when others could read it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bincode::{Decode, Encode};
use curve25519_dalek::edwards::CompressedEdwardsY;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use ed25519_dalek::{Signer, SigningKey};
use rand::TryRng;
use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::hexadecimal::byte_string;
use crate::known::KnownSignatures;
use crate::point::is_canonical_of_large_order;
use crate::signature::{Claim, Domain, Signature, signed_bytes};

/// What a key file's line begins with.
const FILE_TAG: &str = "tagma-secret-key-v1 ";
/// A key file's exact length: tag, 64 hex digits, newline.
const FILE_LEN: usize = FILE_TAG.len() + 64 + 1;

/// An Ed25519 public key, as it stands in messages: any 32 bytes. Its text form is 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct PublicKey([u8; 32]);

byte_string!(PublicKey, 32, "public key");

impl PublicKey {
    /// Whether a signature can be good under this key at all: a canonical encoding of a curve point that is not of small
    /// order. Others can neither own an account nor stand in a genesis. Costs a point decompression.
    pub fn is_acceptable(&self) -> bool {
        is_canonical_of_large_order(&self.0) && CompressedEdwardsY(self.0).decompress().is_some()
    }
}

/// An Ed25519 secret key. Wiped from memory when dropped; never printed.
#[derive(Clone)]
pub struct SecretKey {
    key: SigningKey,
    /// Where what it signs is remembered.
    made: Arc<KnownSignatures>,
}

impl SecretKey {
    fn new(key: SigningKey) -> Self {
        Self {
            key,
            made: Arc::default(),
        }
    }

    /// The same key; what it signs is known in `memory` to be good. The signatures are the same.
    #[must_use]
    pub fn remembering(self, memory: Arc<KnownSignatures>) -> Self {
        Self { made: memory, ..self }
    }

    /// The key with this seed (RFC 8032, section 5.1.5). For tests and for reading stored keys.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self::new(SigningKey::from_bytes(&seed))
    }

    /// A new key from the operating system's randomness.
    ///
    /// # Panics
    /// If the operating system has none to give: nothing useful could be done without.
    pub fn generate() -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        let outcome = rand::rngs::SysRng.try_fill_bytes(seed.as_mut());
        assert!(
            outcome.is_ok(),
            "the operating system gives no randomness: {outcome:?}"
        );
        Self::new(SigningKey::from_bytes(&seed))
    }

    /// The public key that belongs to this one.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.key.verifying_key().to_bytes())
    }

    /// The key as PKCS#8 DER (RFC 8410), as TLS libraries take it. Wiped from memory when dropped.
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        match self.key.to_pkcs8_der() {
            Ok(document) => document.to_bytes(),
            Err(error) => unreachable!("a key of fixed size has a DER form: {error}"),
        }
    }

    /// Signs `content` as a message of kind `domain` on the chain with id `chain`: [`signed_bytes`] is what is signed.
    pub fn sign(&self, domain: Domain, chain: &Digest, content: &[u8]) -> Signature {
        let message = signed_bytes(domain, chain, content);
        let signature = Signature::from_bytes(self.key.sign(&message).to_bytes());
        self.made.remember(&Claim {
            key: self.public(),
            message,
            signature,
        });
        signature
    }

    /// Writes the key to a new file at `path`, readable by its owner only. Both the file and its directory are synced
    /// when this returns.
    ///
    /// # Errors
    /// If there is a file at `path` already (which is left as it is), or writing fails.
    pub fn save(&self, path: &Path) -> Result<(), KeyFileError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => KeyFileError::Exists {
                path: path.to_owned(),
            },
            _ => KeyFileError::io("create", path, error),
        })?;
        let written = self.write(&mut file).and_then(|()| sync_directory_of(path));
        written.map_err(|error| {
            // Half a key helps nobody and would block the next attempt; the file is ours, as we created it. Should this
            // fail too, the first error is the one to tell.
            drop(std::fs::remove_file(path));
            KeyFileError::io("write", path, error)
        })
    }

    fn write(&self, file: &mut File) -> io::Result<()> {
        let mut digits = Zeroizing::new([0; 64]);
        let encoded = hex::encode_to_slice(self.key.as_bytes(), digits.as_mut());
        assert!(encoded.is_ok(), "32 bytes are 64 hex digits");
        let mut line = Zeroizing::new(Vec::with_capacity(FILE_LEN));
        line.extend_from_slice(FILE_TAG.as_bytes());
        line.extend_from_slice(digits.as_ref());
        line.push(b'\n');
        file.write_all(&line)?;
        file.sync_all()
    }

    /// Reads the key from the file at `path`.
    ///
    /// # Errors
    /// If there is no file, it can be read by others than its owner, or it is not a key file.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => KeyFileError::Missing {
                path: path.to_owned(),
            },
            _ => KeyFileError::io("open", path, error),
        })?;
        // Asked of the open file, so that it cannot be another one than is read.
        let metadata = file
            .metadata()
            .map_err(|error| KeyFileError::io("read", path, error))?;
        if !metadata.is_file() {
            return Err(KeyFileError::Malformed {
                path: path.to_owned(),
            });
        }
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        // Room for one byte too many, so that a longer file shows; reserved at once, so that no copy of the
        // key stays behind in memory that a growing buffer gave back.
        let mut text = Zeroizing::new(Vec::with_capacity(FILE_LEN + 1));
        file.take(FILE_LEN as u64 + 1)
            .read_to_end(&mut text)
            .map_err(|error| KeyFileError::io("read", path, error))?;
        Self::parse(&text).ok_or_else(|| KeyFileError::Malformed {
            path: path.to_owned(),
        })
    }

    /// The key in one line of a key file, with or without its newline; `None` if it is not one.
    pub fn from_line(line: &str) -> Option<Self> {
        let mut whole = Zeroizing::new(Vec::with_capacity(FILE_LEN + 1));
        whole.extend_from_slice(line.trim_end_matches('\n').as_bytes());
        whole.push(b'\n');
        Self::parse(&whole)
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let digits = line.strip_prefix(FILE_TAG.as_bytes())?.strip_suffix(b"\n")?;
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(digits, seed.as_mut()).ok()?;
        Some(Self::new(SigningKey::from_bytes(&seed)))
    }
}

/// Makes a new directory entry for `path` durable.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SecretKey(redacted, public {})", self.public().short())
    }
}

/// Why a secret key could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is a file already, and a key is never overwritten.
    #[error("{} exists already: move it away first, a key that is lost cannot be had again", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// There is no such file.
    #[error("there is no key file {}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Others than the owner could read (or write) the file.
    #[error(
        "others can get at key file {} (mode {mode:03o}): run `chmod 600 {}`, and think of the key as known to them",
        path.display(),
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not what [`SecretKey::save`] writes.
    #[error("{} is no key file: expected one line `{FILE_TAG}<64 hex digits>`", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} key file {}: {source}", path.display())]
    Io {
        /// What was tried: "create", "write", "open" or "read".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

impl KeyFileError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}
