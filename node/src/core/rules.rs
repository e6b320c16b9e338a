//! The static validity of requests, and the memory of what was verified already.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tagma_crypto::{Claim, Digest, Generations, KnownSignatures, PublicKey, Request};
use tagma_evidence::StaticRules;
use tagma_ledger::transaction::signature_rejection;
use tagma_ledger::{Parameters, Rejection, StaticChecks, Transaction};
use tagma_pbft::RequestRules;

/// How many verified requests each of the two generations of the memory holds.
const GENERATION: usize = 1 << 15;

/// A request that passed every static check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidRequest {
    /// The request.
    pub request: Arc<Request>,
    /// Its digest.
    pub digest: Digest,
    /// The account that acts.
    pub account: PublicKey,
    /// Its nonce.
    pub nonce: u64,
    /// The last height at which it may be executed.
    pub expiry_height: u64,
}

impl ValidRequest {
    /// Joins a request with what it decodes to. The caller has verified it, here or in a batch of the protocol.
    pub(crate) fn of(request: Arc<Request>, digest: Digest, transaction: &Transaction) -> Self {
        let Transaction {
            account,
            nonce,
            expiry_height,
            ..
        } = *transaction;
        Self {
            request,
            digest,
            account,
            nonce,
            expiry_height,
        }
    }
}

/// A request that passed every check, and what that cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admissible {
    /// The request.
    pub valid: ValidRequest,
    /// Whether its signature was verified for this: false if it had been before.
    pub fresh: bool,
}

/// What is known of a request's signature before a batch is verified.
enum Signed {
    /// That it is good.
    Known,
    /// Nothing: it is this claim of the batch.
    First(usize),
    /// Nothing, but an earlier copy of the request is this claim of the batch.
    Again(usize),
}

/// Verified requests, the newest ones, by digest and signature: whoever is asked twice for the same one answers once.
type Memory = Generations<(Digest, [u8; 64]), ()>;

/// The rules of one chain for requests. They depend on genesis alone; the memory only saves work.
pub struct LedgerRules {
    rules: StaticRules,
    known: Arc<KnownSignatures>,
    memory: Mutex<Memory>,
}

impl LedgerRules {
    /// The rules of the chain with this id and these parameters.
    pub fn new(chain: Digest, parameters: Parameters) -> Self {
        Self {
            rules: StaticRules::new(chain, parameters),
            known: Arc::default(),
            memory: Mutex::new(Memory::new(GENERATION)),
        }
    }

    /// The same rules, which verify no signature that is in `known`.
    #[must_use]
    pub fn remembering(self, known: Arc<KnownSignatures>) -> Self {
        Self { known, ..self }
    }

    // Every change of the memory is whole: a panic elsewhere leaves at worst a request forgotten.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn knows(&self, request: &Request, digest: &Digest) -> bool {
        let key = (*digest, *request.signature.as_bytes());
        !tagma_crypto::mutant!(TwoVerdicts) && self.memory().get(&key).is_some()
    }

    fn remember<'a>(&self, requests: impl Iterator<Item = (&'a Request, &'a Digest)>) {
        let mut memory = self.memory();
        for (request, digest) in requests {
            memory.insert((*digest, *request.signature.as_bytes()), ());
        }
    }

    /// Everything but the signature, and what the request decodes to.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn read(&self, request: &Request) -> Result<Transaction, Rejection> {
        request.check_form(self.rules.chain(), self.rules.parameters())
    }

    /// Checks many requests with one batch of signatures. The verdicts are those of checking each alone.
    pub fn check_all(&self, requests: Vec<Request>) -> Vec<Result<Admissible, Rejection>> {
        let mut claims: Vec<Claim> = Vec::with_capacity(requests.len());
        // The claim of each request that is not known yet: copies of it in one batch are verified once.
        let mut new: HashMap<(Digest, [u8; 64]), usize> = HashMap::with_capacity(requests.len());
        let drafts: Vec<Result<(ValidRequest, Signed), Rejection>> = requests
            .into_iter()
            .map(|request| {
                let transaction = self.read(&request)?;
                let digest = request.digest(self.rules.chain());
                let signed = if self.knows(&request, &digest) {
                    Signed::Known
                } else {
                    match new.entry((digest, *request.signature.as_bytes())) {
                        Entry::Occupied(first) => Signed::Again(*first.get()),
                        Entry::Vacant(first) => {
                            claims.push(request.claim(&transaction));
                            Signed::First(*first.insert(claims.len() - 1))
                        }
                    }
                };
                Ok((ValidRequest::of(Arc::new(request), digest, &transaction), signed))
            })
            .collect();
        let verdicts = self.known.verify_batch(&claims);
        let holds = |claim: usize| verdicts.get(claim).copied().unwrap_or(false);
        let checked: Vec<Result<Admissible, Rejection>> = drafts
            .into_iter()
            .map(|draft| {
                let (valid, signed) = draft?;
                let (good, fresh) = match signed {
                    Signed::Known => (true, false),
                    Signed::First(claim) => (holds(claim), true),
                    Signed::Again(claim) => (holds(claim), false),
                };
                if good {
                    Ok(Admissible { valid, fresh })
                } else {
                    Err(signature_rejection(&valid.account))
                }
            })
            .collect();
        let good = checked.iter().flatten().map(|checked| &checked.valid);
        self.remember(good.map(|valid| (&*valid.request, &valid.digest)));
        checked
    }
}

impl RequestRules for LedgerRules {
    fn claim(&self, request: &Request, digest: &Digest) -> Result<Option<Claim>, &'static str> {
        // Only what passed every check is known, and the checks depend on nothing but the request.
        if self.knows(request, digest) {
            return Ok(None);
        }
        let claim = self.rules.claim(request, digest)?;
        Ok(claim.filter(|claim| !self.known.knows(claim)))
    }

    fn verified(&self, requests: &[(&Request, &Digest)]) {
        self.remember(requests.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use tagma_crypto::SecretKey;
    use tagma_ledger::Operation;

    use super::*;

    #[test]
    fn a_request_is_fresh_once() {
        let (chain, key) = (Digest::ZERO, SecretKey::from_seed([7; 32]));
        let rules = LedgerRules::new(chain, Parameters::default());
        let request = |nonce| {
            let operation = Operation::Transfer {
                to: key.public(),
                amount: 1,
            };
            let transaction = Transaction {
                chain,
                account: key.public(),
                nonce,
                operation,
                expiry_height: 9,
            };
            transaction.sign(&key).to_request()
        };
        let fresh = |requests: Vec<Request>| -> Vec<bool> {
            let checked = rules.check_all(requests).into_iter();
            checked.map(|checked| checked.unwrap().fresh).collect()
        };
        assert_eq!(fresh(vec![request(1), request(2)]), [true, true]);
        assert_eq!(
            fresh(vec![request(2), request(3), request(1)]),
            [false, true, false]
        );
        let (new, other) = (request(4), request(5));
        assert_eq!(fresh(vec![new.clone(), other, new]), [true, true, false]);
    }
}
