//! SHA-256 digests of structured values.

use bincode::{Decode, Encode};
use sha2::{Digest as _, Sha256};

use crate::hexadecimal::byte_string;

/// A SHA-256 digest. Its text form is 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Digest([u8; 32]);

byte_string!(Digest, 32, "digest");

impl Digest {
    /// All zero: stands where there is no digest, such as the parent of the first header.
    pub const ZERO: Self = Self([0; 32]);

    /// The digest of `parts` under `domain`.
    ///
    /// What is hashed is `len(domain) ‖ domain ‖ len(part) ‖ part ‖ …` with every length as a u64, little endian.
    /// That string can be read back in one way only, so no two different (domain, parts) ever hash the same
    /// bytes: `["ab", "c"]`, `["a", "bc"]` and `["abc"]` all differ.
    ///
    /// Merkle nodes ([`crate::merkle`]) are hashed without a domain and begin with a byte 0, 1 or 2. A domain
    /// must be of 3 to 255 bytes, so that its length keeps the two apart.
    ///
    /// # Panics
    /// If the domain's length is out of that range: domains are constants of the program.
    pub fn of(domain: &str, parts: &[&[u8]]) -> Self {
        let mut hasher = Hasher::new(domain);
        for part in parts {
            hasher.part(part);
        }
        hasher.finish()
    }

    /// SHA-256 of the pieces one after the other, for callers that see to injectivity themselves.
    pub(crate) fn of_concatenated(pieces: &[&[u8]]) -> Self {
        let mut sha = Sha256::new();
        for piece in pieces {
            sha.update(piece);
        }
        Self(sha.finalize().into())
    }
}

/// The streaming form of [`Digest::of`]: the same parts give the same digest.
#[derive(Clone)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Begins a digest under `domain`.
    ///
    /// # Panics
    /// If the domain is not of 3 to 255 bytes, see [`Digest::of`].
    pub fn new(domain: &str) -> Self {
        assert!(
            (3..256).contains(&domain.len()),
            "a digest domain has 3 to 255 bytes, not {}",
            domain.len()
        );
        let mut hasher = Self(Sha256::new());
        hasher.part(domain.as_bytes());
        hasher
    }

    /// Adds one part. Where the bytes of a part are split matters: two calls are two parts.
    pub fn part(&mut self, part: &[u8]) -> &mut Self {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    /// The digest of the parts so far; more may follow for a longer one.
    pub fn finish(&self) -> Digest {
        Digest(self.0.clone().finalize().into())
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Hasher(..)")
    }
}
