//! A memory of good signatures, so that none is verified twice.
//!
//! The same signature comes by many ways: a vote alone, again in answer to a STATUS, and once more inside every certificate
//! of a VIEW-CHANGE, a NEW-VIEW or a block. What was verified once, or was made here, needs no second equation.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::batch::DecodedKeys;
use crate::digest::Digest;
use crate::generations::Generations;
use crate::signature::{Claim, verify_with};

/// How many decoded keys each of the two generations holds, some 200 bytes each: more than the accounts that are busy at one
/// time on a busy network.
const KEYS: usize = 1 << 14;

/// Signatures that are known to be good, the newest ones, and the keys of good ones. It never changes a verdict: only the
/// exact key, message and signature that were found good are known again, and bad ones are not kept at all.
#[derive(Debug)]
pub struct KnownSignatures {
    /// How many signatures a generation has.
    generation: usize,
    memory: Mutex<Generations<Digest, ()>>,
    keys: DecodedKeys,
}

/// What stands for a claim: with another key, message or signature it would be another digest.
fn identity(claim: &Claim) -> Digest {
    let (key, signature) = (claim.key.as_bytes(), claim.signature.as_bytes());
    Digest::of("tagma/known-signature", &[key, signature, &claim.message])
}

impl Default for KnownSignatures {
    /// A memory of keys alone: every signature is verified every time.
    fn default() -> Self {
        Self::new(0)
    }
}

impl KnownSignatures {
    /// A memory of two generations of this many signatures, 32 bytes and a little more each. None are remembered if it is 0,
    /// only their keys.
    #[must_use]
    pub fn new(generation: usize) -> Self {
        Self {
            generation,
            memory: Mutex::new(Generations::new(generation)),
            keys: DecodedKeys::new(KEYS),
        }
    }

    /// Remembers a claim that is known to hold, because its signature was made here.
    pub fn remember(&self, claim: &Claim) {
        if self.generation > 0 {
            self.lock().insert(identity(claim), ());
        }
    }

    /// Whether this exact claim is known to hold.
    pub fn knows(&self, claim: &Claim) -> bool {
        self.generation > 0 && self.lock().get(&identity(claim)).is_some()
    }

    /// The verdicts of [`verify_batch`](crate::verify_batch) on these claims; only those that are not known cost an equation,
    /// and the good ones among them are known from then on.
    pub fn verify_batch(&self, claims: &[Claim]) -> Vec<bool> {
        self.verify_with_passing(claims, &[]).0
    }

    /// The verdicts on `claims`, as [`verify_batch`](Self::verify_batch) gives them, and on `passing` ones, which are not
    /// looked for and not remembered: to remember a signature that never comes again costs more than it saves. All of them
    /// share their equations.
    pub fn verify_with_passing(&self, claims: &[Claim], passing: &[Claim]) -> (Vec<bool>, Vec<bool>) {
        let (all, passing) = (claims.iter(), passing.iter());
        if self.generation == 0 || crate::mutant!(TwoVerdicts) {
            let mut verdicts = verify_with(&all.chain(passing).collect::<Vec<_>>(), &self.keys);
            let passed = verdicts.split_off(claims.len());
            return (verdicts, passed);
        }
        let identities: Vec<Digest> = claims.iter().map(identity).collect();
        let mut verdicts: Vec<bool> = {
            let memory = self.lock();
            let known = identities.iter().map(|claim| memory.get(claim).is_some());
            known.collect()
        };
        let unknown = all.zip(&verdicts).filter(|(_, known)| !**known);
        let mut unknown: Vec<&Claim> = unknown.map(|(claim, _)| claim).collect();
        let looked_for = unknown.len();
        unknown.extend(passing);
        // Not under the lock: other threads' claims need not wait for these equations.
        let mut found = verify_with(&unknown, &self.keys);
        let passed = found.split_off(looked_for);
        if looked_for > 0 {
            let (mut found, mut memory) = (found.into_iter(), self.lock());
            for (verdict, identity) in verdicts.iter_mut().zip(identities) {
                if !*verdict && found.next() == Some(true) {
                    *verdict = true;
                    memory.insert(identity, ());
                }
            }
        }
        (verdicts, passed)
    }

    // Every change of the memory is whole: a panic elsewhere leaves at worst a signature forgotten.
    fn lock(&self) -> MutexGuard<'_, Generations<Digest, ()>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::KnownSignatures;
    use crate::{Claim, Digest, Domain, SecretKey, Signature, verify_batch};

    const DOMAIN: Domain = Domain::new("tagma/test");

    fn claim(number: u64) -> Claim {
        let key = SecretKey::from_seed([7; 32]);
        let message = crate::signature::signed_bytes(DOMAIN, &Digest::ZERO, &number.to_le_bytes());
        Claim {
            key: key.public(),
            signature: key.sign(DOMAIN, &Digest::ZERO, &number.to_le_bytes()),
            message,
        }
    }

    /// Every way in which a claim can differ from a good one.
    fn spoiled(good: &Claim) -> [Claim; 4] {
        let mut bytes = *good.signature.as_bytes();
        bytes[40] ^= 1;
        let mut message = good.message.clone();
        message.push(0);
        [
            Claim {
                signature: Signature::from_bytes(bytes),
                ..good.clone()
            },
            Claim {
                message,
                ..good.clone()
            },
            Claim {
                key: SecretKey::from_seed([8; 32]).public(),
                ..good.clone()
            },
            Claim {
                signature: claim(99).signature,
                ..good.clone()
            },
        ]
    }

    #[test]
    fn the_verdicts_are_those_without_a_memory_however_often_one_asks() {
        for memory in [
            KnownSignatures::default(),
            KnownSignatures::new(4),
            KnownSignatures::new(100),
        ] {
            for round in 0..6 {
                let mut claims: Vec<Claim> = (0..10).map(|number| claim(number + round)).collect();
                claims.extend(claims.clone().iter().flat_map(spoiled));
                claims.push(claim(round));
                assert_eq!(
                    memory.verify_batch(&claims),
                    verify_batch(&claims),
                    "round {round}"
                );
            }
        }
    }

    #[test]
    fn passing_claims_have_the_same_verdicts_and_are_not_remembered() {
        for memory in [KnownSignatures::default(), KnownSignatures::new(100)] {
            let kept: Vec<Claim> = (0..5).map(claim).collect();
            let mut passing: Vec<Claim> = (5..10).map(claim).collect();
            passing.extend(spoiled(&claim(3)));
            for _ in 0..2 {
                let (on_kept, on_passing) = memory.verify_with_passing(&kept, &passing);
                assert_eq!(on_kept, verify_batch(&kept));
                assert_eq!(on_passing, verify_batch(&passing));
            }
            assert_eq!(
                memory.verify_with_passing(&[], &passing).1,
                verify_batch(&passing)
            );
            assert!(!passing.iter().any(|claim| memory.knows(claim)));
        }
    }

    #[test]
    fn what_was_made_here_is_known_and_nothing_else() {
        let memory = KnownSignatures::new(100);
        let good = claim(1);
        memory.remember(&good);
        assert!(memory.knows(&good));
        for other in spoiled(&good) {
            assert!(!memory.knows(&other));
            assert_eq!(memory.verify_batch(&[other]), [false]);
        }
    }

    #[test]
    fn a_key_that_remembers_signs_the_same_and_its_signatures_are_known() {
        let memory = std::sync::Arc::new(KnownSignatures::new(100));
        let plain = SecretKey::from_seed([7; 32]);
        let remembering = plain.clone().remembering(std::sync::Arc::clone(&memory));
        let signature = remembering.sign(DOMAIN, &Digest::ZERO, b"x");
        assert_eq!(signature, plain.sign(DOMAIN, &Digest::ZERO, b"x"));
        let made = Claim {
            key: plain.public(),
            message: crate::signature::signed_bytes(DOMAIN, &Digest::ZERO, b"x"),
            signature,
        };
        assert!(memory.knows(&made));
        assert_eq!(verify_batch(&[made]), [true]);
    }

    #[test]
    fn the_memory_is_bounded() {
        let memory = KnownSignatures::new(10);
        for number in 0..100 {
            memory.remember(&claim(number));
        }
        let held = memory.lock();
        assert!(held.len() <= 20);
        assert!(held.get(&super::identity(&claim(99))).is_some());
    }
}
