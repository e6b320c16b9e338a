//! What every other part of Tagma must agree on to the last byte: digests, the canonical encoding, keys,
//! signatures and Merkle trees.
//!
//! - [`digest`]: SHA-256 with a domain and length-prefixed parts.
//! - [`encode`]: the one canonical encoding, and the containers that messages are made of.
//! - [`generations`]: a bounded memory that forgets its oldest entries.
//! - [`keys`]: Ed25519 public and secret keys, and the file a secret key is kept in.
//! - [`known`]: a memory of good signatures, so that none is verified twice.
//! - [`signature`]: signing, and the one verification predicate, single and in batches.
//! - [`merkle`]: RFC 6962 trees and inclusion proofs.
//! - [`request`]: a client's signed request, and the digest of a batch of them.
//!
//! Nothing here knows of replicas, views or accounts, and nothing here can be made to panic, or to allocate
//! more than a constant times its input, by bytes that came from elsewhere.

#![forbid(unsafe_code)]

mod batch;
mod hexadecimal;
mod point;

pub mod digest;
pub mod encode;
pub mod generations;
pub mod hashed;
pub mod keys;
pub mod known;
pub mod merkle;
pub mod mutants;
pub mod request;
pub mod signature;

pub use digest::{Digest, Hasher};
pub use encode::{Blob, List, Text};
pub use generations::Generations;
pub use hashed::{HashedMap, HashedSet};
pub use hexadecimal::ParseError;
pub use keys::{KeyFileError, PublicKey, SecretKey};
pub use known::KnownSignatures;
pub use request::Request;
pub use signature::{Claim, Domain, Signature, verify, verify_batch};
