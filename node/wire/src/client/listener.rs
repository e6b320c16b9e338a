//! A replica's side.

use std::collections::HashMap;
use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, Endpoint, Incoming, SendStream};
use tagma_crypto::Digest;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::budget::{Budget, FramePermit};
use crate::close::{CloseCause, CloseCode, describe, printable};
use crate::config::ClientListenerConfig;
use crate::counters::{Fault, Refusal, WireCounters};
use crate::error::{BindError, SendError};
use crate::framing::{FrameDeadline, FrameError, FrameReader, write_frames};
use crate::greeting::{Greeted, Hearer};
use crate::hello::{self, ClientHello, PeerId};
use crate::peer::Identity;
use crate::queue::SendQueue;
use crate::sources::{Place, Sources};
use crate::{tls, transport};

/// Most time to read what arrived before a connection was lost, while its consumer is slow.
const TIME_TO_READ_THE_REST: Duration = Duration::from_secs(5);

/// Most time that the last packets of a close get.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A client's connection. Never used twice in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// The connection's number, for those who name connections without knowing the wire.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The connection with this number; one that never was or is gone is nobody's.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What happens on the client socket.
#[derive(Debug)]
pub enum ClientEvent {
    /// A client is connected.
    Connected {
        /// Its connection.
        connection: ConnectionId,
        /// Where it comes from.
        remote: SocketAddr,
    },
    /// A request frame. Who sent it is known only from what it holds.
    Frame {
        /// The connection, to reply on.
        connection: ConnectionId,
        /// The payload, of any bytes up to the cap.
        payload: Bytes,
        /// Holds the connection's budget until dropped: keep it until the request has been dealt with.
        permit: FramePermit,
    },
    /// A client is gone. Nothing comes from this connection after this.
    Disconnected {
        /// Its connection.
        connection: ConnectionId,
        /// Why, in one line.
        reason: String,
    },
}

/// An event; the last one of a connection gives its place back when it is taken, so that connections cannot come and go
/// faster than they are noticed.
struct Queued {
    event: ClientEvent,
    _place: Option<Place>,
}

/// The receiving end of the client socket.
pub struct ClientEvents(mpsc::Receiver<Queued>);

impl ClientEvents {
    /// The next event. None once the listener is gone. Cancel safe.
    pub async fn recv(&mut self) -> Option<ClientEvent> {
        self.0.recv().await.map(|queued| queued.event)
    }

    /// The next event if one is here.
    pub fn try_recv(&mut self) -> Option<ClientEvent> {
        self.0.try_recv().ok().map(|queued| queued.event)
    }
}

/// One connected client.
struct Client {
    queue: SendQueue,
    budget: Budget,
    /// The frames of the budget.
    allowed: Mutex<usize>,
    connection: Connection,
    rejected: Mutex<Option<CloseCause>>,
}

impl Client {
    fn rejected(&self) -> MutexGuard<'_, Option<CloseCause>> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Shared {
    chain: Digest,
    replica: PeerId,
    config: ClientListenerConfig,
    counters: Arc<WireCounters>,
    clients: Mutex<HashMap<ConnectionId, Arc<Client>>>,
    next_id: AtomicU64,
    events: mpsc::Sender<Queued>,
    stopping: watch::Sender<bool>,
}

impl Shared {
    fn clients(&self) -> MutexGuard<'_, HashMap<ConnectionId, Arc<Client>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self, id: ConnectionId) -> Option<Arc<Client>> {
        self.clients().get(&id).cloned()
    }

    async fn stopped(&self) {
        // The sender lives as long as `self`, so the wait ends by the value alone.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Queues an event. False if nobody listens any more.
    fn emit(&self, event: ClientEvent, place: Option<Place>) -> bool {
        match self.events.try_send(Queued { event, _place: place }) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                unreachable!("the event queue holds the budgets of all places")
            }
        }
    }

    fn refused(&self, remote: SocketAddr, refusal: Refusal, text: &str) {
        if self.counters.clients.refusals.add(refusal, text) {
            tracing::info!(%remote, refusal = refusal.name(), reason = text, "refused a client");
        } else {
            tracing::debug!(%remote, refusal = refusal.name(), reason = text, "refused a client again");
        }
    }
}

/// A replica's socket for clients. Dropping it closes all connections without draining.
pub struct ClientListener {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    tasks: Mutex<JoinSet<()>>,
}

impl ClientListener {
    /// Binds `config.listen` and begins to accept clients. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the limits contradict each other, the address cannot be bound (the error names it), or the key is unusable.
    pub fn bind(
        config: ClientListenerConfig,
        identity: &Identity,
        counters: Arc<WireCounters>,
    ) -> Result<(Self, ClientEvents), BindError> {
        config.check()?;
        let socket = transport::bind(config.listen)?;
        Self::with_socket(socket, config, identity, counters)
    }

    /// As [`ClientListener::bind`], on a socket that is bound already; `config.listen` is not used.
    ///
    /// # Errors
    /// As [`ClientListener::bind`].
    pub fn with_socket(
        socket: UdpSocket,
        config: ClientListenerConfig,
        identity: &Identity,
        counters: Arc<WireCounters>,
    ) -> Result<(Self, ClientEvents), BindError> {
        config.check()?;
        let tls = tls::client_server(&identity.network_secret)
            .map_err(|error| BindError::Key(error.to_string()))?;
        let server = transport::server(
            tls,
            transport::transport(&config.transport, 1, 0),
            config.accept.max_total,
        )?;
        let endpoint =
            transport::endpoint(socket, Some(server), Some((&identity.network_secret, "clients")))?;
        // Room for every place's whole budget, its connect and its disconnect: no client can fill it for another.
        let capacity = config.accept.max_total.saturating_mul(config.earned_frames + 2);
        let (events, receiver) = mpsc::channel(capacity.min(tokio::sync::Semaphore::MAX_PERMITS));
        let shared = Arc::new(Shared {
            chain: identity.chain,
            replica: identity.id,
            config,
            counters,
            clients: Mutex::default(),
            next_id: AtomicU64::new(0),
            events,
            stopping: watch::Sender::new(false),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(run(shared.clone(), endpoint.clone()));
        Ok((
            Self {
                shared,
                endpoint,
                tasks: Mutex::new(tasks),
            },
            ClientEvents(receiver),
        ))
    }

    /// The bound address.
    ///
    /// # Errors
    /// If the system cannot tell.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Queues a reply. Never waits; a reply that is not taken is dropped and counted.
    ///
    /// # Errors
    /// See [`SendError`]; a connection that has ended is [`SendError::Disconnected`].
    pub fn reply(&self, to: ConnectionId, reply: Bytes) -> Result<(), SendError> {
        let pushed = match self.shared.client(to) {
            Some(client) => client.queue.push(reply),
            None => Err(SendError::Disconnected),
        };
        pushed.inspect_err(|error| self.shared.counters.clients.traffic.dropped(*error))
    }

    /// From now on up to `frames` requests of this connection may wait to be dealt with, and never more than the listener's
    /// `earned_frames`. What a connection may have is not taken back: tell of those alone that have shown to be worth it.
    pub fn widen(&self, connection: ConnectionId, frames: usize) {
        if let Some(client) = self.shared.client(connection) {
            let mut allowed = client.allowed.lock().unwrap_or_else(PoisonError::into_inner);
            let frames = frames.min(self.shared.config.earned_frames);
            client.budget.widen(frames.saturating_sub(*allowed));
            *allowed = frames.max(*allowed);
        }
    }

    /// Closes a connection whose input is not acceptable. `reason` is told to the client and logged.
    pub fn close_client(&self, connection: ConnectionId, reason: &str) {
        if let Some(client) = self.shared.client(connection) {
            let cause = CloseCause::new(CloseCode::RejectedInput, reason);
            // Locked before the close, so that the connection's end finds the cause.
            let mut rejected = client.rejected();
            cause.close(&client.connection);
            *rejected = Some(cause);
        }
    }

    /// Stops: takes no more clients and replies, gives what is queued up to `within` to be written, then closes every
    /// connection with `reason`.
    pub async fn close(&self, reason: &str, within: Duration) {
        self.shared.stopping.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        // A client that does not read cannot hold the stop up.
        let _ = timeout(within, async { while tasks.join_next().await.is_some() {} }).await;
        CloseCause::new(CloseCode::Shutdown, printable(reason)).close_endpoint(&self.endpoint);
        tasks.shutdown().await;
        let _ = timeout(LAST_WORDS, self.endpoint.wait_idle()).await;
    }
}

impl Drop for ClientListener {
    fn drop(&mut self) {
        CloseCause::new(CloseCode::Shutdown, "stopped").close_endpoint(&self.endpoint);
    }
}

/// Takes in connections until the listener stops, then waits for the open ones to drain.
async fn run(shared: Arc<Shared>, endpoint: Endpoint) {
    let limits = &shared.config.accept;
    let sources = Sources::new(limits.max_total, limits.max_per_source);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { return };
                let refusals = &shared.counters.clients.refusals;
                if let Some((incoming, place)) = transport::admit(incoming, &sources, limits.retry_above, refusals) {
                    connections.spawn(serve(shared.clone(), incoming, place));
                }
            }
            Some(_) = connections.join_next() => {}
            () = shared.stopped() => break,
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn serve(shared: Arc<Shared>, incoming: Incoming, place: Place) {
    let remote = incoming.remote_address();
    let handshake = async { incoming.accept()?.await };
    let connection = match timeout(shared.config.accept.handshake_timeout, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return shared.refused(remote, transport::classify(&error), &describe(&error)),
        Err(_) => return shared.refused(remote, Refusal::HandshakeTimeout, "the handshake took too long"),
    };
    let Some(Greeted { send, reader }) = hear_hello(&shared, &connection).await else {
        return;
    };

    let id = ConnectionId(shared.next_id.fetch_add(1, Relaxed));
    let config = &shared.config;
    let client = Arc::new(Client {
        queue: SendQueue::new(
            config.max_reply,
            config.frames.queue_frames,
            config.frames.queue_bytes,
        ),
        budget: Budget::new(config.frames.inbound_frames, config.frames.inbound_bytes),
        allowed: Mutex::new(config.frames.inbound_frames),
        connection: connection.clone(),
        rejected: Mutex::default(),
    });
    client.queue.open();
    shared.clients().insert(id, client.clone());
    shared.counters.clients.opened();
    tracing::debug!(%id, %remote, "client connected");
    shared.emit(
        ClientEvent::Connected {
            connection: id,
            remote,
        },
        None,
    );

    let reading = read(&shared, id, &client, reader);
    tokio::pin!(reading);
    let (mut cause, mut fault) = tokio::select! {
        ended = &mut reading => ended,
        cause = write(&shared, &client, send) => (cause, None),
        error = connection.closed() => {
            if client.rejected().is_none() {
                // Requests that had arrived by then were acknowledged, so they are still read.
                let _ = timeout(TIME_TO_READ_THE_REST, reading).await;
            }
            (CloseCause::new(CloseCode::StreamEnded, describe(&error)), None)
        }
    };
    if let Some(rejected) = client.rejected().take() {
        (cause, fault) = (rejected, Some(Fault::RejectedInput));
    }
    cause.close(&connection);
    shared.clients().remove(&id);
    let dropped = client.queue.close();
    shared.counters.clients.traffic.dropped_with_connection(dropped);
    shared.counters.clients.closed();
    match fault {
        Some(fault) => {
            shared.counters.clients.faults.add(fault);
            tracing::info!(%id, %remote, fault = fault.name(), reason = %cause, "closed a client's connection");
        }
        None => tracing::debug!(%id, %remote, reason = %cause, "client disconnected"),
    }
    shared.emit(
        ClientEvent::Disconnected {
            connection: id,
            reason: cause.text,
        },
        Some(place),
    );
}

/// Reads and answers the hello. None if it was refused; the connection is then closed.
async fn hear_hello(shared: &Shared, connection: &Connection) -> Option<Greeted> {
    let hearer = Hearer {
        chain: shared.chain,
        replica: shared.replica,
        within: shared.config.accept.hello_timeout,
    };
    let judge = |hello: &ClientHello| hello::judge(hello.version, &hello.chain, &shared.chain);
    let refused = |refusal, reason: &str| shared.refused(connection.remote_address(), refusal, reason);
    hearer
        .hear(connection, judge, refused)
        .await
        .map(|(_, greeted)| greeted)
}

/// Reads requests until the connection ends.
async fn read(
    shared: &Shared,
    id: ConnectionId,
    client: &Client,
    mut reader: FrameReader,
) -> (CloseCause, Option<Fault>) {
    match read_frames(shared, id, client, &mut reader).await {
        Ok(ended) => ended,
        Err(error) => (error.cause(), error.fault()),
    }
}

async fn read_frames(
    shared: &Shared,
    id: ConnectionId,
    client: &Client,
    reader: &mut FrameReader,
) -> Result<(CloseCause, Option<Fault>), FrameError> {
    let config = &shared.config;
    let deadline = FrameDeadline {
        base: config.accept.frame_timeout,
        min_rate: config.accept.min_rate,
    };
    let idle = || {
        (
            CloseCause::new(CloseCode::Idle, "no request for too long"),
            Some(Fault::Idle),
        )
    };
    loop {
        match timeout(config.idle_timeout, reader.ready()).await {
            Ok(ready) => {
                if !ready? {
                    // The client has said all; it may still wait for replies.
                    return match timeout(config.idle_timeout, client.connection.closed()).await {
                        Ok(error) => Ok((CloseCause::new(CloseCode::StreamEnded, describe(&error)), None)),
                        Err(_) => Ok(idle()),
                    };
                }
            }
            Err(_) => return Ok(idle()),
        }
        let len = reader.length(config.frames.max_frame, deadline).await?;
        // Before the payload is read: a client without budget is held back by QUIC's flow control.
        let permit = client.budget.acquire(len).await;
        let payload = reader.payload(len, deadline).await?;
        shared.counters.clients.traffic.received(payload.len());
        if !shared.emit(
            ClientEvent::Frame {
                connection: id,
                payload,
                permit,
            },
            None,
        ) {
            return Ok((
                CloseCause::new(CloseCode::Shutdown, "the replica is stopping"),
                None,
            ));
        }
    }
}

/// Writes replies until the connection ends or, when the listener stops, all are written and acknowledged.
async fn write(shared: &Shared, client: &Client, mut stream: SendStream) -> CloseCause {
    let stopping = async {
        shared.stopped().await;
        client.queue.finish();
        std::future::pending::<()>().await;
    };
    let writing = async {
        while let Some(frames) = client.queue.take().await {
            let count = frames.len();
            let bytes = frames.iter().map(Bytes::len).sum();
            if let Err(error) = write_frames(&mut stream, frames).await {
                shared.counters.clients.traffic.dropped_with_connection(count);
                return CloseCause::new(CloseCode::StreamEnded, error);
            }
            shared.counters.clients.traffic.sent(count, bytes);
        }
        let _ = stream.finish();
        // An error is the connection's end, which whoever serves it sees as well.
        let _ = stream.stopped().await;
        CloseCause::new(CloseCode::Shutdown, "the replica is stopping")
    };
    tokio::select! {
        cause = writing => cause,
        () = stopping => CloseCause::new(CloseCode::Shutdown, "the replica is stopping"),
    }
}
