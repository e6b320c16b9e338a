//! A stand-in for the application: it "executes" a batch by hashing it onto the last header.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tagma_crypto::Digest;
use tagma_pbft::certificate::CommitCertificate;
use tagma_pbft::message::CertifiedBatch;
use tagma_pbft::record::Executed;
use tagma_pbft::{Body, Execution, SeqNum};

/// The blocks of one replica and the state after them.
#[derive(Clone)]
pub(crate) struct App {
    header: Digest,
    tip: SeqNum,
    blocks: BTreeMap<SeqNum, (CommitCertificate, Arc<Body>)>,
    headers: BTreeMap<SeqNum, Digest>,
    requests: BTreeSet<Digest>,
    checkpoint: (SeqNum, Digest),
    /// The states at checkpoints, for state transfer.
    snapshots: BTreeMap<SeqNum, Arc<App>>,
}

impl App {
    pub(crate) fn genesis() -> Self {
        let header = Digest::of("test/genesis", &[]);
        Self {
            header,
            tip: SeqNum::ZERO,
            blocks: BTreeMap::new(),
            headers: BTreeMap::new(),
            requests: BTreeSet::new(),
            checkpoint: (SeqNum::ZERO, header),
            snapshots: BTreeMap::new(),
        }
    }

    /// Executes a batch and gives the hash of the new header.
    pub(crate) fn execute(&mut self, execution: Execution, interval: u64) -> Digest {
        assert_eq!(
            execution.seq,
            self.tip.next(),
            "blocks are executed in order, without gaps"
        );
        let digest = execution.body.digest();
        self.tip = execution.seq;
        self.header = Digest::of("test/header", &[self.header.as_bytes(), digest.as_bytes()]);
        self.headers.insert(self.tip, self.header);
        self.requests.extend(execution.body.request_digests());
        self.blocks
            .insert(self.tip, (execution.certificate, execution.body));
        if self.tip.get().is_multiple_of(interval) {
            let mut snapshot = self.clone();
            snapshot.snapshots.clear();
            snapshot.blocks.clear();
            snapshot.checkpoint = (self.tip, self.header);
            self.snapshots.insert(self.tip, Arc::new(snapshot));
        }
        self.header
    }

    /// The state of the last checkpoint executed is written.
    pub(crate) fn write_checkpoint(&mut self) -> (SeqNum, Digest) {
        if let Some((seq, snapshot)) = self.snapshots.last_key_value() {
            self.checkpoint = (*seq, snapshot.header);
        }
        self.checkpoint
    }

    /// A state as somebody else would fetch it.
    pub(crate) fn at_checkpoint(&self, seq: SeqNum) -> Option<Self> {
        self.snapshots.get(&seq).map(|snapshot| Self::clone(snapshot))
    }

    pub(crate) fn header(&self) -> Digest {
        self.header
    }
    pub(crate) fn has_executed(&self, request: &Digest) -> bool {
        self.requests.contains(request)
    }
    pub(crate) fn executed_requests(&self) -> Vec<Digest> {
        self.requests.iter().copied().collect()
    }
    pub(crate) fn digests(&self) -> Vec<Digest> {
        self.blocks.values().map(|(_, body)| body.digest()).collect()
    }

    /// What a replica is told of its application at start.
    pub(crate) fn recovered(&self) -> Executed {
        let recent = self.blocks.range(self.checkpoint.0.next()..);
        Executed {
            tip: self.tip,
            recent: recent.map(|(seq, (_, body))| (*seq, body.digest())).collect(),
            headers: Vec::new(),
            checkpoint: self.checkpoint,
        }
    }

    /// Forgets the blocks through `seq`: whoever lacks them has to fetch state.
    pub(crate) fn prune(&mut self, seq: SeqNum) {
        self.blocks = self.blocks.split_off(&seq.next());
    }

    pub(crate) fn body(&self, seq: SeqNum, digest: &Digest) -> Option<Arc<Body>> {
        let (_, body) = self.blocks.get(&seq)?;
        (body.digest() == *digest).then(|| Arc::clone(body))
    }

    pub(crate) fn block(&self, seq: SeqNum) -> Option<CertifiedBatch> {
        let (certificate, body) = self.blocks.get(&seq)?;
        Some(CertifiedBatch {
            certificate: certificate.clone(),
            batch: body.batch().clone(),
        })
    }

    /// Consecutive blocks from `first` on, none if that one is not here.
    pub(crate) fn blocks_from(&self, first: SeqNum, count: u32) -> Vec<CertifiedBatch> {
        let last = first.plus(u64::from(count)).prev().min(self.tip);
        first
            .prev()
            .up_to(last)
            .map_while(|seq| self.block(seq))
            .collect()
    }
}
