//! The requests in flight, without I/O: what to send to whom and when, and what the replies amount to.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use tagma_crypto::encode::encode;
use tagma_crypto::{Digest, PublicKey};
use tagma_ledger::Outcome;
use tagma_wire::client_protocol::{ClientRequest, MAX_FOLLOWED, Refusal, Reply, TransactionReport};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::error::{SubmitError, Unknown};
use crate::matching::{Tally, Verdict};
use crate::network::Network;
use crate::settled::Settled;

/// An outcome that f + 1 replicas report alike, so that at least one correct replica does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The request's digest.
    pub hash: Digest,
    /// What came of it. It was executed either way, and consumed its nonce.
    pub outcome: Outcome,
    /// The height of its block.
    pub height: u64,
    /// The header hashes that came along, without repetition. They are not compared: what a faulty replica names here
    /// proves nothing.
    pub headers: Vec<Digest>,
    /// The replicas that report this, in order of number.
    pub supporters: Vec<u16>,
    /// The replicas that had reported something else by then, in order of number: they are faulty.
    pub liars: Vec<u16>,
    /// From the submission to the reply that decided.
    pub latency: Duration,
}

/// What became of a submission.
#[derive(Clone, Debug)]
pub struct Completion {
    /// The request's digest.
    pub hash: Digest,
    /// Its outcome, or why there is none.
    pub result: Result<Accepted, SubmitError>,
}

/// Who waits for a submission.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// One caller.
    One(oneshot::Sender<Result<Accepted, SubmitError>>),
    /// One that waits for many at once.
    Many(mpsc::UnboundedSender<Completion>),
}

impl Waiter {
    pub(crate) fn tell(self, hash: Digest, result: Result<Accepted, SubmitError>) {
        // A caller that has gone away does not want to know.
        match self {
            Self::One(sender) => drop(sender.send(result)),
            Self::Many(sender) => drop(sender.send(Completion { hash, result })),
        }
    }
}

/// When to send again.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// T_c: without f + 1 identical replies for so long, a request goes to all replicas.
    pub first: Duration,
    /// The pause between further rounds doubles up to this.
    pub longest: Duration,
}

/// A frame for a replica.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Send {
    pub(crate) to: u16,
    pub(crate) frame: Bytes,
}

/// A request to track.
pub(crate) struct Submission {
    pub(crate) hash: Digest,
    pub(crate) account: PublicKey,
    /// The encoded [`ClientRequest::Submit`].
    pub(crate) frame: Bytes,
    pub(crate) deadline: Instant,
}

struct InFlight {
    frame: Bytes,
    tally: Tally,
    headers: Vec<Digest>,
    submitted: Instant,
    deadline: Instant,
    /// When to send to all that have not replied.
    resend_at: Instant,
    pause: Duration,
    /// Whether it went to all replicas already.
    widened: bool,
    /// Whether it went to any.
    sent: bool,
    /// A connection was lost since it was sent, and with it maybe the request or the replies.
    interrupted: bool,
    /// The replicas that are being asked whether they have executed it.
    asked: HashSet<u16>,
    waiters: Vec<Waiter>,
}

/// The requests in flight of one client.
pub(crate) struct Tracker {
    weak_quorum: usize,
    quorum: usize,
    retry: Retry,
    max_in_flight: usize,
    /// Which replicas are connected, by number.
    up: Vec<bool>,
    /// The last view that each replica named, by number.
    views: Vec<u64>,
    followed: HashSet<PublicKey>,
    in_flight: HashMap<Digest, InFlight>,
    wakeups: BinaryHeap<Reverse<(Instant, Digest)>>,
    settled: Settled,
}

impl Tracker {
    pub(crate) fn new(network: &Network, retry: Retry, max_in_flight: usize, remembered: usize) -> Self {
        Self {
            weak_quorum: network.weak_quorum(),
            quorum: network.quorum(),
            retry,
            max_in_flight,
            up: vec![false; network.n()],
            views: vec![0; network.n()],
            followed: HashSet::new(),
            in_flight: HashMap::new(),
            wakeups: BinaryHeap::new(),
            settled: Settled::new(remembered),
        }
    }

    /// The view the primary is presumed from: one that at least one correct replica has reached, as f + 1 name it or
    /// a later one.
    pub(crate) fn view(&self) -> u64 {
        let mut views = self.views.clone();
        views.sort_unstable_by_key(|view| Reverse(*view));
        views.get(self.weak_quorum - 1).copied().unwrap_or_default()
    }

    /// The primary of [`Tracker::view`].
    pub(crate) fn primary(&self) -> u16 {
        let primary = self.view() % self.up.len() as u64;
        u16::try_from(primary).unwrap_or_default()
    }

    /// Takes note of the view a replica says to be in.
    pub(crate) fn saw_view(&mut self, replica: u16, view: u64) {
        if let Some(last) = self.views.get_mut(usize::from(replica)) {
            *last = view;
        }
    }

    /// Takes a request in and says what to send. If it is in flight already, the waiter waits for that.
    pub(crate) fn submit(
        &mut self,
        now: Instant,
        submission: Submission,
        waiter: Waiter,
        out: &mut Vec<Send>,
    ) {
        let hash = submission.hash;
        if let Some(in_flight) = self.in_flight.get_mut(&hash) {
            in_flight.waiters.push(waiter);
            in_flight.deadline = in_flight.deadline.max(submission.deadline);
            return;
        }
        if self.in_flight.len() >= self.max_in_flight {
            let limit = self.max_in_flight;
            return waiter.tell(hash, Err(SubmitError::TooManyInFlight { limit }));
        }
        let followed = self.follow(submission.account, out);
        let mut in_flight = InFlight {
            frame: submission.frame,
            tally: Tally::default(),
            headers: Vec::new(),
            submitted: now,
            deadline: submission.deadline,
            resend_at: now + self.retry.first,
            pause: self.retry.first,
            widened: false,
            sent: false,
            interrupted: false,
            asked: HashSet::new(),
            waiters: vec![waiter],
        };
        let primary = self.primary();
        // Replicas whose connection does not follow the account reply to nobody but who submits to them.
        if followed && self.is_up(primary) {
            in_flight.sent = true;
            let frame = in_flight.frame.clone();
            out.push(Send { to: primary, frame });
        } else {
            in_flight.send_to_all(&self.up, out);
        }
        self.wakeups.push(Reverse((in_flight.next(), hash)));
        self.in_flight.insert(hash, in_flight);
    }

    /// Sees to it that all replicas reply to requests of this account, whomever they are sent to. False if it follows
    /// too many already.
    fn follow(&mut self, account: PublicKey, out: &mut Vec<Send>) -> bool {
        if self.followed.contains(&account) {
            return true;
        }
        if self.followed.len() >= MAX_FOLLOWED {
            return false;
        }
        self.followed.insert(account);
        let frame = Bytes::from(encode(&ClientRequest::Follow(account)));
        for to in connected(&self.up) {
            let frame = frame.clone();
            out.push(Send { to, frame });
        }
        true
    }

    /// A connection to a replica came up: it knows nothing of this client.
    pub(crate) fn connected(&mut self, replica: u16, out: &mut Vec<Send>) {
        if let Some(up) = self.up.get_mut(usize::from(replica)) {
            *up = true;
        }
        for account in &self.followed {
            let frame = Bytes::from(encode(&ClientRequest::Follow(*account)));
            out.push(Send { to: replica, frame });
        }
        for in_flight in self.in_flight.values_mut() {
            let missing = !in_flight.sent || in_flight.widened || in_flight.interrupted;
            if missing && !in_flight.tally.has_voted(replica) {
                in_flight.sent = true;
                let frame = in_flight.frame.clone();
                out.push(Send { to: replica, frame });
            }
        }
    }

    /// A connection to a replica is lost. What is in flight is sent again as soon as there is a connection, and not only when
    /// it has waited long enough: an account remembers its last outcomes only, and further requests of it could be
    /// executed meanwhile.
    pub(crate) fn disconnected(&mut self, replica: u16) {
        for in_flight in self.in_flight.values_mut() {
            in_flight.interrupted = true;
        }
        if let Some(up) = self.up.get_mut(usize::from(replica)) {
            *up = false;
        }
    }

    fn is_up(&self, replica: u16) -> bool {
        self.up.get(usize::from(replica)).copied().unwrap_or_default()
    }

    /// A replica's reply. Returns whether it tells anything new of a request whose outcome is accepted.
    pub(crate) fn reply(&mut self, now: Instant, replica: u16, reply: &Reply) -> bool {
        self.saw_view(replica, reply.view);
        if let Some(in_flight) = self.in_flight.get_mut(&reply.request)
            && let Some(header) = reply.header
            && in_flight.headers.len() < self.up.len()
            && !in_flight.headers.contains(&header)
        {
            in_flight.headers.push(header);
        }
        let said = Verdict {
            outcome: reply.outcome,
            height: reply.height,
        };
        self.said(now, replica, reply.request, said)
    }

    /// What became of a request in a replica's words. Returns whether it tells anything new of it once it is accepted.
    fn said(&mut self, now: Instant, replica: u16, hash: Digest, said: Verdict) -> bool {
        let Some(in_flight) = self.in_flight.get_mut(&hash) else {
            return self.settled.vote(replica, &hash, said);
        };
        in_flight.tally.vote(replica, said);
        let Some(verdict) = in_flight.tally.accepted(self.weak_quorum) else {
            return false;
        };
        if let Some(in_flight) = self.in_flight.remove(&hash) {
            let accepted = in_flight.accepted(hash, verdict, now);
            let InFlight {
                tally,
                frame,
                waiters,
                ..
            } = in_flight;
            self.settled.insert(hash, verdict, tally, frame);
            tell_all(waiters, hash, &Ok(accepted));
        }
        true
    }

    /// A replica's refusal: a hint until enough say so. The other replicas are asked at once, as the primary alone
    /// may be the one that is wrong.
    ///
    /// Returns whether the replica is to be asked what it executed: a consumed nonce may be consumed by this very
    /// request, whose outcome the account no longer remembers. Its refusal does not count until
    /// [`Tracker::looked_up`].
    #[must_use]
    pub(crate) fn refused(
        &mut self,
        replica: u16,
        hash: Digest,
        refusal: Refusal,
        out: &mut Vec<Send>,
    ) -> bool {
        let Some(in_flight) = self.in_flight.get_mut(&hash) else {
            return false;
        };
        if !in_flight.widened {
            let up: Vec<bool> = (0..).zip(&self.up).map(|(id, up)| *up && id != replica).collect();
            in_flight.send_to_all(&up, out);
        }
        if matches!(refusal, Refusal::NonceConsumed { .. }) {
            return in_flight.asked.insert(replica);
        }
        self.count_refusal(replica, hash, refusal);
        false
    }

    fn count_refusal(&mut self, replica: u16, hash: Digest, refusal: Refusal) {
        let Some(in_flight) = self.in_flight.get_mut(&hash) else {
            return;
        };
        in_flight.tally.refuse(replica, refusal);
        if let Some((refusal, by)) = in_flight.tally.refused(self.weak_quorum, self.quorum)
            && let Some(in_flight) = self.in_flight.remove(&hash)
        {
            let error = SubmitError::Rejected { hash, refusal, by };
            tell_all(in_flight.waiters, hash, &Err(error));
        }
    }

    /// What a replica that refused a request for its consumed nonce has executed of it: `found`, nothing, or no
    /// answer, in which case it is asked again when it refuses again. Returns what [`Tracker::reply`] does.
    pub(crate) fn looked_up(
        &mut self,
        now: Instant,
        replica: u16,
        hash: Digest,
        refusal: Refusal,
        found: Option<Option<TransactionReport>>,
    ) -> bool {
        if let Some(in_flight) = self.in_flight.get_mut(&hash) {
            in_flight.asked.remove(&replica);
        }
        match found {
            Some(Some(TransactionReport { outcome, height, .. })) => {
                self.said(now, replica, hash, Verdict { outcome, height })
            }
            Some(None) => {
                self.count_refusal(replica, hash, refusal);
                false
            }
            None => false,
        }
    }

    /// A replica is too busy for a request: a hint that counts as nothing.
    pub(crate) fn busy(&mut self, replica: u16, hash: Digest) {
        if let Some(in_flight) = self.in_flight.get_mut(&hash) {
            in_flight.tally.busy(replica);
        }
    }

    /// When [`Tracker::timeout`] has something to do next.
    pub(crate) fn next_wakeup(&self) -> Option<Instant> {
        self.wakeups.peek().map(|Reverse((at, _))| *at)
    }

    /// Sends again what has waited too long, and gives up what has reached its deadline. `jitter` gives factors
    /// around 1, so that clients that failed together do not return together.
    pub(crate) fn timeout(&mut self, now: Instant, mut jitter: impl FnMut() -> f64, out: &mut Vec<Send>) {
        while let Some(Reverse((at, hash))) = self.wakeups.peek().copied() {
            if at > now {
                return;
            }
            self.wakeups.pop();
            let Some(in_flight) = self.in_flight.get_mut(&hash) else {
                continue;
            };
            if in_flight.next() > now {
                // Submitted anew after an earlier submission of the same request had ended.
                self.wakeups.push(Reverse((in_flight.next(), hash)));
                continue;
            }
            if in_flight.deadline <= now {
                if let Some(in_flight) = self.in_flight.remove(&hash) {
                    let error = in_flight.unknown(hash, self.weak_quorum, &self.up);
                    tell_all(in_flight.waiters, hash, &Err(error));
                }
                continue;
            }
            in_flight.send_to_all(&self.up, out);
            in_flight.resend_at = now + in_flight.pause.mul_f64(jitter());
            in_flight.pause = (in_flight.pause * 2).min(self.retry.longest);
            self.wakeups.push(Reverse((in_flight.next(), hash)));
        }
    }

    /// The requests whose outcome is accepted.
    pub(crate) fn settled(&mut self) -> &mut Settled {
        &mut self.settled
    }

    /// Whether every connected replica has replied to an accepted request.
    pub(crate) fn all_replied(&self, hash: &Digest) -> bool {
        let missing = self.settled.missing(hash, connected(&self.up));
        missing.is_none_or(|(missing, _)| missing.is_empty())
    }

    /// Asks the connected replicas that have not replied to an accepted request what came of it: it is submitted to
    /// them once more, and they reply with the outcome they have.
    pub(crate) fn ask_missing(&self, hash: &Digest, out: &mut Vec<Send>) {
        if let Some((missing, frame)) = self.settled.missing(hash, connected(&self.up)) {
            out.extend(missing.into_iter().map(|to| Send {
                to,
                frame: frame.clone(),
            }));
        }
    }

    /// How many requests are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }
}

impl InFlight {
    /// Sends to every replica of `up` that has not replied.
    fn send_to_all(&mut self, up: &[bool], out: &mut Vec<Send>) {
        self.widened = true;
        for to in connected(up).filter(|replica| !self.tally.has_voted(*replica)) {
            self.sent = true;
            let frame = self.frame.clone();
            out.push(Send { to, frame });
        }
    }

    fn next(&self) -> Instant {
        self.resend_at.min(self.deadline)
    }

    fn accepted(&self, hash: Digest, verdict: Verdict, now: Instant) -> Accepted {
        Accepted {
            hash,
            outcome: verdict.outcome,
            height: verdict.height,
            headers: self.headers.clone(),
            supporters: self.tally.supporters(&verdict),
            liars: self.tally.liars(&verdict),
            latency: now.saturating_duration_since(self.submitted),
        }
    }

    fn unknown(&self, hash: Digest, needed: usize, up: &[bool]) -> SubmitError {
        if !self.sent {
            return SubmitError::Unreachable { hash };
        }
        let unconnected = (0..).zip(up).filter(|(_, up)| !**up).map(|(id, _)| id);
        let mut busy = self.tally.busy_replicas().to_vec();
        busy.sort_unstable();
        let mut refused = self.tally.refusals().to_vec();
        refused.sort_by_key(|(id, _)| *id);
        SubmitError::OutcomeUnknown(Box::new(Unknown {
            hash,
            supporters: self.tally.best_supporters(),
            needed,
            busy,
            refused,
            unconnected: unconnected.collect(),
        }))
    }
}

fn connected(up: &[bool]) -> impl Iterator<Item = u16> {
    (0..).zip(up).filter(|(_, up)| **up).map(|(id, _)| id)
}

fn tell_all(waiters: Vec<Waiter>, hash: Digest, result: &Result<Accepted, SubmitError>) {
    for waiter in waiters {
        waiter.tell(hash, result.clone());
    }
}

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;
