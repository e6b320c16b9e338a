//! The normal case (OSDI '99 §4.2): PRE-PREPARE, PREPARE, COMMIT, and execution in order.

use core::time::Duration;
use std::sync::Arc;

use tagma_crypto::Digest;

use crate::batch::{Batch, Body};
use crate::certificate::CommitCertificate;
use crate::error::Rejection;
use crate::evidence::Evidence;
use crate::io::{Event, Execution, HaltReason, Outputs, ViewChangeReason};
use crate::log::{Added, Extent, Offered};
use crate::message::{Kind, Mode, Phase, Vote};
use crate::record::{Accepted, Record};
use crate::replica::{Own, Replica, Standing};
use crate::sharing::Offer;
use crate::timer::Timer;
use crate::types::{ReplicaId, SeqNum, View};

/// Blocks handed out for execution and not reported back yet.
const MAX_EXECUTING: u64 = 128;

impl Replica {
    fn sign_vote(&self, phase: Phase, seq: SeqNum, digest: Digest) -> Vote {
        let ring = &self.config.ring;
        Vote::sign(
            phase,
            self.view,
            seq,
            digest,
            self.id(),
            &ring.chain,
            &self.config.key,
        )
    }

    /// The primary closes batches and assigns sequence numbers (OSDI '99 §4.2).
    pub(crate) fn propose(&mut self, out: &mut Outputs) {
        if !self.is_primary() || !self.may_sign() {
            self.timers.clear(Timer::Batch);
            return;
        }
        let parameters = self.config.parameters;
        let limits = (parameters.max_batch_requests, parameters.max_batch_bytes);
        while self.pool.queued() > 0 {
            let in_flight = self.proposed.above(self.dispatched);
            let seq = self.proposed.next();
            if (seq > self.high_mark() && !mutant!(IgnoresHighMark))
                || in_flight >= self.config.tuning.max_in_flight
            {
                self.timers.clear(Timer::Batch);
                return;
            }
            // With nothing in flight nobody is served by waiting; else requests wait for company until what is in flight is
            // decided, so that batches grow with the load, but not for long.
            if in_flight > 0 && !self.pool.fills(limits.0, limits.1) {
                if self.timers.is_set(Timer::Batch) {
                    return;
                }
                if !self.batch_delay_over {
                    self.timers.set(
                        Timer::Batch,
                        self.now.clock.plus(self.config.tuning.batch_max_delay),
                    );
                    return;
                }
            }
            self.batch_delay_over = false;
            self.timers.clear(Timer::Batch);
            let requests = self.pool.take(limits.0, limits.1);
            if requests.is_empty() {
                return;
            }
            let batch = Batch {
                time_ms: self.now.wall_ms.max(1),
                requests: requests.into(),
            };
            let body = Body::new(&self.config.ring.chain, batch);
            self.proposed = seq;
            out.events.push(Event::Proposed {
                seq,
                requests: body.batch().requests.len(),
            });
            let vote = self.sign_vote(Phase::PrePrepare, seq, body.digest());
            self.record_accepted(&vote, &body, Extent::All, out);
            self.after_sync(Own::Proposal(vote, body));
        }
        self.batch_delay_over = false;
        self.timers.clear(Timer::Batch);
    }

    /// Records (v, n) → d with the body, and hands both to the disk.
    fn record_accepted(&mut self, vote: &Vote, body: &Arc<Body>, checked: Extent, out: &mut Outputs) {
        let accepted = Accepted {
            digest: vote.digest,
            signature: vote.signature,
        };
        let slot = self.log.slot(vote.seq);
        assert!(
            slot.accepted
                .get(&vote.view)
                .is_none_or(|held| held.digest == vote.digest),
            "two digests accepted for one (v, n)"
        );
        slot.accepted.insert(vote.view, accepted);
        slot.signed.insert(vote.view, vote.digest);
        slot.offered = None;
        slot.unchecked = None;
        if !body.is_null() && self.log.keep_body(vote.seq, Arc::clone(body), checked) {
            self.persist(Record::Body(vote.seq, Arc::clone(body)), out);
        }
        let (view, seq, digest, signature) = (vote.view, vote.seq, vote.digest, vote.signature);
        self.persist(
            Record::Accepted {
                view,
                seq,
                digest,
                signature,
            },
            out,
        );
    }

    /// The body of a digest that this replica may PREPARE for `seq` in its view by what it knows itself, and what that is: its requests,
    /// or its share of them, were checked here, or others had vouched for them when it came.
    fn find_body(&self, seq: SeqNum, digest: &Digest) -> Option<(Arc<Body>, Extent)> {
        if let Some(body) = self.log.checked_body(digest) {
            return Some((Arc::clone(body), Extent::All));
        }
        let offered = self.log.get(seq)?.offered.as_ref()?;
        let extent = match offered.share_in {
            None => Extent::All,
            Some(view) if view == self.view => Extent::Share,
            Some(_) => return None,
        };
        (offered.body.digest() == *digest).then(|| (Arc::clone(&offered.body), extent))
    }

    /// The body of a digest that others vouch for: its requests need not have been checked here.
    pub(crate) fn find_certified_body(&self, seq: SeqNum, digest: &Digest) -> Option<Arc<Body>> {
        if *digest == self.null.digest() {
            return Some(Arc::clone(&self.null));
        }
        let slot = self.log.get(seq);
        slot.and_then(|slot| slot.body(digest))
            .or_else(|| self.log.body(digest))
            .map(Arc::clone)
    }

    /// Whether anything is kept for this (v, n): everything in the current window, digests only up to K above it, and
    /// of higher views one for each sender.
    pub(crate) fn in_reach(&mut self, from: ReplicaId, kind: Kind, vote: &Vote, out: &mut Outputs) -> bool {
        if vote.seq <= self.log.collected() {
            return false;
        }
        let above = if mutant!(DropsAboveWindow) {
            0
        } else {
            self.config.parameters.checkpoint_interval
        };
        if vote.seq > self.high_mark().plus(above) {
            self.reject(from, kind, Rejection::OutsideWindow(vote.seq), out);
            return false;
        }
        if vote.view > self.view {
            let peer = self.peers.entry(vote.sender).or_default();
            if vote.view < peer.future_view {
                self.reject(from, kind, Rejection::OtherView(vote.view), out);
                return false;
            }
            if vote.view > peer.future_view {
                peer.future_view = vote.view;
                self.log.forget_future_votes(vote.sender, self.view, vote.view);
            }
        }
        true
    }

    /// A vote under this replica's own key came from outside. Either it was relayed, or somebody else has the key.
    fn on_own_vote(&mut self, vote: &Vote, out: &mut Outputs) {
        if vote.seq <= self.stable_seq() && !mutant!(HaltsOnOldVotes) {
            return;
        }
        let held = self
            .log
            .get(vote.seq)
            .and_then(|slot| slot.signed.get(&vote.view));
        if held.is_some_and(|digest| *digest == vote.digest) {
            return;
        }
        let what = match vote.phase {
            Phase::PrePrepare => "PRE-PREPARE",
            Phase::Prepare => "PREPARE",
            Phase::Commit => "COMMIT",
        };
        self.on_foreign_signature(what, out);
    }

    /// Something signed with this replica's key that it does not remember signing.
    pub(crate) fn on_foreign_signature(&mut self, what: &'static str, out: &mut Outputs) {
        match self.standing {
            Standing::Starting => self.become_learner(out),
            Standing::Voting => self.halt(HaltReason::ForeignVote { what }, out),
            Standing::Learner | Standing::Halted(_) => {}
        }
    }

    /// A PRE-PREPARE of the primary of its view.
    pub(crate) fn on_pre_prepare(
        &mut self,
        from: ReplicaId,
        vote: Vote,
        body: Option<Arc<Body>>,
        out: &mut Outputs,
    ) {
        if vote.sender == self.id() {
            self.on_own_vote(&vote, out);
            self.take_own_body(&vote, body, out);
        } else {
            self.on_proposal(from, vote, body.map(Offer::Checked), out);
        }
    }

    /// A PRE-PREPARE of another replica, the primary of its view, and what came with it.
    pub(crate) fn on_proposal(
        &mut self,
        from: ReplicaId,
        vote: Vote,
        offer: Option<Offer>,
        out: &mut Outputs,
    ) {
        self.note_signed(&vote);
        if vote.view < self.view || !self.in_reach(from, Kind::PrePrepare, &vote, out) {
            return;
        }
        let seq = vote.seq;
        match self.log.slot(seq).add_proposal(&vote) {
            Added::Conflict(held) => {
                let culprit = vote.sender;
                self.reject(from, Kind::PrePrepare, Rejection::Equivocation(culprit), out);
                let view = vote.view;
                self.accuse(Evidence::ConflictingVotes(held, vote), out);
                self.leave_faulty_primary(view, out);
                return;
            }
            Added::Old if mutant!(NeverLooksAgain) => return,
            // What somebody else hands on may have been lost on its way and is no measure of the primary.
            Added::New if (from, vote.view) == (vote.sender, self.view) && self.mode() == Mode::Normal => {
                if let Some(body) = offer.as_ref().map(Offer::body).filter(|body| !body.is_null())
                    && !self.choices.contains_key(&seq)
                {
                    self.judge_turnaround(seq, body, out);
                }
            }
            Added::New | Added::Old => {}
        }
        // Above the window only the digest is kept; the body is asked for when the window reaches it.
        match offer.filter(|_| seq <= self.high_mark()) {
            Some(Offer::Checked(body)) => self.keep_offer(&vote, body, None),
            Some(Offer::Share(body)) => self.keep_offer(&vote, body, Some(vote.view)),
            Some(Offer::Unchecked(body)) => self.stand_by(seq, body),
            None => {}
        }
        self.consider(seq, out);
        self.progress(seq, out);
    }

    /// Keeps the body of a proposal until that is accepted.
    fn keep_offer(&mut self, vote: &Vote, body: Arc<Body>, share_in: Option<View>) {
        let view = self.view;
        let slot = self.log.slot(vote.seq);
        // There is room for one: a proposal of a later view does not push out that of the present one.
        let present = slot.proposals.get(&view).map(|vote| vote.digest);
        let taken = slot
            .offered
            .as_ref()
            .is_some_and(|held| Some(held.body.digest()) == present);
        if !slot.accepted.contains_key(&vote.view) && (vote.view == view || !taken) {
            slot.offered = Some(Offered { body, share_in });
        }
    }

    /// A new primary signs what V chooses without having its body; somebody who has it hands it back.
    fn take_own_body(&mut self, vote: &Vote, body: Option<Arc<Body>>, out: &mut Outputs) {
        let wanted = self.log.get(vote.seq).is_some_and(|slot| {
            let proposal = slot.proposals.get(&self.view);
            proposal.is_some_and(|held| (held.view, held.digest) == (vote.view, vote.digest))
                && !slot.accepted.contains_key(&self.view)
        });
        if let Some(body) = body.filter(|_| wanted) {
            self.log.slot(vote.seq).offered = Some(Offered { body, share_in: None });
            self.consider(vote.seq, out);
            self.progress(vote.seq, out);
        }
    }

    /// The primary of its view signed a batch that no correct primary proposes.
    pub(crate) fn on_faulty_batch(&mut self, vote: Vote, batch: Batch, out: &mut Outputs) {
        if vote.sender == self.id() {
            self.on_own_vote(&vote, out);
            return;
        }
        self.note_signed(&vote);
        let view = vote.view;
        self.accuse(Evidence::BadBatch(vote, batch), out);
        self.leave_faulty_primary(view, out);
    }

    /// Looks again at every proposal that is not accepted yet.
    pub(crate) fn reconsider_all(&mut self, out: &mut Outputs) {
        let open: Vec<SeqNum> = self
            .log
            .iter()
            .filter(|(_, slot)| {
                slot.proposals.contains_key(&self.view) && !slot.accepted.contains_key(&self.view)
            })
            .map(|(seq, _)| seq)
            .collect();
        for seq in open {
            self.consider(seq, out);
            self.progress(seq, out);
        }
    }

    /// Accepts the current view's proposal for `seq` if all of the rules hold (protocol: normal case), and then sends
    /// PREPARE once that is on disk.
    pub(crate) fn consider(&mut self, seq: SeqNum, out: &mut Outputs) {
        if (self.mode() != Mode::Normal && !mutant!(VotesAfterViewChange)) || !self.may_sign() {
            return;
        }
        if seq <= self.stable_seq() || (seq > self.high_mark() && !mutant!(IgnoresHighMark)) {
            return;
        }
        let Some(slot) = self.log.get(seq) else { return };
        if slot.accepted.contains_key(&self.view) {
            return;
        }
        let Some(vote) = slot.proposals.get(&self.view).cloned() else {
            return;
        };
        if slot
            .signed
            .get(&self.view)
            .is_some_and(|signed| *signed != vote.digest)
        {
            return;
        }
        let chosen = self.choices.contains_key(&seq);
        if self
            .history
            .get(&seq)
            .is_some_and(|executed| *executed != vote.digest)
        {
            if chosen {
                self.halt(HaltReason::ConflictingCommit { seq }, out);
            }
            return;
        }
        if !chosen && vote.digest == self.null.digest() {
            // A null batch has its place only where a new view chose it.
            let evidence = match &self.new_view {
                Some(message) => Evidence::UnchosenNull(vote, Arc::clone(message)),
                None => Evidence::BadBatch(vote, self.null.batch().clone()),
            };
            self.accuse(evidence, out);
            self.leave_view(ViewChangeReason::FaultyPrimary, out);
            return;
        }
        let stands_by = self.config.tuning.standby;
        let left = stands_by && !chosen && slot.is_left(&vote.digest);
        let vouched_for = |body| (body, Extent::All);
        let found = if chosen {
            self.find_certified_body(seq, &vote.digest).map(vouched_for)
        } else {
            // Where nobody stands by, what is final is voted for all the same.
            let committed = slot.committed_body(&vote.digest).filter(|_| !stands_by);
            self.find_body(seq, &vote.digest)
                .or_else(|| committed.map(Arc::clone).map(vouched_for))
        };
        let Some((body, checked)) = found else {
            if left {
                // It is here: left to others, or final by their COMMITs.
                return;
            }
            if mutant!(PreparesWithoutBody) {
                let prepare = self.sign_vote(Phase::Prepare, seq, vote.digest);
                self.after_sync(Own::Vote(prepare));
            }
            let mut sources = self
                .log
                .get(seq)
                .map(|slot| slot.supporters(&vote.digest))
                .unwrap_or_default();
            if chosen {
                // The new primary may have signed what it does not hold itself.
                sources.append(&mut self.certificate_signers(seq, &vote.digest));
            } else {
                sources.insert(vote.sender);
            }
            self.want_body(seq, vote.digest, sources, Duration::ZERO, out);
            return;
        };
        mutant!(ChecksRequestsAgain, {
            let pending = self.pool.clone().forward(usize::MAX, usize::MAX, self.now.clock);
            let chain = &self.config.ring.chain;
            let here = |digest: &Digest| pending.iter().any(|request| request.digest(chain) == *digest);
            if chosen && !body.request_digests().iter().all(here) {
                return;
            }
        });
        if (!chosen || mutant!(ChecksClockAgain)) && !self.time_is_acceptable(seq, &vote, &body) {
            return;
        }
        self.record_accepted(&vote, &body, checked, out);
        if vote.sender != self.id() {
            let prepare = self.sign_vote(Phase::Prepare, seq, vote.digest);
            if mutant!(CountsUnsyncedVote) {
                self.count_own_vote(&prepare, out);
            }
            self.after_sync(Own::Vote(prepare));
        }
        if mutant!(CommitsUnprepared) {
            let commit = self.sign_vote(Phase::Commit, seq, vote.digest);
            self.after_sync(Own::Vote(commit));
        }
    }

    /// Whether the proposed time lies at most the allowed drift ahead, or f + 1 other backups found it acceptable.
    fn time_is_acceptable(&mut self, seq: SeqNum, vote: &Vote, body: &Body) -> bool {
        let limit = self
            .now
            .wall_ms
            .saturating_add(self.config.parameters.max_clock_drift_ms);
        let proposed = body.batch().time_ms;
        if proposed <= limit {
            return true;
        }
        let supporters = self
            .log
            .get(seq)
            .map_or(0, |slot| slot.prepare_count(vote.view, &vote.digest));
        if supporters >= self.quorum.weak() {
            return true;
        }
        let wait = Duration::from_millis(proposed - limit).min(self.config.tuning.request_timeout);
        self.timers.advance(Timer::Held, self.now.clock.plus(wait));
        false
    }

    /// A PREPARE or COMMIT of another replica.
    pub(crate) fn on_vote(&mut self, from: ReplicaId, vote: &Vote, out: &mut Outputs) {
        if vote.sender == self.id() {
            self.on_own_vote(vote, out);
            return;
        }
        self.note_signed(vote);
        let kind = if vote.phase == Phase::Commit {
            Kind::Commit
        } else {
            Kind::Prepare
        };
        if !self.in_reach(from, kind, vote, out) {
            return;
        }
        let view = self.view;
        match self.log.slot(vote.seq).add_vote(vote, view) {
            Added::Old => return,
            Added::New => self.note_voted(vote.sender),
            Added::Conflict(held) => {
                self.reject(from, kind, Rejection::Equivocation(vote.sender), out);
                self.accuse(Evidence::ConflictingVotes(held, vote.clone()), out);
                return;
            }
        }
        if vote.phase == Phase::Prepare && vote.view == self.view {
            self.measure_others(vote.seq);
            // f + 1 PREPAREs make a proposal acceptable whose time the local clock does not allow yet.
            self.consider(vote.seq, out);
        }
        self.progress(vote.seq, out);
    }

    /// An own PREPARE or COMMIT is on disk and counts from now on.
    pub(crate) fn count_own_vote(&mut self, vote: &Vote, out: &mut Outputs) {
        if vote.seq <= self.log.collected() {
            return;
        }
        let view = self.view;
        let added = self.log.slot(vote.seq).add_vote(vote, view);
        assert!(
            !matches!(added, Added::Conflict(_)),
            "this replica voted twice for one (v, n)"
        );
        self.progress(vote.seq, out);
    }

    /// Looks whether `seq` has become prepared or committed.
    pub(crate) fn progress(&mut self, seq: SeqNum, out: &mut Outputs) {
        self.try_prepared(seq, out);
        self.try_committed(seq, out);
    }

    /// OSDI '99 §4.2: `prepared(m, v, n, i)`; then COMMIT, once certificate and body are on disk.
    fn try_prepared(&mut self, seq: SeqNum, out: &mut Outputs) {
        if (self.mode() != Mode::Normal && !mutant!(VotesAfterViewChange))
            || !self.may_sign()
            || seq <= self.stable_seq()
        {
            return;
        }
        let Some(slot) = self.log.get(seq) else { return };
        if slot
            .prepared
            .as_ref()
            .is_some_and(|certificate| certificate.view >= self.view)
        {
            return;
        }
        let Some(certificate) = slot.prepared_certificate(seq, self.view, self.quorum) else {
            return;
        };
        let digest = certificate.digest;
        out.events.push(Event::Prepared { seq });
        self.log.slot(seq).prepared = Some(certificate.clone());
        if seq > self.executed {
            self.awaited.entry(seq).or_insert(self.now.clock);
        }
        self.persist(Record::Prepared(certificate), out);
        let commit = self.sign_vote(Phase::Commit, seq, digest);
        if mutant!(CountsUnsyncedVote) {
            self.count_own_vote(&commit, out);
        }
        self.after_sync(Own::Vote(commit));
    }

    /// Q matching COMMITs and the body prove `seq` final, whatever view and mode this replica is in.
    pub(crate) fn try_committed(&mut self, seq: SeqNum, out: &mut Outputs) {
        let Some(slot) = self.log.get(seq) else { return };
        let certificates: Vec<CommitCertificate> = slot.commit_certificates(seq, self.quorum).collect();
        for certificate in certificates {
            let digest = certificate.digest;
            if self.contradicts_history(seq, &digest, out) {
                return;
            }
            if let Some(body) = self.find_certified_body(seq, &digest) {
                self.commit(certificate, body, out);
            } else {
                let sources = certificate
                    .commits
                    .iter()
                    .map(|endorsement| endorsement.sender)
                    .collect();
                // Votes overtake a proposal whose many signatures are still being checked here.
                let on_its_way = certificate.view == self.view && self.mode() == Mode::Normal;
                let patience = if on_its_way {
                    self.config.tuning.fetch_timeout / 8
                } else {
                    Duration::ZERO
                };
                self.want_body(seq, digest, sources, patience, out);
            }
        }
    }

    /// A certified digest that differs from what was executed or is certified here means that this replica has
    /// diverged, or that more than f are faulty.
    pub(crate) fn contradicts_history(&mut self, seq: SeqNum, digest: &Digest, out: &mut Outputs) -> bool {
        let executed = self.history.get(&seq).copied();
        let committed = self.log.get(seq).and_then(|slot| slot.committed.as_ref());
        let known = executed.or_else(|| committed.map(|(certificate, _)| certificate.digest));
        let contradiction = known.is_some_and(|known| known != *digest);
        if contradiction {
            self.halt(HaltReason::ConflictingCommit { seq }, out);
        }
        contradiction
    }

    /// `seq` is final with this body.
    pub(crate) fn commit(&mut self, certificate: CommitCertificate, body: Arc<Body>, out: &mut Outputs) {
        let seq = certificate.seq;
        let now = self.now.clock;
        let slot = self.log.slot(seq);
        if slot.unchecked.take().is_some() {
            slot.left = Some(now);
        }
        if slot.committed.is_none() {
            slot.committed = Some((certificate, body));
            out.events.push(Event::Committed { seq });
        }
        self.dispatch(out);
    }

    /// Hands out what is final, strictly in order and without gaps.
    pub(crate) fn dispatch(&mut self, out: &mut Outputs) {
        let held = self.execution_held || self.is_halted();
        while !held && self.dispatched.above(self.executed) < MAX_EXECUTING {
            let seq = self.dispatched.next();
            let Some((certificate, body)) = self.log.get(seq).and_then(|slot| slot.committed.clone()) else {
                return;
            };
            self.dispatched = seq;
            // A primary that was behind does not propose what is final already.
            self.proposed = self.proposed.max(seq);
            self.history.insert(seq, body.digest());
            out.execute.push(Execution {
                seq,
                body,
                certificate,
            });
        }
    }

    /// The application has executed the next block.
    pub(crate) fn on_executed(
        &mut self,
        seq: SeqNum,
        header: Digest,
        settled: &[Digest],
        ready: &[Digest],
        out: &mut Outputs,
    ) {
        assert!(
            seq == self.executed.next() && seq <= self.dispatched,
            "the application executed {seq} out of order"
        );
        self.executed = seq;
        self.awaited.remove(&seq);
        if mutant!(ProgressResetsTimer) {
            self.watch = None;
        }
        for digest in settled.iter().filter(|_| !mutant!(KeepsDeadRequests)) {
            self.pool.remove(digest);
        }
        for digest in ready {
            self.pool.make_timed(digest, self.now.clock);
        }
        if self.config.parameters.is_checkpoint(seq) {
            self.own_headers.insert(seq, header);
            self.compare_with_stable(out);
        }
        self.dispatch(out);
        self.continue_fetching(out);
    }
}
