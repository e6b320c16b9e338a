//! How much of one sender's input may be under way at once: in the event queue or in its consumer's hands.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The budget of one sender on one lane. While it is used up nothing more is read from that sender, whom QUIC's flow
/// control then holds back; other senders have budgets of their own.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    frames: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// A frame's share of its sender's budget, given back when dropped. Keep it as long as the frame is kept.
#[derive(Debug)]
pub struct FramePermit {
    _frame: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Budget {
    pub(crate) fn new(frames: usize, bytes: usize) -> Self {
        Self {
            frames: Arc::new(Semaphore::new(frames)),
            bytes: Arc::new(Semaphore::new(bytes)),
        }
    }

    /// Room for `more` frames besides.
    pub(crate) fn widen(&self, more: usize) {
        self.frames.add_permits(more);
    }

    /// Waits for room for a frame of `len` bytes, which must not be over the whole budget.
    pub(crate) async fn acquire(&self, len: usize) -> FramePermit {
        let units = u32::try_from(len).unwrap_or(u32::MAX);
        let frame = self.frames.clone().acquire_owned().await;
        let bytes = self.bytes.clone().acquire_many_owned(units).await;
        match (frame, bytes) {
            (Ok(frame), Ok(bytes)) => FramePermit {
                _frame: frame,
                _bytes: bytes,
            },
            _ => unreachable!("a budget's semaphores are never closed"),
        }
    }
}
