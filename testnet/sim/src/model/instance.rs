//! A small instance of the protocol: four replicas, two requests, checkpoints every two blocks, real keys.

use std::sync::Arc;
use std::time::Duration;

use tagma_crypto::{Claim, Digest, KnownSignatures, SecretKey, Signature};
use tagma_pbft::certificate::{Endorsement, PreparedCertificate, StableCertificate};
use tagma_pbft::io::Outputs;
use tagma_pbft::message::{NewView, Phase, Reproposal, ViewChange, Vote};
use tagma_pbft::record::{Executed, Recovered};
use tagma_pbft::{
    Batch, Body, Config, KeyRing, Message, Now, Parameters, Quorum, Replica, ReplicaId, Request,
    RequestRules, SeqNum, Time, Tuning, Verifier, View,
};

use super::app::App;

/// The wall clock of everybody, milliseconds. It stands still, so that a batch of the same requests is the same batch
/// whoever proposes it and when.
const WALL_MS: u64 = 1_000_000;
/// T.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// The cap of T·2^k.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(4);
/// How far time goes at once when timers that repair things are due, and no timer of a view need be.
pub(super) const TICK: Duration = Duration::from_millis(500);
/// How far time goes when every timer is due.
pub(super) const LEAP: Duration = Duration::from_secs(8);

/// Most signatures in each generation of the memory of good ones.
const KNOWN: usize = 200_000;

/// Every request is valid as it is.
struct AllValid;

impl RequestRules for AllValid {
    fn claim(&self, _: &Request, _: &Digest) -> Result<Option<Claim>, &'static str> {
        Ok(None)
    }
}

/// What all replicas of the instance share, and everybody's keys.
pub(super) struct Instance {
    pub(super) ring: Arc<KeyRing>,
    pub(super) parameters: Parameters,
    pub(super) rules: Arc<dyn RequestRules>,
    pub(super) null: Digest,
    keys: Vec<SecretKey>,
    verifiers: Vec<Verifier>,
}

impl Instance {
    /// Four replicas.
    pub(super) fn new() -> Self {
        // Only what was forged is left to verify.
        let known = Arc::new(KnownSignatures::new(KNOWN));
        let keys: Vec<SecretKey> = (1..=4)
            .map(|seed| SecretKey::from_seed([seed; 32]).remembering(Arc::clone(&known)))
            .collect();
        let quorum = Quorum::new(keys.len()).unwrap_or_else(|refused| unreachable!("{refused}"));
        let ring = Arc::new(KeyRing {
            chain: Digest::of("model/chain", &[]),
            quorum,
            keys: keys.iter().map(SecretKey::public).collect(),
        });
        let parameters = Parameters {
            checkpoint_interval: 2,
            window: 4,
            // So that two requests are two batches.
            max_batch_requests: 1,
            max_batch_bytes: 4096,
            max_clock_drift_ms: 500,
        };
        let rules: Arc<dyn RequestRules> = Arc::new(AllValid);
        let verifiers = quorum
            .all()
            .map(|id| {
                Verifier::new(id, Arc::clone(&ring), parameters, Arc::clone(&rules))
                    .remembering(Arc::clone(&known))
            })
            .collect();
        Self {
            null: Body::null(&ring.chain).digest(),
            ring,
            parameters,
            rules,
            keys,
            verifiers,
        }
    }

    /// The time of a clock that has run for `elapsed`.
    pub(super) fn now(elapsed: Duration) -> Now {
        Now {
            clock: Time::ZERO.plus(elapsed),
            wall_ms: WALL_MS,
        }
    }

    /// A replica that has never run, and what it says first.
    pub(super) fn replica(&self, id: ReplicaId, app: &App, out: &mut Outputs) -> Replica {
        let config = Config {
            id,
            key: self.key(id).clone(),
            ring: KeyRing::clone(&self.ring),
            parameters: self.parameters,
            tuning: Tuning {
                request_timeout: REQUEST_TIMEOUT,
                view_change_timeout_max: LONGEST_TIMEOUT,
                status_interval: TICK,
                idle_status_interval: TICK,
                fetch_timeout: TICK,
                standby: false,
                ..Tuning::default()
            },
        };
        let recovered = Recovered {
            voter: Some(tagma_pbft::record::Voter::Complete),
            ..Recovered::default()
        };
        let executed = Executed {
            checkpoint: (SeqNum::ZERO, app.header()),
            ..Executed::default()
        };
        Replica::recover(config, recovered, &executed, Self::now(Duration::ZERO), out)
    }

    fn key(&self, id: ReplicaId) -> &SecretKey {
        &self.keys[id.index()]
    }

    pub(super) fn verifier(&self, me: ReplicaId) -> &Verifier {
        &self.verifiers[me.index()]
    }

    /// A client's request.
    pub(super) fn request(text: &str) -> Request {
        Request {
            content: text.as_bytes().to_vec().into(),
            signature: Signature::from_bytes([0; 64]),
        }
    }

    /// The digest by which a request is known.
    pub(super) fn request_digest(&self, text: &str) -> Digest {
        Self::request(text).digest(&self.ring.chain)
    }

    /// The batch that any primary makes of this request.
    fn batch(text: &str) -> Batch {
        Batch {
            time_ms: WALL_MS,
            requests: vec![Self::request(text)].into(),
        }
    }

    /// The digest of that batch.
    pub(super) fn batch_digest(&self, text: &str) -> Digest {
        Body::new(&self.ring.chain, Self::batch(text)).digest()
    }

    /// A vote of anybody: the Byzantine replica's own, or one that its owner is known to have signed.
    pub(super) fn vote(
        &self,
        sender: ReplicaId,
        phase: Phase,
        view: View,
        seq: SeqNum,
        digest: Digest,
    ) -> Vote {
        Vote::sign(
            phase,
            view,
            seq,
            digest,
            sender,
            &self.ring.chain,
            self.key(sender),
        )
    }

    /// A proposal of the primary of `view`.
    pub(super) fn pre_prepare(&self, view: View, seq: SeqNum, text: &str) -> Message {
        let primary = self.ring.quorum.primary(view);
        Message::PrePrepare {
            vote: self.vote(primary, Phase::PrePrepare, view, seq, self.batch_digest(text)),
            batch: Some(Self::batch(text)),
        }
    }

    /// A prepared certificate of these backups. Signatures are deterministic: it is the one that these replicas' votes
    /// make, if they sent them.
    pub(super) fn prepared(
        &self,
        view: View,
        seq: SeqNum,
        digest: Digest,
        backups: &[ReplicaId],
    ) -> PreparedCertificate {
        let primary = self.ring.quorum.primary(view);
        let prepares: Vec<Endorsement> = backups
            .iter()
            .map(|sender| Endorsement {
                sender: *sender,
                signature: self.vote(*sender, Phase::Prepare, view, seq, digest).signature,
            })
            .collect();
        PreparedCertificate {
            view,
            seq,
            digest,
            pre_prepare: self.vote(primary, Phase::PrePrepare, view, seq, digest).signature,
            prepares: prepares.into(),
        }
    }

    /// A VIEW-CHANGE of anybody.
    pub(super) fn view_change(
        &self,
        sender: ReplicaId,
        target: View,
        stable: Option<StableCertificate>,
        prepared: Vec<PreparedCertificate>,
    ) -> Arc<ViewChange> {
        let (chain, key) = (&self.ring.chain, self.key(sender));
        Arc::new(ViewChange::sign(target, stable, prepared, sender, chain, key))
    }

    /// A NEW-VIEW of the primary of `view` with these choices for the numbers after `min_s`.
    pub(super) fn new_view(
        &self,
        view: View,
        view_changes: Vec<Arc<ViewChange>>,
        min_s: SeqNum,
        choices: &[Digest],
    ) -> Arc<NewView> {
        let primary = self.ring.quorum.primary(view);
        let mut seq = min_s;
        let mut propose = |digest: &Digest| {
            seq = seq.next();
            Reproposal {
                digest: *digest,
                signature: self
                    .vote(primary, Phase::PrePrepare, view, seq, *digest)
                    .signature,
            }
        };
        let proposals: Vec<Reproposal> = choices.iter().map(&mut propose).collect();
        let mut message = NewView {
            view,
            view_changes: view_changes.into(),
            proposals: proposals.into(),
            signature: Signature::from_bytes([0; 64]),
        };
        let content = message.content_digest();
        message.signature = self
            .key(primary)
            .sign(NewView::DOMAIN, &self.ring.chain, content.as_bytes());
        Arc::new(message)
    }
}
