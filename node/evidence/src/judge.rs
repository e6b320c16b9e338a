//! The keys and rules of a chain, from its genesis alone.

use tagma_crypto::{Claim, Digest, Request};
use tagma_ledger::{Genesis, Parameters as LedgerParameters, Rejection, StaticChecks};
use tagma_pbft::evidence::Evidence;
use tagma_pbft::quorum::BadReplicaCount;
use tagma_pbft::{KeyRing, Parameters, Quorum, ReplicaId, RequestRules};

/// The keys of a chain's replicas.
///
/// # Errors
/// If the number of replicas is not 3f + 1.
pub fn key_ring(genesis: &Genesis) -> Result<KeyRing, BadReplicaCount> {
    Ok(KeyRing {
        chain: genesis.chain_id(),
        quorum: Quorum::new(genesis.replicas.len())?,
        keys: genesis.replicas.iter().map(|replica| replica.vote_key).collect(),
    })
}

/// The protocol's share of a chain's parameters.
pub fn protocol_parameters(genesis: &Genesis) -> Parameters {
    let parameters = &genesis.parameters;
    Parameters {
        checkpoint_interval: parameters.checkpoint_interval,
        window: parameters.window,
        max_batch_requests: usize::try_from(parameters.max_batch_requests).unwrap_or(usize::MAX),
        max_batch_bytes: usize::try_from(parameters.max_batch_bytes).unwrap_or(usize::MAX),
        max_clock_drift_ms: parameters.max_clock_drift_ms,
    }
}

/// The static validity of a chain's requests: genesis and the request decide it, no state and no memory.
#[derive(Clone, Debug)]
pub struct StaticRules {
    chain: Digest,
    parameters: LedgerParameters,
}

impl StaticRules {
    /// The rules of the chain with this id and these parameters.
    pub fn new(chain: Digest, parameters: LedgerParameters) -> Self {
        Self { chain, parameters }
    }

    /// The chain's id.
    pub fn chain(&self) -> &Digest {
        &self.chain
    }

    /// The chain's parameters.
    pub fn parameters(&self) -> &LedgerParameters {
        &self.parameters
    }
}

impl RequestRules for StaticRules {
    fn claim(&self, request: &Request, _digest: &Digest) -> Result<Option<Claim>, &'static str> {
        let transaction = request
            .check_form(&self.chain, &self.parameters)
            .map_err(|rejection| match rejection {
                Rejection::TooLarge { .. } => "the request is too large",
                Rejection::WrongChain { .. } => "the request is for another chain",
                _ => "the request is malformed",
            })?;
        Ok(Some(request.claim(&transaction)))
    }
}

/// Decides what evidence proves, on one chain.
#[derive(Clone, Debug)]
pub struct Judge {
    ring: KeyRing,
    parameters: Parameters,
    rules: StaticRules,
}

impl Judge {
    /// The judge of the chain that this genesis makes.
    ///
    /// # Errors
    /// If the number of replicas is not 3f + 1.
    pub fn new(genesis: &Genesis) -> Result<Self, BadReplicaCount> {
        let ring = key_ring(genesis)?;
        Ok(Self {
            rules: StaticRules::new(ring.chain, genesis.parameters.clone()),
            parameters: protocol_parameters(genesis),
            ring,
        })
    }

    /// The chain's id, quorum sizes and vote keys.
    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// The protocol's parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The rules for requests.
    pub fn rules(&self) -> &StaticRules {
        &self.rules
    }

    /// The replica that this convicts, if it proves what it says: every signature is verified, and that the statements
    /// contradict each other or the protocol.
    pub fn convicts(&self, evidence: &Evidence) -> Option<ReplicaId> {
        evidence
            .proves(&self.ring, &self.parameters, &self.rules)
            .then(|| evidence.culprit(&self.ring))
    }
}
