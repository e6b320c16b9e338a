//! The static validity of requests, and the memory of what was verified already.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tagma_crypto::{Claim, Digest, KnownSignatures, PublicKey, Request};
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

/// Verified requests, the newest ones: whoever is asked twice for the same one answers once. Two generations bound it.
#[derive(Default)]
struct Memory {
    young: HashSet<(Digest, [u8; 64])>,
    old: HashSet<(Digest, [u8; 64])>,
}

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
            memory: Mutex::default(),
        }
    }

    /// The same rules, which verify no signature that is in `known`.
    #[must_use]
    pub fn remembering(self, known: Arc<KnownSignatures>) -> Self {
        Self { known, ..self }
    }

    fn knows(&self, request: &Request, digest: &Digest) -> bool {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (*digest, *request.signature.as_bytes());
        if tagma_crypto::mutant!(TwoVerdicts) {
            return false;
        }
        memory.young.contains(&key) || memory.old.contains(&key)
    }

    fn remember<'a>(&self, requests: impl Iterator<Item = &'a ValidRequest>) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        for valid in requests {
            if memory.young.len() >= GENERATION {
                memory.old = std::mem::take(&mut memory.young);
            }
            memory
                .young
                .insert((valid.digest, *valid.request.signature.as_bytes()));
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
    pub fn check_all(&self, requests: Vec<Request>) -> Vec<Result<ValidRequest, Rejection>> {
        let mut claims: Vec<Claim> = Vec::with_capacity(requests.len());
        let drafts: Vec<Result<(ValidRequest, Option<usize>), Rejection>> = requests
            .into_iter()
            .map(|request| {
                let transaction = self.read(&request)?;
                let digest = request.digest(self.rules.chain());
                let claim = if self.knows(&request, &digest) {
                    None
                } else {
                    claims.push(request.claim(&transaction));
                    Some(claims.len() - 1)
                };
                Ok((ValidRequest::of(Arc::new(request), digest, &transaction), claim))
            })
            .collect();
        let verdicts = self.known.verify_batch(&claims);
        let checked: Vec<Result<ValidRequest, Rejection>> = drafts
            .into_iter()
            .map(|draft| {
                let (valid, claim) = draft?;
                let good = claim.is_none_or(|claim| verdicts.get(claim).copied().unwrap_or(false));
                if good {
                    Ok(valid)
                } else {
                    Err(signature_rejection(&valid.account))
                }
            })
            .collect();
        self.remember(checked.iter().flatten());
        checked
    }
}

impl RequestRules for LedgerRules {
    fn claim(&self, request: &Request, digest: &Digest) -> Result<Option<Claim>, &'static str> {
        let claim = self.rules.claim(request, digest)?;
        Ok(claim.filter(|_| !self.knows(request, digest)))
    }
}
