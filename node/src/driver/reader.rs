//! Answers from the store, for peers and clients. They take a disk's time, so they are given beside the loop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

use tagma_pbft::{Recipient, ReplicaId};
use tagma_wire::client_protocol::{ClientResponse, Query};
use tagma_wire::{ConnectionId, FramePermit};

use super::Shared;
use super::clients::Clients;
use super::mesh::Mesh;
use crate::core::Serve;

/// Most questions of one peer that wait for their answer.
const MAX_WAITING: usize = 8;

/// A place among a peer's waiting questions, given back when dropped.
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Something for the reader.
pub(super) enum Job {
    /// A peer's question.
    Serve {
        to: ReplicaId,
        question: Serve,
        _place: Place,
    },
    /// A client's question; the permit bounds how many of them wait.
    Query {
        connection: ConnectionId,
        id: u64,
        query: Query,
        _permit: FramePermit,
    },
}

/// Who has how many questions waiting.
#[derive(Default)]
pub(super) struct Questions {
    waiting: BTreeMap<ReplicaId, Arc<AtomicUsize>>,
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
}

/// Answers until everybody who asks is gone.
pub(super) fn run(jobs: &Receiver<Job>, shared: &Shared, mesh: &Mesh, clients: &Clients) {
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Serve { to, question, _place } => match question.answer(shared.ledger(), shared.chain()) {
                Ok(Some(message)) => mesh.send(Recipient::One(to), &Arc::new(message)),
                Ok(None) => {}
                Err(error) => tracing::error!(peer = %to, %error, "cannot answer a peer from the store"),
            },
            Job::Query {
                connection,
                id,
                query,
                _permit,
            } => {
                let answer = shared.answer(&query);
                clients.respond(connection, ClientResponse::Answer { id, answer });
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
}
