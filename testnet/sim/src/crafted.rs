//! Signatures at the edge of the predicate (CR2, BC3): R is a point of mixed order, which a client that knows its own key can
//! choose. The cofactored equation holds for them and the plain one does not, so that whoever mixes the two gives two verdicts.

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use sha2::{Digest as _, Sha512};
use tagma_crypto::signature::signed_bytes;
use tagma_crypto::{Digest, Domain, Signature};

fn hash(parts: &[&[u8]]) -> [u8; 64] {
    let mut hasher = Sha512::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

/// Signs like RFC 8032 with the key of this seed, but for a point of order 8 that is added to R.
#[must_use]
pub(crate) fn sign(seed: &[u8; 32], domain: Domain, chain: &Digest, content: &[u8]) -> Signature {
    let message = signed_bytes(domain, chain, content);
    let expanded = hash(&[seed]);
    let (scalar, prefix) = expanded.split_at(32);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(scalar);
    let secret = Scalar::from_bytes_mod_order(clamp_integer(bytes));
    let public = EdwardsPoint::mul_base(&secret).compress();
    let nonce = Scalar::from_bytes_mod_order_wide(&hash(&[prefix, &message]));
    let [_, of_order_8, ..] = EIGHT_TORSION;
    let commitment = (EdwardsPoint::mul_base(&nonce) + of_order_8).compress();
    let challenge = hash(&[commitment.as_bytes(), public.as_bytes(), &message]);
    let response = nonce + Scalar::from_bytes_mod_order_wide(&challenge) * secret;
    let mut signature = [0; 64];
    let (first, second) = signature.split_at_mut(32);
    first.copy_from_slice(commitment.as_bytes());
    second.copy_from_slice(response.as_bytes());
    Signature::from_bytes(signature)
}

#[cfg(test)]
mod tests {
    use tagma_crypto::signature::signed_bytes;
    use tagma_crypto::{Claim, Digest, Domain, SecretKey, verify, verify_batch};

    const DOMAIN: Domain = Domain::new("tagma/test");

    #[test]
    fn crafted_signatures_are_good_alone_and_beside_others() {
        let (seed, content) = ([5; 32], b"content");
        let key = SecretKey::from_seed(seed);
        let crafted = super::sign(&seed, DOMAIN, &Digest::ZERO, content);
        let plain = key.sign(DOMAIN, &Digest::ZERO, content);
        assert_ne!(crafted, plain);
        let message = signed_bytes(DOMAIN, &Digest::ZERO, content);
        assert!(verify(&key.public(), &message, &crafted));
        let claims = [crafted, plain].map(|signature| Claim {
            key: key.public(),
            message: message.clone(),
            signature,
        });
        assert_eq!(verify_batch(&claims), [true, true]);
    }
}
