//! The predicate of protocol.md §8 written down once more, straight from its text, with other operations than the
//! library uses: canonical means "encodes back to the same bytes", S < ℓ is a comparison of byte strings, the
//! equation is computed with constant-time multiplications.

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use sha2::{Digest as _, Sha512};
use tagma_crypto::Claim;

/// ℓ = 2^252 + 27742317777372353535851937790883648493, big endian.
pub(crate) const GROUP_ORDER: [u8; 32] = [
    0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0xde, 0xf9, 0xde, 0xa2, 0xf7, 0x9c, 0xd6, 0x58,
    0x12, 0x63, 0x1a, 0x5c, 0xf5, 0xd3, 0xed,
];

/// SHA-512(R ‖ A ‖ M) mod ℓ.
pub(crate) fn challenge(r: &[u8; 32], key: &[u8; 32], message: &[u8]) -> Scalar {
    let hash = Sha512::new()
        .chain_update(r)
        .chain_update(key)
        .chain_update(message)
        .finalize();
    Scalar::from_bytes_mod_order_wide(&hash.into())
}

fn admissible_point(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    let point = CompressedEdwardsY(*bytes).decompress()?;
    let canonical = point.compress().to_bytes() == *bytes;
    let large = !point.is_small_order();
    (canonical && large).then_some(point)
}

/// The verdict on a claim.
pub(crate) fn verdict(claim: &Claim) -> bool {
    let (r_bytes, s_bytes) = claim.signature.as_bytes().split_at(32);
    let r_bytes: [u8; 32] = r_bytes.try_into().unwrap();
    let mut s_bytes: [u8; 32] = s_bytes.try_into().unwrap();
    let s = Scalar::from_bytes_mod_order(s_bytes);
    s_bytes.reverse();
    if s_bytes >= GROUP_ORDER {
        return false;
    }
    let (Some(a), Some(r)) = (admissible_point(claim.key.as_bytes()), admissible_point(&r_bytes)) else {
        return false;
    };
    let k = challenge(&r_bytes, claim.key.as_bytes(), &claim.message);
    (EdwardsPoint::mul_base(&s) - r - a * k)
        .mul_by_cofactor()
        .is_identity()
}

/// The verdict of ed25519-zebra, which has the same equation and none of the other conditions, on what meets those.
pub(crate) fn zebra(claim: &Claim) -> bool {
    let (r_bytes, _) = claim.signature.as_bytes().split_at(32);
    let admissible = [claim.key.as_bytes(), r_bytes.try_into().unwrap()]
        .into_iter()
        .all(|point| admissible_point(point).is_some());
    let signature = ed25519_zebra::Signature::from_bytes(claim.signature.as_bytes());
    admissible
        && ed25519_zebra::VerificationKey::try_from(*claim.key.as_bytes())
            .is_ok_and(|key| key.verify(&signature, &claim.message).is_ok())
}
