//! The signals that end a command in front of a network.

use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Error;

/// Listens to SIGINT, SIGTERM and SIGHUP, which then no longer end the process by themselves.
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interrupts {
    /// Begins to listen. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn listen() -> Result<Self, Error> {
        let on = |kind| signal(kind).map_err(|source| Error::io("listen to", Path::new("signals"), source));
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    /// The number of the next signal. Cancel safe.
    pub async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
            _ = self.hangup.recv() => 1,
        }
    }

    /// Runs `future` until it is done or a signal comes.
    ///
    /// # Errors
    /// Those of `future`, or [`Error::Interrupted`].
    pub async fn unless<T>(&mut self, future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            signal = self.next() => Err(Error::Interrupted { signal }),
            done = future => done,
        }
    }
}
