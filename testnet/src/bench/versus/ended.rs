//! How connections tell a load which requests have ended.

use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::bench::load::Ended;

/// Says that a request has ended. Clones say it to the same.
#[derive(Clone)]
pub(super) struct Teller(UnboundedSender<Ended<u64>>);

impl Teller {
    /// The request of this number has ended now.
    pub(super) fn tell(&self, id: u64, result: Result<(), &'static str>) {
        // A load that has been given up hears nothing any more, and need not.
        let _ = self.0.send(Ended {
            id,
            at: Instant::now(),
            result,
        });
    }
}

/// The requests that have ended.
pub(super) struct Endings {
    teller: Teller,
    endings: UnboundedReceiver<Ended<u64>>,
}

impl Endings {
    pub(super) fn new() -> Self {
        let (sender, endings) = unbounded_channel();
        Self {
            teller: Teller(sender),
            endings,
        }
    }

    pub(super) fn teller(&self) -> Teller {
        self.teller.clone()
    }

    /// The next one, if there is one.
    pub(super) fn next_now(&mut self) -> Option<Ended<u64>> {
        self.endings.try_recv().ok()
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Option<Ended<u64>> {
        self.endings.recv().await
    }
}
