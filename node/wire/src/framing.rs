//! Frames on a QUIC stream: a length (u32, little endian) and as many bytes of payload.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quinn::{ReadError, RecvStream, SendStream, WriteError};
use tokio::time::timeout;

use crate::close::{CloseCause, CloseCode, describe};
use crate::counters::Fault;

/// Bytes of the length in front of a payload.
const HEADER: usize = 4;

/// Most bytes taken from QUIC, or reserved ahead of bytes that have arrived, in one go.
const STEP: usize = 64 << 10;

/// Payloads up to this length are copied next to their neighbours. A copy is cheaper than a packet fragment of its
/// own, and does not keep a larger allocation alive until it is acknowledged.
const COPY_BELOW: usize = 4096;

/// How long the parts of a frame may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameDeadline {
    pub(crate) base: Duration,
    pub(crate) min_rate: u32,
}

impl FrameDeadline {
    fn for_len(&self, len: usize) -> Duration {
        self.base + Duration::from_secs((len / self.min_rate.max(1) as usize) as u64)
    }
}

/// Why no further frame can be read.
#[derive(Debug)]
pub(crate) enum FrameError {
    TooLarge { claimed: usize, cap: usize },
    Truncated,
    TimedOut,
    Lost(String),
}

impl FrameError {
    /// The close that this error asks for.
    pub(crate) fn cause(&self) -> CloseCause {
        match self {
            Self::TooLarge { claimed, cap } => CloseCause::new(
                CloseCode::FrameTooLarge,
                format!("a frame of {claimed} bytes is over the cap of {cap}"),
            ),
            Self::Truncated => CloseCause::new(CloseCode::FrameTruncated, "the stream ended inside a frame"),
            Self::TimedOut => {
                CloseCause::new(CloseCode::FrameTimeout, "a begun frame did not arrive in time")
            }
            Self::Lost(text) => CloseCause::new(CloseCode::StreamEnded, text),
        }
    }
}

impl FrameError {
    /// The fault of the sender, if it is one.
    pub(crate) fn fault(&self) -> Option<Fault> {
        match self {
            Self::TooLarge { .. } => Some(Fault::FrameTooLarge),
            Self::Truncated => Some(Fault::FrameTruncated),
            Self::TimedOut => Some(Fault::FrameTimeout),
            Self::Lost(_) => None,
        }
    }
}

impl From<ReadError> for FrameError {
    fn from(error: ReadError) -> Self {
        Self::Lost(match &error {
            ReadError::ConnectionLost(lost) => describe(lost),
            other => other.to_string(),
        })
    }
}

/// Reads frames; what has been read of a stream but not yet taken stays in here.
pub(crate) struct FrameReader {
    stream: RecvStream,
    pending: Bytes,
}

impl FrameReader {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            pending: Bytes::new(),
        }
    }

    /// Waits, without a deadline, until a byte of the next frame is here. False if the stream ended between frames.
    pub(crate) async fn ready(&mut self) -> Result<bool, FrameError> {
        while self.pending.is_empty() {
            match self.stream.read_chunk(STEP, true).await? {
                Some(chunk) => self.pending = chunk.bytes,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Reads the length of a frame. Longer than `cap` is an error, before anything is allocated for it.
    pub(crate) async fn length(&mut self, cap: usize, deadline: FrameDeadline) -> Result<usize, FrameError> {
        let header = match self.arrived(HEADER) {
            Some(header) => header,
            None => timeout(deadline.base, self.take(HEADER))
                .await
                .map_err(|_| FrameError::TimedOut)??,
        };
        let claimed = usize::try_from((&header[..]).get_u32_le()).unwrap_or(usize::MAX);
        if claimed > cap {
            return Err(FrameError::TooLarge { claimed, cap });
        }
        Ok(claimed)
    }

    /// Reads the payload after [`FrameReader::length`]. Memory grows with what arrives, not with what is claimed.
    pub(crate) async fn payload(&mut self, len: usize, deadline: FrameDeadline) -> Result<Bytes, FrameError> {
        match self.arrived(len) {
            Some(payload) => Ok(Bytes::copy_from_slice(&payload)),
            None => timeout(deadline.for_len(len), self.take(len))
                .await
                .map_err(|_| FrameError::TimedOut)?,
        }
    }

    /// So many bytes, if they are here already: under load most frames come many to a packet and need no deadline.
    fn arrived(&mut self, len: usize) -> Option<Bytes> {
        (self.pending.len() >= len).then(|| self.pending.split_to(len))
    }

    async fn take(&mut self, len: usize) -> Result<Bytes, FrameError> {
        // A copy, never a slice of the packet buffer: a held slice of a few bytes would keep all of that alive.
        let mut out = BytesMut::with_capacity(len.min(STEP));
        while out.len() < len {
            if !self.ready().await? {
                return Err(FrameError::Truncated);
            }
            let part = self.pending.split_to(self.pending.len().min(len - out.len()));
            out.extend_from_slice(&part);
        }
        Ok(out.freeze())
    }
}

/// Puts frames one after the other: small ones in one piece, large ones by reference.
fn join(frames: Vec<Bytes>) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    let mut small = BytesMut::new();
    for frame in frames {
        // Queues take no frame longer than a cap that is checked to fit; see `config`.
        let Ok(len) = u32::try_from(frame.len()) else {
            continue;
        };
        small.put_u32_le(len);
        if frame.len() <= COPY_BELOW {
            small.put_slice(&frame);
        } else {
            chunks.push(small.split().freeze());
            chunks.push(frame);
        }
    }
    if !small.is_empty() {
        chunks.push(small.freeze());
    }
    chunks
}

/// Writes frames in order and in as few packets as they fit. Waits while the other side does not read. The error says why
/// the stream is lost.
pub(crate) async fn write_frames(stream: &mut SendStream, frames: Vec<Bytes>) -> Result<(), String> {
    stream
        .write_all_chunks(&mut join(frames))
        .await
        .map_err(|error| match error {
            WriteError::ConnectionLost(lost) => describe(&lost),
            other => other.to_string(),
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "a test may fail by panic")]
    use super::*;

    #[test]
    fn joined_frames_are_length_and_payload_in_order() {
        let large = Bytes::from(vec![7; COPY_BELOW + 1]);
        let chunks = join(vec![
            Bytes::from_static(b"ab"),
            Bytes::new(),
            large.clone(),
            Bytes::from_static(b"c"),
        ]);
        assert_eq!(
            chunks.len(),
            3,
            "the small neighbours share a chunk, the large one is not copied"
        );
        assert_eq!(chunks[1].as_ptr(), large.as_ptr());
        let mut expected = vec![2, 0, 0, 0, b'a', b'b', 0, 0, 0, 0];
        expected.extend(4097_u32.to_le_bytes());
        expected.extend(&large);
        expected.extend([1, 0, 0, 0, b'c']);
        assert_eq!(chunks.concat(), expected);
    }
}
