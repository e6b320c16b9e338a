//! Receipts: that a request was executed, with which outcome, to whoever trusts nothing but genesis (protocol: clients, replies,
//! receipts).
//!
//! Replies of f + 1 replicas convince the client that heard them; a receipt convinces everybody. In a header two hashes bind the
//! request and its outcome, and two sets of signatures stand for the header:
//!
//! - *order*: the commit certificate, 2f + 1 COMMITs, says that this batch and no other is final at this height;
//! - *result*: f + 1 attestations, of which at least one is of a correct replica, say that executing it made this header.
//!
//! As a file, `receipt/v1`:
//!
//! ```json
//! {
//!   "schema": "receipt/v1",
//!   "chain": "9f3c…",
//!   "request": "5b1e…",
//!   "height": "12",
//!   "proof": "0c000000…"
//! }
//! ```
//!
//! As with evidence, `proof` (the canonical encoding of [`PortableReceipt`] in hex) is all that counts, and the other fields have to fit it.

use serde::{Deserialize, Serialize};
use tagma_crypto::encode::{Decode, Encode, List, encode};
use tagma_crypto::signature::{Domain, signed_bytes, verify_batch};
use tagma_crypto::{Claim, Digest, SecretKey, Signature};
use tagma_ledger::proof::TransactionProof;
use tagma_ledger::{BlockHeader, ExecutedReceipt, Receipt, Rejection, StaticChecks, Transaction};
use tagma_pbft::certificate::{CommitCertificate, Endorsement, check_senders};
use tagma_pbft::{KeyRing, ReplicaId};

use crate::Judge;
use crate::document::{self, Invalid, Labelled};

/// The name and version of the format.
pub const SCHEMA: &str = "receipt/v1";
const ATTESTATION: Domain = Domain::new("tagma/attestation");

/// What a replica signs of a header that it has executed.
fn attested(header: &Digest, sender: ReplicaId) -> Vec<u8> {
    encode(&(*header, sender))
}

/// This replica's word that executing all batches up to it makes this header. Only what was executed here may be attested; one for
/// each header, whatever the view.
#[must_use]
pub fn attest(chain: &Digest, header: &BlockHeader, me: ReplicaId, key: &SecretKey) -> Signature {
    key.sign(ATTESTATION, chain, &attested(&header.digest(), me))
}

/// Whether this is a replica's attestation of the header with this digest.
#[must_use]
pub fn attests(ring: &KeyRing, header: &Digest, attestation: &Endorsement) -> bool {
    attestation_claim(ring, header, attestation).is_some_and(|claim| verify_batch(&[claim]) == [true])
}

/// The claim that somebody attested the header with this digest; none if there is no such replica.
fn attestation_claim(ring: &KeyRing, header: &Digest, attestation: &Endorsement) -> Option<Claim> {
    Some(Claim {
        key: *ring.key(attestation.sender)?,
        message: signed_bytes(ATTESTATION, &ring.chain, &attested(header, attestation.sender)),
        signature: attestation.signature,
    })
}

/// A request's way into a header, and that its batch is final there: what one replica can show. Who executed it to this header is
/// still to be said.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct Inclusion {
    /// The header.
    pub header: BlockHeader,
    /// The request, its outcome, and their ways into the header.
    pub transaction: TransactionProof,
    /// That the header's batch is final at its height.
    pub order: CommitCertificate,
}

/// A receipt that travels: see the module.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct PortableReceipt {
    /// What was executed, and where.
    pub inclusion: Inclusion,
    /// Exactly f + 1 attestations of the header, ascending by sender.
    pub attestations: List<Endorsement>,
}

/// What a receipt proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// The digest of the request.
    pub request: Digest,
    /// What was asked for, by whom.
    pub transaction: Transaction,
    /// What came of it.
    pub receipt: ExecutedReceipt,
    /// The header of its block.
    pub header: BlockHeader,
    /// Who signed COMMITs for the batch.
    pub ordered_by: Vec<ReplicaId>,
    /// Who attests the header.
    pub attested_by: Vec<ReplicaId>,
}

/// Why something is no receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refuted {
    /// It cannot be a request of this chain, or its account has not signed it.
    #[error("the request is invalid: {0}")]
    Request(#[from] Rejection),
    /// The hashes do not lead where they should.
    #[error(transparent)]
    Path(#[from] tagma_ledger::proof::ProofError),
    /// The request stands in the block, and was not executed there.
    #[error("the request was not executed in this block")]
    NotExecuted,
    /// The certificate is for another height or batch.
    #[error("the commit certificate is for another batch")]
    OtherBatch,
    /// The certificate, or the list of attestations, has the wrong signers.
    #[error("{what}: {why}")]
    Signers {
        /// Which of the two.
        what: &'static str,
        /// What is wrong with them.
        why: tagma_pbft::error::BadCertificate,
    },
    /// A signature does not verify.
    #[error("a signature of {0} does not verify")]
    Signature(&'static str),
}

impl Inclusion {
    /// Checks every hash and every signature of it, and gives what is included: what came of what.
    ///
    /// # Errors
    /// The first thing found that does not hold.
    pub fn check(&self, judge: &Judge) -> Result<(ExecutedReceipt, Transaction), Refuted> {
        let (ring, parameters) = (judge.ring(), judge.rules().parameters());
        let request = &self.transaction.request;
        let transaction = request.check_static(&ring.chain, parameters)?;
        let Receipt::Executed(receipt) = *self.transaction.verify(&ring.chain, &self.header)? else {
            return Err(Refuted::NotExecuted);
        };
        if (self.order.seq.get(), self.order.digest) != (self.header.height, self.header.batch) {
            return Err(Refuted::OtherBatch);
        }
        let mut commits = Vec::new();
        let formed = self.order.check_form(ring, &mut commits);
        formed.map_err(|why| Refuted::Signers {
            what: "the commit certificate",
            why,
        })?;
        all_good(&commits, "the commit certificate")?;
        Ok((receipt, transaction))
    }
}

fn all_good(claims: &[Claim], what: &'static str) -> Result<(), Refuted> {
    let good = verify_batch(claims).into_iter().all(|good| good);
    good.then_some(()).ok_or(Refuted::Signature(what))
}

impl PortableReceipt {
    /// Judges it from scratch: every hash and every signature.
    ///
    /// # Errors
    /// The first thing found that does not hold.
    pub fn check(&self, judge: &Judge) -> Result<Proved, Refuted> {
        let ring = judge.ring();
        let (receipt, transaction) = self.inclusion.check(judge)?;
        let header = &self.inclusion.header;
        let formed = check_senders(&self.attestations, ring.quorum.weak(), ring.quorum);
        formed.map_err(|why| Refuted::Signers {
            what: "the attestations",
            why,
        })?;
        let digest = header.digest();
        let claims = self.attestations.iter();
        let claims: Vec<Claim> = claims
            .filter_map(|attestation| attestation_claim(ring, &digest, attestation))
            .collect();
        all_good(&claims, "the attestations")?;
        let senders = |list: &List<Endorsement>| list.iter().map(|one| one.sender).collect();
        Ok(Proved {
            request: receipt.request,
            transaction,
            receipt,
            header: header.clone(),
            ordered_by: senders(&self.inclusion.order.commits),
            attested_by: senders(&self.attestations),
        })
    }

    /// The digest of the request, as the receipt has it.
    #[must_use]
    pub fn request(&self) -> Digest {
        self.inclusion.transaction.receipt.request()
    }

    /// The name of its file: the same for every receipt of the request.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}.json", self.request().short())
    }

    /// What stands in its file.
    #[must_use]
    pub fn to_text(&self, chain: &Digest) -> String {
        document::text(&Document {
            schema: SCHEMA.to_owned(),
            chain: *chain,
            request: self.request(),
            height: self.inclusion.header.height.to_string(),
            proof: hex::encode(encode(self)),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: String,
    chain: Digest,
    request: Digest,
    height: String,
    proof: String,
}

impl Labelled for Document {
    const SCHEMA: &'static str = SCHEMA;

    fn chain(&self) -> &Digest {
        &self.chain
    }

    fn proof(&self) -> &str {
        &self.proof
    }
}

/// Judges the content of a file from scratch.
///
/// # Errors
/// Why it proves nothing.
pub fn verify(judge: &Judge, content: &[u8]) -> Result<Proved, Invalid> {
    let (document, receipt): (Document, PortableReceipt) = document::open(content, &judge.ring().chain)?;
    let text = |request: &Digest, height: &str| format!("request {request} at height {height}");
    let label = text(&document.request, &document.height);
    let proof = text(&receipt.request(), &receipt.inclusion.header.height.to_string());
    if label != proof {
        return Err(Invalid::Mislabelled { label, proof });
    }
    receipt
        .check(judge)
        .map_err(|why| Invalid::NotProved(format!("{label} was executed: {why}")))
}
