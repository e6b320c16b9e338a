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
use tagma_crypto::encode::encode;
use tagma_pbft::ReplicaId;
use tagma_pbft::evidence::Evidence;

use crate::Judge;
use crate::document::{self, Invalid, Labelled};

pub use crate::document::MAX_FILE;

/// The name and version of the format.
pub const SCHEMA: &str = "evidence/v1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: String,
    chain: Digest,
    culprit: u16,
    fault: String,
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
        Self {
            name: format!("{culprit}-{fault}-{}.json", evidence.id().short()),
            text: document::text(&document),
        }
    }
}

/// Judges the content of a file from scratch.
///
/// # Errors
/// Why it convicts nobody.
pub fn verify(judge: &Judge, content: &[u8]) -> Result<Conviction, Invalid> {
    let ring = judge.ring();
    let (document, evidence): (Document, Evidence) = document::open(content, &ring.chain)?;
    let Document { culprit, fault, .. } = document;
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
