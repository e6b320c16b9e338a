//! A memory of good signatures, so that none is verified twice.
//!
//! The same signature comes by many ways: a vote alone, again in answer to a STATUS, and once more inside every certificate
//! of a VIEW-CHANGE, a NEW-VIEW or a block. What was verified once, or was made here, needs no second equation.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::digest::Digest;
use crate::signature::{Claim, verify_batch};

/// Signatures that are known to be good, the newest ones. It never changes a verdict: only the exact key, message and
/// signature that were found good are known again, and bad ones are not kept at all.
#[derive(Debug, Default)]
pub struct KnownSignatures {
    generation: usize,
    memory: Mutex<Memory>,
}

/// Two generations bound the memory: when the young one is full it becomes the old one, which is forgotten.
#[derive(Debug, Default)]
struct Memory {
    young: HashSet<Digest>,
    old: HashSet<Digest>,
}

/// What stands for a claim: with another key, message or signature it would be another digest.
fn identity(claim: &Claim) -> Digest {
    let (key, signature) = (claim.key.as_bytes(), claim.signature.as_bytes());
    Digest::of("tagma/known-signature", &[key, signature, &claim.message])
}

impl KnownSignatures {
    /// A memory of two generations of this many signatures, 32 bytes and a little more each. [`Default`] gives one that
    /// remembers nothing, so that everything is verified every time.
    #[must_use]
    pub fn new(generation: usize) -> Self {
        Self {
            generation,
            memory: Mutex::default(),
        }
    }

    /// Remembers a claim that is known to hold, because its signature was made here.
    pub fn remember(&self, claim: &Claim) {
        if self.generation > 0 {
            self.lock().insert(self.generation, identity(claim));
        }
    }

    /// The verdicts of [`verify_batch`] on these claims; only those that are not known cost an equation, and the good ones
    /// among them are known from then on.
    pub fn verify_batch(&self, claims: &[Claim]) -> Vec<bool> {
        if self.generation == 0 || crate::mutant!(TwoVerdicts) {
            return verify_batch(claims);
        }
        let identities: Vec<Digest> = claims.iter().map(identity).collect();
        let mut verdicts: Vec<bool> = {
            let memory = self.lock();
            identities.iter().map(|claim| memory.knows(claim)).collect()
        };
        let unknown: Vec<Claim> = claims
            .iter()
            .zip(&verdicts)
            .filter(|(_, known)| !**known)
            .map(|(claim, _)| claim.clone())
            .collect();
        if unknown.is_empty() {
            return verdicts;
        }
        // Not under the lock: other threads' claims need not wait for these equations.
        let mut found = verify_batch(&unknown).into_iter();
        let mut memory = self.lock();
        for (verdict, identity) in verdicts.iter_mut().zip(identities) {
            if !*verdict && found.next() == Some(true) {
                *verdict = true;
                memory.insert(self.generation, identity);
            }
        }
        verdicts
    }

    // Every change of the sets is whole: a panic elsewhere leaves at worst a signature forgotten.
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn knows(&self, claim: &Digest) -> bool {
        self.young.contains(claim) || self.old.contains(claim)
    }

    fn insert(&mut self, generation: usize, claim: Digest) {
        if self.young.len() >= generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(claim);
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
    fn what_was_made_here_is_known_and_nothing_else() {
        let memory = KnownSignatures::new(100);
        let good = claim(1);
        memory.remember(&good);
        assert!(memory.lock().knows(&super::identity(&good)));
        for other in spoiled(&good) {
            assert!(!memory.lock().knows(&super::identity(&other)));
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
        assert!(memory.lock().knows(&super::identity(&made)));
        assert_eq!(verify_batch(&[made]), [true]);
    }

    #[test]
    fn the_memory_is_bounded() {
        let memory = KnownSignatures::new(10);
        for number in 0..100 {
            memory.remember(&claim(number));
        }
        let held = memory.lock();
        assert!(held.young.len() <= 10 && held.old.len() <= 10);
        assert!(held.knows(&super::identity(&claim(99))));
    }
}
