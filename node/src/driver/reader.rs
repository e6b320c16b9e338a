//! Answers from the store, for peers and clients. They take a disk's time, so they are given beside the loop, and clients', who may be
//! many and ask for receipts, which take a whole block's hashes, on a thread of their own: a peer that has to catch up does not queue behind
//! them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use tagma_pbft::{Recipient, ReplicaId, SeqNum};
use tagma_wire::client_protocol::{ClientResponse, Query};
use tagma_wire::{ConnectionId, FramePermit};

use super::Shared;
use super::clients::Clients;
use super::mesh::Mesh;
use super::throttle::{Leniency, Throttle};
use crate::core::{MAX_ANSWER_BLOCKS, Serve};

/// Most questions of one peer that wait for their answer.
const MAX_WAITING: usize = 8;
/// So many blocks are read once more for a peer that was given them before, at once and a second; a correct one asks again only if
/// it has lost them.
const AGAIN: Leniency = Leniency {
    burst: 1024.0,
    per_second: 128.0,
};

/// A place among a peer's waiting questions, given back when dropped.
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A peer's question.
pub(super) struct PeerQuestion {
    pub(super) from: ReplicaId,
    pub(super) question: Serve,
    pub(super) _place: Place,
}

/// A client's question; the permit bounds how many of them wait.
pub(super) struct ClientQuestion {
    pub(super) connection: ConnectionId,
    pub(super) id: u64,
    pub(super) query: Query,
    pub(super) _permit: FramePermit,
}

/// Who has how many questions waiting, and was given what.
pub(super) struct Questions {
    waiting: BTreeMap<ReplicaId, Arc<AtomicUsize>>,
    /// The highest block that each peer asked for.
    given: BTreeMap<ReplicaId, SeqNum>,
    again: Throttle<ReplicaId>,
}

impl Default for Questions {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            given: BTreeMap::new(),
            again: Throttle::new(AGAIN),
        }
    }
}

impl Questions {
    /// A place for a question of this peer; none if too many of its questions wait already.
    pub(super) fn place(&mut self, of: ReplicaId) -> Option<Place> {
        let waiting = self.waiting.entry(of).or_default();
        // Only this thread adds, so the bound holds however others subtract.
        if waiting.load(Ordering::Relaxed) >= MAX_WAITING {
            return None;
        }
        waiting.fetch_add(1, Ordering::Relaxed);
        Some(Place(Arc::clone(waiting)))
    }

    /// What is answered to this question of a peer: who asks for the same blocks again and again is given them one by one.
    pub(super) fn limit(&mut self, of: ReplicaId, question: Serve, now: Instant) -> Serve {
        let Serve::Blocks { from, count } = question else {
            return question;
        };
        let count = count.min(MAX_ANSWER_BLOCKS);
        let given = self.given.entry(of).or_default();
        let count = if from > *given {
            count
        } else if self.again.is_exhausted(of, now) {
            1
        } else {
            self.again.charge(of, f64::from(count), now);
            count
        };
        *given = (*given).max(from.plus(u64::from(count)).prev());
        Serve::Blocks { from, count }
    }
}

/// Answers peers until the loop is gone.
pub(super) fn answer_peers(questions: &Receiver<PeerQuestion>, shared: &Shared, mesh: &Mesh) {
    while let Ok(asked) = questions.recv() {
        match asked.question.answer(shared.ledger(), shared.chain()) {
            Ok(Some(message)) => mesh.send(Recipient::One(asked.from), &Arc::new(message)),
            Ok(None) => {}
            Err(error) => tracing::error!(peer = %asked.from, %error, "cannot answer a peer from the store"),
        }
    }
}

/// Answers clients until admission is gone.
pub(super) fn answer_clients(questions: &Receiver<ClientQuestion>, shared: &Shared, clients: &Clients) {
    while let Ok(asked) = questions.recv() {
        let (id, answer) = (asked.id, shared.answer(&asked.query));
        clients.respond(asked.connection, ClientResponse::Answer { id, answer });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_peer_has_so_many_places_and_gets_them_back() {
        let mut questions = Questions::default();
        let peer = ReplicaId::new(1);
        let mut places: Vec<Place> = std::iter::from_fn(|| questions.place(peer)).take(100).collect();
        assert_eq!(places.len(), MAX_WAITING);
        assert!(
            questions.place(ReplicaId::new(2)).is_some(),
            "others have places of their own"
        );
        places.pop();
        assert!(questions.place(peer).is_some(), "an answer gives its place back");
    }

    /// How many blocks this peer is given from here on.
    fn blocks(questions: &mut Questions, from: u64, now: Instant) -> u32 {
        let question = Serve::Blocks {
            from: SeqNum::new(from),
            count: u32::MAX,
        };
        match questions.limit(ReplicaId::new(1), question, now) {
            Serve::Blocks { count, .. } => count,
            Serve::Body { .. } => 0,
        }
    }

    #[test]
    fn who_catches_up_is_given_all_and_who_asks_for_the_same_again_and_again_is_not() {
        let (mut questions, now) = (Questions::default(), Instant::now());
        let mut from = 1;
        for _ in 0..100 {
            let count = blocks(&mut questions, from, now);
            assert_eq!(count, MAX_ANSWER_BLOCKS);
            from += u64::from(count);
        }
        let given: u32 = (0..1000).map(|_| blocks(&mut questions, 1, now)).sum();
        assert_eq!(given, 8 * MAX_ANSWER_BLOCKS + 992);
        assert_eq!(
            blocks(&mut questions, from, now),
            MAX_ANSWER_BLOCKS,
            "what is new"
        );
        let later = now + Duration::from_secs(1);
        assert_eq!(blocks(&mut questions, 1, later), MAX_ANSWER_BLOCKS);
        assert_eq!(blocks(&mut questions, 1, later), 1);
    }
}
