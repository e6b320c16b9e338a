//! As much of gRPC over HTTP/2 without TLS as unary calls need, and the few messages of etcd's v3 API that are sent here.

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Request, Uri, Version};

use super::protobuf::{self, Value};

/// A message is preceded by a flag (compressed or not) and its length.
const PREFIX: usize = 5;
/// Bytes that the server may send ahead: more than all answers that are ever under way.
const WINDOW: u32 = 8 << 20;

/// Why a call has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The connection or the stream broke.
    #[error("HTTP/2: {0}")]
    Http2(#[from] h2::Error),
    /// The socket.
    #[error("{0}")]
    Socket(#[from] std::io::Error),
    /// The request could not be put together.
    #[error("{0}")]
    Request(#[from] http::Error),
    /// The server says no.
    #[error("gRPC status {status}: {message}")]
    Refused {
        /// The code; 0 is success.
        status: String,
        /// Its words.
        message: String,
    },
    /// The answer is not what it should be.
    #[error("an answer that is no message: {0}")]
    Malformed(String),
}

/// etcd's `etcdserverpb.PutRequest`, framed: store `value` under `key`.
pub(super) fn put_request(key: &[u8], value: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(key.len() + value.len() + 16);
    protobuf::put_bytes(&mut message, 1, key);
    protobuf::put_bytes(&mut message, 2, value);
    frame(&message)
}

/// etcd's `etcdserverpb.StatusRequest`, which has no fields, framed.
pub(super) fn status_request() -> Bytes {
    frame(&[])
}

/// Whether the member that answered with this framed `etcdserverpb.StatusResponse` is the leader: its own number, field 2 of the
/// header, which is field 1, is that of the leader, field 4.
pub(super) fn is_leader(answer: &[u8]) -> Result<bool, CallError> {
    let malformed = || CallError::Malformed(format!("{} bytes", answer.len()));
    let number = |fields: &[(u64, Value<'_>)], wanted: u64| {
        fields.iter().find_map(|(tag, value)| match value {
            Value::Number(number) if *tag == wanted => Some(*number),
            _ => None,
        })
    };
    let status = protobuf::fields(unframe(answer)?).ok_or_else(malformed)?;
    let header = status.iter().find_map(|(tag, value)| match value {
        Value::Bytes(header) if *tag == 1 => Some(*header),
        _ => None,
    });
    let header = protobuf::fields(header.unwrap_or_default()).ok_or_else(malformed)?;
    // A field that is zero is left out: nobody leads.
    Ok(number(&status, 4).is_some_and(|leader| number(&header, 2) == Some(leader)))
}

/// The method that stores a key.
pub(super) const PUT: &str = "/etcdserverpb.KV/Put";
/// The method that tells how a member is.
pub(super) const STATUS: &str = "/etcdserverpb.Maintenance/Status";

/// A message with its prefix.
fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(PREFIX + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(message);
    frame.freeze()
}

/// The message behind its prefix.
fn unframe(frame: &[u8]) -> Result<&[u8], CallError> {
    let malformed = || CallError::Malformed(format!("{} bytes", frame.len()));
    let (prefix, message) = frame.split_at_checked(PREFIX).ok_or_else(malformed)?;
    let &[0, a, b, c, d] = prefix else {
        return Err(malformed());
    };
    if usize::try_from(u32::from_be_bytes([a, b, c, d])) == Ok(message.len()) {
        Ok(message)
    } else {
        Err(malformed())
    }
}

/// A connection on which any number of calls can be under way. Clones share it.
#[derive(Clone)]
pub(super) struct Channel {
    sender: SendRequest<Bytes>,
    authority: String,
}

impl Channel {
    /// Connects, and has the runtime drive the connection until it ends.
    pub(super) async fn connect(port: u16) -> Result<Self, CallError> {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(stream)
            .await?;
        tokio::spawn(async move {
            // Its end is told to every call that is under way.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a gRPC connection ended");
            }
        });
        Ok(Self {
            sender,
            authority: format!("127.0.0.1:{port}"),
        })
    }

    /// The address of a method here.
    pub(super) fn method(&self, path: &str) -> Result<Uri, CallError> {
        let uri = Uri::builder().scheme("http").authority(self.authority.as_str());
        Ok(uri.path_and_query(path).build()?)
    }

    /// Calls a method with a framed message, and gives the framed answer.
    pub(super) async fn call(self, method: Uri, message: Bytes) -> Result<Bytes, CallError> {
        let request = Request::post(method)
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut sender = self.sender.ready().await?;
        let (response, mut stream) = sender.send_request(request, false)?;
        stream.send_data(message, true)?;
        let (head, mut body) = response.await?.into_parts();
        let mut answer = BytesMut::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            answer.extend_from_slice(&chunk);
        }
        // A call that fails at once has its status in the headers.
        let trailers = body.trailers().await?.unwrap_or(head.headers);
        succeeded(&trailers)?;
        Ok(answer.freeze())
    }
}

fn succeeded(trailers: &HeaderMap) -> Result<(), CallError> {
    let text = |name: &str| {
        let value = trailers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    match text("grpc-status") {
        status if status == "0" => Ok(()),
        status => Err(CallError::Refused {
            status,
            message: text("grpc-message"),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_put_is_encoded_as_protocol_buffers_and_grpc_say() {
        let expected = [0, 0, 0, 0, 9, 0x0a, 2, b'k', b'1', 0x12, 3, b'a', b'b', b'c'];
        assert_eq!(put_request(b"k1", b"abc")[..], expected);
        assert_eq!(unframe(&expected).unwrap(), &expected[5..]);
        assert!(unframe(&expected[..8]).is_err(), "shorter than it says");
        assert!(unframe(&[1, 0, 0, 0, 0]).is_err(), "compressed");
    }

    #[test]
    fn the_leader_is_who_is_called_so_by_itself() {
        // header { cluster_id: 1, member_id: 7, revision: 2 }, version "3.4", dbSize 5, leader
        let status = |leader: &[u8]| {
            let start = [
                0x0a, 6, 0x08, 1, 0x10, 7, 0x18, 2, 0x12, 3, b'3', b'.', b'4', 0x18, 5,
            ];
            frame(&[&start, leader].concat())
        };
        assert!(is_leader(&status(&[0x20, 7])).unwrap());
        assert!(!is_leader(&status(&[0x20, 8])).unwrap());
        assert!(!is_leader(&status(&[])).unwrap(), "nobody leads yet");
        assert!(is_leader(&status(&[0x20])).is_err(), "cut off");
    }

    #[test]
    fn only_status_0_is_success() {
        let mut trailers = HeaderMap::new();
        assert!(succeeded(&trailers).is_err());
        trailers.insert("grpc-status", "8".parse().unwrap());
        assert!(succeeded(&trailers).unwrap_err().to_string().contains('8'));
        trailers.insert("grpc-status", "0".parse().unwrap());
        assert!(succeeded(&trailers).is_ok());
    }
}
