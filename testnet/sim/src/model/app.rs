//! A stand-in for the ledger: it executes a batch by hashing it onto the last header, and keeps every block.

use std::sync::Arc;

use tagma_crypto::Digest;
use tagma_pbft::certificate::CommitCertificate;
use tagma_pbft::message::CertifiedBatch;
use tagma_pbft::{Body, Execution, SeqNum};

use crate::check::{Checked, Violation};

/// The blocks of one replica.
#[derive(Clone)]
pub(super) struct App {
    header: Digest,
    blocks: Vec<(CommitCertificate, Arc<Body>)>,
}

impl App {
    /// Nothing is executed.
    pub(super) fn genesis() -> Self {
        Self {
            header: Digest::of("model/genesis", &[]),
            blocks: Vec::new(),
        }
    }

    /// Executes the next batch.
    ///
    /// # Errors
    /// If it is not the next one.
    pub(super) fn execute(&mut self, execution: Execution) -> Checked {
        if execution.seq != self.tip().next() {
            let detail = format!("{} was executed after {}", execution.seq, self.tip());
            return Err(Violation::new("execution in order", detail));
        }
        let digest = execution.body.digest();
        self.header = Digest::of("model/header", &[self.header.as_bytes(), digest.as_bytes()]);
        self.blocks.push((execution.certificate, execution.body));
        Ok(())
    }

    /// The last number executed.
    pub(super) fn tip(&self) -> SeqNum {
        SeqNum::new(self.blocks.len() as u64)
    }

    /// The hash of the last header: equal ones are equal chains.
    pub(super) fn header(&self) -> Digest {
        self.header
    }

    /// The batches executed, in order.
    pub(super) fn batches(&self) -> impl Iterator<Item = Digest> {
        self.blocks.iter().map(|(_, body)| body.digest())
    }

    /// Whether a block holds this request.
    pub(super) fn has_executed(&self, request: &Digest) -> bool {
        self.blocks
            .iter()
            .any(|(_, body)| body.request_digests().contains(request))
    }

    /// The body of a block, if that is what it is.
    pub(super) fn body(&self, seq: SeqNum, digest: &Digest) -> Option<&Arc<Body>> {
        let (_, body) = self.blocks_from(seq).first()?;
        (body.digest() == *digest).then_some(body)
    }

    /// Consecutive blocks as they are sent, none if the first is not here.
    pub(super) fn certified_from(&self, first: SeqNum, count: u32) -> Vec<CertifiedBatch> {
        self.blocks_from(first)
            .iter()
            .take(count as usize)
            .map(|(certificate, body)| CertifiedBatch {
                certificate: certificate.clone(),
                batch: body.batch().clone(),
            })
            .collect()
    }

    fn blocks_from(&self, first: SeqNum) -> &[(CommitCertificate, Arc<Body>)] {
        let index = usize::try_from(first.prev().get()).unwrap_or(usize::MAX);
        self.blocks.get(index..).unwrap_or_default()
    }
}
