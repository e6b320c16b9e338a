//! The signed statements that an audit looks at.

use std::collections::BTreeMap;
use std::sync::Arc;

use tagma_crypto::{Claim, Digest, KnownSignatures};
use tagma_pbft::certificate::{CommitCertificate, PreparedCertificate, StableCertificate};
use tagma_pbft::error::{BadNewView, BadViewChange};
use tagma_pbft::evidence::Evidence;
use tagma_pbft::io::Check;
use tagma_pbft::message::{Checkpoint, NewView, Phase, ViewChange, Vote};
use tagma_pbft::new_view::Decision;
use tagma_pbft::verify::{Checked, Incoming};
use tagma_pbft::{Message, ReplicaId, SeqNum, Verifier, View};

use crate::Judge;
use crate::transcript::Statement;

/// Most different statements kept where a correct replica makes one: two convict.
const MAX_VARIANTS: usize = 4;
/// Good signatures remembered, in each of two generations: most statements come in many copies.
const KNOWN: usize = 1 << 17;

/// A VIEW-CHANGE with what is wrong with its C and P.
pub(super) struct HeardViewChange {
    pub(super) message: Arc<ViewChange>,
    pub(super) validity: Result<(), BadViewChange>,
}

/// A NEW-VIEW with what it chooses, or what is wrong with it.
pub(super) struct HeardNewView {
    pub(super) message: Arc<NewView>,
    pub(super) decision: Result<Decision, BadNewView>,
}

/// Statements of all replicas, from any number of sources. Nothing is believed: what is not signed by who is said to have
/// signed it is not there.
pub struct Statements {
    judge: Judge,
    verifier: Verifier,
    known: Arc<KnownSignatures>,
    /// Keyed so that the COMMITs of one sender above a height are a range.
    pub(super) votes: BTreeMap<(ReplicaId, Phase, SeqNum, View), Vec<Vote>>,
    pub(super) checkpoints: BTreeMap<(ReplicaId, SeqNum), Vec<Checkpoint>>,
    pub(super) view_changes: BTreeMap<(ReplicaId, View), Vec<HeardViewChange>>,
    pub(super) new_views: BTreeMap<View, Vec<HeardNewView>>,
    /// By what they make final: one of each (n, d, v).
    pub(super) committed: BTreeMap<(SeqNum, Digest, View), CommitCertificate>,
    pub(super) evidence: BTreeMap<Digest, Evidence>,
}

impl Statements {
    /// No statements yet, about the replicas of this judge's chain.
    pub fn new(judge: &Judge) -> Self {
        Self::remembering(judge, Arc::new(KnownSignatures::new(KNOWN)))
    }

    /// As [`Statements::new`], with signatures that are known to be good already.
    pub fn remembering(judge: &Judge, known: Arc<KnownSignatures>) -> Self {
        // A verifier is somebody's; who it is matters for STATUS only, which is not signed and not looked at here.
        let verifier = Verifier::new(
            ReplicaId::new(0),
            Arc::new(judge.ring().clone()),
            *judge.parameters(),
            Arc::new(judge.rules().clone()),
        );
        Self {
            judge: judge.clone(),
            verifier: verifier.remembering(Arc::clone(&known)),
            known,
            votes: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            view_changes: BTreeMap::new(),
            new_views: BTreeMap::new(),
            committed: BTreeMap::new(),
            evidence: BTreeMap::new(),
        }
    }

    /// The chain's keys and rules.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// The commit certificates heard, by (n, d, v).
    pub fn committed(&self) -> impl Iterator<Item = &CommitCertificate> {
        self.committed.values()
    }

    /// Adds a statement with everything signed in it.
    pub fn hear(&mut self, statement: &Statement) {
        match statement {
            Statement::Vote(vote) => self.hear_votes(vec![vote.clone()]),
            Statement::Checkpoint(checkpoint) => self.hear_checkpoints(vec![checkpoint.clone()]),
            Statement::Stable(certificate) => self.hear_stable(certificate),
            Statement::ViewChange(message) => self.hear_view_change(message),
            Statement::NewView(message) => self.hear_new_view(message),
            Statement::Committed(certificate) => self.hear_committed(certificate),
        }
    }

    /// Adds the proof that a batch is final, if it is one, and the COMMITs in it.
    pub fn hear_committed(&mut self, certificate: &CommitCertificate) {
        let CommitCertificate {
            view, seq, digest, ..
        } = certificate;
        self.hear_votes(commits_of(certificate).collect());
        let key = (*seq, *digest, *view);
        let mut claims = Vec::new();
        if !self.committed.contains_key(&key)
            && certificate.check_form(self.judge.ring(), &mut claims).is_ok()
            && self.all_good(&claims)
        {
            self.committed.insert(key, certificate.clone());
        }
    }

    /// Adds the votes of a prepared certificate.
    pub fn hear_prepared(&mut self, certificate: &PreparedCertificate) {
        let PreparedCertificate {
            view, seq, digest, ..
        } = certificate;
        let vote = |phase, sender, signature| Vote {
            phase,
            view: *view,
            seq: *seq,
            digest: *digest,
            sender,
            signature,
        };
        let primary = self.judge.ring().quorum.primary(*view);
        let mut votes = vec![vote(Phase::PrePrepare, primary, certificate.pre_prepare)];
        let prepares = certificate.prepares.iter();
        votes.extend(prepares.map(|one| vote(Phase::Prepare, one.sender, one.signature)));
        self.hear_votes(votes);
    }

    /// Adds the CHECKPOINTs of a stable certificate.
    pub fn hear_stable(&mut self, certificate: &StableCertificate) {
        let checkpoint = |endorsement: &tagma_pbft::certificate::Endorsement| Checkpoint {
            seq: certificate.seq,
            header: certificate.header,
            sender: endorsement.sender,
            signature: endorsement.signature,
        };
        self.hear_checkpoints(certificate.checkpoints.iter().map(checkpoint).collect());
    }

    /// Adds a VIEW-CHANGE and what it shows.
    pub fn hear_view_change(&mut self, message: &Arc<ViewChange>) {
        let key = (message.sender, message.target);
        let held = self.view_changes.get(&key).map_or(&[][..], Vec::as_slice);
        // One signature is never good for two contents.
        let is_known = held
            .iter()
            .any(|held| held.message.signature == message.signature);
        if is_known || held.len() >= MAX_VARIANTS || !self.is_signed(Message::ViewChange(Arc::clone(message)))
        {
            return;
        }
        if let Some(stable) = &message.stable {
            self.hear_stable(stable);
        }
        for certificate in message.prepared.iter() {
            self.hear_prepared(certificate);
        }
        let check = Check::ViewChange(Arc::clone(message));
        if let Checked::ViewChange(message, validity) = self.verifier.check(check).into_inner() {
            let heard = HeardViewChange { message, validity };
            self.view_changes.entry(key).or_default().push(heard);
        }
    }

    /// Adds a NEW-VIEW, its VIEW-CHANGEs and its proposals.
    pub fn hear_new_view(&mut self, message: &Arc<NewView>) {
        let held = self.new_views.get(&message.view).map_or(&[][..], Vec::as_slice);
        let is_known = held
            .iter()
            .any(|held| held.message.signature == message.signature);
        if is_known || held.len() >= MAX_VARIANTS || !self.is_signed(Message::NewView(Arc::clone(message))) {
            return;
        }
        for view_change in message.view_changes.iter() {
            self.hear_view_change(view_change);
        }
        let check = Check::NewView(Arc::clone(message));
        if let Checked::NewView(message, decision) = self.verifier.check(check).into_inner() {
            if let Ok(decision) = &decision {
                let sender = self.judge.ring().quorum.primary(message.view);
                let pairs = decision.choices.iter().zip(message.proposals.iter());
                let votes = pairs.map(|((seq, digest), proposal)| Vote {
                    phase: Phase::PrePrepare,
                    view: message.view,
                    seq: *seq,
                    digest: *digest,
                    sender,
                    signature: proposal.signature,
                });
                self.hear_votes(votes.collect());
            }
            let view = message.view;
            let heard = HeardNewView { message, decision };
            self.new_views.entry(view).or_default().push(heard);
        }
    }

    /// Adds what somebody has recorded as evidence, if it proves what it says.
    pub fn hear_evidence(&mut self, evidence: &Evidence) {
        if self.judge.convicts(evidence).is_some() {
            self.evidence.insert(evidence.id(), evidence.clone());
        }
    }

    /// Adds votes: those that say something new and are signed.
    pub fn hear_votes(&mut self, votes: Vec<Vote>) {
        let ring = self.judge.ring();
        let (mut fresh, mut claims) = (Vec::new(), Vec::new());
        for vote in votes {
            let key = (vote.sender, vote.phase, vote.seq, vote.view);
            let held = self.votes.get(&key).map_or(&[][..], Vec::as_slice);
            if held.len() >= MAX_VARIANTS || held.iter().any(|held| held.digest == vote.digest) {
                continue;
            }
            let endorsement = (vote.sender, &vote.signature);
            if let Some(claim) = ring.vote_claim(vote.phase, vote.view, vote.seq, &vote.digest, endorsement) {
                fresh.push((key, vote));
                claims.push(claim);
            }
        }
        let verdicts = self.known.verify_batch(&claims);
        for ((key, vote), _) in fresh.into_iter().zip(verdicts).filter(|(_, good)| *good) {
            self.votes.entry(key).or_default().push(vote);
        }
    }

    fn hear_checkpoints(&mut self, checkpoints: Vec<Checkpoint>) {
        let ring = self.judge.ring();
        let (mut fresh, mut claims) = (Vec::new(), Vec::new());
        for checkpoint in checkpoints {
            let key = (checkpoint.sender, checkpoint.seq);
            let held = self.checkpoints.get(&key).map_or(&[][..], Vec::as_slice);
            if held.len() >= MAX_VARIANTS || held.iter().any(|held| held.header == checkpoint.header) {
                continue;
            }
            let endorsement = (checkpoint.sender, &checkpoint.signature);
            if let Some(claim) = ring.checkpoint_claim(checkpoint.seq, &checkpoint.header, endorsement) {
                fresh.push((key, checkpoint));
                claims.push(claim);
            }
        }
        let verdicts = self.known.verify_batch(&claims);
        for ((key, checkpoint), _) in fresh.into_iter().zip(verdicts).filter(|(_, good)| *good) {
            self.checkpoints.entry(key).or_default().push(checkpoint);
        }
    }

    /// Whether its sender has signed this VIEW-CHANGE or NEW-VIEW, whatever is in it.
    fn is_signed(&self, message: Message) -> bool {
        matches!(
            self.verifier
                .verify(message)
                .map(tagma_pbft::Verified::into_inner),
            Ok(Incoming::ViewChange(_) | Incoming::NewView(_))
        )
    }

    fn all_good(&self, claims: &[Claim]) -> bool {
        self.known.verify_batch(claims).into_iter().all(|good| good)
    }

    /// The COMMITs of `sender` above `seq`, ascending.
    pub(super) fn commits_above(&self, sender: ReplicaId, seq: SeqNum) -> impl Iterator<Item = &Vote> {
        let from = (sender, Phase::Commit, seq.next(), View::ZERO);
        let to = (sender, Phase::Commit, SeqNum::new(u64::MAX), View::new(u64::MAX));
        self.votes.range(from..=to).flat_map(|(_, votes)| votes)
    }
}

/// The COMMITs of a certificate.
pub(super) fn commits_of(certificate: &CommitCertificate) -> impl Iterator<Item = Vote> {
    certificate.commits.iter().map(|endorsement| Vote {
        phase: Phase::Commit,
        view: certificate.view,
        seq: certificate.seq,
        digest: certificate.digest,
        sender: endorsement.sender,
        signature: endorsement.signature,
    })
}
