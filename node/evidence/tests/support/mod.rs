//! A chain whose every key is at hand, and statements made with them.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panic, and each test file uses its part of this"
)]

use std::sync::Arc;

use tagma_crypto::{Digest, SecretKey, Signature};
use tagma_evidence::Judge;
use tagma_ledger::{
    BlockHeader, Genesis, GenesisAccount, GenesisReplica, Operation, Parameters, SignedTransaction,
    Transaction,
};
use tagma_pbft::certificate::{CommitCertificate, Endorsement, PreparedCertificate, StableCertificate};
use tagma_pbft::evidence::Evidence;
use tagma_pbft::message::{Checkpoint, NewView, Phase, Reproposal, ViewChange, Vote};
use tagma_pbft::{Batch, Body, ReplicaId, SeqNum, View};

fn seed(kind: u8, number: u16) -> [u8; 32] {
    let mut seed = [kind; 32];
    seed[..2].copy_from_slice(&number.to_be_bytes());
    seed
}

/// The replicas of a chain, with everybody's key.
pub struct Village {
    pub genesis: Genesis,
    pub judge: Judge,
    pub chain: Digest,
    keys: Vec<SecretKey>,
    alice: SecretKey,
}

impl Village {
    pub fn new(size: u16) -> Self {
        let keys: Vec<SecretKey> = (0..size).map(|id| SecretKey::from_seed(seed(1, id))).collect();
        let alice = SecretKey::from_seed(seed(3, 0));
        let replicas: Vec<GenesisReplica> = (0..)
            .zip(&keys)
            .map(|(id, key)| GenesisReplica {
                id,
                vote_key: key.public(),
                network_key: SecretKey::from_seed(seed(2, id)).public(),
                peer_address: format!("127.0.0.1:{}", 10_000 + id).as_str().into(),
                client_address: format!("127.0.0.1:{}", 20_000 + id).as_str().into(),
                http_address: format!("127.0.0.1:{}", 30_000 + id).as_str().into(),
            })
            .collect();
        let account = GenesisAccount {
            name: None,
            key: alice.public(),
            balance: 1000,
        };
        let genesis = Genesis {
            chain_name: "village".into(),
            time_ms: 1_750_000_000_000,
            replicas: replicas.into(),
            accounts: vec![account].into(),
            parameters: Parameters {
                checkpoint_interval: 4,
                window: 8,
                max_batch_requests: 4,
                max_batch_bytes: 64 << 10,
                max_request_bytes: 512,
                lookahead: 8,
                bucket_count: 16,
                max_clock_drift_ms: 500,
            },
        };
        genesis.validate().unwrap();
        Self {
            chain: genesis.chain_id(),
            judge: Judge::new(&genesis).unwrap(),
            genesis,
            keys,
            alice,
        }
    }

    pub fn digest(text: &str) -> Digest {
        Digest::of("village", &[text.as_bytes()])
    }

    pub fn null(&self) -> Digest {
        Body::null(&self.chain).digest()
    }

    fn primary(&self, view: u64) -> u16 {
        self.judge.ring().quorum.primary(View::new(view)).get()
    }

    pub fn vote(&self, phase: Phase, sender: u16, view: u64, seq: u64, digest: Digest) -> Vote {
        let key = &self.keys[usize::from(sender)];
        let (view, seq) = (View::new(view), SeqNum::new(seq));
        Vote::sign(phase, view, seq, digest, ReplicaId::new(sender), &self.chain, key)
    }

    pub fn key(&self, sender: ReplicaId) -> &SecretKey {
        &self.keys[sender.index()]
    }

    /// A CHECKPOINT's signature for a header: a good one, of another kind.
    pub fn vote_signature(&self, sender: u16, header: &BlockHeader) -> Signature {
        self.checkpoint(sender, header.height, header.digest()).signature
    }

    pub fn checkpoint(&self, sender: u16, seq: u64, header: Digest) -> Checkpoint {
        let key = &self.keys[usize::from(sender)];
        Checkpoint::sign(SeqNum::new(seq), header, ReplicaId::new(sender), &self.chain, key)
    }

    fn endorsements(&self, senders: &[u16], sign: impl Fn(u16) -> Signature) -> Vec<Endorsement> {
        let endorse = |sender: &u16| Endorsement {
            sender: ReplicaId::new(*sender),
            signature: sign(*sender),
        };
        senders.iter().map(endorse).collect()
    }

    pub fn stable(&self, senders: &[u16], seq: u64, header: Digest) -> StableCertificate {
        let sign = |sender| self.checkpoint(sender, seq, header).signature;
        StableCertificate {
            seq: SeqNum::new(seq),
            header,
            checkpoints: self.endorsements(senders, sign).into(),
        }
    }

    pub fn prepared(&self, senders: &[u16], view: u64, seq: u64, digest: Digest) -> PreparedCertificate {
        let sign = |sender| self.vote(Phase::Prepare, sender, view, seq, digest).signature;
        let primary = self.primary(view);
        PreparedCertificate {
            view: View::new(view),
            seq: SeqNum::new(seq),
            digest,
            pre_prepare: self.vote(Phase::PrePrepare, primary, view, seq, digest).signature,
            prepares: self.endorsements(senders, sign).into(),
        }
    }

    pub fn committed(&self, senders: &[u16], view: u64, seq: u64, digest: Digest) -> CommitCertificate {
        let sign = |sender| self.vote(Phase::Commit, sender, view, seq, digest).signature;
        CommitCertificate {
            view: View::new(view),
            seq: SeqNum::new(seq),
            digest,
            commits: self.endorsements(senders, sign).into(),
        }
    }

    pub fn view_change(
        &self,
        sender: u16,
        target: u64,
        stable: Option<StableCertificate>,
        prepared: Vec<PreparedCertificate>,
    ) -> Arc<ViewChange> {
        let key = &self.keys[usize::from(sender)];
        let (target, sender) = (View::new(target), ReplicaId::new(sender));
        Arc::new(ViewChange::sign(
            target,
            stable,
            prepared,
            sender,
            &self.chain,
            key,
        ))
    }

    /// A NEW-VIEW of the primary of `view`; O is what `choices` says, from `first` on.
    pub fn new_view(
        &self,
        view: u64,
        view_changes: Vec<Arc<ViewChange>>,
        first: u64,
        choices: &[Digest],
    ) -> Arc<NewView> {
        let primary = self.primary(view);
        let propose = |(seq, digest): (u64, &Digest)| Reproposal {
            digest: *digest,
            signature: self
                .vote(Phase::PrePrepare, primary, view, seq, *digest)
                .signature,
        };
        let proposals: Vec<Reproposal> = (first..).zip(choices).map(propose).collect();
        let mut message = NewView {
            view: View::new(view),
            view_changes: view_changes.into(),
            proposals: proposals.into(),
            signature: Signature::from_bytes([0; 64]),
        };
        let content = message.content_digest();
        let key = &self.keys[usize::from(primary)];
        message.signature = key.sign(NewView::DOMAIN, &self.chain, content.as_bytes());
        Arc::new(message)
    }

    /// Alice pays herself, so many times.
    pub fn batch(&self, nonces: &[u64]) -> Batch {
        let requests: Vec<_> = nonces
            .iter()
            .map(|nonce| {
                let transaction = Transaction {
                    chain: self.chain,
                    account: self.alice.public(),
                    nonce: *nonce,
                    operation: Operation::Transfer {
                        to: self.alice.public(),
                        amount: 1,
                    },
                    expiry_height: 100,
                };
                let signed: SignedTransaction = transaction.sign(&self.alice);
                signed.to_request()
            })
            .collect();
        Batch {
            time_ms: 5,
            requests: requests.into(),
        }
    }

    /// A PRE-PREPARE for this batch.
    pub fn proposal(&self, view: u64, seq: u64, batch: &Batch) -> Vote {
        let digest = Body::new(&self.chain, batch.clone()).digest();
        self.vote(Phase::PrePrepare, self.primary(view), view, seq, digest)
    }

    /// One piece of good evidence of every kind, with its culprit.
    pub fn every_kind(&self) -> Vec<(u16, Evidence)> {
        let (a, b) = (Self::digest("a"), Self::digest("b"));
        let empty = |sender| self.view_change(sender, 1, None, Vec::new());
        let quorum = vec![empty(0), empty(1), empty(2)];
        let rest = vec![empty(1), empty(2), empty(3)];
        let certificate = self.prepared(&[1, 2], 0, 1, a);
        let showing = self.view_change(2, 1, None, vec![certificate]);
        let short = self.prepared(&[1], 0, 1, a);
        let twice = self.batch(&[0, 0]);
        let mut evidence: Vec<(u16, Evidence)> = [Phase::PrePrepare, Phase::Prepare, Phase::Commit]
            .into_iter()
            .zip([0, 2, 3])
            .map(|(phase, sender)| {
                let vote = |digest| self.vote(phase, sender, 0, 1, digest);
                (sender, Evidence::ConflictingVotes(vote(a), vote(b)))
            })
            .collect();
        evidence.extend([
            (2, Evidence::ConflictingViewChanges(showing, empty(2))),
            (
                1,
                Evidence::ConflictingNewViews(
                    self.new_view(1, quorum.clone(), 1, &[]),
                    self.new_view(1, rest, 1, &[]),
                ),
            ),
            (1, Evidence::BadNewView(self.new_view(1, quorum.clone(), 1, &[a]))),
            (0, Evidence::BadBatch(self.proposal(0, 1, &twice), twice)),
            (
                1,
                Evidence::UnchosenNull(
                    self.vote(Phase::PrePrepare, 1, 1, 1, self.null()),
                    self.new_view(1, quorum, 1, &[]),
                ),
            ),
            (
                3,
                Evidence::BadViewChange(self.view_change(3, 1, None, vec![short])),
            ),
            (
                3,
                Evidence::ConflictingCheckpoints(self.checkpoint(3, 4, a), self.checkpoint(3, 4, b)),
            ),
            (
                2,
                Evidence::HiddenCertificate(self.vote(Phase::Commit, 2, 0, 1, a), empty(2)),
            ),
        ]);
        evidence
    }
}
