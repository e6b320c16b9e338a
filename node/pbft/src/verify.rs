//! The only way in: nothing a peer sent reaches a replica but as [`Verified`], and only this module makes those.
//!
//! Verification needs no state of the replica, so it runs beside the loop and in batches. What costs a lot and may not
//! be needed (the certificates inside VIEW-CHANGEs and NEW-VIEWs) waits until the replica asks for it ([`Check`]).

use std::collections::BTreeSet;
use std::ops::{Range, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tagma_crypto::signature::{signed_bytes, verify};
use tagma_crypto::{Claim, Digest, KnownSignatures};

use crate::batch::{Batch, Body, Request};
use crate::certificate::{CommitCertificate, KeyRing, StableCertificate};
use crate::config::Parameters;
use crate::error::{BadCertificate, BadNewView, BadViewChange, BatchFault, Rejection};
use crate::io::Check;
use crate::message::{
    CertifiedBatch, Checkpoint, HighestSigned, Message, NewView, Phase, SignedTarget, Status, ViewChange,
    Vote,
};
use crate::new_view::{Decision, decide};
use crate::sharing::Duty;
use crate::types::{ReplicaId, SeqNum};

/// Something whose signatures and form were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// The checked value.
    pub fn get(&self) -> &T {
        &self.0
    }
    /// The checked value.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// A message as the replica gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A PRE-PREPARE; its body, if one that hashes to its digest and is acceptable came with it.
    PrePrepare(Vote, Option<Arc<Body>>),
    /// A PRE-PREPARE with a body of its digest and of good form of whose requests this replica has checked its share, and leaves the
    /// others to others.
    Shared(Vote, Arc<Body>),
    /// A PRE-PREPARE with a body of its digest and of good form whose requests are not checked, because this replica may leave it to
    /// others ([`Verifier::verify_as`]).
    Unchecked(Vote, Arc<Body>),
    /// A PRE-PREPARE for a batch that no correct primary proposes, signed all the same.
    FaultyBatch(Vote, Batch, BatchFault),
    /// A PREPARE or COMMIT.
    Vote(Vote),
    /// A CHECKPOINT.
    Checkpoint(Checkpoint),
    /// A complete stable certificate.
    Stable(StableCertificate),
    /// A VIEW-CHANGE of which only the sender's signature was checked.
    ViewChange(Arc<ViewChange>),
    /// A NEW-VIEW of which only the primary's signature was checked.
    NewView(Arc<NewView>),
    /// A STATUS. What it says of the receiver is proved.
    Status(Status),
    /// A body that somebody asked for; it proves nothing but its digest. The fault, if any, that makes it one that no
    /// correct primary proposes.
    Body(Arc<Body>, Option<BatchFault>),
    /// Final batches with their certificates.
    Blocks(SeqNum, Vec<(CommitCertificate, Arc<Body>)>),
    /// A question for a body.
    FetchBody(SeqNum, Digest),
    /// Pending requests of a backup: those that are valid, with their digests.
    Forward(Vec<(Arc<Request>, Digest)>),
    /// Something the application answers; the replica does not look at it.
    Application(Message),
}

/// A [`Check`] with its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Whether a VIEW-CHANGE is valid.
    ViewChange(Arc<ViewChange>, Result<(), BadViewChange>),
    /// Whether a NEW-VIEW is valid, and what it chooses.
    NewView(Arc<NewView>, Result<Decision, BadNewView>),
    /// A proposal with its body, now an [`Incoming::PrePrepare`] or [`Incoming::FaultyBatch`].
    Proposal(Incoming),
}

/// The static validity of a request, which belongs to the application. It must depend on nothing but genesis and the
/// request: all replicas must give one verdict for ever.
pub trait RequestRules: Send + Sync {
    /// The signature that is still to be checked, none if this process has already verified exactly this request
    /// (content and signature).
    ///
    /// # Errors
    /// Why the request is not valid, whatever its signature.
    fn claim(&self, request: &Request, digest: &Digest) -> Result<Option<Claim>, &'static str>;

    /// The signatures of these requests, for which [`claim`](RequestRules::claim) had asked, are good. Whoever remembers that
    /// need not have them checked again.
    fn verified(&self, requests: &[(&Request, &Digest)]) {
        let _ = requests;
    }
}

/// Checks messages of peers. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    ring: Arc<KeyRing>,
    parameters: Parameters,
    rules: Arc<dyn RequestRules>,
    known: Arc<KnownSignatures>,
    me: ReplicaId,
    requests_checked: Arc<AtomicUsize>,
}

/// Most blocks in one answer.
const MAX_BLOCKS: usize = 256;

/// The signatures that many messages need checked.
#[derive(Default)]
struct Claims {
    /// Those of replicas: what came as a vote comes again in certificates.
    replicas: Vec<Claim>,
    /// Those of requests, which the rules remember in their own way.
    requests: Vec<Claim>,
}

/// A message whose form is good and whose signatures are among the claims.
struct Draft {
    incoming: Incoming,
    /// Claims of replicas that must all hold, or the message is not its sender's.
    essential: Range<usize>,
    /// Claims of requests in a batch: position and claim. If one fails, it is the primary who signed a bad batch.
    requests: Vec<(usize, usize)>,
    batch_fault: Option<BatchFault>,
}

impl Verifier {
    /// A verifier of what replica `me` receives from the replicas of `ring`.
    pub fn new(
        me: ReplicaId,
        ring: Arc<KeyRing>,
        parameters: Parameters,
        rules: Arc<dyn RequestRules>,
    ) -> Self {
        Self {
            ring,
            parameters,
            rules,
            known: Arc::default(),
            me,
            requests_checked: Arc::default(),
        }
    }

    /// The same verifier, which verifies no signature twice that is in `known`: most of those in certificates have come as
    /// votes before.
    #[must_use]
    pub fn remembering(self, known: Arc<KnownSignatures>) -> Self {
        Self { known, ..self }
    }

    /// The keys it verifies with.
    pub fn ring(&self) -> &Arc<KeyRing> {
        &self.ring
    }

    /// Checks many messages with one batch of signatures. The verdicts are those of checking each alone.
    pub fn verify_all(&self, messages: Vec<Message>) -> Vec<Result<Verified<Incoming>, Rejection>> {
        self.verify_as(Duty::All, messages)
    }

    /// As [`verify_all`](Self::verify_all), but of the requests of proposals only those are checked that are this replica's `duty`: such
    /// proposals become [`Incoming::Shared`] or [`Incoming::Unchecked`].
    pub fn verify_as(
        &self,
        duty: Duty,
        messages: Vec<Message>,
    ) -> Vec<Result<Verified<Incoming>, Rejection>> {
        let mut claims = Claims::default();
        let drafts: Vec<Result<Draft, Rejection>> = messages
            .into_iter()
            .map(|message| self.draft(message, duty, &mut claims))
            .collect();
        let (replicas, requests) = self.known.verify_with_passing(&claims.replicas, &claims.requests);
        self.requests_checked.fetch_add(requests.len(), Ordering::Relaxed);
        drafts
            .into_iter()
            .map(|draft| draft.and_then(|draft| self.finish(draft, &replicas, &requests)))
            .collect()
    }

    /// How many signatures of requests in messages this and its clones have checked since this was last asked; those that the rules
    /// remember cost nothing.
    pub fn take_requests_checked(&self) -> usize {
        self.requests_checked.swap(0, Ordering::Relaxed)
    }

    /// Which of the `count` requests of a proposal that is not left to others are for this replica to check.
    fn share(&self, duty: Duty, vote: &Vote, count: usize) -> Range<usize> {
        match duty {
            Duty::All => 0..count,
            Duty::Share | Duty::Least => self.ring.quorum.share(self.me, vote.view, vote.seq, count),
        }
    }

    /// Checks one message.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(&self, message: Message) -> Result<Verified<Incoming>, Rejection> {
        self.verify_all(vec![message])
            .pop()
            .unwrap_or(Err(Rejection::Signature))
    }

    /// Does what a replica asked for with a [`Check`].
    pub fn check(&self, check: Check) -> Verified<Checked> {
        Verified(match check {
            Check::ViewChange(message) => {
                let verdict = view_change_verdict(&self.ring, &self.parameters, &message, &self.known);
                Checked::ViewChange(message, verdict)
            }
            Check::NewView(message) => {
                let verdict = new_view_verdict(&self.ring, &self.parameters, &message, &self.known);
                Checked::NewView(message, verdict)
            }
            Check::Proposal(vote, body) => Checked::Proposal(self.check_proposal(vote, body)),
        })
    }

    fn check_proposal(&self, vote: Vote, body: Arc<Body>) -> Incoming {
        let (mut claims, mut requests) = (Vec::new(), Vec::new());
        let batch_fault = self.draft_batch(&body, .., &mut claims, &mut requests).err();
        let (_, verdicts) = self.known.verify_with_passing(&[], &claims);
        self.requests_checked.fetch_add(verdicts.len(), Ordering::Relaxed);
        let incoming = Incoming::PrePrepare(vote, Some(body));
        self.settle(incoming, batch_fault, requests, &verdicts)
    }

    fn draft(&self, message: Message, duty: Duty, all: &mut Claims) -> Result<Draft, Rejection> {
        let claims = &mut all.replicas;
        let start = claims.len();
        let mut requests = Vec::new();
        let mut batch_fault = None;
        let incoming = match message {
            Message::PrePrepare { vote, batch } => {
                self.draft_vote(&vote, claims)?;
                let primary = self.ring.quorum.primary(vote.view);
                if vote.phase != Phase::PrePrepare || vote.sender != primary {
                    return Err(Rejection::NotPrimary(vote.sender, vote.view));
                }
                let essential = start..claims.len();
                let body = batch.map(|batch| Body::new(&self.ring.chain, batch));
                // A body with another digest accuses nobody: it may have been swapped on a relay.
                let body = body.filter(|body| body.digest() == vote.digest);
                let left = duty == Duty::Least && self.ring.quorum.stands_by(self.me, vote.view, vote.seq);
                let incoming = match body {
                    Some(body) if left && check_batch_form(&self.parameters, &body).is_ok() => {
                        if mutant!(PreparesUnchecked) {
                            Incoming::PrePrepare(vote, Some(body))
                        } else {
                            Incoming::Unchecked(vote, body)
                        }
                    }
                    Some(body) => {
                        let count = body.batch().requests.len();
                        let share = self.share(duty, &vote, count);
                        let whole = share == (0..count);
                        batch_fault = self
                            .draft_batch(&body, share, &mut all.requests, &mut requests)
                            .err();
                        if whole {
                            Incoming::PrePrepare(vote, Some(body))
                        } else {
                            Incoming::Shared(vote, body)
                        }
                    }
                    None => Incoming::PrePrepare(vote, None),
                };
                return Ok(Draft {
                    incoming,
                    essential,
                    requests,
                    batch_fault,
                });
            }
            Message::Vote(vote) => {
                self.draft_vote(&vote, claims)?;
                let primary = self.ring.quorum.primary(vote.view);
                match vote.phase {
                    Phase::PrePrepare => return Err(Rejection::NotPrimary(vote.sender, vote.view)),
                    Phase::Prepare if vote.sender == primary && !mutant!(CountsPrimaryPrepare) => {
                        return Err(Rejection::PrimaryPrepare(vote.sender));
                    }
                    Phase::Prepare | Phase::Commit => Incoming::Vote(vote),
                }
            }
            Message::Checkpoint(checkpoint) => {
                if !self.parameters.is_checkpoint(checkpoint.seq) {
                    return Err(BadCertificate::NoCheckpointHeight(checkpoint.seq).into());
                }
                let endorsement = (checkpoint.sender, &checkpoint.signature);
                let claim = self
                    .ring
                    .checkpoint_claim(checkpoint.seq, &checkpoint.header, endorsement);
                claims.push(claim.ok_or(Rejection::UnknownSender(checkpoint.sender))?);
                Incoming::Checkpoint(checkpoint)
            }
            Message::Stable(certificate) => {
                if !self.parameters.is_checkpoint(certificate.seq) {
                    return Err(BadCertificate::NoCheckpointHeight(certificate.seq).into());
                }
                certificate.check_form(&self.ring, claims)?;
                Incoming::Stable(certificate)
            }
            Message::ViewChange(message) => {
                claims.push(self.view_change_claim(&message)?);
                Incoming::ViewChange(message)
            }
            Message::NewView(message) => {
                let primary = self.ring.quorum.primary(message.view);
                let key = self.ring.key(primary).ok_or(Rejection::UnknownSender(primary))?;
                let content = message.content_digest();
                let bytes = signed_bytes(NewView::DOMAIN, &self.ring.chain, content.as_bytes());
                claims.push(Claim {
                    key: *key,
                    message: bytes,
                    signature: message.signature,
                });
                Incoming::NewView(message)
            }
            Message::Status(status) => {
                if status.slots.len() as u64 > self.parameters.window {
                    return Err(Rejection::TooLong);
                }
                if let Some(yours) = &status.yours {
                    self.draft_own(yours, claims)?;
                }
                Incoming::Status(status)
            }
            Message::Body(batch) => {
                let body = Body::new(&self.ring.chain, batch);
                batch_fault = self
                    .draft_batch(&body, .., &mut all.requests, &mut requests)
                    .err();
                let essential = start..start;
                return Ok(Draft {
                    incoming: Incoming::Body(body, None),
                    essential,
                    requests,
                    batch_fault,
                });
            }
            Message::Blocks { from, blocks } => self.draft_blocks(from, blocks.into_vec(), claims)?,
            Message::FetchBody { seq, digest } => Incoming::FetchBody(seq, digest),
            Message::Forward(forwarded) => {
                let forwarded = self.draft_forward(forwarded.into_vec(), &mut all.requests, &mut requests)?;
                return Ok(Draft {
                    incoming: Incoming::Forward(forwarded),
                    essential: start..start,
                    requests,
                    batch_fault,
                });
            }
            other
            @ (Message::FetchBlocks { .. } | Message::FetchState { .. } | Message::StatePart { .. }) => {
                Incoming::Application(other)
            }
        };
        Ok(Draft {
            incoming,
            essential: start..claims.len(),
            requests,
            batch_fault,
        })
    }

    /// What a peer says that the receiver has signed must really be signed by it.
    fn draft_own(&self, yours: &HighestSigned, claims: &mut Vec<Claim>) -> Result<(), Rejection> {
        for vote in [&yours.view, &yours.seq].into_iter().flatten() {
            if vote.sender != self.me {
                return Err(Rejection::Signature);
            }
            self.draft_vote(vote, claims)?;
        }
        if let Some(SignedTarget {
            target,
            content,
            signature,
        }) = &yours.target
        {
            let bytes = ViewChange::content(*target, content, self.me);
            let message = signed_bytes(ViewChange::DOMAIN, &self.ring.chain, &bytes);
            let key = *self.ring.key(self.me).ok_or(Rejection::UnknownSender(self.me))?;
            claims.push(Claim {
                key,
                message,
                signature: *signature,
            });
        }
        Ok(())
    }

    fn draft_vote(&self, vote: &Vote, claims: &mut Vec<Claim>) -> Result<(), Rejection> {
        let endorsement = (vote.sender, &vote.signature);
        let claim = self
            .ring
            .vote_claim(vote.phase, vote.view, vote.seq, &vote.digest, endorsement);
        let claim = claim.ok_or(Rejection::UnknownSender(vote.sender))?;
        if !mutant!(BelievesClaimedSender) {
            claims.push(claim);
        }
        Ok(())
    }

    /// The form of a batch, and the claims of those of its requests that are at the positions `share`.
    fn draft_batch(
        &self,
        body: &Body,
        share: impl RangeBounds<usize>,
        claims: &mut Vec<Claim>,
        requests: &mut Vec<(usize, usize)>,
    ) -> Result<(), BatchFault> {
        check_batch_form(&self.parameters, body)?;
        let every = body
            .batch()
            .requests
            .iter()
            .zip(body.request_digests())
            .enumerate();
        for (position, (request, digest)) in every.filter(|(position, _)| share.contains(position)) {
            match self.rules.claim(request, digest) {
                Ok(None) => {}
                Ok(Some(claim)) => {
                    requests.push((position, claims.len()));
                    claims.push(claim);
                }
                Err(reason) => return Err(BatchFault::Request { position, reason }),
            }
        }
        Ok(())
    }

    /// Requests that are not valid are left out: the backup that forwards them may not have known better.
    fn draft_forward(
        &self,
        forwarded: Vec<Request>,
        claims: &mut Vec<Claim>,
        positions: &mut Vec<(usize, usize)>,
    ) -> Result<Vec<(Arc<Request>, Digest)>, Rejection> {
        let size: usize = forwarded.iter().map(Request::size).sum();
        if forwarded.len() > self.parameters.max_batch_requests || size > self.parameters.max_batch_bytes {
            return Err(Rejection::TooLong);
        }
        let mut kept = Vec::with_capacity(forwarded.len());
        for request in forwarded {
            let digest = request.digest(&self.ring.chain);
            match self.rules.claim(&request, &digest) {
                Ok(None) => kept.push((Arc::new(request), digest)),
                Ok(Some(claim)) => {
                    positions.push((kept.len(), claims.len()));
                    claims.push(claim);
                    kept.push((Arc::new(request), digest));
                }
                Err(_) => {}
            }
        }
        Ok(kept)
    }

    fn draft_blocks(
        &self,
        from: SeqNum,
        blocks: Vec<CertifiedBatch>,
        claims: &mut Vec<Claim>,
    ) -> Result<Incoming, Rejection> {
        if blocks.len() > MAX_BLOCKS {
            return Err(Rejection::TooLong);
        }
        let mut checked = Vec::with_capacity(blocks.len());
        let mut expected = from;
        for block in blocks {
            let certificate = block.certificate;
            if certificate.seq != expected {
                return Err(Rejection::OutsideWindow(certificate.seq));
            }
            expected = expected.next();
            if !mutant!(TrustsBlocks) {
                certificate.check_form(&self.ring, claims)?;
            }
            let body = Body::new(&self.ring.chain, block.batch);
            if body.digest() != certificate.digest {
                return Err(Rejection::BodyMismatch);
            }
            checked.push((certificate, body));
        }
        Ok(Incoming::Blocks(from, checked))
    }

    fn view_change_claim(&self, message: &ViewChange) -> Result<Claim, Rejection> {
        // Longer than any window allows: not even worth hashing.
        if message.prepared.len() as u64 > self.parameters.window {
            return Err(Rejection::TooLong);
        }
        view_change_claim(&self.ring, message).ok_or(Rejection::UnknownSender(message.sender))
    }

    fn finish(
        &self,
        draft: Draft,
        replicas: &[bool],
        requests: &[bool],
    ) -> Result<Verified<Incoming>, Rejection> {
        let holds = |claim: usize| replicas.get(claim).copied().unwrap_or(false);
        if !draft.essential.clone().all(holds) {
            return Err(Rejection::Signature);
        }
        let Draft {
            incoming,
            batch_fault,
            requests: claims,
            ..
        } = draft;
        Ok(Verified(self.settle(incoming, batch_fault, claims, requests)))
    }

    /// What a message comes to once the claims of its requests have verdicts.
    fn settle(
        &self,
        incoming: Incoming,
        batch_fault: Option<BatchFault>,
        requests: Vec<(usize, usize)>,
        verdicts: &[bool],
    ) -> Incoming {
        let (mut good, mut bad) = (Vec::new(), BTreeSet::new());
        for (position, claim) in requests {
            if verdicts.get(claim).copied().unwrap_or(false) {
                good.push(position);
            } else {
                bad.insert(position);
            }
        }
        if !good.is_empty() {
            self.rules.verified(&verified(&incoming, &good));
        }
        let fault = batch_fault.or_else(|| {
            bad.first().map(|position| BatchFault::Request {
                position: *position,
                reason: "the signature does not verify",
            })
        });
        match (incoming, fault) {
            (Incoming::Forward(requests), _) => {
                let requests = requests.into_iter().enumerate();
                let good = requests.filter(|(position, _)| !bad.contains(position));
                Incoming::Forward(good.map(|(_, request)| request).collect())
            }
            (Incoming::PrePrepare(vote, Some(body)) | Incoming::Shared(vote, body), Some(fault)) => {
                Incoming::FaultyBatch(vote, body.batch().clone(), fault)
            }
            (Incoming::Body(body, _), fault) => Incoming::Body(body, fault),
            (incoming, _) => incoming,
        }
    }
}

/// The claims of requests that hold are good for ever.
fn verified<'a>(incoming: &'a Incoming, positions: &[usize]) -> Vec<(&'a Request, &'a Digest)> {
    let in_body = |body: &'a Body, position: usize| {
        let request = body.batch().requests.get(position)?;
        Some((request, body.request_digests().get(position)?))
    };
    let places = positions.iter().copied();
    match incoming {
        Incoming::PrePrepare(_, Some(body)) | Incoming::Shared(_, body) | Incoming::Body(body, _) => {
            places.filter_map(|position| in_body(body, position)).collect()
        }
        Incoming::Forward(requests) => places
            .filter_map(|position| requests.get(position))
            .map(|(request, digest)| (&**request, digest))
            .collect(),
        _ => Vec::new(),
    }
}

/// The claim that a VIEW-CHANGE is its sender's.
pub(crate) fn view_change_claim(ring: &KeyRing, message: &ViewChange) -> Option<Claim> {
    let content = ViewChange::content(message.target, &message.content_digest(), message.sender);
    let bytes = signed_bytes(ViewChange::DOMAIN, &ring.chain, &content);
    Some(Claim {
        key: *ring.key(message.sender)?,
        message: bytes,
        signature: message.signature,
    })
}

fn check_batch_form(parameters: &Parameters, body: &Body) -> Result<(), BatchFault> {
    if body.is_null() {
        // Whether a null batch has its place here only the replica knows.
        return Ok(());
    }
    let requests = &body.batch().requests;
    if requests.is_empty() {
        return Err(BatchFault::Empty);
    }
    if requests.len() > parameters.max_batch_requests || body.size() > parameters.max_batch_bytes {
        return Err(BatchFault::TooLarge);
    }
    let mut seen = BTreeSet::new();
    for (position, digest) in body.request_digests().iter().enumerate() {
        if !seen.insert(digest) {
            return Err(BatchFault::Duplicate(position));
        }
    }
    Ok(())
}

/// Whether a correct primary can have proposed this batch outside of a NEW-VIEW; checks every signature.
///
/// # Errors
/// The first fault found.
pub fn check_batch(parameters: &Parameters, rules: &dyn RequestRules, body: &Body) -> Result<(), BatchFault> {
    check_batch_form(parameters, body)?;
    if body.is_null() {
        return Err(BatchFault::Empty);
    }
    for (position, (request, digest)) in body
        .batch()
        .requests
        .iter()
        .zip(body.request_digests())
        .enumerate()
    {
        let claim = rules
            .claim(request, digest)
            .map_err(|reason| BatchFault::Request { position, reason })?;
        if claim.is_some_and(|claim| !verify(&claim.key, &claim.message, &claim.signature)) {
            return Err(BatchFault::Request {
                position,
                reason: "the signature does not verify",
            });
        }
    }
    Ok(())
}

/// The validity of a VIEW-CHANGE's content (protocol: leaving a view); its own signature is checked elsewhere. Any
/// defect voids the whole message.
///
/// # Errors
/// The first defect found.
pub fn check_view_change(
    ring: &KeyRing,
    parameters: &Parameters,
    message: &ViewChange,
) -> Result<(), BadViewChange> {
    view_change_verdict(ring, parameters, message, &KnownSignatures::default())
}

fn view_change_verdict(
    ring: &KeyRing,
    parameters: &Parameters,
    message: &ViewChange,
    known: &KnownSignatures,
) -> Result<(), BadViewChange> {
    let mut claims = Vec::new();
    if let Some(stable) = &message.stable {
        if stable.seq == SeqNum::ZERO || !parameters.is_checkpoint(stable.seq) {
            return Err(BadViewChange::Stable(BadCertificate::NoCheckpointHeight(
                stable.seq,
            )));
        }
        stable
            .check_form(ring, &mut claims)
            .map_err(BadViewChange::Stable)?;
    }
    if mutant!(TrustsViewChanges) {
        return Ok(());
    }
    let stable = message.stable_seq();
    let high = stable.plus(parameters.window);
    let mut previous = SeqNum::ZERO;
    for certificate in message.prepared.iter() {
        let seq = certificate.seq;
        if seq <= stable || seq > high {
            return Err(BadViewChange::OutsideWindow(seq));
        }
        if seq <= previous {
            return Err(BadViewChange::NotAscending(seq));
        }
        previous = seq;
        if certificate.view >= message.target {
            return Err(BadViewChange::FutureView(certificate.view));
        }
        certificate
            .check_form(ring, &mut claims)
            .map_err(|why| BadViewChange::Prepared(seq, why))?;
    }
    if known.verify_batch(&claims).into_iter().all(|good| good) {
        Ok(())
    } else {
        Err(BadViewChange::Signature)
    }
}

/// The validity of a NEW-VIEW's content: V, each VIEW-CHANGE in it, O computed again from V, and the signatures of O.
/// Its own signature is checked elsewhere.
///
/// # Errors
/// The first defect found.
pub fn check_new_view(
    ring: &KeyRing,
    parameters: &Parameters,
    message: &NewView,
) -> Result<Decision, BadNewView> {
    new_view_verdict(ring, parameters, message, &KnownSignatures::default())
}

fn new_view_verdict(
    ring: &KeyRing,
    parameters: &Parameters,
    message: &NewView,
    known: &KnownSignatures,
) -> Result<Decision, BadNewView> {
    let senders: Vec<ReplicaId> = message
        .view_changes
        .iter()
        .map(|view_change| view_change.sender)
        .collect();
    if senders.len() != ring.quorum.quorum() || !senders.is_sorted_by(|a, b| a < b) {
        return Err(BadNewView::Senders);
    }
    for view_change in message.view_changes.iter() {
        let sender = view_change.sender;
        if view_change.target != message.view {
            return Err(BadNewView::OtherTarget(sender));
        }
        let signed =
            view_change_claim(ring, view_change).is_some_and(|claim| known.verify_batch(&[claim]) == [true]);
        if !signed {
            return Err(BadNewView::ViewChange(sender, BadViewChange::Signature));
        }
        view_change_verdict(ring, parameters, view_change, known)
            .map_err(|why| BadNewView::ViewChange(sender, why))?;
    }
    let null = Body::null(&ring.chain).digest();
    let decision = decide(&message.view_changes, null)?;
    mutant!(TrustsNewView, {
        let max_s = decision.min_s.plus(message.proposals.len() as u64);
        let claimed = decision.min_s.up_to(max_s).zip(message.proposals.iter());
        let choices = claimed.map(|(seq, proposal)| (seq, proposal.digest)).collect();
        return Ok(Decision {
            max_s,
            choices,
            ..decision
        });
    });
    if decision.choices.len() != message.proposals.len() {
        return Err(BadNewView::Choice);
    }
    let primary = ring.quorum.primary(message.view);
    let mut claims = Vec::with_capacity(decision.choices.len());
    for ((seq, digest), proposal) in decision.choices.iter().zip(message.proposals.iter()) {
        if *digest != proposal.digest {
            return Err(BadNewView::Choice);
        }
        let endorsement = (primary, &proposal.signature);
        claims.extend(ring.vote_claim(Phase::PrePrepare, message.view, *seq, digest, endorsement));
    }
    if known.verify_batch(&claims).into_iter().all(|good| good) {
        Ok(decision)
    } else {
        Err(BadNewView::Signature)
    }
}
