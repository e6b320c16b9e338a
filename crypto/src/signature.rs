//! Signatures, and the one predicate that decides whether one is good.
//!
//! All replicas must give one verdict on every signature on every path, single or batched, or a client could split them
//! at will. Common libraries do not: their plain single and plain batch verification disagree on crafted
//! signatures. The predicate here, for key A and signature (R, S) over M, with k = SHA-512(R ‖ A ‖ M):
//!
//! - A and R are canonical encodings of curve points, neither of them of small order;
//! - S < ℓ;
//! - `[8][S]B = [8]R + [8][k]A`, the *cofactored* equation.
//!
//! A sum of such equations with random factors holds iff (but for a chance of 2⁻¹²⁸) each of them does, which
//! makes the verdict of a batch that of its members. The equation is that of ZIP 215; tests hold the verdicts to those
//! of ed25519-zebra on claims of every crafted kind.
//!
//! A signature covers a [`Domain`] (one for each kind of message) and the chain's id besides its content, see
//! [`signed_bytes`].

use bincode::{Decode, Encode};

use crate::batch::{DecodedKeys, verdict, verdicts};
use crate::digest::Digest;
use crate::hexadecimal::byte_string;
use crate::keys::PublicKey;

/// What kind of message a signature is for. No signature of one kind ever verifies as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Domain(&'static str);

impl Domain {
    /// The domain with this tag. Every kind of signed message has one of its own.
    pub const fn new(tag: &'static str) -> Self {
        Self(tag)
    }

    /// The tag.
    pub const fn as_str(&self) -> &'static str {
        self.0
    }
}

/// An Ed25519 signature: R, then S. Its text form is 128 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Signature([u8; 64]);

byte_string!(Signature, 64, "signature");

impl Signature {
    /// R and S.
    pub(crate) fn halves(&self) -> ([u8; 32], [u8; 32]) {
        let (mut r, mut s) = ([0; 32], [0; 32]);
        let (first, second) = self.0.split_at(32);
        r.copy_from_slice(first);
        s.copy_from_slice(second);
        (r, s)
    }
}

/// A signature as it came with a message, to be verified.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Whose signature it is said to be.
    pub key: PublicKey,
    /// What was signed: the bytes of [`signed_bytes`].
    pub message: Vec<u8>,
    /// The signature.
    pub signature: Signature,
}

/// What is signed for a message: the length of the domain's tag as a u64, little endian, the tag, the chain's
/// id (32 bytes), and the content. Injective, since only the last part has no length in front or fixed.
pub fn signed_bytes(domain: Domain, chain: &Digest, content: &[u8]) -> Vec<u8> {
    let tag = domain.0.as_bytes();
    let mut bytes = Vec::with_capacity(8 + tag.len() + 32 + content.len());
    bytes.extend_from_slice(&(tag.len() as u64).to_le_bytes());
    bytes.extend_from_slice(tag);
    bytes.extend_from_slice(chain.as_bytes());
    bytes.extend_from_slice(content);
    bytes
}

/// Whether the signature over `message` (the bytes of [`signed_bytes`]) is good under the module's predicate.
pub fn verify(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    verdict(key, message, signature, &DecodedKeys::default())
}

/// The verdict on each claim, in their order: that of [`verify`] on each, only faster when most are good. Whoever verifies
/// again and again does better with a [`KnownSignatures`](crate::KnownSignatures).
pub fn verify_batch(claims: &[Claim]) -> Vec<bool> {
    verify_with(&claims.iter().collect::<Vec<_>>(), &DecodedKeys::default())
}

/// As [`verify_batch`], with a memory of decoded keys.
pub(crate) fn verify_with(claims: &[&Claim], decoded: &DecodedKeys) -> Vec<bool> {
    crate::mutant!(TwoVerdicts, {
        let without_cofactor = |claim: &&Claim| {
            let key = ed25519_dalek::VerifyingKey::from_bytes(claim.key.as_bytes());
            let signature = ed25519_dalek::Signature::from_bytes(claim.signature.as_bytes());
            key.is_ok_and(|key| key.verify_strict(&claim.message, &signature).is_ok())
        };
        if claims.len() > 1 {
            return claims.iter().map(without_cofactor).collect();
        }
    });
    verdicts(claims, decoded)
}
