//! Why a connection ends: application error codes and the texts that travel with them.

use std::fmt;

use quinn::{Connection, ConnectionError, VarInt};

/// The longest reason text that is sent, kept or logged, in characters.
const MAX_REASON: usize = 400;

/// The application error code of a QUIC close, the same on the peer and on the client socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CloseCode {
    /// This process is stopping.
    Shutdown = 1,
    /// The hello was not acceptable; the text says why.
    Refused = 2,
    /// No complete hello arrived in time.
    HelloTimeout = 3,
    /// The bytes in place of the hello are not one.
    MalformedHello = 4,
    /// A frame claims to be longer than the cap.
    FrameTooLarge = 5,
    /// A frame ended before its claimed length.
    FrameTruncated = 6,
    /// A frame was begun and not finished in time.
    FrameTimeout = 7,
    /// The receiver of the frames rejected one of them; the text says why.
    RejectedInput = 8,
    /// A newer connection of the same replica and lane took this one's place.
    Replaced = 9,
    /// The other lane of the pair of connections ended.
    LaneLost = 10,
    /// There is no room for another connection.
    Overloaded = 11,
    /// The connection carried nothing for too long.
    Idle = 12,
    /// The stream that carries the frames was finished or reset.
    StreamEnded = 13,
}

impl CloseCode {
    fn var_int(self) -> VarInt {
        VarInt::from_u32(self as u32)
    }
}

/// A close that this side decided on.
#[derive(Clone, Debug)]
pub(crate) struct CloseCause {
    pub(crate) code: CloseCode,
    pub(crate) text: String,
}

impl CloseCause {
    pub(crate) fn new(code: CloseCode, text: impl fmt::Display) -> Self {
        Self {
            code,
            text: printable(&text.to_string()),
        }
    }

    /// Closes the connection with this cause's code and text. Closing a closed connection does nothing.
    pub(crate) fn close(&self, connection: &Connection) {
        connection.close(self.code.var_int(), self.text.as_bytes());
    }

    /// Closes every connection of an endpoint, and the endpoint to new ones.
    pub(crate) fn close_endpoint(&self, endpoint: &quinn::Endpoint) {
        endpoint.close(self.code.var_int(), self.text.as_bytes());
    }
}

impl fmt::Display for CloseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Says in one line why a connection was lost, including the other side's own words where it gave some.
pub(crate) fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let text = String::from_utf8_lossy(&close.reason);
            printable(&format!(
                "closed by the other side (code {}): {text}",
                close.error_code
            ))
        }
        other => printable(&other.to_string()),
    }
}

/// Bounds a text that may come from the other side and escapes what could forge a log line.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(MAX_REASON) {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_text_is_bounded_and_escaped() {
        assert_eq!(printable("a\nb\u{1b}"), "a\\nb\\u{1b}");
        assert_eq!(printable(&"x".repeat(10_000)).len(), MAX_REASON);
    }
}
