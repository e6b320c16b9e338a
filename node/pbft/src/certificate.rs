//! Certificates: distinct signers × one identical statement. They have one normal form (signers ascending, exactly as
//! many as needed), so that equal certificates are equal bytes.

use tagma_crypto::encode::{Decode, Encode, List};
use tagma_crypto::signature::signed_bytes;
use tagma_crypto::{Claim, Digest, PublicKey, Signature};

use crate::error::BadCertificate;
use crate::message::{Checkpoint, Phase, Vote};
use crate::quorum::Quorum;
use crate::types::{ReplicaId, SeqNum, View};

/// One signer's part of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct Endorsement {
    /// Who signed.
    pub sender: ReplicaId,
    /// Its signature over the certificate's statement.
    pub signature: Signature,
}

/// `prepared(v, n, d)`: the primary's PRE-PREPARE and 2f matching PREPAREs of distinct other replicas
/// (OSDI '99 §4.2). The body is kept beside it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct PreparedCertificate {
    /// v
    pub view: View,
    /// n
    pub seq: SeqNum,
    /// d
    pub digest: Digest,
    /// primary(v)'s PRE-PREPARE signature.
    pub pre_prepare: Signature,
    /// Exactly 2f, ascending by sender, without the primary.
    pub prepares: List<Endorsement>,
}

/// Q matching COMMITs: the proof that d is final at n.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct CommitCertificate {
    /// v
    pub view: View,
    /// n
    pub seq: SeqNum,
    /// d
    pub digest: Digest,
    /// Exactly Q, ascending by sender.
    pub commits: List<Endorsement>,
}

/// Q matching CHECKPOINTs: the proof that the checkpoint at n is stable (OSDI '99 §4.3).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct StableCertificate {
    /// n
    pub seq: SeqNum,
    /// The hash of header n.
    pub header: Digest,
    /// Exactly Q, ascending by sender.
    pub checkpoints: List<Endorsement>,
}

/// What is needed to check signatures: chain id, sizes and the vote keys in the order of replicas.
#[derive(Clone, Debug)]
pub struct KeyRing {
    /// The chain id every signature is bound to.
    pub chain: Digest,
    /// Sizes of quorums.
    pub quorum: Quorum,
    /// Vote key of replica i at i.
    pub keys: Vec<PublicKey>,
}

impl KeyRing {
    /// The vote key of `id`, if there is such a replica.
    pub fn key(&self, id: ReplicaId) -> Option<&PublicKey> {
        self.keys.get(id.index())
    }

    /// The claim that `sender` signed (v, n, d) in `phase`.
    pub fn vote_claim(
        &self,
        phase: Phase,
        view: View,
        seq: SeqNum,
        digest: &Digest,
        endorsement: (ReplicaId, &Signature),
    ) -> Option<Claim> {
        let (sender, signature) = endorsement;
        let content = Vote::content(view, seq, digest, sender);
        let message = signed_bytes(phase.domain(), &self.chain, &content);
        Some(Claim {
            key: *self.key(sender)?,
            message,
            signature: *signature,
        })
    }

    /// The claim that `sender` signed the checkpoint (n, header).
    pub fn checkpoint_claim(
        &self,
        seq: SeqNum,
        header: &Digest,
        endorsement: (ReplicaId, &Signature),
    ) -> Option<Claim> {
        let (sender, signature) = endorsement;
        let content = Checkpoint::content(seq, header, sender);
        let message = signed_bytes(Checkpoint::DOMAIN, &self.chain, &content);
        Some(Claim {
            key: *self.key(sender)?,
            message,
            signature: *signature,
        })
    }
}

/// Checks that there are exactly `count` endorsements of existing replicas, strictly ascending by sender.
///
/// # Errors
/// If signers are too few, too many, repeated, unknown or out of order.
pub fn check_senders(
    endorsements: &[Endorsement],
    count: usize,
    quorum: Quorum,
) -> Result<(), BadCertificate> {
    if endorsements.len() != count {
        return Err(BadCertificate::Count {
            found: endorsements.len(),
            needed: count,
        });
    }
    let mut previous = None;
    for endorsement in endorsements {
        if !quorum.contains(endorsement.sender) {
            return Err(BadCertificate::UnknownSigner(endorsement.sender));
        }
        let repeated = previous == Some(endorsement.sender) && mutant!(CountsRepeatedSigners);
        if previous.is_some_and(|sender| sender >= endorsement.sender) && !repeated {
            return Err(BadCertificate::NotAscending(endorsement.sender));
        }
        previous = Some(endorsement.sender);
    }
    Ok(())
}

impl PreparedCertificate {
    /// Checks the form and adds the signatures still to be checked to `claims`.
    ///
    /// # Errors
    /// If signers are too few, too many, repeated, unknown, out of order, or the primary is among the PREPAREs.
    pub fn check_form(&self, ring: &KeyRing, claims: &mut Vec<Claim>) -> Result<(), BadCertificate> {
        check_senders(&self.prepares, ring.quorum.prepares(), ring.quorum)?;
        let primary = ring.quorum.primary(self.view);
        if self
            .prepares
            .iter()
            .any(|endorsement| endorsement.sender == primary)
        {
            return Err(BadCertificate::PrimaryPrepared(primary));
        }
        let pre_prepare = (primary, &self.pre_prepare);
        claims.extend(ring.vote_claim(Phase::PrePrepare, self.view, self.seq, &self.digest, pre_prepare));
        for endorsement in self.prepares.iter() {
            let prepare = (endorsement.sender, &endorsement.signature);
            claims.extend(ring.vote_claim(Phase::Prepare, self.view, self.seq, &self.digest, prepare));
        }
        Ok(())
    }
}

impl CommitCertificate {
    /// Checks the form and adds the signatures still to be checked to `claims`.
    ///
    /// # Errors
    /// If signers are not exactly Q distinct replicas in ascending order.
    pub fn check_form(&self, ring: &KeyRing, claims: &mut Vec<Claim>) -> Result<(), BadCertificate> {
        check_senders(&self.commits, ring.quorum.quorum(), ring.quorum)?;
        for endorsement in self.commits.iter() {
            let commit = (endorsement.sender, &endorsement.signature);
            claims.extend(ring.vote_claim(Phase::Commit, self.view, self.seq, &self.digest, commit));
        }
        Ok(())
    }
}

impl StableCertificate {
    /// Checks the form and adds the signatures still to be checked to `claims`.
    ///
    /// # Errors
    /// If signers are not exactly Q distinct replicas in ascending order.
    pub fn check_form(&self, ring: &KeyRing, claims: &mut Vec<Claim>) -> Result<(), BadCertificate> {
        check_senders(&self.checkpoints, ring.quorum.quorum(), ring.quorum)?;
        for endorsement in self.checkpoints.iter() {
            claims.extend(ring.checkpoint_claim(
                self.seq,
                &self.header,
                (endorsement.sender, &endorsement.signature),
            ));
        }
        Ok(())
    }
}
