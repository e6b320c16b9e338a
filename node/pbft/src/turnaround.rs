//! What a primary is held to: the turnaround of what was forwarded to it (protocol: leaving a view).
//!
//! The request timer alone lets a primary hold every request back for almost T. As in Prime (Amir, Coan, Kirsch, Lane, "Prime:
//! Byzantine replication under attack", TDSC 2011, §4.3) a backup measures the time from when it handed the primary a
//! request until the PRE-PREPARE that has it, and leaves the view of one who needs too long again and again. As in
//! Aardvark (Clement et al., NSDI '09, §4.2) what is too long is learned and not agreed on: up to f primaries in a row may be
//! slow on purpose, but when f + 1 views in a row were left for it the network is to blame, and the allowance doubles. So a
//! network on which every primary is that slow keeps its primary after (f + 1) log2(T / least) views. The allowance shrinks
//! again while a primary keeps well within it. Unlike Aardvark's it never rises by itself: a primary
//! without a fault is not replaced.
//!
//! Load is no excuse that has to be guessed at. A correct primary that closes a batch below its limits has put everything
//! into it that waited; so a request that was forwarded long ago and only comes in such a batch, or not even there, was
//! held back. Behind full batches, and while the window is full, nobody is judged.

use core::time::Duration;

use tagma_crypto::Digest;

use crate::batch::Body;
use crate::io::{Outputs, ViewChangeReason};
use crate::replica::Replica;
use crate::types::{SeqNum, Time};

/// The least allowance is this part of T.
const LEAST: u32 = 8;
/// So many late proposals show a slow primary; one or two show a hiccup of a machine.
const LATE: usize = 4;
/// Late proposals are forgotten after so many T, and so long half of an allowance has to do before it shrinks to that.
const MEMORY: u32 = 8;

/// What this replica has seen of its primary's turnaround.
#[derive(Clone, Debug)]
pub(crate) struct Turnaround {
    /// The longest time from forwarding a request to its proposal that is not late.
    allowance: Duration,
    /// Since when the allowance is what it is and no proposal was late.
    calm_since: Time,
    /// Since when nothing excuses the primary: the view's beginning, or the last time it had more to do than fits.
    unexcused_since: Time,
    /// When proposals were late, each at least the allowance after the one before.
    late: Vec<Time>,
    /// f.
    faults: usize,
    /// The views left for it since the allowance was changed or all was calm.
    left: usize,
}

impl Turnaround {
    /// The allowance of a replica that has seen nothing yet. `timeout` is T, `faults` is f.
    pub(crate) fn new(timeout: Duration, faults: usize) -> Self {
        Self {
            allowance: timeout / LEAST,
            calm_since: Time::ZERO,
            unexcused_since: Time::ZERO,
            late: Vec::new(),
            faults,
            left: 0,
        }
    }

    /// When a pending request is to be forwarded at the latest after its time has begun to run: soon enough that a slow
    /// primary is seen before the request timer of those who only wait.
    pub(crate) fn forward_after(&self, timeout: Duration) -> Duration {
        (self.allowance / 2).min(timeout / 4)
    }

    /// Another primary begins, with nothing held against it.
    fn begin(&mut self, now: Time) {
        self.late.clear();
        self.calm_since = now;
        self.unexcused_since = now;
    }

    /// The primary has more to do than fits: whatever waits, waits for that.
    fn excuse(&mut self, now: Time) {
        self.unexcused_since = now;
    }

    /// Takes note of a proposal before which a request had waited with the primary since `since`. Says whether the
    /// primary is to be replaced.
    fn judge(&mut self, since: Time, now: Time, timeout: Duration) -> bool {
        let memory = timeout * MEMORY;
        let waited = now.since(since.max(self.unexcused_since));
        if waited <= self.allowance {
            // Whether half of the allowance would have done, with which it would have been forwarded earlier as well.
            let half = self.allowance / 4 + self.allowance / 2;
            if self.forward_after(timeout) + waited > half {
                self.calm_since = now;
            } else if now.since(self.calm_since) >= memory {
                self.allowance = (self.allowance / 2).max(timeout / LEAST);
                self.calm_since = now;
                self.left = 0;
            }
            return false;
        }
        self.calm_since = now;
        // Proposals that were held up together by one hiccup count once.
        if self
            .late
            .last()
            .is_some_and(|last| now.since(*last) < self.allowance)
        {
            return false;
        }
        self.late.retain(|at| now.since(*at) < memory);
        self.late.push(now);
        if self.late.len() < LATE {
            return false;
        }
        self.left += 1;
        if self.left > self.faults {
            // One of so many primaries is correct: it is the network, and from T on the request timer judges alone.
            self.allowance = (self.allowance * 2).min(timeout);
            self.left = 0;
        }
        true
    }
}

impl Replica {
    /// Holds the primary of the present view to its turnaround, at its proposal for `seq`, which nothing chose for it.
    pub(crate) fn judge_turnaround(&mut self, seq: SeqNum, body: &Body, out: &mut Outputs) {
        let now = self.now.clock;
        let mut since = self.pool.proposed(body.request_digests());
        let parameters = &self.config.parameters;
        // By bytes a batch is full if the next request does not fit, however large that is.
        let full = body.batch().requests.len() >= parameters.max_batch_requests
            || body.size() >= parameters.max_batch_bytes / 2;
        let window_full = seq.above(self.executed) >= self.config.tuning.max_in_flight;
        if full || window_full {
            self.turnaround.excuse(now);
            return;
        }
        if self.knows_all_proposals_below(seq) {
            // What is in no proposal up to this one should have been in this one.
            since = since.into_iter().chain(self.pool.oldest_forwarded()).min();
        }
        if let Some(since) = since
            && self
                .turnaround
                .judge(since, now, self.config.tuning.request_timeout)
        {
            self.leave_view(ViewChangeReason::SlowPrimary, out);
        }
    }

    /// Whether no proposal above the last executed and below `seq` is lacking here.
    fn knows_all_proposals_below(&self, seq: SeqNum) -> bool {
        let known = self
            .log
            .above(self.executed)
            .take_while(|(held, _)| *held < seq)
            .filter(|(_, slot)| slot.proposals.contains_key(&self.view))
            .count();
        known as u64 == seq.prev().above(self.executed)
    }

    /// A view has begun, and its primary is to have a fair chance.
    pub(crate) fn start_turnaround(&mut self) {
        self.pool.forget_forwarded();
        self.turnaround.begin(self.now.clock);
    }
}

/// The requests that were handed to the primary of the present view, and when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forwarded {
    since: std::collections::BTreeMap<Digest, Time>,
}

impl Forwarded {
    /// Hands these over now, unless they were handed over before.
    pub(crate) fn add(&mut self, digests: impl Iterator<Item = Digest>, now: Time) {
        for digest in digests {
            self.since.entry(digest).or_insert(now);
        }
    }

    /// This request waits no longer; since when it had.
    pub(crate) fn remove(&mut self, digest: &Digest) -> Option<Time> {
        self.since.remove(digest)
    }

    /// Since when the oldest one waits.
    pub(crate) fn oldest(&self) -> Option<Time> {
        self.since.values().min().copied()
    }

    /// Nothing is with the primary.
    pub(crate) fn clear(&mut self) {
        self.since.clear();
    }
}
