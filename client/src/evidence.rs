//! Evidence that replicas have stored, fetched over their HTTP addresses.
//!
//! No channel has to be trusted: what matters is verified by [`tagma_evidence::file::verify`], from genesis alone.

use std::time::Duration;

use serde::Deserialize;
use tagma_crypto::Digest;
use tagma_evidence::file::MAX_FILE;
use tagma_ledger::Genesis;

/// A replica did not hand out its evidence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("n{replica}: {reason}")]
pub struct NoEvidence {
    /// The replica.
    pub replica: u16,
    /// What happened.
    pub reason: String,
}

/// What a replica says that it can prove.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// Tells this evidence from other evidence.
    pub id: Digest,
    /// Whose fault it is.
    pub culprit: u16,
    /// The kind of fault.
    pub fault: String,
}

#[derive(Deserialize)]
struct Listing {
    schema: String,
    evidence: Vec<Entry>,
}

/// Asks replicas for what they have stored. Its calls wait for the answer.
pub struct EvidenceSource<'a> {
    genesis: &'a Genesis,
    agent: ureq::Agent,
}

impl<'a> EvidenceSource<'a> {
    /// A source over the HTTP addresses of genesis; each question waits for at most `patience`.
    #[must_use]
    pub fn new(genesis: &'a Genesis, patience: Duration) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(patience))
            .http_status_as_error(false)
            .build()
            .into();
        Self { genesis, agent }
    }

    /// What `replica` says that it can prove.
    ///
    /// # Errors
    /// If it does not answer, or with something else.
    pub fn list(&self, replica: u16) -> Result<Vec<Entry>, NoEvidence> {
        let text = self.get(replica, "/v1/evidence")?;
        let listing: Listing = serde_json::from_slice(&text).map_err(failed(replica))?;
        match listing.schema.as_str() {
            "evidence-list/v1" => Ok(listing.evidence),
            other => Err(failed(replica)(format!("unknown schema {other:?}"))),
        }
    }

    /// The file of this evidence, not verified.
    ///
    /// # Errors
    /// If the replica does not answer, or does not have it.
    pub fn file(&self, replica: u16, id: &Digest) -> Result<Vec<u8>, NoEvidence> {
        self.get(replica, &format!("/v1/evidence/{id}"))
    }

    fn get(&self, replica: u16, path: &str) -> Result<Vec<u8>, NoEvidence> {
        let address = self
            .genesis
            .replica(replica)
            .map(|replica| replica.http_address.clone());
        let Some(address) = address else {
            return Err(failed(replica)("genesis has no such replica"));
        };
        let mut response = self
            .agent
            .get(format!("http://{address}{path}"))
            .call()
            .map_err(failed(replica))?;
        let code = response.status().as_u16();
        if code != 200 {
            return Err(failed(replica)(format!("{path} gives HTTP {code}")));
        }
        response
            .body_mut()
            .with_config()
            .limit(MAX_FILE as u64)
            .read_to_vec()
            .map_err(failed(replica))
    }
}

fn failed<E: ToString>(replica: u16) -> impl Fn(E) -> NoEvidence {
    move |error| NoEvidence {
        replica,
        reason: error.to_string(),
    }
}
