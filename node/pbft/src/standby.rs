//! Standing by: f backups leave a batch to the others.
//!
//! 2f + 1 replicas decide on a batch whatever the other f do, and most of what a batch costs a replica is to check its requests'
//! signatures. So, as in REBFT (Distler, Cachin, Kapitza, "Resource-efficient Byzantine fault tolerance", IEEE Transactions on
//! Computers 65(9), 2016), f replicas are passive while all goes well. Ours take turns ([`Quorum::stands_by`](crate::Quorum)), and they are passive in
//! agreement alone: they receive every proposal and every vote, and execute by the 2f + 1 COMMITs of the others as everybody does. f + 1 of
//! these come from correct replicas, which have batch and certificate on disk, and what was prepared is valid (`sharing`). So nothing that
//! safety rests on changes: who stands by is a replica that is slow.
//!
//! Liveness rests on everybody, so who stands by does so for a bounded time. When a proposal is late it checks and votes on all that it has
//! left to others, and takes part in everything for a while, and for as long as somebody does not vote at all: a replica that is down is
//! noticed once and not for every batch. What is late is measured by those who do take part: f of 2f backups that have sent PREPARE include a
//! correct one, or were quicker than that. It also takes part when others lack what it has executed without a vote of its own, or somebody
//! could give COMMITs to it alone, again and again.
//!
//! What this costs: agreement goes on with certain 2f + 1 replicas and not with the fastest. If one of them is slow on purpose, the batches that it
//! takes part in can be as late as a primary may make all of them (`turnaround`).

use core::time::Duration;
use std::sync::Arc;

use crate::batch::Body;
use crate::io::{Check, Event, Outputs};
use crate::message::{Mode, Status, Vote};
use crate::replica::Replica;
use crate::sharing::Offer;
use crate::timer::Timer;
use crate::types::{ReplicaId, SeqNum, Time};
use crate::verify::Incoming;

/// A proposal is late after this part of T at the latest: far enough below T that agreement still ends in time.
const LONGEST: u32 = 2;
/// It is late, too, once as much time has passed again as f PREPAREs took, and this part of T: what a primary may take as well
/// (`turnaround`).
const SLACK: u32 = 8;
/// After a late proposal this replica takes part in everything for so many T, and for twice as long each time if the next one is late
/// soon after that, up to so many. It also does while it has had no vote of somebody for so many T.
const ALERT: (u32, u32) = (8, 64);

/// Whether this replica stands by at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standby {
    /// Until then it takes part in everything; none if nothing was late yet.
    alert_until: Option<Time>,
    /// How long it does so when the next proposal is late.
    pause: Duration,
}

/// A proposal of the present view that is left to others, its requests unchecked.
#[derive(Clone, Debug)]
pub(crate) struct Unchecked {
    /// The body; its digest is that of the proposal.
    pub(crate) body: Arc<Body>,
    /// When it came.
    since: Time,
    /// When it is late.
    due: Time,
    /// Whether that takes account of how long others need.
    measured: bool,
    /// Whether its requests are being checked.
    checking: bool,
}

impl Standby {
    /// Of a replica that has seen nothing late. `timeout` is T.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            alert_until: None,
            pause: timeout * ALERT.0,
        }
    }

    fn is_alert(&self, now: Time) -> bool {
        self.alert_until.is_some_and(|until| now < until)
    }

    /// A proposal is late, or a view was left.
    fn alarm(&mut self, now: Time, timeout: Duration) {
        if !self.is_alert(now) {
            let soon = (self.alert_until).is_some_and(|until| now.since(until) < self.pause);
            self.pause = if soon {
                (self.pause * 2).min(timeout * ALERT.1)
            } else {
                timeout * ALERT.0
            };
        }
        self.alert_until = Some(now.plus(self.pause));
    }
}

impl Replica {
    /// Whether this replica leaves proposals to others where it is its turn: not to somebody who may be down.
    pub fn stands_by(&self) -> bool {
        let now = self.now.clock;
        let memory = self.config.tuning.request_timeout * ALERT.0;
        let votes = |id: &ReplicaId| {
            let voted = self.peers.get(id).and_then(|peer| peer.voted);
            voted.is_some_and(|at| now.since(at) < memory)
        };
        self.config.tuning.standby
            && !self.standby.is_alert(now)
            && self.mode() == Mode::Normal
            && self.may_sign()
            && self.quorum.all().all(|id| id == self.id() || votes(&id))
    }

    /// A vote came that was not known.
    pub(crate) fn note_voted(&mut self, sender: ReplicaId) {
        let now = self.now.clock;
        self.peers.entry(sender).or_default().voted = Some(now);
    }

    /// A PRE-PREPARE of the primary of its view whose requests were not checked.
    pub(crate) fn on_unchecked(&mut self, from: ReplicaId, vote: Vote, body: Arc<Body>, out: &mut Outputs) {
        let seq = vote.seq;
        let settled = self
            .log
            .get(seq)
            .is_some_and(|slot| slot.accepted.contains_key(&vote.view) || slot.committed.is_some());
        let open = vote.view == self.view && seq > self.stable_seq() && !settled;
        // What somebody else hands on was lost on its way, so it is late already.
        let left = self.stands_by() && from == vote.sender && seq > self.executed;
        self.on_proposal(from, vote, open.then_some(Offer::Unchecked(body)), out);
        if !left {
            self.take_part(|other| other == seq, out);
        }
    }

    /// Keeps the body of a proposal that is left to others.
    pub(crate) fn stand_by(&mut self, seq: SeqNum, body: Arc<Body>) {
        let (now, longest) = (self.now.clock, self.config.tuning.request_timeout / LONGEST);
        let slot = self.log.slot(seq);
        if slot.unchecked.is_none() {
            let due = now.plus(longest);
            slot.unchecked = Some(Unchecked {
                body,
                since: now,
                due,
                measured: false,
                checking: false,
            });
            self.timers.advance(Timer::Standby, due);
            self.measure_others(seq);
        }
    }

    /// If this replica stands by for `seq`, it may be known by now when that is late: PREPAREs tell how long it takes others.
    pub(crate) fn measure_others(&mut self, seq: SeqNum) {
        let (now, timeout) = (self.now.clock, self.config.tuning.request_timeout);
        let (view, faults) = (self.view, usize::from(self.quorum.faults()));
        let slot = self.log.slot(seq);
        let Some(digest) = slot.unchecked.as_ref().map(|held| held.body.digest()) else {
            return;
        };
        let prepared = slot.prepare_count(view, &digest);
        if let Some(held) = slot.unchecked.as_mut().filter(|held| !held.measured)
            && prepared >= faults
        {
            let taken = now.since(held.since);
            held.due = held.due.min(now.plus(taken + timeout / SLACK));
            held.measured = true;
            self.timers.advance(Timer::Standby, held.due);
        }
    }

    /// Something may be late.
    pub(crate) fn on_standby_timer(&mut self, out: &mut Outputs) {
        if self.mode() != Mode::Normal || mutant!(StandsByForEver) {
            return;
        }
        let left = self.log.above(self.stable_seq()).filter_map(|(seq, slot)| {
            let held = slot.unchecked.as_ref()?;
            (!held.checking).then_some((held.due, seq))
        });
        match left.min() {
            Some((due, seq)) if due <= self.now.clock => self.find_late(seq, out),
            Some((due, _)) => self.timers.set(Timer::Standby, due),
            None => {}
        }
    }

    /// A peer lacks COMMITs for what was final here long ago by those of others alone: the own one was needed.
    pub(crate) fn look_for_late(&mut self, status: &Status, out: &mut Outputs) {
        let slack = self.config.tuning.request_timeout / SLACK;
        let late = status.slots.iter().find(|there| {
            let here = self.log.get(there.seq).and_then(|slot| slot.left);
            let lacks = (there.commits.count_ones() as usize) < self.quorum.quorum();
            lacks && here.is_some_and(|since| self.now.clock.since(since) >= slack)
        });
        if let Some(late) = late.filter(|_| status.view == self.view && self.stands_by()) {
            self.find_late(late.seq, out);
        }
    }

    fn find_late(&mut self, seq: SeqNum, out: &mut Outputs) {
        out.events.push(Event::Late { seq });
        self.standby
            .alarm(self.now.clock, self.config.tuning.request_timeout);
        self.check_all_left(out);
    }

    /// Has proposals that are left to others checked where `wanted`, to vote on it.
    pub(crate) fn take_part(&mut self, wanted: impl Fn(SeqNum) -> bool, out: &mut Outputs) {
        let view = self.view;
        for (seq, slot) in self.log.iter_mut() {
            let Some(vote) = slot.proposals.get(&view).filter(|_| wanted(seq)) else {
                continue;
            };
            if let Some(held) = slot.unchecked.as_mut().filter(|held| !held.checking) {
                held.checking = true;
                out.check
                    .push(Check::Proposal(vote.clone(), Arc::clone(&held.body)));
            }
        }
    }

    /// The requests of a proposal were checked because this replica asked for it.
    pub(crate) fn on_proposal_checked(&mut self, incoming: Incoming, out: &mut Outputs) {
        match incoming {
            Incoming::PrePrepare(vote, body) => {
                self.log.note_checked(&vote.digest, true);
                self.on_proposal(vote.sender, vote, body.map(Offer::Checked), out);
            }
            Incoming::FaultyBatch(vote, batch, _) => {
                self.log.note_checked(&vote.digest, false);
                self.on_faulty_batch(vote, batch, out);
            }
            _ => {}
        }
    }

    /// A view begins: all but what it chose is void, and everybody takes part, as somebody is faulty or slow.
    pub(crate) fn end_standby(&mut self) {
        let choices = &self.choices;
        for (seq, slot) in self.log.iter_mut() {
            let chosen = choices.get(&seq);
            let of_use = |held: &Unchecked| chosen == Some(&held.body.digest());
            slot.unchecked = slot.unchecked.take().filter(of_use);
        }
        self.standby
            .alarm(self.now.clock, self.config.tuning.request_timeout);
    }
}
