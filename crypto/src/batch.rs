//! Many signatures by one equation.
//!
//! For claims that passed the first parts of the predicate, with random 128-bit factors zᵢ:
//! `[8](Σ [zᵢ kᵢ] Aᵢ + Σ [zᵢ] Rᵢ − [Σ zᵢ Sᵢ] B) = 0` holds, but for a chance of 2⁻¹²⁸, iff the cofactored equation of every
//! claim does. Terms of one key are added up before they are multiplied, so a key costs once however many of its
//! signatures there are; and a key that had a good signature before need not be decoded again.
//!
//! The factors must be unknown to whoever made the signatures, or errors could be chosen to cancel out. One of them may be 1: the
//! others are as unlikely to cancel that claim's error as any.

use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use rand::Rng;
use sha2::{Digest as _, Sha512};

use crate::generations::Generations;
use crate::hashed::HashedMap;
use crate::keys::PublicKey;
use crate::point::is_canonical_of_large_order;
use crate::signature::{Claim, Signature};

/// Most claims in one equation. A signature of a key that no other has takes half the time in batches of 1,024 that it
/// takes in batches of 16; larger ones gain next to nothing, and take over ten milliseconds before anybody has a verdict.
pub(crate) const MAX_BATCH: usize = 1024;
/// A batch that does not hold is split into so many parts, and those again.
const PARTS: usize = 8;
/// A part of so many that does not hold is settled one by one. So a lone bad signature costs its batch about twice, and a batch of
/// nothing but bad ones takes hardly longer than each of them alone.
const ALONE: usize = 16;

/// A signature that passed all that precedes its equation.
struct Term {
    /// Where its claim stands among the claims.
    claim: usize,
    /// Where its key stands among the points of the batch.
    key: usize,
    r: EdwardsPoint,
    s: Scalar,
    /// SHA-512(R ‖ A ‖ M).
    k: Scalar,
}

/// Decoded public keys that had good signatures, the newest ones: to decode a key takes a third of what one of its
/// signatures takes in a batch. A key gets in only with a good signature, so nobody can push out others for free.
#[derive(Debug, Default)]
pub(crate) struct DecodedKeys(Mutex<Generations<PublicKey, EdwardsPoint>>);

impl DecodedKeys {
    /// A memory of two generations of so many keys, some 200 bytes each. [`Default`] gives one that remembers nothing.
    pub(crate) fn new(generation: usize) -> Self {
        Self(Mutex::new(Generations::new(generation)))
    }

    // Every change of the memory is whole: a panic elsewhere leaves at worst a key forgotten.
    fn lock(&self) -> MutexGuard<'_, Generations<PublicKey, EdwardsPoint>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys of a batch, each of them once.
struct Points<'a> {
    decoded: &'a DecodedKeys,
    /// The keys in the order in which they came up, and whether they are new to the memory.
    points: Vec<EdwardsPoint>,
    new: Vec<Option<PublicKey>>,
    /// Where each key stands; none if it is no acceptable key.
    places: HashedMap<PublicKey, Option<usize>>,
}

impl<'a> Points<'a> {
    fn new(decoded: &'a DecodedKeys) -> Self {
        Self {
            decoded,
            points: Vec::new(),
            new: Vec::new(),
            places: HashedMap::default(),
        }
    }

    /// Where this key stands; none if no signature under it can be good.
    fn place(&mut self, key: &PublicKey) -> Option<usize> {
        let entry = match self.places.entry(*key) {
            Entry::Occupied(known) => return *known.get(),
            Entry::Vacant(entry) => entry,
        };
        let known = self.decoded.lock().get(key).copied();
        let (point, new) = match known {
            Some(point) => (Some(point), None),
            None => (decode(key.as_bytes()), Some(*key)),
        };
        *entry.insert(point.map(|point| {
            self.points.push(point);
            self.new.push(new);
            self.points.len() - 1
        }))
    }

    /// The part of the predicate that precedes the equation; none if the claim does not pass.
    fn admit(
        &mut self,
        claim: usize,
        key: &PublicKey,
        message: &[u8],
        signature: &Signature,
    ) -> Option<Term> {
        let (r_bytes, s_bytes) = signature.halves();
        let s = Option::from(Scalar::from_canonical_bytes(s_bytes))?;
        let r = decode(&r_bytes)?;
        let place = self.place(key)?;
        let hash = Sha512::new()
            .chain_update(r_bytes)
            .chain_update(key.as_bytes())
            .chain_update(message)
            .finalize();
        let k = Scalar::from_bytes_mod_order_wide(&hash.into());
        Some(Term {
            claim,
            key: place,
            r,
            s,
            k,
        })
    }

    /// Whether the equations of all these claims hold.
    fn hold(&self, terms: &[Term]) -> bool {
        let difference = match terms {
            [] => return true,
            // A batch of one would cost a point and random numbers more.
            [term] => {
                let Some(key) = self.points.get(term.key) else {
                    return false;
                };
                EdwardsPoint::vartime_double_scalar_mul_basepoint(&term.k, &-key, &term.s) - term.r
            }
            _ => self.sum(terms),
        };
        difference.mul_by_cofactor().is_identity()
    }

    fn sum(&self, terms: &[Term]) -> EdwardsPoint {
        let mut random = vec![0; 16 * terms.len().saturating_sub(1)];
        rand::rng().fill_bytes(&mut random);
        let (factors, _) = random.as_chunks::<16>();
        let mut of_base = Scalar::ZERO;
        let mut of_keys = vec![Scalar::ZERO; self.points.len()];
        let size = 1 + self.points.len() + terms.len();
        let (mut scalars, mut points) = (Vec::with_capacity(size), Vec::with_capacity(size));
        let factors = factors
            .iter()
            .map(|factor| Scalar::from(u128::from_le_bytes(*factor)));
        for (term, factor) in terms.iter().zip(std::iter::once(Scalar::ONE).chain(factors)) {
            of_base -= factor * term.s;
            if let Some(of_key) = of_keys.get_mut(term.key) {
                *of_key += factor * term.k;
            }
            scalars.push(factor);
            points.push(term.r);
        }
        // A part of a batch does not have all of its keys.
        let of_keys = of_keys.into_iter().zip(&self.points);
        for (scalar, point) in of_keys.filter(|(scalar, _)| *scalar != Scalar::ZERO) {
            scalars.push(scalar);
            points.push(*point);
        }
        scalars.push(of_base);
        points.push(ED25519_BASEPOINT_POINT);
        EdwardsPoint::vartime_multiscalar_mul(scalars, points)
    }

    /// Calls `good` for each claim whose equation holds.
    fn settle(&self, terms: &[Term], good: &mut impl FnMut(&Term)) {
        if self.hold(terms) {
            terms.iter().for_each(good);
        } else if terms.len() > 1 {
            let part = if terms.len() > ALONE {
                terms.len().div_ceil(PARTS)
            } else {
                1
            };
            for part in terms.chunks(part) {
                self.settle(part, good);
            }
        }
    }
}

/// The point that these bytes encode canonically, if it is one of large order.
fn decode(encoding: &[u8; 32]) -> Option<EdwardsPoint> {
    let admissible = is_canonical_of_large_order(encoding);
    admissible
        .then(|| CompressedEdwardsY(*encoding).decompress())
        .flatten()
}

/// Whether the signature over `message` is good.
pub(crate) fn verdict(key: &PublicKey, message: &[u8], signature: &Signature, decoded: &DecodedKeys) -> bool {
    let mut points = Points::new(decoded);
    let term = points.admit(0, key, message, signature);
    term.is_some_and(|term| points.hold(&[term]))
}

/// The verdict on each claim, in their order, by as few equations as there are [`MAX_BATCH`]es of them.
pub(crate) fn verdicts(claims: &[&Claim], decoded: &DecodedKeys) -> Vec<bool> {
    let batches = claims.len().div_ceil(MAX_BATCH).max(1);
    // Of equal size: a small rest would gain little from being a batch.
    let size = claims.len().div_ceil(batches).max(1);
    claims
        .chunks(size)
        .flat_map(|claims| batch_verdicts(claims, decoded))
        .collect()
}

fn batch_verdicts(claims: &[&Claim], decoded: &DecodedKeys) -> Vec<bool> {
    let mut points = Points::new(decoded);
    let terms: Vec<Term> = claims
        .iter()
        .enumerate()
        .filter_map(|(place, claim)| points.admit(place, &claim.key, &claim.message, &claim.signature))
        .collect();
    let mut verdicts = vec![false; claims.len()];
    let mut proved = vec![false; points.points.len()];
    points.settle(&terms, &mut |term| {
        for (list, place) in [(&mut verdicts, term.claim), (&mut proved, term.key)] {
            if let Some(entry) = list.get_mut(place) {
                *entry = true;
            }
        }
    });
    let keys = points.new.into_iter().zip(points.points).zip(proved);
    let mut new = keys
        .filter_map(|((key, point), proved)| key.filter(|_| proved).map(|key| (key, point)))
        .peekable();
    if new.peek().is_some() {
        let mut memory = decoded.lock();
        new.for_each(|(key, point)| memory.insert(key, point));
    }
    verdicts
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test that fails is to stop at once"
    )]

    use super::{DecodedKeys, MAX_BATCH, verdicts};
    use crate::signature::signed_bytes;
    use crate::{Claim, Digest, Domain, SecretKey, Signature};

    const DOMAIN: Domain = Domain::new("tagma/test");

    fn claim(key: u64, content: u64) -> Claim {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&key.to_le_bytes());
        let key = SecretKey::from_seed(seed);
        let content = content.to_le_bytes();
        Claim {
            key: key.public(),
            signature: key.sign(DOMAIN, &Digest::ZERO, &content),
            message: signed_bytes(DOMAIN, &Digest::ZERO, &content),
        }
    }

    fn spoil(claim: &mut Claim) {
        let mut bytes = *claim.signature.as_bytes();
        bytes[32] ^= 1;
        claim.signature = Signature::from_bytes(bytes);
    }

    #[test]
    fn bad_ones_are_found_wherever_they_stand_and_however_many_there_are() {
        let decoded = DecodedKeys::new(1000);
        let good: Vec<Claim> = (0..200).map(|number| claim(number % 50, number)).collect();
        let spread: [&[usize]; 6] = [
            &[0],
            &[199],
            &[57],
            &[0, 199],
            &[24, 25, 26, 100],
            &[0, 1, 198, 199],
        ];
        for bad in spread {
            let mut claims = good.clone();
            bad.iter().for_each(|place| spoil(&mut claims[*place]));
            let claims: Vec<&Claim> = claims.iter().collect();
            let expected: Vec<bool> = (0..200).map(|place| !bad.contains(&place)).collect();
            assert_eq!(verdicts(&claims, &decoded), expected, "{bad:?}");
        }
        let mut claims = good;
        claims.iter_mut().for_each(spoil);
        let claims: Vec<&Claim> = claims.iter().collect();
        assert_eq!(verdicts(&claims, &decoded), [false; 200]);
    }

    #[test]
    fn more_than_one_batch_has_a_verdict_for_each() {
        let good: Vec<Claim> = (0..8).map(|number| claim(number, number)).collect();
        let mut bad = good[3].clone();
        spoil(&mut bad);
        let size = 2 * MAX_BATCH + 3;
        let claims: Vec<&Claim> = (0..size)
            .map(|place| if place == 1500 { &bad } else { &good[place % 8] })
            .collect();
        let expected: Vec<bool> = (0..size).map(|place| place != 1500).collect();
        assert_eq!(verdicts(&claims, &DecodedKeys::new(4)), expected);
        assert!(verdicts(&[], &DecodedKeys::default()).is_empty());
    }

    #[test]
    fn only_keys_with_a_good_signature_are_remembered() {
        let decoded = DecodedKeys::new(10);
        let (good, mut bad, mut lone) = (claim(1, 1), claim(2, 2), claim(3, 3));
        spoil(&mut bad);
        spoil(&mut lone);
        assert_eq!(verdicts(&[&good, &bad], &decoded), [true, false]);
        assert_eq!(verdicts(&[&lone], &decoded), [false]);
        let memory = decoded.lock();
        assert_eq!(memory.len(), 1);
        assert!(memory.get(&good.key).is_some());
    }

    #[test]
    fn verdicts_do_not_depend_on_what_is_remembered() {
        let remembering = DecodedKeys::new(3);
        let mut claims: Vec<Claim> = (0..40).map(|number| claim(number % 7, number)).collect();
        claims.iter_mut().step_by(9).for_each(spoil);
        let claims: Vec<&Claim> = claims.iter().collect();
        let expected = verdicts(&claims, &DecodedKeys::default());
        assert_eq!(expected.iter().filter(|good| !**good).count(), 5);
        for _ in 0..4 {
            assert_eq!(verdicts(&claims, &remembering), expected);
            for (claim, expected) in claims.iter().zip(&expected) {
                assert_eq!(verdicts(&[claim], &remembering), [*expected]);
            }
            assert!(remembering.lock().len() <= 6);
        }
    }
}
