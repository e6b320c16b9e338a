//! Entering a view (OSDI '99 §4.4; protocol: new view).

use std::collections::BTreeSet;
use std::sync::Arc;

use tagma_crypto::{Digest, Signature};

use crate::error::{BadNewView, Rejection};
use crate::evidence::Evidence;
use crate::io::{Check, Event, HaltReason, Outputs, Recipient, ViewChangeReason};
use crate::message::{Kind, Message, Mode, NewView, Phase, Reproposal, ViewChange, Vote};
use crate::new_view::{Decision, decide};
use crate::record::Record;
use crate::replica::{Own, Replica, Standing};
use crate::timer::Timer;
use crate::types::{ReplicaId, SeqNum};
use crate::view_change::Validity;

impl Replica {
    /// The primary of the target makes the NEW-VIEW once it holds Q valid VIEW-CHANGEs for exactly that view, its own
    /// among them.
    pub(crate) fn try_new_view(&mut self, out: &mut Outputs) {
        let Some(departure) = &self.departure else { return };
        let view = departure.target;
        let already = self.making_new_view == Some(view);
        if self.quorum.primary(view) != self.id() || !departure.released || already || !self.may_sign() {
            return;
        }
        let valid: Vec<Arc<ViewChange>> = self
            .candidates
            .values()
            .filter(|candidate| candidate.message.target == view && candidate.validity == Validity::Valid)
            .map(|candidate| Arc::clone(&candidate.message))
            .collect();
        mutant!(OneVoidSpoilsAll, {
            let mut others = self.candidates.values();
            if others.any(|candidate| candidate.validity != Validity::Valid) {
                return;
            }
        });
        if valid.len() < self.quorum.quorum() {
            return;
        }
        // Exactly Q: the own one and the first others; candidates are ordered by sender already.
        let mut others = self.quorum.quorum() - 1;
        let chosen: Vec<Arc<ViewChange>> = valid
            .into_iter()
            .filter(|message| {
                let take = message.sender == self.id() || others > 0;
                if message.sender != self.id() && take {
                    others -= 1;
                }
                take
            })
            .collect();
        match decide(&chosen, self.null.digest()) {
            Err(contradiction) => self.halt(HaltReason::Contradiction(contradiction.to_string()), out),
            Ok(decision) => {
                let message = Arc::new(self.sign_new_view(chosen, &decision));
                self.making_new_view = Some(view);
                self.persist(Record::EnteredView(Arc::clone(&message)), out);
                self.after_sync(Own::NewView(message, decision));
            }
        }
    }

    fn sign_new_view(&self, view_changes: Vec<Arc<ViewChange>>, decision: &Decision) -> NewView {
        let view = self.target();
        let (ring, key) = (&self.config.ring, &self.config.key);
        let proposals: Vec<Reproposal> = decision
            .choices
            .iter()
            .map(|(seq, digest)| {
                let vote = Vote::sign(
                    Phase::PrePrepare,
                    view,
                    *seq,
                    *digest,
                    self.id(),
                    &ring.chain,
                    key,
                );
                Reproposal {
                    digest: *digest,
                    signature: vote.signature,
                }
            })
            .collect();
        let mut message = NewView {
            view,
            view_changes: view_changes.into(),
            proposals: proposals.into(),
            signature: Signature::from_bytes([0; 64]),
        };
        message.signature = key.sign(NewView::DOMAIN, &ring.chain, message.content_digest().as_bytes());
        message
    }

    /// A NEW-VIEW signed by the primary of its view.
    pub(crate) fn on_new_view(&mut self, from: ReplicaId, message: Arc<NewView>, out: &mut Outputs) {
        let view = message.view;
        let primary = self.quorum.primary(view);
        if primary == self.id() {
            self.on_own_new_view(&message, out);
            return;
        }
        if self.standing == Standing::Starting {
            // First it has to be known that nothing was forgotten: to enter a view would hide that it was in there
            // before. The NEW-VIEW comes again in answer to STATUS.
            return;
        }
        if view == self.view {
            // Installed already: only a second, different one is worth a look.
            if let Some(held) = self.new_view.clone()
                && held.content_digest() != message.content_digest()
            {
                self.reject(from, Kind::NewView, Rejection::Equivocation(primary), out);
                self.accuse(Evidence::ConflictingNewViews(held, message), out);
            }
            return;
        }
        if (view < self.target() && !mutant!(EntersLowerViews)) || view < self.view {
            return;
        }
        let peer = self.peers.entry(primary).or_default();
        if peer.checking_new_view || peer.void_new_view >= Some(view) {
            return;
        }
        peer.checking_new_view = true;
        out.check.push(Check::NewView(message));
    }

    /// A NEW-VIEW signed with this replica's own key came from outside.
    fn on_own_new_view(&mut self, message: &NewView, out: &mut Outputs) {
        let held = self
            .new_view
            .as_ref()
            .is_some_and(|held| held.content_digest() == message.content_digest());
        let waiting = self.making_new_view == Some(message.view);
        if !held && !waiting && message.view >= self.target() {
            self.on_foreign_signature("NEW-VIEW", out);
        }
    }

    /// The verdict on what a NEW-VIEW holds.
    pub(crate) fn on_new_view_checked(
        &mut self,
        message: Arc<NewView>,
        verdict: Result<Decision, BadNewView>,
        out: &mut Outputs,
    ) {
        let view = message.view;
        let primary = self.quorum.primary(view);
        let peer = self.peers.entry(primary).or_default();
        peer.checking_new_view = false;
        match verdict {
            Ok(decision) => {
                mutant!(ForgetsNewViewWhenBehind, {
                    if decision.min_s > self.executed {
                        peer.void_new_view = peer.void_new_view.max(Some(view));
                        return;
                    }
                });
                // Time has passed since it came: the target may have moved on.
                if (view >= self.target() || mutant!(EntersLowerViews)) && view > self.view {
                    self.persist(Record::EnteredView(Arc::clone(&message)), out);
                    self.enter_view(message, decision, out);
                }
            }
            Err(BadNewView::Contradiction(seq, at)) => {
                let why = BadNewView::Contradiction(seq, at).to_string();
                self.halt(HaltReason::Contradiction(why), out);
            }
            Err(_) => {
                peer.void_new_view = peer.void_new_view.max(Some(view));
                self.accuse(Evidence::BadNewView(message), out);
                // Only those who wait for exactly this view have lost it.
                let awaited = self.mode() == Mode::ViewChange && self.target() == view;
                if awaited || mutant!(FollowsUnawaitedNewView) {
                    self.move_to(view.next(), ViewChangeReason::BadNewView, out);
                }
            }
        }
    }

    /// Enters the view. For a backup the NEW-VIEW is among the records of this step, so PREPAREs wait for it.
    pub(crate) fn enter_view(&mut self, message: Arc<NewView>, decision: Decision, out: &mut Outputs) {
        let view = message.view;
        assert!(view > self.view, "entered view {view} from {}", self.view);
        self.view = view;
        self.departure = None;
        self.making_new_view = None;
        self.new_view = Some(Arc::clone(&message));
        let condemned = self.condemned.values().any(|held| *held == view);
        self.condemned.retain(|_, held| *held > view);
        self.candidates
            .retain(|_, candidate| candidate.message.target > view);
        self.log.enter_view(view);
        for timer in [
            Timer::ViewChange,
            Timer::Resend,
            Timer::Held,
            Timer::Batch,
            Timer::Standby,
        ] {
            self.timers.clear(timer);
        }
        out.events.push(Event::ViewEntered { view });
        self.choices = decision.choices.iter().copied().collect();
        self.end_standby();
        // What an earlier NEW-VIEW chose and nobody prepared here is nobody's to complete any more.
        let log = &self.log;
        self.awaited
            .retain(|seq, _| log.get(*seq).is_some_and(|slot| slot.prepared.is_some()));
        // Before anything else can look at what the primary may have proposed ahead of its NEW-VIEW.
        let contradicted = self.adopt_choices(&message, out);
        if let Some(stable) = decision.stable {
            self.on_stable(stable, out);
        }
        self.proposed = decision.max_s.max(self.stable_seq());
        if mutant!(ProposesAtMaxS) {
            self.proposed = self.proposed.prev();
        }
        self.requeue_pending();
        self.start_turnaround();
        self.start_watch();
        self.forward_pending(out);
        self.reconsider_all(out);
        if contradicted || condemned {
            self.leave_view(ViewChangeReason::FaultyPrimary, out);
        }
    }

    /// Takes the PRE-PREPAREs of O as if they had been received one by one. Says whether the primary had sent others
    /// for its view before.
    fn adopt_choices(&mut self, message: &NewView, out: &mut Outputs) -> bool {
        let mut contradicted = false;
        let primary = self.quorum.primary(self.view);
        let entries: Vec<(SeqNum, Digest)> =
            self.choices.iter().map(|(seq, digest)| (*seq, *digest)).collect();
        for ((seq, digest), proposal) in entries.into_iter().zip(message.proposals.iter()) {
            if seq <= self.stable_seq() || seq <= self.log.collected() || mutant!(SkipsChoices) {
                continue;
            }
            if self.contradicts_history(seq, &digest, out) {
                return false;
            }
            let vote = Vote {
                phase: Phase::PrePrepare,
                view: self.view,
                seq,
                digest,
                sender: primary,
                signature: proposal.signature,
            };
            if seq > self.executed {
                self.awaited.entry(seq).or_insert(self.now.clock);
            }
            if primary == self.id() {
                // Signed with the NEW-VIEW, body or not: it has to be remembered as this replica's own word.
                let (view, signature) = (self.view, vote.signature);
                self.log.slot(seq).signed.insert(view, digest);
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
            let held = self.log.slot(seq).proposals.insert(self.view, vote.clone());
            if let Some(held) = held.filter(|held| held.digest != digest) {
                // The primary had sent a PRE-PREPARE for its new view that its NEW-VIEW contradicts.
                self.accuse(Evidence::ConflictingVotes(held, vote), out);
                contradicted = true;
            }
        }
        contradicted
    }

    /// Which backups signed the certificate for which V of the present view chose this digest: they hold its body, and at
    /// least one of them is correct. Its primary is left out: it is the one whose view was left.
    pub(crate) fn certificate_signers(&self, seq: SeqNum, digest: &Digest) -> BTreeSet<ReplicaId> {
        let view_changes = self
            .new_view
            .iter()
            .flat_map(|message| message.view_changes.iter());
        let certificates = view_changes.flat_map(|view_change| view_change.prepared.iter());
        certificates
            .filter(|certificate| certificate.seq == seq && certificate.digest == *digest)
            .flat_map(|certificate| certificate.prepares.iter())
            .map(|endorsement| endorsement.sender)
            .collect()
    }

    /// Pending requests are to be proposed in the new view, but for those its choices hold already.
    fn requeue_pending(&mut self) {
        let mut chosen = BTreeSet::new();
        for (seq, digest) in self.choices.clone() {
            if let Some(body) = self.find_certified_body(seq, &digest) {
                chosen.extend(body.request_digests().iter().copied());
            }
        }
        self.pool.requeue(&chosen);
    }

    /// Sends pending requests to the primary: on entering a view and every T/4.
    pub(crate) fn forward_pending(&mut self, out: &mut Outputs) {
        if mutant!(NeverForwards) {
            return;
        }
        if self.mode() != Mode::Normal || self.pool.is_empty() || !matches!(self.standing, Standing::Voting) {
            return;
        }
        self.timers.set(
            Timer::Forward,
            self.now.clock.plus(self.config.tuning.request_timeout / 4),
        );
        let primary = self.quorum.primary(self.view);
        if primary != self.id() {
            // More than a batch holds would be refused whole by every receiver.
            let parameters = &self.config.parameters;
            let room = self.config.tuning.forward_room.min(parameters.max_batch_requests);
            let requests = self
                .pool
                .forward(room, self.config.parameters.max_batch_bytes, self.now.clock);
            self.send(Recipient::One(primary), Message::Forward(requests.into()), out);
        }
    }
}
