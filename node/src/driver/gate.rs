//! What stands between a socket and the loop: it decodes what came in, and has its signatures checked.
//!
//! To wake another thread costs more than a signature or two. So a gate does what is little where the socket is read, and
//! hands what is much to a thread of its own, which takes everything that waits for it at once: nothing waits for company, and under
//! load the batches grow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::watch;

/// Most events taken from a socket at once: the loop and the sockets wait while they are dealt with.
const MAX_EVENTS: usize = 128;
/// Most events the thread beside deals with at once, when they come in several lists: enough that a batch of signatures pays.
const MAX_BESIDE: usize = 1024;

/// Where the events of a socket come from.
pub(super) trait Source: Send + 'static {
    /// What happens on the socket.
    type Event: Send + 'static;

    /// The next event, none once the socket is gone. Cancel safe.
    fn recv(&mut self) -> impl Future<Output = Option<Self::Event>> + Send;

    /// The next event if one is here.
    fn try_recv(&mut self) -> Option<Self::Event>;
}

/// What deals with them.
pub(super) trait Gate: Send + Sync + 'static {
    /// What happens on the socket.
    type Event: Send + 'static;

    /// Deals with events, in their order. False once the loop is gone.
    fn take(&self, events: Vec<Self::Event>) -> bool;

    /// Parts events into those to be dealt with at once, and those for the thread beside. `busy` says that the thread
    /// has events: those that must not overtake them go there too.
    fn part(&self, events: Vec<Self::Event>, busy: bool) -> (Vec<Self::Event>, Vec<Self::Event>);
}

/// The way to a gate's own thread.
pub(super) struct Beside<E> {
    queue: Sender<Vec<E>>,
    /// How many lists of events the thread has not dealt with.
    waiting: Arc<AtomicUsize>,
}

/// The way to a gate's own thread, and what that thread runs.
pub(super) fn beside<G: Gate>(gate: Arc<G>) -> (Beside<G::Event>, impl FnOnce() + Send + 'static) {
    let (queue, events) = channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let beside = Beside {
        queue,
        waiting: Arc::clone(&waiting),
    };
    (beside, move || work(&*gate, &events, &waiting))
}

fn work<G: Gate>(gate: &G, queue: &Receiver<Vec<G::Event>>, waiting: &AtomicUsize) {
    while let Ok(mut events) = queue.recv() {
        let mut lists = 1;
        while events.len() < MAX_BESIDE
            && let Ok(more) = queue.try_recv()
        {
            events.extend(more);
            lists += 1;
        }
        if !gate.take(events) {
            return;
        }
        // Only now: what comes after these must not be dealt with before they are in the loop's inbox.
        waiting.fetch_sub(lists, Ordering::Release);
    }
}

/// Takes events until the process stops or the loop is gone.
pub(super) async fn run<S: Source>(
    mut source: S,
    gate: Arc<impl Gate<Event = S::Event>>,
    beside: Beside<S::Event>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let first = tokio::select! {
            event = source.recv() => event,
            // An error means that the sender is gone, which is a stop as well.
            _ = stopping.wait_for(|stopping| *stopping) => None,
        };
        let Some(first) = first else { return };
        let mut events = vec![first];
        while events.len() < MAX_EVENTS
            && let Some(event) = source.try_recv()
        {
            events.push(event);
        }
        let busy = beside.waiting.load(Ordering::Acquire) > 0;
        let (here, there) = gate.part(events, busy);
        if !there.is_empty() {
            beside.waiting.fetch_add(1, Ordering::AcqRel);
            if beside.queue.send(there).is_err() {
                return;
            }
        }
        if !here.is_empty() && !gate.take(here) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use std::sync::Mutex;

    use tokio::sync::mpsc;

    use super::*;

    /// Takes even numbers at once, and what follows a multiple of ten beside; remembers what it took.
    #[derive(Default)]
    struct Parity(Mutex<Vec<u32>>);

    impl Gate for Parity {
        type Event = u32;

        fn take(&self, events: Vec<u32>) -> bool {
            self.0.lock().unwrap().extend(events);
            true
        }

        fn part(&self, events: Vec<u32>, busy: bool) -> (Vec<u32>, Vec<u32>) {
            let mut beside = busy;
            events.into_iter().partition(|event| {
                beside |= event % 10 == 1;
                event % 2 == 0 || !beside
            })
        }
    }

    struct Numbers(mpsc::Receiver<u32>);

    impl Source for Numbers {
        type Event = u32;

        fn recv(&mut self) -> impl Future<Output = Option<u32>> + Send {
            self.0.recv()
        }

        fn try_recv(&mut self) -> Option<u32> {
            self.0.try_recv().ok()
        }
    }

    #[tokio::test]
    async fn every_event_is_dealt_with_once_and_none_overtakes_what_went_beside() {
        let gate = Arc::new(Parity::default());
        let (way, thread) = beside(Arc::clone(&gate));
        let thread = std::thread::spawn(thread);
        let (sender, numbers) = mpsc::channel(4096);
        for number in 0..3000 {
            sender.send(number).await.unwrap();
        }
        drop(sender);
        let stop = watch::Sender::new(false);
        run(Numbers(numbers), Arc::clone(&gate), way, stop.subscribe()).await;
        // The way to the thread is gone with the gate's task, so it ends once it has done all.
        thread.join().unwrap();
        let taken = gate.0.lock().unwrap().clone();
        let odd: Vec<u32> = taken.iter().copied().filter(|number| number % 2 == 1).collect();
        let even: Vec<u32> = taken.iter().copied().filter(|number| number % 2 == 0).collect();
        assert_eq!(taken.len(), 3000);
        assert!(odd.is_sorted(), "those that may go beside keep their order");
        assert!(even.is_sorted(), "and so do those that never do");
    }
}
