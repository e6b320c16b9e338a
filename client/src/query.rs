//! Questions that wait for one replica's answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tagma_wire::client_protocol::Answer;
use tokio::sync::oneshot;

type Waiting = HashMap<u64, (u16, oneshot::Sender<Answer>)>;

/// The open questions of a client.
#[derive(Default)]
pub(crate) struct Queries {
    next: AtomicU64,
    waiting: Mutex<Waiting>,
}

/// A question's place; it is forgotten when this is dropped, answered or not.
pub(crate) struct QueryId<'a> {
    queries: &'a Queries,
    number: u64,
}

impl QueryId<'_> {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for QueryId<'_> {
    fn drop(&mut self) {
        self.queries.waiting().remove(&self.number);
    }
}

impl Queries {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new question to `replica`, and where its answer arrives.
    pub(crate) fn ask(&self, replica: u16) -> (QueryId<'_>, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        let number = self.next.fetch_add(1, Relaxed);
        self.waiting().insert(number, (replica, sender));
        let id = QueryId {
            queries: self,
            number,
        };
        (id, receiver)
    }

    /// An answer. One that nobody asked this replica for is ignored.
    pub(crate) fn answered(&self, replica: u16, id: u64, answer: Answer) {
        let mut waiting = self.waiting();
        if waiting.get(&id).is_some_and(|(asked, _)| *asked == replica)
            && let Some((_, sender)) = waiting.remove(&id)
        {
            // Whoever asked may have given up.
            drop(sender.send(answer));
        }
    }

    /// No answers come from this replica any more.
    pub(crate) fn lost(&self, replica: u16) {
        self.waiting().retain(|_, (asked, _)| *asked != replica);
    }
}
