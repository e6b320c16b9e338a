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
//! makes the verdict of a batch that of its members. Equation: ZIP 215, by ed25519-zebra; the checks before it are ours.
//!
//! A signature covers a [`Domain`] (one for each kind of message) and the chain's id besides its content, see
//! [`signed_bytes`].

use bincode::{Decode, Encode};
use curve25519_dalek::scalar::Scalar;
use ed25519_zebra::batch::{Item, Verifier};

use crate::digest::Digest;
use crate::hexadecimal::byte_string;
use crate::keys::PublicKey;
use crate::point::is_canonical_of_large_order;

/// How many claims share one batch equation. Larger batches gain little more, and one bad signature makes all of its batch
/// be verified one by one.
const BATCH: usize = 64;

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
pub fn verify(claim_key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    admit(claim_key, message, signature).is_some_and(holds)
}

/// The verdict on each claim, in their order: that of [`verify`] on each, only faster when most are good.
pub fn verify_batch(claims: &[Claim]) -> Vec<bool> {
    claims.chunks(BATCH).flat_map(verify_chunk).collect()
}

fn verify_chunk(claims: &[Claim]) -> Vec<bool> {
    crate::mutant!(TwoVerdicts, {
        let without_cofactor = |claim: &Claim| {
            let key = ed25519_dalek::VerifyingKey::from_bytes(claim.key.as_bytes());
            let signature = ed25519_dalek::Signature::from_bytes(claim.signature.as_bytes());
            key.is_ok_and(|key| key.verify_strict(&claim.message, &signature).is_ok())
        };
        if claims.len() > 1 {
            return claims.iter().map(without_cofactor).collect();
        }
    });
    if let [claim] = claims {
        // The batch equation gains nothing for one, and costs a third point and random numbers.
        return vec![verify(&claim.key, &claim.message, &claim.signature)];
    }
    let items: Vec<Option<Item>> = claims
        .iter()
        .map(|claim| admit(&claim.key, &claim.message, &claim.signature))
        .collect();
    let mut batch = Verifier::new();
    for item in items.iter().flatten() {
        batch.queue(item.clone());
    }
    if batch.verify(rand::rng()).is_ok() {
        return items.iter().map(Option::is_some).collect();
    }
    // Bisecting would gain a quarter for a lone culprit, and cost far more than this when an attacker spreads many.
    items.into_iter().map(|item| item.is_some_and(holds)).collect()
}

/// The part of the predicate that precedes the equation. What passes still needs its points decompressed and its
/// equation checked.
fn admit(key: &PublicKey, message: &[u8], signature: &Signature) -> Option<Item> {
    let parsed = ed25519_zebra::Signature::from_bytes(signature.as_bytes());
    let admissible = is_canonical_of_large_order(key.as_bytes())
        && is_canonical_of_large_order(parsed.r_bytes())
        && bool::from(Scalar::from_canonical_bytes(*parsed.s_bytes()).is_some());
    admissible.then(|| Item::from(((*key.as_bytes()).into(), parsed, message)))
}

/// The rest of the predicate: A and R are on the curve, and the cofactored equation holds.
fn holds(item: Item) -> bool {
    item.verify_single().is_ok()
}
