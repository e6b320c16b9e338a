//! Requests that wait to be ordered, oldest first. How many there may be is the application's admission to decide.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tagma_crypto::Digest;

use crate::batch::Request;
use crate::turnaround::Forwarded;
use crate::types::Time;

/// A request's place in the order of admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Arrival(u64);

#[derive(Clone, Debug)]
struct Entry {
    digest: Digest,
    request: Arc<Request>,
}

/// The pending requests of one replica.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    next: u64,
    entries: BTreeMap<Arrival, Entry>,
    index: BTreeMap<Digest, Arrival>,
    /// Those not proposed yet in this view (as far as a primary is concerned).
    queued: BTreeSet<Arrival>,
    /// The bytes of those, counted as a batch counts them.
    queued_bytes: usize,
    /// Those that could execute now.
    timed: BTreeMap<Arrival, Time>,
    /// Those that the primary of the present view has from here and has not proposed.
    forwarded: Forwarded,
}

impl Pool {
    /// Adds a request behind all others, unless it is there already.
    pub(crate) fn add(&mut self, request: Arc<Request>, digest: Digest, timed: bool, now: Time) {
        if !self.index.contains_key(&digest) {
            let arrival = Arrival(self.next);
            self.next += 1;
            self.index.insert(digest, arrival);
            self.entries.insert(arrival, Entry { digest, request });
            self.queue(arrival);
        }
        if timed {
            self.make_timed(&digest, now);
        }
    }

    /// From now on this request could execute.
    pub(crate) fn make_timed(&mut self, digest: &Digest, now: Time) {
        if let Some(arrival) = self.index.get(digest) {
            self.timed.entry(*arrival).or_insert(now);
        }
    }

    /// This request is executed or can never be.
    pub(crate) fn remove(&mut self, digest: &Digest) {
        self.forwarded.remove(digest);
        if let Some(arrival) = self.index.remove(digest) {
            self.unqueue(arrival);
            self.entries.remove(&arrival);
            self.timed.remove(&arrival);
        }
    }

    /// Whether this request is still pending.
    pub(crate) fn contains(&self, arrival: Arrival) -> bool {
        self.entries.contains_key(&arrival)
    }

    /// How many are pending.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is pending.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many wait to be proposed.
    pub(crate) fn queued(&self) -> usize {
        self.queued.len()
    }

    /// The oldest request that could execute, and since when it could.
    pub(crate) fn oldest_timed(&self) -> Option<(Arrival, Time)> {
        self.timed
            .first_key_value()
            .map(|(arrival, since)| (*arrival, *since))
    }

    /// Takes the oldest queued requests for a batch of at most so many requests and bytes; they stay pending.
    pub(crate) fn take(&mut self, max_requests: usize, max_bytes: usize) -> Vec<Request> {
        let mut taken = Vec::new();
        let mut bytes = 16;
        while let Some(arrival) = self.queued.first().copied() {
            let Some(entry) = self.entries.get(&arrival) else {
                self.queued.remove(&arrival);
                continue;
            };
            let size = entry.request.size();
            if taken.is_empty() && bytes + size > max_bytes {
                // It fits no batch at all and can never be ordered; an empty batch would be a fault.
                let digest = entry.digest;
                self.remove(&digest);
                continue;
            }
            if taken.len() == max_requests || bytes + size > max_bytes {
                break;
            }
            bytes += size;
            taken.push(Request::clone(&entry.request));
            self.unqueue(arrival);
        }
        taken
    }

    /// Whether the queued requests fill a batch.
    pub(crate) fn fills(&self, max_requests: usize, max_bytes: usize) -> bool {
        self.queued.len() >= max_requests || 16 + self.queued_bytes > max_bytes
    }

    fn size_of(&self, arrival: Arrival) -> usize {
        self.entries.get(&arrival).map_or(0, |entry| entry.request.size())
    }

    fn queue(&mut self, arrival: Arrival) {
        if self.queued.insert(arrival) {
            self.queued_bytes += self.size_of(arrival);
        }
    }

    fn unqueue(&mut self, arrival: Arrival) {
        if self.queued.remove(&arrival) {
            self.queued_bytes -= self.size_of(arrival);
        }
    }

    /// A batch held this request without effect: it is to be proposed again, in its old place.
    pub(crate) fn requeue_one(&mut self, digest: &Digest) {
        if let Some(arrival) = self.index.get(digest) {
            self.queue(*arrival);
        }
    }

    /// A new view has begun: everything pending is to be proposed again, but what the view has chosen already.
    pub(crate) fn requeue(&mut self, chosen: &BTreeSet<Digest>) {
        self.queued = self
            .entries
            .iter()
            .filter(|(_, entry)| !chosen.contains(&entry.digest))
            .map(|(arrival, _)| *arrival)
            .collect();
        self.queued_bytes = self.queued.iter().map(|arrival| self.size_of(*arrival)).sum();
    }

    /// The oldest pending requests, at most `room` of them and `max_bytes` in all, which go to the primary now. Those
    /// that could execute come first: their time runs, so the primary must have them.
    pub(crate) fn forward(&mut self, room: usize, max_bytes: usize, now: Time) -> Vec<Request> {
        let forwarded: Vec<Entry> = self.next_forwarded(room, max_bytes).cloned().collect();
        // A primary can propose without further ado what could execute; the others may lack a predecessor there.
        let timed = forwarded.iter().filter(|entry| {
            let arrival = self.index.get(&entry.digest);
            arrival.is_some_and(|arrival| self.timed.contains_key(arrival))
        });
        self.forwarded.add(timed.map(|entry| entry.digest), now);
        let requests = forwarded.iter();
        requests.map(|entry| Request::clone(&entry.request)).collect()
    }

    /// The primary has proposed these. Gives since when it had the one that waited longest with it, if it had any.
    pub(crate) fn proposed(&mut self, digests: &[Digest]) -> Option<Time> {
        let since = digests.iter().filter_map(|digest| self.forwarded.remove(digest));
        since.min()
    }

    /// Since when the primary has the request that waits longest with it.
    pub(crate) fn oldest_forwarded(&self) -> Option<Time> {
        self.forwarded.oldest()
    }

    /// The next primary has nothing from here yet.
    pub(crate) fn forget_forwarded(&mut self) {
        self.forwarded.clear();
    }

    fn next_forwarded(&self, room: usize, max_bytes: usize) -> impl Iterator<Item = &Entry> {
        let mut bytes = 0;
        let others = self
            .entries
            .keys()
            .filter(|arrival| !self.timed.contains_key(arrival));
        self.timed
            .keys()
            .chain(others)
            .filter_map(|arrival| self.entries.get(arrival))
            .take(room)
            .take_while(move |entry| {
                bytes += entry.request.size();
                bytes <= max_bytes
            })
    }
}
