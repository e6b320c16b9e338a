//! A client's side.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, SendStream};
use tagma_crypto::{Digest, PublicKey};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::budget::{Budget, FramePermit};
use crate::close::{CloseCause, CloseCode, describe, printable};
use crate::config::ClientConfig;
use crate::error::{BindError, ConnectError, SendError};
use crate::framing::{FrameDeadline, FrameError, FrameReader, write_frames};
use crate::greeting::{self, Greeted, NoAnswer};
use crate::hello::{Answer, ClientHello, PeerId, VERSION};
use crate::queue::SendQueue;
use crate::{tls, transport};

/// Slowest acceptable rate of a reply once it has begun, in bytes per second.
const MIN_REPLY_RATE: u32 = 16 << 10;

/// Most time that the last packets of a close get.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Requests that follow each other faster than this share a packet, with all that packets cost both sides. One that comes alone does
/// not wait.
const PAUSE: Duration = Duration::from_millis(1);

/// A client's UDP socket, one for connections to all replicas.
#[derive(Clone)]
pub struct ClientEndpoint {
    endpoint: quinn::Endpoint,
    config: ClientConfig,
}

impl ClientEndpoint {
    /// Binds `config.bind`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the limits contradict each other or the address cannot be bound.
    pub fn bind(config: ClientConfig) -> Result<Self, BindError> {
        config.check()?;
        let socket = transport::bind(config.bind)?;
        Ok(Self {
            endpoint: transport::endpoint(socket, None, None)?,
            config,
        })
    }

    /// Connects to the replica at `address`, which must hold `network_key` and be of `chain`.
    ///
    /// # Errors
    /// See [`ConnectError`]. Bounded by twice `connect_timeout`.
    pub async fn connect(
        &self,
        address: SocketAddr,
        network_key: PublicKey,
        chain: Digest,
    ) -> Result<ClientConnection, ConnectError> {
        let failed = |reason: String| ConnectError::Handshake { address, reason };
        let tls =
            tls::dialer(network_key, chain, None, tls::CLIENT_ALPN).map_err(|e| failed(e.to_string()))?;
        // The replica opens no streams of its own.
        let dialer = transport::dialer(tls, transport::transport(&self.config.transport, 0, 0))
            .map_err(|error| failed(error.to_string()))?;
        let connecting = self
            .endpoint
            .connect_with(dialer, address, &tls::chain_name(&chain))
            .map_err(|error| failed(error.to_string()))?;
        let connection = timeout(self.config.connect_timeout, connecting)
            .await
            .map_err(|_| ConnectError::Timeout { address })?
            .map_err(|error| failed(describe(&error)))?;
        match say_hello(&connection, address, chain, self.config.connect_timeout).await {
            Ok((greeted, replica)) => Ok(self.start(connection, greeted, replica)),
            Err(error) => {
                CloseCause::new(CloseCode::Refused, format!("given up: {error}")).close(&connection);
                Err(error)
            }
        }
    }

    fn start(&self, connection: Connection, greeted: Greeted, replica: PeerId) -> ClientConnection {
        let Greeted { send, reader } = greeted;
        let config = &self.config;
        let queue_bytes = config.max_request.saturating_mul(config.queue_frames);
        let queue = Arc::new(SendQueue::new(
            config.max_request,
            config.queue_frames,
            queue_bytes,
        ));
        queue.open();
        let (replies, receiver) = mpsc::channel(config.inbound_frames);
        let ended = Arc::new(Mutex::new(None));
        let incoming = Incoming {
            connection: connection.clone(),
            budget: Budget::new(config.inbound_frames, config.max_reply.saturating_mul(2)),
            cap: config.max_reply,
            deadline: FrameDeadline {
                base: config.connect_timeout,
                min_rate: MIN_REPLY_RATE,
            },
            replies,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(write(queue.clone(), send));
        tasks.spawn({
            let (queue, ended) = (queue.clone(), ended.clone());
            async move {
                let mut reader = reader;
                // Dropped after the close: a stream that is dropped first tells the replica to stop, and not why.
                let cause = incoming.read(&mut reader).await;
                cause.close(&incoming.connection);
                queue.close();
                *ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause.text);
            }
        });
        ClientConnection {
            sender: ClientSender { queue },
            replies: receiver,
            connection,
            replica,
            ended,
            _tasks: tasks,
        }
    }

    /// The bound address.
    ///
    /// # Errors
    /// If the system cannot tell.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Closes all connections and waits a moment for the replicas to hear of it.
    pub async fn close(&self, reason: &str) {
        CloseCause::new(CloseCode::Shutdown, reason).close_endpoint(&self.endpoint);
        // A replica that is gone will not acknowledge; nothing depends on it.
        let _ = timeout(LAST_WORDS, self.endpoint.wait_idle()).await;
    }
}

async fn say_hello(
    connection: &Connection,
    address: SocketAddr,
    chain: Digest,
    within: Duration,
) -> Result<(Greeted, PeerId), ConnectError> {
    let said = greeting::say(
        connection,
        &ClientHello {
            version: VERSION,
            chain,
        },
        within,
    )
    .await;
    let (answer, greeted) = said.map_err(|error| match error {
        NoAnswer::Lost(reason) => ConnectError::Handshake { address, reason },
        NoAnswer::Timeout => ConnectError::Timeout { address },
        NoAnswer::Malformed(reason) => ConnectError::Malformed { address, reason },
    })?;
    match answer {
        Answer::Accepted {
            chain: theirs,
            replica,
        } if theirs == chain => Ok((greeted, replica)),
        Answer::Accepted { chain: theirs, .. } => Err(ConnectError::Refused {
            reason: "another genesis".into(),
            theirs,
            ours: chain,
        }),
        Answer::Refused {
            chain: theirs,
            reason,
        } => Err(ConnectError::Refused {
            reason: printable(reason.as_str()),
            theirs,
            ours: chain,
        }),
    }
}

/// The receiving half of a connection.
struct Incoming {
    connection: Connection,
    budget: Budget,
    cap: usize,
    deadline: FrameDeadline,
    replies: mpsc::Sender<(Bytes, FramePermit)>,
}

impl Incoming {
    /// Reads replies until the connection ends, and says why it did.
    async fn read(&self, reader: &mut FrameReader) -> CloseCause {
        match self.read_frames(reader).await {
            Ok(text) => CloseCause::new(CloseCode::StreamEnded, text),
            Err(error) => error.cause(),
        }
    }

    async fn read_frames(&self, reader: &mut FrameReader) -> Result<String, FrameError> {
        while reader.ready().await? {
            let len = reader.length(self.cap, self.deadline).await?;
            let permit = self.budget.acquire(len).await;
            let payload = reader.payload(len, self.deadline).await?;
            if self.replies.send((payload, permit)).await.is_err() {
                return Ok("nobody takes the replies any more".into());
            }
        }
        // A stopping replica ends its stream first and says why when it closes the connection.
        let closed = timeout(LAST_WORDS, self.connection.closed()).await;
        Ok(closed.map_or_else(
            |_| "the replica ended the stream".into(),
            |error| describe(&error),
        ))
    }
}

async fn write(queue: Arc<SendQueue>, mut stream: SendStream) {
    let mut next = Instant::now();
    while let Some(mut frames) = queue.take().await {
        if Instant::now() < next {
            sleep_until(next).await;
            frames.extend(queue.take_now());
        }
        next = Instant::now() + PAUSE;
        if write_frames(&mut stream, frames).await.is_err() {
            // The reader ends for the same reason, says it, and closes the queue.
            return;
        }
    }
    let _ = stream.finish();
}

/// Sends requests on a connection. Clones share its queue.
#[derive(Clone)]
pub struct ClientSender {
    queue: Arc<SendQueue>,
}

impl ClientSender {
    /// Queues a request. Never waits.
    ///
    /// # Errors
    /// If the queue is full, the connection has ended, or the request is over the cap.
    pub fn send(&self, request: Bytes) -> Result<(), SendError> {
        self.queue.push(request)
    }
}

/// A connection to one replica. Dropping it closes it.
pub struct ClientConnection {
    sender: ClientSender,
    replies: mpsc::Receiver<(Bytes, FramePermit)>,
    connection: Connection,
    replica: PeerId,
    ended: Arc<Mutex<Option<String>>>,
    _tasks: JoinSet<()>,
}

impl ClientConnection {
    /// A handle to send with, from anywhere.
    pub fn sender(&self) -> ClientSender {
        self.sender.clone()
    }

    /// Queues a request. Never waits.
    ///
    /// # Errors
    /// As [`ClientSender::send`].
    pub fn send(&self, request: Bytes) -> Result<(), SendError> {
        self.sender.send(request)
    }

    /// The next reply, in the order they were sent. None once the connection has ended; [`ClientConnection::close_reason`]
    /// says why. Cancel safe.
    pub async fn recv(&mut self) -> Option<Bytes> {
        self.replies.recv().await.map(|(payload, _permit)| payload)
    }

    /// The replica's id, in its own words; its key was checked, this number was not.
    pub fn replica(&self) -> PeerId {
        self.replica
    }

    /// Why the connection ended, if it has.
    pub fn close_reason(&self) -> Option<String> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ended.or_else(|| self.connection.close_reason().map(|error| describe(&error)))
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        CloseCause::new(CloseCode::Shutdown, "the client is done").close(&self.connection);
    }
}
