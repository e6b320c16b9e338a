//! JSON documents around a proof: its canonical encoding in hex, and labels that say what is in it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tagma_crypto::Digest;
use tagma_crypto::encode::{Decode, decode};

/// The most bytes of a file that is looked at: two NEW-VIEWs of a full window in hex fit.
pub const MAX_FILE: usize = 64 << 20;

/// Why a file proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Longer than any proof.
    #[error("the file has more than {MAX_FILE} bytes, which no proof has")]
    TooLarge,
    /// Not the JSON document it should be.
    #[error("the file is no {schema} file: {why}")]
    Malformed {
        /// What it should be.
        schema: &'static str,
        /// What keeps it from being that.
        why: String,
    },
    /// Another format or version.
    #[error("the file's schema is {found:?}, here it must be {expected:?}")]
    Schema {
        /// What the file says.
        found: String,
        /// What is read here.
        expected: &'static str,
    },
    /// About another chain.
    #[error("the file is about chain {found}, the genesis makes chain {expected}")]
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
    /// Signatures do not verify, or statements do not say what the proof is for.
    #[error("it does not prove that {0}")]
    NotProved(String),
}

/// A document with a proof in it.
pub(crate) trait Labelled {
    /// The name and version of the format.
    const SCHEMA: &'static str;
    /// The chain it says to be about.
    fn chain(&self) -> &Digest;
    /// The proof, in hex.
    fn proof(&self) -> &str;
}

#[derive(Deserialize)]
struct Schema {
    schema: String,
}

/// The document and its proof; nothing but the form and the chain is checked.
pub(crate) fn open<D, P>(content: &[u8], chain: &Digest) -> Result<(D, P), Invalid>
where
    D: Labelled + DeserializeOwned,
    P: Decode<()>,
{
    if content.len() > MAX_FILE {
        return Err(Invalid::TooLarge);
    }
    let malformed = |error: serde_json::Error| Invalid::Malformed {
        schema: D::SCHEMA,
        why: error.to_string(),
    };
    // First what it is: whoever gives the file of another kind is to be told that, and not which field is missing.
    let Schema { schema } = serde_json::from_slice(content).map_err(malformed)?;
    if schema != D::SCHEMA {
        return Err(Invalid::Schema {
            found: schema,
            expected: D::SCHEMA,
        });
    }
    let document: D = serde_json::from_slice(content).map_err(malformed)?;
    if document.chain() != chain {
        return Err(Invalid::OtherChain {
            found: *document.chain(),
            expected: *chain,
        });
    }
    let bytes = hex::decode(document.proof()).map_err(|_| Invalid::Hex)?;
    let proof = decode(&bytes, MAX_FILE).map_err(|error| Invalid::Proof(error.to_string()))?;
    Ok((document, proof))
}

/// A document as the text of a file.
pub(crate) fn text(document: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(document);
    assert!(text.is_ok(), "a document has nothing JSON cannot express");
    text.unwrap_or_default() + "\n"
}
