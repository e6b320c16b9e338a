//! Leaving a view (OSDI '99 §4.4, §4.5.2; protocol: leaving a view).

use std::collections::BTreeMap;
use std::sync::Arc;

use core::time::Duration;

use crate::error::{BadViewChange, Rejection};
use crate::evidence::Evidence;
use crate::io::{Check, Event, Outputs, Recipient, ViewChangeReason};
use crate::message::{Kind, Message, Mode, SignedTarget, ViewChange};
use crate::pool::Arrival;
use crate::record::Record;
use crate::replica::{Own, Replica};
use crate::timer::Timer;
use crate::types::{ReplicaId, SeqNum, Time, View};

/// This replica has left its view.
#[derive(Clone, Debug)]
pub(crate) struct Departure {
    /// The view it wants.
    pub(crate) target: View,
    /// The message that says so.
    pub(crate) message: Arc<ViewChange>,
    /// Whether it is on disk and has left.
    pub(crate) released: bool,
}

/// How far a VIEW-CHANGE of another replica has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    /// Only its own signature.
    Signed,
    /// Its certificates are being checked.
    Checking,
    /// All of it is good.
    Valid,
    /// Something in it is bad: its target still counts for joining, but it belongs in no V.
    Void,
}

/// The highest VIEW-CHANGE of one replica.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) message: Arc<ViewChange>,
    pub(crate) validity: Validity,
}

/// What the request timer runs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    /// A request that could execute.
    Request(Arrival),
    /// A sequence number with a prepared certificate, or chosen by NEW-VIEW.
    Sequence(SeqNum),
}

/// The oldest pending thing and since when it is the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    pub(crate) pending: Pending,
    since: Time,
    /// Whether it was the oldest when the view was entered: once it has executed, the view has proved itself.
    at_entry: bool,
}

impl Replica {
    /// T·2^k, capped.
    pub(crate) fn timeout(&self) -> Duration {
        let tuning = &self.config.tuning;
        let factor = 1_u32.checked_shl(self.doublings.min(30)).unwrap_or(u32::MAX);
        tuning
            .request_timeout
            .saturating_mul(factor)
            .min(if mutant!(DoublesWithoutCap) {
                Duration::MAX
            } else {
                tuning.view_change_timeout_max
            })
    }

    /// Keeps the request timer on the oldest pending thing. Progress of others does not reset it, and with nothing
    /// pending it does not run: an idle view never changes.
    pub(crate) fn watch_pending(&mut self) {
        if self.mode() != Mode::Normal || !self.may_sign() {
            self.watch = None;
            self.timers.clear(Timer::Request);
            return;
        }
        if let Some(watch) = self.watch {
            let still = match watch.pending {
                Pending::Request(arrival) => self.pool.contains(arrival),
                Pending::Sequence(seq) => self.awaited.contains_key(&seq),
            };
            if still {
                return;
            }
            if watch.at_entry {
                self.doublings = 0;
            }
            self.watch = None;
        }
        let oldest = self.oldest_pending();
        self.watch = oldest.map(|pending| Watch {
            pending,
            since: self.now.clock,
            at_entry: false,
        });
        match self.watch {
            Some(watch) => {
                self.timers.set(Timer::Request, watch.since.plus(self.timeout()));
                self.timers.ensure(
                    Timer::Forward,
                    watch
                        .since
                        .plus(self.turnaround.forward_after(self.config.tuning.request_timeout)),
                );
                self.timers.advance(
                    Timer::Status,
                    self.now.clock.plus(self.config.tuning.status_interval),
                );
            }
            None => {
                self.timers.clear(Timer::Request);
                self.timers.clear(Timer::Forward);
            }
        }
    }

    /// Whatever waits longest: a request that could execute, or a sequence number that was prepared or chosen. Neither
    /// kind goes before the other, or a busy view would hide the request that its primary ignores.
    fn oldest_pending(&self) -> Option<Pending> {
        let sequence = self
            .awaited
            .first_key_value()
            .map(|(seq, since)| (*since, Pending::Sequence(*seq)));
        let request = self
            .pool
            .oldest_timed()
            .map(|(arrival, since)| (since, Pending::Request(arrival)));
        sequence
            .into_iter()
            .chain(request)
            .min_by_key(|(since, _)| *since)
            .map(|(_, pending)| pending)
    }

    /// The view begins: the time of what is oldest now runs from here.
    pub(crate) fn start_watch(&mut self) {
        self.watch = None;
        self.timers.clear(Timer::Request);
        self.timers.clear(Timer::Forward);
        self.watch_pending();
        match &mut self.watch {
            Some(watch) => watch.at_entry = true,
            // Nothing to prove: an idle view starts afresh.
            None => self.doublings = 0,
        }
    }

    pub(crate) fn on_request_timeout(&mut self, out: &mut Outputs) {
        self.leave_view(ViewChangeReason::RequestTimeout, out);
    }

    pub(crate) fn on_view_change_timeout(&mut self, out: &mut Outputs) {
        if let Some(departure) = &self.departure {
            let next = departure.target.next();
            self.move_to(next, ViewChangeReason::NewViewTimeout, out);
        }
    }

    /// Leaves the current view for the next one, unless it was left already.
    pub(crate) fn leave_view(&mut self, reason: ViewChangeReason, out: &mut Outputs) {
        if self.mode() == Mode::Normal {
            self.move_to(self.view.next(), reason, out);
        }
    }

    /// The primary of `view` is provably faulty in it: the view is left, at once or as soon as it is entered.
    pub(crate) fn leave_faulty_primary(&mut self, view: View, out: &mut Outputs) {
        if mutant!(ForgivesPrimaries) {
            return;
        }
        if view == self.view {
            self.leave_view(ViewChangeReason::FaultyPrimary, out);
        } else if view > self.view {
            let primary = self.quorum.primary(view);
            let held = self.condemned.entry(primary).or_insert(view);
            *held = view.min(*held);
        }
    }

    /// Enters view-change mode for `target`: from here on nothing of a lower view is signed. The VIEW-CHANGE leaves
    /// once it is on disk, and the identical bytes leave again until a NEW-VIEW or a higher target.
    pub(crate) fn move_to(&mut self, target: View, reason: ViewChangeReason, out: &mut Outputs) {
        if target <= self.target() || !self.may_sign() {
            return;
        }
        if self.departure.is_some() || reason == ViewChangeReason::RequestTimeout {
            self.doublings = self.doublings.saturating_add(1);
        }
        let ring = &self.config.ring;
        let prepared = self.prepared_certificates();
        let message = ViewChange::sign(
            target,
            self.stable.clone(),
            prepared,
            self.id(),
            &ring.chain,
            &self.config.key,
        );
        let message = Arc::new(message);
        self.departure = Some(Departure {
            target,
            message: Arc::clone(&message),
            released: false,
        });
        self.timers.clear(Timer::ViewChange);
        self.timers.clear(Timer::Held);
        self.timers.clear(Timer::Batch);
        self.persist(
            Record::LeftView {
                view: self.view,
                message: Arc::clone(&message),
            },
            out,
        );
        self.after_sync(Own::ViewChange(message));
        self.timers.set(
            Timer::Resend,
            self.now.clock.plus(self.config.tuning.status_interval),
        );
        out.events.push(Event::ViewChangeStarted { target, reason });
        self.check_candidates(out);
    }

    /// P: for every n in (h, H] with one, the prepared certificate of the highest view, null ones included.
    fn prepared_certificates(&self) -> Vec<crate::certificate::PreparedCertificate> {
        let high = self.high_mark();
        self.log
            .above(self.stable_seq())
            .take_while(|(seq, _)| *seq <= high)
            .filter_map(|(_, slot)| slot.prepared.clone())
            .filter(|held| !(mutant!(LeavesNullsOut) && held.digest == self.null.digest()))
            .filter(|held| !(mutant!(LosesLowerViews) && held.view != self.view))
            .filter(|_| !mutant!(HidesCertificates))
            .collect()
    }

    /// The own VIEW-CHANGE is on disk and has left; it counts like everybody's.
    pub(crate) fn count_own_view_change(&mut self, message: Arc<ViewChange>, out: &mut Outputs) {
        if let Some(departure) = &mut self.departure {
            departure.released = true;
        }
        self.candidates.insert(
            self.id(),
            Candidate {
                message,
                validity: Validity::Valid,
            },
        );
        self.on_candidates_changed(out);
    }

    pub(crate) fn resend_view_change(&mut self, out: &mut Outputs) {
        let Some(departure) = &self.departure else { return };
        if departure.released && !mutant!(NeverResends) {
            let message = Message::ViewChange(Arc::clone(&departure.message));
            self.send(Recipient::Others, message, out);
        }
        self.timers.set(
            Timer::Resend,
            self.now.clock.plus(self.config.tuning.request_timeout / 4),
        );
    }

    /// A VIEW-CHANGE whose own signature is good.
    pub(crate) fn on_view_change(&mut self, from: ReplicaId, message: Arc<ViewChange>, out: &mut Outputs) {
        let sender = message.sender;
        if sender == self.id() {
            self.on_own_view_change(&message, out);
            return;
        }
        let (target, content) = (message.target, message.content_digest());
        let signed = SignedTarget {
            target,
            content,
            signature: message.signature,
        };
        self.peers.entry(sender).or_default().note_target(signed);
        if message.target <= self.view {
            return;
        }
        if let Some(held) = self.candidates.get(&sender) {
            if held.message.target > message.target {
                return;
            }
            if held.message.target == message.target {
                if held.message.content_digest() != message.content_digest() {
                    self.reject(from, Kind::ViewChange, Rejection::Equivocation(sender), out);
                    let first = Arc::clone(&held.message);
                    // The first valid one counts. A void one gives way, but not as often as its sender likes: each
                    // costs a check of all its certificates.
                    let replace = held.validity == Validity::Void;
                    let evidence = Evidence::ConflictingViewChanges(first, Arc::clone(&message));
                    if self.accuse(evidence, out) && replace {
                        self.candidates.insert(
                            sender,
                            Candidate {
                                message,
                                validity: Validity::Signed,
                            },
                        );
                        self.on_candidates_changed(out);
                    }
                }
                return;
            }
        }
        let candidate = Candidate {
            message,
            validity: Validity::Signed,
        };
        let first = self.candidates.insert(sender, candidate).is_none();
        self.on_candidates_changed(out);
        // It may have found something that is wrong with a proposal; whoever had left before says nothing new of that.
        if first && self.mode() == Mode::Normal {
            self.check_all_left(out);
        }
    }

    /// A VIEW-CHANGE signed with this replica's own key came from outside.
    fn on_own_view_change(&mut self, message: &ViewChange, out: &mut Outputs) {
        let known = match &self.departure {
            Some(departure) if departure.target == message.target => {
                departure.message.content_digest() == message.content_digest()
            }
            _ => message.target <= self.target(),
        };
        if !known {
            self.on_foreign_signature("VIEW-CHANGE", out);
        }
    }

    /// The verdict on the certificates inside a VIEW-CHANGE.
    pub(crate) fn on_view_change_checked(
        &mut self,
        message: &Arc<ViewChange>,
        verdict: Result<(), BadViewChange>,
        out: &mut Outputs,
    ) {
        if let Some(held) = self.candidates.get_mut(&message.sender)
            && Arc::ptr_eq(&held.message, message)
        {
            held.validity = if verdict.is_ok() {
                Validity::Valid
            } else {
                Validity::Void
            };
            if verdict.is_err() {
                self.accuse(Evidence::BadViewChange(Arc::clone(message)), out);
            }
            self.on_candidates_changed(out);
        }
    }

    /// Everything that follows from whose VIEW-CHANGEs are here.
    pub(crate) fn on_candidates_changed(&mut self, out: &mut Outputs) {
        self.join(out);
        self.check_candidates(out);
        self.arm_view_change_timer();
        self.try_new_view(out);
    }

    /// The join rule: when f + 1 replicas have targets above mine, move to the (f+1)-th highest of them: at least one
    /// correct replica wants that view or a higher one. Fewer move nobody.
    fn join(&mut self, out: &mut Outputs) {
        let mine = self.target();
        let mut above: Vec<View> = self
            .candidates
            .iter()
            .filter(|(sender, _)| **sender != self.id())
            .map(|(_, candidate)| candidate.message.target)
            .filter(|target| *target > mine)
            .collect();
        above.sort_unstable_by(|a, b| b.cmp(a));
        if let Some(target) = above.get(if mutant!(JoinsOne) {
            0
        } else {
            self.quorum.weak() - 1
        }) {
            self.move_to(*target, ViewChangeReason::Join, out);
        }
    }

    /// Has the certificates checked of those VIEW-CHANGEs that can matter: targets up to mine + 1, or supported by
    /// f + 1. The others cost their signature and nothing more.
    fn check_candidates(&mut self, out: &mut Outputs) {
        let limit = self.target().next();
        let mut support: BTreeMap<View, usize> = BTreeMap::new();
        for candidate in self.candidates.values() {
            *support.entry(candidate.message.target).or_default() += 1;
        }
        for candidate in self
            .candidates
            .values_mut()
            .filter(|candidate| candidate.validity == Validity::Signed)
        {
            let target = candidate.message.target;
            let supported = support
                .get(&target)
                .is_some_and(|count| *count >= self.quorum.weak());
            if target <= limit || supported {
                candidate.validity = Validity::Checking;
                out.check.push(Check::ViewChange(Arc::clone(&candidate.message)));
            }
        }
    }

    /// The view-change timer starts when Q replicas, this one included, have targets of at least mine. With "exactly
    /// mine" honest replicas that drifted apart could wait for each other for ever.
    fn arm_view_change_timer(&mut self) {
        let Some(departure) = &self.departure else { return };
        if !departure.released || self.timers.is_set(Timer::ViewChange) {
            return;
        }
        let target = departure.target;
        let ready = self
            .candidates
            .values()
            .filter(|candidate| {
                candidate.message.target == target
                    || (candidate.message.target > target && !mutant!(WaitsForEqualTargets))
            })
            .count();
        if ready >= self.quorum.quorum() {
            self.timers
                .set(Timer::ViewChange, self.now.clock.plus(self.timeout()));
        }
    }
}
