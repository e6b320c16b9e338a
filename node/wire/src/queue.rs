//! The bounded queue of frames that wait to be written to one stream.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::error::SendError;

/// Most bytes that a writer takes from the queue in one go.
const BATCH_BYTES: usize = 256 << 10;

/// Frames for one stream, bounded in count and bytes. Pushing never waits.
#[derive(Debug)]
pub(crate) struct SendQueue {
    max_frame: usize,
    max_frames: usize,
    max_bytes: usize,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Bytes>,
    bytes: usize,
    phase: Phase,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nobody is connected; nothing is taken.
    #[default]
    Closed,
    Open,
    /// What is queued is still written, nothing more is taken.
    Finishing,
}

impl State {
    fn take(&mut self) -> Vec<Bytes> {
        let mut batch = Vec::new();
        let mut size = 0;
        while size < BATCH_BYTES
            && let Some(frame) = self.frames.pop_front()
        {
            size += frame.len();
            batch.push(frame);
        }
        self.bytes -= size;
        batch
    }
}

impl SendQueue {
    pub(crate) fn new(max_frame: usize, max_frames: usize, max_bytes: usize) -> Self {
        Self {
            max_frame,
            max_frames,
            max_bytes,
            state: Mutex::default(),
            wake: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every update leaves the state whole, so a panic elsewhere does not make it wrong.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Empties the queue and begins to take frames, for a new connection.
    pub(crate) fn open(&self) {
        *self.state() = State {
            phase: Phase::Open,
            ..State::default()
        };
    }

    /// Takes no more frames and drops those that are queued. Returns how many were.
    pub(crate) fn close(&self) -> usize {
        let dropped = std::mem::take(&mut *self.state()).frames.len();
        self.wake.notify_one();
        dropped
    }

    /// Takes no more frames; [`SendQueue::take`] hands out the rest and then ends.
    pub(crate) fn finish(&self) {
        let mut state = self.state();
        if state.phase == Phase::Open {
            state.phase = Phase::Finishing;
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Puts a frame at the end, or refuses it at once.
    pub(crate) fn push(&self, frame: Bytes) -> Result<(), SendError> {
        if frame.len() > self.max_frame {
            return Err(SendError::TooLarge);
        }
        let mut state = self.state();
        if state.phase != Phase::Open {
            return Err(SendError::Disconnected);
        }
        if state.frames.len() >= self.max_frames || state.bytes + frame.len() > self.max_bytes {
            return Err(SendError::Full);
        }
        state.bytes += frame.len();
        state.frames.push_back(frame);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Waits for frames and takes as many as make a good write. None when the queue has ended. For one writer only.
    pub(crate) async fn take(&self) -> Option<Vec<Bytes>> {
        loop {
            {
                let mut state = self.state();
                let batch = state.take();
                if !batch.is_empty() {
                    return Some(batch);
                }
                if state.phase != Phase::Open {
                    return None;
                }
            }
            self.wake.notified().await;
        }
    }

    /// Takes as many frames as make a good write, of those that are here. For one writer only.
    pub(crate) fn take_now(&self) -> Vec<Bytes> {
        self.state().take()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    #[tokio::test]
    async fn bounds_hold_and_the_rest_is_handed_out_on_finish() {
        let queue = SendQueue::new(4, 2, 7);
        assert_eq!(queue.push(Bytes::from_static(b"a")), Err(SendError::Disconnected));
        queue.open();
        assert_eq!(queue.push(Bytes::from_static(b"abcde")), Err(SendError::TooLarge));
        queue.push(Bytes::from_static(b"abcd")).unwrap();
        assert_eq!(
            queue.push(Bytes::from_static(b"abcd")),
            Err(SendError::Full),
            "bytes"
        );
        queue.push(Bytes::from_static(b"e")).unwrap();
        assert_eq!(queue.push(Bytes::new()), Err(SendError::Full), "count");
        queue.finish();
        assert_eq!(queue.push(Bytes::new()), Err(SendError::Disconnected));
        assert_eq!(queue.take().await.unwrap().concat(), b"abcde");
        assert_eq!(queue.take().await, None);
    }

    #[tokio::test]
    async fn a_reopened_queue_holds_nothing_of_the_last_connection() {
        let queue = SendQueue::new(4, 2, 7);
        queue.open();
        queue.push(Bytes::from_static(b"old")).unwrap();
        assert_eq!(queue.close(), 1);
        assert_eq!(queue.take().await, None);
        queue.open();
        queue.push(Bytes::from_static(b"new")).unwrap();
        assert_eq!(queue.take().await.unwrap().concat(), b"new");
    }
}
