//! Evidence as a file, `evidence/v1`:
//!
//! ```json
//! {
//!   "schema": "evidence/v1",
//!   "chain": "9f3c…",
//!   "culprit": 2,
//!   "fault": "conflicting_pre_prepares",
//!   "proof": "00000000…"
//! }
//! ```
//!
//! `proof` is the canonical encoding of [`Evidence`] in hex and all that counts; the other fields say what is in it, for people
//! and for sorting, and a file in which they do not fit the proof is not valid. Who found the fault does not stand in it: that
//! cannot be proved, and need not be.

use serde::{Deserialize, Serialize};
use tagma_crypto::Digest;
use tagma_crypto::encode::{decode, encode};
use tagma_pbft::ReplicaId;
use tagma_pbft::evidence::Evidence;

use crate::Judge;

/// The name and version of the format.
pub const SCHEMA: &str = "evidence/v1";
/// The most bytes of a file that is looked at: two NEW-VIEWs of a full window in hex fit.
pub const MAX_FILE: usize = 64 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: String,
    chain: Digest,
    culprit: u16,
    fault: String,
    proof: String,
}

/// Why a file convicts nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Longer than any evidence.
    #[error("the file has {0} bytes, evidence at most {MAX_FILE}")]
    TooLarge(usize),
    /// Not the JSON document it should be.
    #[error("the file is no evidence file: {0}")]
    Malformed(String),
    /// Another format or version.
    #[error("the file's schema is {0:?}, this program knows {SCHEMA:?}")]
    Schema(String),
    /// About replicas of another chain.
    #[error("the evidence is about chain {found}, the genesis makes chain {expected}")]
    OtherChain {
        /// What the file says.
        found: Digest,
        /// The chain of the genesis.
        expected: Digest,
    },
    /// The proof is not hex.
    #[error("the proof is not hexadecimal")]
    Hex,
    /// The proof is no canonical encoding.
    #[error("the proof does not decode: {0}")]
    Proof(String),
    /// The file says something else about itself than its proof does.
    #[error("the file says {label:?}, its proof {proof:?}")]
    Mislabelled {
        /// In the fields around the proof.
        label: String,
        /// In the proof.
        proof: String,
    },
    /// Signatures do not verify, or statements do not contradict each other.
    #[error("it does not prove that {0}")]
    NotProved(String),
}

/// A proved fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conviction {
    /// Who is at fault.
    pub culprit: ReplicaId,
    /// The kind of fault, [`Evidence::name`].
    pub fault: &'static str,
    /// What the culprit did: a sentence without a full stop.
    pub sentence: String,
    /// Tells this evidence from other evidence.
    pub id: Digest,
    /// The statements that prove it.
    pub evidence: Evidence,
}

/// Evidence on its way into a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceFile {
    /// The file's name, the same for the same evidence wherever it was found.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

impl EvidenceFile {
    /// The file of this evidence.
    pub fn new(judge: &Judge, evidence: &Evidence) -> Self {
        let ring = judge.ring();
        let (culprit, fault) = (evidence.culprit(ring), evidence.name());
        let document = Document {
            schema: SCHEMA.to_owned(),
            chain: ring.chain,
            culprit: culprit.get(),
            fault: fault.to_owned(),
            proof: hex::encode(encode(evidence)),
        };
        let text = serde_json::to_string_pretty(&document);
        assert!(text.is_ok(), "evidence has nothing JSON cannot express");
        Self {
            name: format!("{culprit}-{fault}-{}.json", evidence.id().short()),
            text: text.unwrap_or_default() + "\n",
        }
    }
}

/// Judges the content of a file from scratch.
///
/// # Errors
/// Why it convicts nobody.
pub fn verify(judge: &Judge, content: &[u8]) -> Result<Conviction, Invalid> {
    if content.len() > MAX_FILE {
        return Err(Invalid::TooLarge(content.len()));
    }
    let document: Document =
        serde_json::from_slice(content).map_err(|error| Invalid::Malformed(error.to_string()))?;
    let Document {
        schema,
        chain,
        culprit,
        fault,
        proof,
    } = document;
    if schema != SCHEMA {
        return Err(Invalid::Schema(schema));
    }
    let ring = judge.ring();
    if chain != ring.chain {
        return Err(Invalid::OtherChain {
            found: chain,
            expected: ring.chain,
        });
    }
    let bytes = hex::decode(&proof).map_err(|_| Invalid::Hex)?;
    let evidence: Evidence = decode(&bytes, MAX_FILE).map_err(|error| Invalid::Proof(error.to_string()))?;
    let label = (ReplicaId::new(culprit), fault.as_str());
    let said = (evidence.culprit(ring), evidence.name());
    if label != said {
        let text = |(culprit, fault): (ReplicaId, &str)| format!("{culprit} {fault}");
        return Err(Invalid::Mislabelled {
            label: text(label),
            proof: text(said),
        });
    }
    let sentence = evidence.sentence(ring);
    match judge.convicts(&evidence) {
        Some(culprit) => Ok(Conviction {
            culprit,
            fault: evidence.name(),
            sentence,
            id: evidence.id(),
            evidence,
        }),
        None => Err(Invalid::NotProved(sentence)),
    }
}
