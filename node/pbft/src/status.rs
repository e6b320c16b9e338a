//! STATUS: what one has, so that others send what it lacks. It goes out when a connection comes up and at intervals
//! while something does not progress; nothing that was lost stays lost.

use std::sync::Arc;

use crate::io::{Event, Outputs, Recipient};
use crate::log::{Ballot, Slot};
use crate::message::{Message, Mode, Phase, SlotStatus, Status, Vote};
use crate::record::{Record, Voter};
use crate::replica::{Replica, Standing};
use crate::timer::Timer;
use crate::types::{ReplicaId, SeqNum, View};

/// Most proposals with bodies sent in answer to one STATUS: the next STATUS asks for more.
const MAX_BODIES_IN_ANSWER: usize = 16;

fn bitmap(ballot: Option<&Ballot>) -> u128 {
    ballot.map_or(0, |ballot| ballot.keys().fold(0, |bits, id| bits | bit(*id)))
}

fn bit(id: ReplicaId) -> u128 {
    1_u128.checked_shl(u32::from(id.get())).unwrap_or(0)
}

impl Replica {
    fn status(&self, to: Recipient) -> Status {
        let window = usize::try_from(self.config.parameters.window).unwrap_or(usize::MAX);
        let slots: Vec<SlotStatus> = self
            .log
            .above(self.executed)
            .take_while(|(seq, _)| *seq <= self.high_mark())
            // Whoever has not executed what h covers holds more than a window; receivers refuse a longer list.
            .take(window)
            .map(|(seq, slot)| SlotStatus {
                seq,
                proposed: slot.accepted.contains_key(&self.view)
                    || slot.offered.is_some()
                    || slot.unchecked.is_some(),
                prepares: bitmap(slot.prepares.get(&self.view)),
                commits: bitmap(slot.commits.get(&self.view)),
            })
            .collect();
        Status {
            view: self.view,
            target: self.target(),
            mode: self.mode(),
            stable: self.stable_seq(),
            executed: self.executed,
            slots: slots.into(),
            starting: self.standing == Standing::Starting,
            yours: match to {
                Recipient::One(peer) => {
                    let signed = self.peers.get(&peer).map(|peer| peer.signed.clone());
                    Some(Box::new(signed.unwrap_or_default()))
                }
                Recipient::Others => None,
            },
        }
    }

    pub(crate) fn send_status(&mut self, to: Recipient, out: &mut Outputs) {
        let status = self.status(to);
        self.send(to, Message::Status(status), out);
    }

    /// Whether something is wanted that has not come yet.
    fn wants_something(&self) -> bool {
        self.departure.is_some()
            || !self.awaited.is_empty()
            || self.pool.oldest_timed().is_some()
            || self.executed < self.stable_seq()
            || self.standing == Standing::Starting
            || self.log.above(self.executed).next().is_some()
    }

    pub(crate) fn on_status_timer(&mut self, out: &mut Outputs) {
        let mark = (self.target(), self.executed);
        let progresses = mark != self.progress_mark;
        self.progress_mark = mark;
        let wants = self.wants_something();
        // Whoever executes one batch after the other lacks nothing, also in the moments between two in which it wants nothing: its
        // STATUS would only cross what is on its way, and have it sent once more.
        if !progresses {
            self.send_status(Recipient::Others, out);
        }
        if wants && !progresses {
            self.fetch_blocks_if_behind(out);
            // A CHECKPOINT may have been lost; it is the only thing that moves the window.
            self.announce_checkpoint(out);
        }
        let tuning = &self.config.tuning;
        let interval = if wants || progresses {
            tuning.status_interval
        } else {
            tuning.idle_status_interval
        };
        self.timers.set(Timer::Status, self.now.clock.plus(interval));
    }

    pub(crate) fn on_status(&mut self, from: ReplicaId, status: Status, out: &mut Outputs) {
        let peer = self.peers.entry(from).or_default();
        peer.executed = status.executed;
        if self.standing == Standing::Starting {
            self.on_status_while_starting(from, &status, out);
        }
        if status.starting {
            self.remind(from, out);
        }
        self.look_for_late(&status, out);
        let stuck = self.progress_mark == (self.target(), self.executed);
        let gap = status.executed.above(self.dispatched);
        if gap > 0 && (stuck || gap > self.config.parameters.checkpoint_interval) {
            self.fetch_blocks_if_behind(out);
        }
        self.answer(from, &status, out);
    }

    /// Tells a starting replica what it has signed, but not as often as it likes: two who are both starting would
    /// answer each other's answers for ever.
    fn remind(&mut self, from: ReplicaId, out: &mut Outputs) {
        let (now, pause) = (self.now.clock, self.config.tuning.status_interval / 2);
        let peer = self.peers.entry(from).or_default();
        if peer.reminded.is_none_or(|at| now.since(at) >= pause) {
            peer.reminded = Some(now);
            self.send_status(Recipient::One(from), out);
        }
    }

    /// The amnesia check: before its first new signature a starting replica hears from 2f others what they know it to
    /// have signed. More than its log holds means that the log is not the one that was written under this key.
    fn on_status_while_starting(&mut self, from: ReplicaId, status: &Status, out: &mut Outputs) {
        let Some(yours) = &status.yours else { return };
        let mut votes = [&yours.view, &yours.seq].into_iter().flatten();
        let forgotten_vote = votes.any(|vote| vote.view > self.view || self.has_forgotten(vote));
        let forgotten_target = yours.target.is_some_and(|signed| signed.target > self.target());
        if (forgotten_vote || forgotten_target) && !mutant!(AmnesiacVotes) {
            self.become_learner(out);
            return;
        }
        self.heard.insert(from);
        if self.heard.len() >= self.quorum.prepares() {
            self.begin(out);
        }
    }

    /// Whether the log lacks what this vote of its own promised: (v, n) → d, and with a COMMIT the certificate for it.
    fn has_forgotten(&self, vote: &Vote) -> bool {
        let slot = self.log.get(vote.seq);
        let signed = slot.and_then(|slot| slot.signed.get(&vote.view));
        let prepared = slot.and_then(|slot| slot.prepared.as_ref());
        let promised = signed == Some(&vote.digest)
            && (vote.phase != Phase::Commit
                || prepared.is_some_and(|certificate| certificate.view >= vote.view));
        vote.seq > self.stable_seq() && !promised
    }

    pub(crate) fn become_learner(&mut self, out: &mut Outputs) {
        self.standing = Standing::Learner;
        self.persist(Record::Voter(Voter::Learner), out);
        out.events.push(Event::Learner);
    }

    /// The amnesia check is over: what was promised before the crash is sent again, unchanged.
    fn begin(&mut self, out: &mut Outputs) {
        self.standing = Standing::Voting;
        out.events.push(Event::Started);
        match self.departure.clone() {
            Some(departure) => {
                let message = Message::ViewChange(Arc::clone(&departure.message));
                self.send(Recipient::Others, message, out);
                self.count_own_view_change(departure.message, out);
                self.timers.set(
                    Timer::Resend,
                    self.now.clock.plus(self.config.tuning.request_timeout / 4),
                );
            }
            None => {
                // Others may have left while this replica could not follow them.
                self.on_candidates_changed(out);
                if !self.candidates.is_empty() && self.mode() == Mode::Normal {
                    self.check_all_left(out);
                }
                let open: Vec<SeqNum> = self.log.above(self.executed).map(|(seq, _)| seq).collect();
                for message in open.into_iter().flat_map(|seq| self.own_messages(seq, None)) {
                    self.send(Recipient::Others, message, out);
                }
                self.start_watch();
            }
        }
        self.announce_checkpoint(out);
        self.reconsider_all(out);
        let open: Vec<SeqNum> = self.log.iter().map(|(seq, _)| seq).collect();
        for seq in open {
            self.progress(seq, out);
        }
    }

    /// What this replica has to say about `seq` in its view that somebody who holds `has` lacks: its own votes, and
    /// the primary's signed proposal with its body.
    fn own_messages(&self, seq: SeqNum, has: Option<&SlotStatus>) -> Vec<Message> {
        let Some(slot) = self.log.get(seq) else {
            return Vec::new();
        };
        let me = self.id();
        let mut messages = Vec::new();
        let primary = self.quorum.primary(self.view);
        if !has.is_some_and(|has| has.proposed)
            && let Some(vote) = self.relayed_proposal(seq, slot, primary)
        {
            let batch = self
                .find_certified_body(seq, &vote.digest)
                .map(|body| body.batch().clone());
            messages.push(Message::PrePrepare { vote, batch });
        }
        let lacks = |bits: Option<u128>| bits.is_none_or(|bits| bits & bit(me) == 0);
        let own = |phase: Phase, ballot: Option<&Ballot>| {
            let (digest, signature) = ballot.and_then(|ballot| ballot.get(&me))?;
            let (view, digest, signature) = (self.view, *digest, *signature);
            Some(Message::Vote(Vote {
                phase,
                view,
                seq,
                digest,
                sender: me,
                signature,
            }))
        };
        if lacks(has.map(|has| has.prepares)) {
            messages.extend(own(Phase::Prepare, slot.prepares.get(&self.view)));
        }
        if lacks(has.map(|has| has.commits)) {
            messages.extend(own(Phase::Commit, slot.commits.get(&self.view)));
        }
        messages
    }

    /// The primary's proposal as it may leave here. This replica's own may only if it has left already, or would
    /// leave before it is on disk.
    fn relayed_proposal(&self, seq: SeqNum, slot: &Slot, primary: ReplicaId) -> Option<Vote> {
        let accepted = slot.accepted.get(&self.view)?;
        let waits = self
            .waiting
            .iter()
            .any(|(_, own)| own.is_proposal(self.view, seq));
        let (view, digest, signature) = (self.view, accepted.digest, accepted.signature);
        (!waits).then_some(Vote {
            phase: Phase::PrePrepare,
            view,
            seq,
            digest,
            sender: primary,
            signature,
        })
    }

    /// Sends a peer what it lacks.
    fn answer(&mut self, from: ReplicaId, status: &Status, out: &mut Outputs) {
        if !matches!(self.standing, Standing::Voting | Standing::Learner) || mutant!(NeverResends) {
            return;
        }
        let pause = self.config.tuning.status_interval / 2;
        let peer = self.peers.entry(from).or_default();
        if peer.answered.is_some_and(|at| self.now.clock.since(at) < pause) {
            return;
        }
        peer.answered = Some(self.now.clock);
        let to = Recipient::One(from);
        if status.view < self.view
            && status.target <= self.view
            && let Some(new_view) = self.new_view.clone()
        {
            self.send(to, Message::NewView(new_view), out);
        }
        if status.executed < self.executed {
            // It asks for blocks itself once it knows who has them.
            self.send_status(to, out);
        }
        if status.stable < self.stable_seq()
            && let Some(stable) = self.stable.clone()
        {
            self.send(to, Message::Stable(stable), out);
        }
        if let Some(departure) = &self.departure
            && departure.released
            && status.target <= departure.target
            && status.view < departure.target
        {
            let message = Message::ViewChange(Arc::clone(&departure.message));
            self.send(to, message, out);
        }
        // After a VIEW-CHANGE nothing of the view that was left may leave for the first time, and what is on disk does not
        // say what has left already. Whoever lacks it gets the blocks, or leaves the view as well.
        if status.view == self.view && self.departure.is_none() {
            self.answer_votes(from, status, out);
        }
    }

    fn answer_votes(&mut self, from: ReplicaId, status: &Status, out: &mut Outputs) {
        let mut bodies = 0;
        let held: std::collections::BTreeMap<SeqNum, &SlotStatus> =
            status.slots.iter().map(|slot| (slot.seq, slot)).collect();
        let open: Vec<SeqNum> = self.log.above(status.executed).map(|(seq, _)| seq).collect();
        for seq in open {
            // It asks for whatever it knows of; what it does not list was dropped there.
            if mutant!(DropsAboveWindow) && !held.contains_key(&seq) {
                continue;
            }
            for message in self.own_messages(seq, held.get(&seq).copied()) {
                if matches!(message, Message::PrePrepare { .. }) {
                    bodies += 1;
                    if bodies > MAX_BODIES_IN_ANSWER {
                        return;
                    }
                }
                self.send(Recipient::One(from), message, out);
            }
        }
    }

    /// The view as others see it, for people.
    pub fn view_and_mode(&self) -> (View, Mode) {
        (self.view, self.mode())
    }
}
