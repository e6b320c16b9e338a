//! Saying and hearing a hello: the same exchange on both sockets, only the hello's type and its judgement differ.

use std::time::Duration;

use quinn::{Connection, RecvStream, SendStream};
use tagma_crypto::Digest;
use tagma_crypto::encode::{Decode, Encode};
use tokio::time::timeout;

use crate::close::{CloseCause, CloseCode, describe};
use crate::counters::Refusal;
use crate::framing::{FrameDeadline, FrameError, FrameReader, write_frames};
use crate::hello::{Answer, MAX_HELLO, PeerId, from_payload, to_payload};

/// How long a refused dialer gets to read why.
const TIME_TO_READ_REFUSAL: Duration = Duration::from_secs(1);

/// Why a dialer got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("{0}")]
    Lost(String),
    #[error("no answer within the time limit")]
    Timeout,
    #[error("the answer to the hello is malformed: {0}")]
    Malformed(String),
}

impl From<FrameError> for NoAnswer {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Lost(text) => Self::Lost(text),
            FrameError::TimedOut => Self::Timeout,
            other => Self::Malformed(other.cause().text),
        }
    }
}

/// The stream of a hello, both ways, after the exchange.
pub(crate) struct Greeted {
    pub(crate) send: SendStream,
    pub(crate) reader: FrameReader,
}

/// Opens a stream, says `hello` on it and hears the answer, all `within` the time given.
pub(crate) async fn say<H: Encode>(
    connection: &Connection,
    hello: &H,
    within: Duration,
) -> Result<(Answer, Greeted), NoAnswer> {
    let exchange = async {
        let (mut send, recv) = connection
            .open_bi()
            .await
            .map_err(|error| NoAnswer::Lost(describe(&error)))?;
        // Should the write fail, the read fails for the same reason and says it.
        let _ = write_frames(&mut send, vec![to_payload(hello)]).await;
        let (payload, reader) = first_frame(recv, within).await?;
        let answer = from_payload(&payload).map_err(|error| NoAnswer::Malformed(error.to_string()))?;
        Ok((answer, Greeted { send, reader }))
    };
    timeout(within, exchange).await.unwrap_or(Err(NoAnswer::Timeout))
}

async fn first_frame(recv: RecvStream, within: Duration) -> Result<(bytes::Bytes, FrameReader), FrameError> {
    // The deadline around the whole exchange is the one that counts.
    let deadline = FrameDeadline {
        base: within,
        min_rate: u32::MAX,
    };
    let mut reader = FrameReader::new(recv);
    if !reader.ready().await? {
        return Err(FrameError::Truncated);
    }
    let len = reader.length(MAX_HELLO, deadline).await?;
    let payload = reader.payload(len, deadline).await?;
    Ok((payload, reader))
}

/// Who hears a hello.
pub(crate) struct Hearer {
    pub(crate) chain: Digest,
    pub(crate) replica: PeerId,
    pub(crate) within: Duration,
}

impl Hearer {
    /// Waits for a stream and a hello on it, and answers as `judge` says. A refusal goes to `refused` at once, then to the other
    /// side, and then the connection is closed and the result is None.
    pub(crate) async fn hear<H: Decode<()>>(
        &self,
        connection: &Connection,
        judge: impl FnOnce(&H) -> Result<(), (Refusal, String)>,
        refused: impl FnOnce(Refusal, &str),
    ) -> Option<(H, Greeted)> {
        let exchange = async {
            let (send, recv) = connection
                .accept_bi()
                .await
                .map_err(|error| FrameError::Lost(describe(&error)))?;
            let (payload, reader) = first_frame(recv, self.within).await?;
            Ok::<_, FrameError>((payload, Greeted { send, reader }))
        };
        let heard = timeout(self.within, exchange)
            .await
            .unwrap_or(Err(FrameError::TimedOut));
        let (payload, mut greeted) = match heard {
            Ok(heard) => heard,
            Err(error) => {
                let (refusal, code) = match error {
                    FrameError::TimedOut => (Refusal::HelloTimeout, CloseCode::HelloTimeout),
                    FrameError::Lost(_) => (Refusal::RefusedByDialer, CloseCode::Refused),
                    _ => (Refusal::MalformedHello, CloseCode::MalformedHello),
                };
                let text = format!("no hello: {}", error.cause());
                refused(refusal, &text);
                CloseCause::new(code, text).close(connection);
                return None;
            }
        };
        let verdict = from_payload::<H>(&payload)
            .map_err(|error| (Refusal::MalformedHello, format!("malformed hello: {error}")))
            .and_then(|hello| judge(&hello).map(|()| hello));
        let (refusal, reason) = match verdict {
            Ok(hello) => {
                let answer = Answer::Accepted {
                    chain: self.chain,
                    replica: self.replica,
                };
                // Should this fail the connection is lost, which whoever uses it finds out.
                let _ = write_frames(&mut greeted.send, vec![to_payload(&answer)]).await;
                return Some((hello, greeted));
            }
            Err(refusal) => refusal,
        };
        refused(refusal, &reason);
        let _ = write_frames(
            &mut greeted.send,
            vec![to_payload(&Answer::refused(self.chain, &reason))],
        )
        .await;
        let _ = greeted.send.finish();
        // A close overtakes what is still under way, so the dialer is given time to read and to close by itself.
        let _ = timeout(TIME_TO_READ_REFUSAL, connection.closed()).await;
        let code = match refusal {
            Refusal::MalformedHello => CloseCode::MalformedHello,
            _ => CloseCode::Refused,
        };
        CloseCause::new(code, reason).close(connection);
        None
    }
}
