//! The replica: its state, and the one function that changes it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tagma_crypto::Digest;

use crate::batch::Body;
use crate::certificate::StableCertificate;
use crate::config::Config;
use crate::error::Rejection;
use crate::evidence::Evidence;
use crate::fetch::Fetcher;
use crate::io::{Event, HaltReason, Input, Outputs, Recipient, Send};
use crate::log::Log;
use crate::message::{Checkpoint, Kind, Message, Mode, NewView, Vote};
use crate::peer::Peer;
use crate::pool::Pool;
use crate::quorum::Quorum;
use crate::record::Record;
use crate::sharing::Offer;
use crate::standby::Standby;
use crate::timer::{Timer, Timers};
use crate::turnaround::Turnaround;
use crate::types::{Now, ReplicaId, SeqNum, Ticket, Time, View};
use crate::verify::{Checked, Incoming, Verified};
use crate::view_change::{Departure, Watch};

/// What this replica may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Starting: it signs nothing before 2f others have told what they know it has signed.
    Starting,
    /// It takes part.
    Voting,
    /// Its store does not remember all that its key has signed: it follows and signs nothing, for ever.
    Learner,
    /// It has stopped.
    Halted(HaltReason),
}

/// A message of this replica's own that waits for the sync of what it promises.
#[derive(Clone, Debug)]
pub(crate) enum Own {
    Vote(Vote),
    Proposal(Vote, Arc<Body>),
    ViewChange(Arc<crate::message::ViewChange>),
    NewView(Arc<NewView>, crate::new_view::Decision),
}

impl Own {
    /// Whether this is the proposal for (v, n).
    pub(crate) fn is_proposal(&self, view: View, seq: SeqNum) -> bool {
        matches!(self, Self::Proposal(vote, _) if vote.view == view && vote.seq == seq)
    }
}

/// One replica of the protocol (OSDI '99 §4), without I/O. Two that print alike behave alike.
#[derive(Clone, Debug)]
pub struct Replica {
    pub(crate) config: Config,
    pub(crate) quorum: Quorum,
    pub(crate) null: Arc<Body>,
    pub(crate) now: Now,
    pub(crate) standing: Standing,

    /// The last view that was entered.
    pub(crate) view: View,
    /// Normal in `view`, or on the way to `departure.target`.
    pub(crate) departure: Option<Departure>,
    /// The NEW-VIEW by which `view` was entered; none in view 0.
    pub(crate) new_view: Option<Arc<NewView>>,
    /// What that NEW-VIEW chose, for every n above h.
    pub(crate) choices: BTreeMap<SeqNum, Digest>,
    /// The highest VIEW-CHANGE of each replica.
    pub(crate) candidates: BTreeMap<ReplicaId, crate::view_change::Candidate>,
    /// The view for which an own NEW-VIEW is on its way to the disk.
    pub(crate) making_new_view: Option<View>,
    /// k: how often the timeout was doubled.
    pub(crate) doublings: u32,
    /// The pending thing whose time runs.
    pub(crate) watch: Option<Watch>,
    /// n with a prepared certificate here or chosen by NEW-VIEW, not executed yet.
    pub(crate) awaited: BTreeMap<SeqNum, Time>,
    /// What the primary is held to.
    pub(crate) turnaround: Turnaround,
    /// Whether proposals are left to others.
    pub(crate) standby: Standby,

    pub(crate) log: Log,
    pub(crate) pool: Pool,
    pub(crate) timers: Timers,
    pub(crate) fetcher: Fetcher,
    pub(crate) peers: BTreeMap<ReplicaId, Peer>,

    /// The highest n proposed or chosen in this view.
    pub(crate) proposed: SeqNum,
    /// The highest n handed out for execution.
    pub(crate) dispatched: SeqNum,
    /// The highest n executed.
    pub(crate) executed: SeqNum,
    /// A state is being switched in: nothing is handed out for execution before that is done.
    pub(crate) execution_held: bool,
    /// The digests of executed batches above what was collected.
    pub(crate) history: BTreeMap<SeqNum, Digest>,

    /// The proof of h.
    pub(crate) stable: Option<StableCertificate>,
    /// The highest CHECKPOINT of each replica, the own one included.
    pub(crate) checkpoints: BTreeMap<ReplicaId, Checkpoint>,
    /// Header hashes computed here at checkpoint heights.
    pub(crate) own_headers: BTreeMap<SeqNum, Digest>,
    /// The last checkpoint whose state is on disk.
    pub(crate) durable: SeqNum,

    pub(crate) ticket: Ticket,
    pub(crate) synced: Ticket,
    pub(crate) waiting: VecDeque<(Ticket, Own)>,
    /// The nearest view above the present one in which each of these is a provably faulty primary.
    pub(crate) condemned: BTreeMap<ReplicaId, View>,
    pub(crate) evidence_counts: BTreeMap<(ReplicaId, String), u32>,
    /// The batch timer has fired and the batch it was for is not closed yet.
    pub(crate) batch_delay_over: bool,
    /// Who has told its STATUS since this replica started.
    pub(crate) heard: BTreeSet<ReplicaId>,
    /// View and height as of the last tick of the STATUS timer.
    pub(crate) progress_mark: (View, SeqNum),
}

/// Most evidence of one kind kept about one culprit.
const MAX_EVIDENCE: u32 = 4;

impl Replica {
    /// Which replica this is.
    pub fn id(&self) -> ReplicaId {
        self.config.id
    }
    /// The last view entered.
    pub fn view(&self) -> View {
        self.view
    }
    /// The view this replica wants: its own in normal mode.
    pub fn target(&self) -> View {
        self.departure
            .as_ref()
            .map_or(self.view, |departure| departure.target)
    }
    /// The mode.
    pub fn mode(&self) -> Mode {
        if self.departure.is_some() {
            Mode::ViewChange
        } else {
            Mode::Normal
        }
    }
    /// The primary of the view this replica is in or wants.
    pub fn primary(&self) -> ReplicaId {
        self.quorum.primary(self.target())
    }
    /// Whether this replica is the primary of its view and agreement goes on there.
    pub fn is_primary(&self) -> bool {
        self.mode() == Mode::Normal && self.primary() == self.id()
    }
    /// What it may do.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }
    /// h, the low water mark.
    pub fn stable_seq(&self) -> SeqNum {
        self.stable
            .as_ref()
            .map_or(SeqNum::ZERO, |certificate| certificate.seq)
    }
    /// H = h + L, the high water mark.
    pub fn high_mark(&self) -> SeqNum {
        self.stable_seq().plus(self.config.parameters.window)
    }
    /// The last sequence number executed.
    pub fn executed(&self) -> SeqNum {
        self.executed
    }
    /// Requests waiting here.
    pub fn pending(&self) -> usize {
        self.pool.len()
    }
    /// When [`Input::Timeout`] is due, if nothing else happens before.
    pub fn next_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Whether new statements may be signed.
    pub(crate) fn may_sign(&self) -> bool {
        self.standing == Standing::Voting
    }

    pub(crate) fn is_halted(&self) -> bool {
        matches!(self.standing, Standing::Halted(_))
    }

    /// Handles one input. `out` may hold outputs of earlier steps that are not carried out yet: all of one turn share
    /// one sync.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Outputs) {
        self.now = now;
        if self.is_halted() {
            return;
        }
        match input {
            Input::Message { from, message } => self.on_message(from, message, out),
            Input::Checked(checked) => match checked.into_inner() {
                Checked::ViewChange(message, verdict) => self.on_view_change_checked(&message, verdict, out),
                Checked::NewView(message, verdict) => self.on_new_view_checked(message, verdict, out),
                Checked::Proposal(incoming) => self.on_proposal_checked(incoming, out),
            },
            Input::Connected(peer) => self.send_status(Recipient::One(peer), out),
            Input::Request {
                request,
                digest,
                timed,
            } => {
                self.pool.add(request, digest, timed, now.clock);
            }
            Input::Dropped(digests) => {
                for digest in &digests {
                    self.pool.remove(digest);
                }
            }
            Input::Synced(ticket) => self.on_synced(ticket, out),
            Input::Executed {
                seq,
                header,
                settled,
                ready,
                retry,
            } => {
                for digest in &retry {
                    self.pool.requeue_one(digest);
                }
                self.on_executed(seq, header, &settled, &ready, out);
            }
            Input::StateDurable { seq, header } => self.on_state_durable(seq, header, out),
            Input::StateInstalled { seq, header, settled } => {
                self.on_state_installed(seq, header, &settled, out);
            }
            Input::TransferAbandoned => {
                self.execution_held = false;
                self.dispatch(out);
            }
            Input::Timeout => {}
        }
        while let Some(timer) = self.timers.expired(now.clock) {
            self.on_timer(timer, out);
        }
        self.propose(out);
        if mutant!(SendsBeforeSync) {
            while let Some((_, own)) = self.waiting.pop_front() {
                self.release(own, out);
            }
        }
        self.watch_pending();
        self.assert_invariants();
    }

    fn on_message(&mut self, from: ReplicaId, message: Verified<Incoming>, out: &mut Outputs) {
        match message.into_inner() {
            Incoming::PrePrepare(vote, body) => self.on_pre_prepare(from, vote, body, out),
            Incoming::Shared(vote, body) => self.on_proposal(from, vote, Some(Offer::Share(body)), out),
            Incoming::Unchecked(vote, body) => self.on_unchecked(from, vote, body, out),
            Incoming::FaultyBatch(vote, batch, _) => self.on_faulty_batch(vote, batch, out),
            Incoming::Vote(vote) => self.on_vote(from, &vote, out),
            Incoming::Checkpoint(checkpoint) => self.on_checkpoint(checkpoint, out),
            Incoming::Stable(certificate) => self.on_stable(certificate, out),
            Incoming::ViewChange(message) => self.on_view_change(from, message, out),
            Incoming::NewView(message) => self.on_new_view(from, message, out),
            Incoming::Status(status) => self.on_status(from, status, out),
            Incoming::Body(body, fault) => self.on_body(from, &body, fault, out),
            Incoming::Blocks(first, blocks) => self.on_blocks(from, first, blocks, out),
            Incoming::FetchBody(seq, digest) => self.on_fetch_body(from, seq, digest, out),
            // Questions to the application never reach the replica; one that does is nobody's loss.
            Incoming::Forward(_) | Incoming::Application(_) => {}
        }
    }

    fn on_timer(&mut self, timer: Timer, out: &mut Outputs) {
        match timer {
            // The batch is closed by `propose`, which runs after every input.
            Timer::Batch => self.batch_delay_over = true,
            Timer::Request => self.on_request_timeout(out),
            Timer::ViewChange => self.on_view_change_timeout(out),
            Timer::Resend => self.resend_view_change(out),
            Timer::Status => self.on_status_timer(out),
            Timer::Forward => self.forward_pending(out),
            Timer::Fetch => self.on_fetch_timer(out),
            Timer::Held => self.reconsider_all(out),
            Timer::Standby => self.on_standby_timer(out),
        }
    }

    /// Records go to disk under the ticket of this step; what is promised by them waits for that.
    pub(crate) fn persist(&mut self, record: Record, out: &mut Outputs) {
        if self.is_halted() {
            return;
        }
        if out.persist.is_empty() {
            self.ticket = Ticket(self.ticket.0 + 1);
        }
        out.ticket = self.ticket;
        out.persist.push(record);
    }

    /// A message of this replica's own leaves, and counts here, once everything persisted so far is on disk.
    pub(crate) fn after_sync(&mut self, own: Own) {
        self.waiting.push_back((self.ticket, own));
    }

    pub(crate) fn send(&self, to: Recipient, message: Message, out: &mut Outputs) {
        if self.is_halted() {
            return;
        }
        out.send.push(Send {
            to,
            message: Arc::new(message),
            after: self.synced,
        });
    }

    fn on_synced(&mut self, ticket: Ticket, out: &mut Outputs) {
        assert!(
            ticket <= self.ticket,
            "a sync returned for records that were never handed out"
        );
        self.synced = self.synced.max(ticket);
        while self
            .waiting
            .front()
            .is_some_and(|(needed, _)| *needed <= self.synced)
        {
            let Some((_, own)) = self.waiting.pop_front() else {
                break;
            };
            self.release(own, out);
        }
    }

    /// What an own message promises is on disk: it leaves, and counts from now on.
    fn release(&mut self, own: Own, out: &mut Outputs) {
        match own {
            // Votes of a view that was left meanwhile are discarded: after the VIEW-CHANGE none may leave.
            Own::Vote(vote)
                if vote.view == self.view
                    && (self.mode() == Mode::Normal || mutant!(VotesAfterViewChange)) =>
            {
                self.send(Recipient::Others, Message::Vote(vote.clone()), out);
                self.count_own_vote(&vote, out);
            }
            Own::Proposal(vote, body) if vote.view == self.view && self.mode() == Mode::Normal => {
                let batch = Some(body.batch().clone());
                self.send(Recipient::Others, Message::PrePrepare { vote, batch }, out);
            }
            Own::ViewChange(message)
                if message.target == self.target() && self.mode() == Mode::ViewChange =>
            {
                self.send(Recipient::Others, Message::ViewChange(Arc::clone(&message)), out);
                self.count_own_view_change(message, out);
            }
            Own::NewView(message, decision)
                if message.view == self.target() && self.mode() == Mode::ViewChange =>
            {
                self.send(Recipient::Others, Message::NewView(Arc::clone(&message)), out);
                self.enter_view(message, decision, out);
            }
            Own::Vote(_) | Own::Proposal(..) | Own::ViewChange(_) | Own::NewView(..) => {}
        }
    }

    /// Reports a message that was not accepted.
    pub(crate) fn reject(&self, from: ReplicaId, kind: Kind, why: Rejection, out: &mut Outputs) {
        out.events.push(Event::Rejected { from, kind, why });
    }

    /// Keeps evidence, a fixed number per culprit and kind; says whether there was room for it.
    pub(crate) fn accuse(&mut self, evidence: Evidence, out: &mut Outputs) -> bool {
        let culprit = evidence.culprit(&self.config.ring);
        let name = evidence.name();
        let count = self
            .evidence_counts
            .entry((culprit, name.to_owned()))
            .or_default();
        if *count >= MAX_EVIDENCE {
            return false;
        }
        let index = *count;
        *count += 1;
        out.events.push(Event::Fault { culprit, name });
        out.evidence.push(evidence.clone());
        self.persist(
            Record::Evidence {
                culprit,
                index,
                evidence,
            },
            out,
        );
        true
    }

    /// Stops voting, attesting, replying and serving state, for good. The data stay.
    pub(crate) fn halt(&mut self, reason: HaltReason, out: &mut Outputs) {
        if !self.is_halted() {
            self.standing = Standing::Halted(reason.clone());
            self.waiting.clear();
            self.timers = Timers::default();
            // Nothing may leave after the halt, but what left the core before it was honest.
            out.events.push(Event::Halted(reason));
        }
    }

    /// Relations that hold between any two steps, whatever peers send.
    fn assert_invariants(&self) {
        assert!(
            self.executed <= self.dispatched,
            "executed what was never handed out"
        );
        assert!(
            self.departure
                .as_ref()
                .is_none_or(|departure| departure.target > self.view),
            "left for a view below"
        );
        assert!(self.synced <= self.ticket, "synced what was never handed out");
        assert!(self.log.collected() <= self.stable_seq(), "collected above h");
        assert!(
            self.log.collected() <= self.durable,
            "collected what no state covers"
        );
    }
}
