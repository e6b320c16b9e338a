//! What honest replicas rely on is what was said: a certificate that one of them keeps, enters a view by or executes from
//! holds enough distinct signers (OSDI '99 §3), and each of them did vote so: it handed that promise to its disk, or, if it
//! misbehaves, said it to somebody.

use std::collections::BTreeSet;

use tagma_crypto::Digest;
use tagma_pbft::certificate::{CommitCertificate, Endorsement, PreparedCertificate, StableCertificate};
use tagma_pbft::message::{Phase, Vote};
use tagma_pbft::record::Record;
use tagma_pbft::{Message, ReplicaId, SeqNum, View};

use super::{Checked, Violation};

type Statement = (ReplicaId, Phase, View, SeqNum, Digest);

#[derive(Default)]
pub(super) struct Certificates {
    replicas: usize,
    said: BTreeSet<Statement>,
}

impl Certificates {
    pub(super) fn new(replicas: usize) -> Self {
        Self {
            replicas,
            said: BTreeSet::new(),
        }
    }

    /// Certificates for sequence numbers below this are not relied on any more.
    pub(super) fn forget_below(&mut self, seq: SeqNum) {
        self.said.retain(|(_, _, _, held, _)| *held >= seq);
    }

    fn quorum(&self) -> usize {
        2 * (self.replicas.saturating_sub(1) / 3) + 1
    }

    fn vote(&mut self, vote: &Vote) {
        self.said
            .insert((vote.sender, vote.phase, vote.view, vote.seq, vote.digest));
    }

    /// One who may do anything says this.
    pub(super) fn said(&mut self, by: ReplicaId, message: &Message) {
        match message {
            Message::PrePrepare { vote, .. } | Message::Vote(vote) if vote.sender == by => self.vote(vote),
            _ => {}
        }
    }

    /// Anybody hands this to its disk, and will vote so.
    pub(super) fn promised(&mut self, by: ReplicaId, record: &Record) {
        match record {
            Record::Accepted {
                view, seq, digest, ..
            } => {
                self.said.insert((by, Phase::Prepare, *view, *seq, *digest));
            }
            Record::Prepared(certificate) => {
                let PreparedCertificate {
                    view, seq, digest, ..
                } = certificate;
                self.said.insert((by, Phase::Commit, *view, *seq, *digest));
            }
            _ => {}
        }
    }

    /// An honest one hands this to its disk: `header` tells the hash of the header that honest replicas have at a height.
    pub(super) fn relied_on(
        &self,
        by: ReplicaId,
        record: &Record,
        header: impl Fn(u64) -> Option<Digest>,
    ) -> Checked {
        match record {
            Record::Prepared(certificate) => self.prepared(by, certificate),
            Record::Stable(certificate) => self.stable(by, certificate, header),
            Record::EnteredView(new) => {
                for change in new.view_changes.iter() {
                    for certificate in change.prepared.iter() {
                        self.prepared(by, certificate)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn prepared(&self, by: ReplicaId, certificate: &PreparedCertificate) -> Checked {
        let PreparedCertificate {
            view, seq, digest, ..
        } = certificate;
        let primary = view.get() % self.replicas.max(1) as u64;
        if certificate
            .prepares
            .iter()
            .any(|one| u64::from(one.sender.get()) == primary)
        {
            let detail = format!("replica {by} has a PREPARE of the primary in its certificate for {seq:?}");
            return Err(Violation::new("certificates hold", detail));
        }
        let statement = (Phase::Prepare, *view, *seq, *digest);
        self.endorsed(by, &certificate.prepares, self.quorum() - 1, statement)
    }

    fn stable(
        &self,
        by: ReplicaId,
        certificate: &StableCertificate,
        header: impl Fn(u64) -> Option<Digest>,
    ) -> Checked {
        let signers: BTreeSet<ReplicaId> = certificate.checkpoints.iter().map(|one| one.sender).collect();
        let known = header(certificate.seq.get());
        if signers.len() >= self.quorum() && known == Some(certificate.header) {
            return Ok(());
        }
        let detail = format!(
            "replica {by} takes {:?} for stable by {} CHECKPOINTs for {}, while honest replicas have {known:?}",
            certificate.seq,
            signers.len(),
            certificate.header
        );
        Err(Violation::new("certificates hold", detail))
    }

    /// An honest one executes a batch because of this.
    pub(super) fn executed(&self, by: ReplicaId, certificate: &CommitCertificate) -> Checked {
        let CommitCertificate {
            view, seq, digest, ..
        } = certificate;
        let statement = (Phase::Commit, *view, *seq, *digest);
        self.endorsed(by, &certificate.commits, self.quorum(), statement)
    }

    fn endorsed(
        &self,
        by: ReplicaId,
        endorsements: &[Endorsement],
        needed: usize,
        (phase, view, seq, digest): (Phase, View, SeqNum, Digest),
    ) -> Checked {
        let signers: BTreeSet<ReplicaId> = endorsements.iter().map(|one| one.sender).collect();
        if signers.len() < needed {
            let found = signers.len();
            let detail = format!("replica {by} takes {found} {phase:?} at {seq:?} for {needed}");
            return Err(Violation::new("certificates hold", detail));
        }
        for signer in signers {
            if !self.said.contains(&(signer, phase, view, seq, digest)) {
                let detail = format!(
                    "replica {by} counts {phase:?}({view:?}, {seq:?}, {digest}) of {signer}, who never said so"
                );
                return Err(Violation::new("certificates hold", detail));
            }
        }
        Ok(())
    }
}
