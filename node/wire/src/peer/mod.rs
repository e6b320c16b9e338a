//! The mesh of replicas.

mod accept;
mod dial;
mod session;

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quinn::Connection;
use tagma_crypto::{Digest, PublicKey, SecretKey};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::budget::{Budget, FramePermit};
use crate::close::{CloseCause, CloseCode, printable};
use crate::config::{LaneLimits, PeerConfig};
use crate::counters::{PeerCounters, WireCounters};
use crate::error::{BindError, SendError};
use crate::hello::{Lane, PeerId};
use crate::queue::SendQueue;
use crate::{tls, transport};

/// Most connects and disconnects of one peer that wait in the event queue.
const LIFECYCLE_EVENTS: usize = 4;

/// Most connections of one replica that are at their hello at once: one a lane, and as many of a predecessor.
const HELLOS_AT_ONCE: usize = 4;

/// Most time that the last packets of a close get.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Another replica, from genesis.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// Its index in genesis.
    pub id: PeerId,
    /// Where its peer socket listens.
    pub address: SocketAddr,
    /// Its network key.
    pub network_key: PublicKey,
}

/// Who this replica is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its index in genesis.
    pub id: PeerId,
    /// Its secret network key.
    pub network_secret: SecretKey,
    /// The chain id.
    pub chain: Digest,
}

/// What happens on the mesh.
#[derive(Debug)]
pub enum PeerEvent {
    /// Both lanes to this peer are up. The peer's frames come after this.
    Connected {
        /// Who.
        peer: PeerId,
    },
    /// The peer is lost; it will be dialed, or dial, again. No frame of that connection comes after this.
    Disconnected {
        /// Who.
        peer: PeerId,
        /// Why, in one line.
        reason: String,
    },
    /// A frame.
    Frame {
        /// From whom; its network key is verified.
        peer: PeerId,
        /// On which lane.
        lane: Lane,
        /// The payload, of any bytes up to the lane's cap.
        payload: Bytes,
        /// Holds the peer's budget until dropped: keep it until the frame has been dealt with.
        permit: FramePermit,
    },
}

/// An event with the place it takes among its peer's connects and disconnects.
struct Queued {
    event: PeerEvent,
    _lifecycle: Option<OwnedSemaphorePermit>,
}

/// The receiving end of the mesh.
pub struct PeerEvents(mpsc::Receiver<Queued>);

impl PeerEvents {
    /// The next event. None once the endpoint is gone. Cancel safe.
    pub async fn recv(&mut self) -> Option<PeerEvent> {
        self.0.recv().await.map(|queued| queued.event)
    }

    /// The next event if one is here.
    pub fn try_recv(&mut self) -> Option<PeerEvent> {
        self.0.try_recv().ok().map(|queued| queued.event)
    }
}

/// One other replica.
struct Peer {
    info: PeerInfo,
    /// Where it is dialed: that of `info` until it is said to have moved.
    address: watch::Sender<SocketAddr>,
    votes: LaneState,
    bulk: LaneState,
    lifecycle: Arc<Semaphore>,
    hellos: Arc<Semaphore>,
    current: Mutex<Current>,
}

/// The connections in use, so that they can be closed from outside.
#[derive(Default)]
struct Current {
    connections: Vec<Connection>,
    rejected: Option<CloseCause>,
}

struct LaneState {
    queue: SendQueue,
    budget: Budget,
    max_frame: usize,
}

impl LaneState {
    fn new(limits: &LaneLimits) -> Self {
        Self {
            queue: SendQueue::new(limits.max_frame, limits.queue_frames, limits.queue_bytes),
            budget: Budget::new(limits.inbound_frames, limits.inbound_bytes),
            max_frame: limits.max_frame,
        }
    }
}

impl Peer {
    fn lane(&self, lane: Lane) -> &LaneState {
        match lane {
            Lane::Votes => &self.votes,
            Lane::Bulk => &self.bulk,
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all tasks of an endpoint share.
struct Shared {
    me: PeerId,
    chain: Digest,
    config: PeerConfig,
    counters: Arc<WireCounters>,
    peers: BTreeMap<PeerId, Arc<Peer>>,
    events: mpsc::Sender<Queued>,
    stopping: watch::Sender<bool>,
}

impl Shared {
    fn counters_of(&self, peer: PeerId) -> Option<&PeerCounters> {
        self.counters.peer(peer)
    }

    /// Waits until the endpoint begins to stop.
    async fn stopped(&self) {
        // The sender lives as long as `self`, so the wait ends by the value alone.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Queues a connect or disconnect, waiting while too many of this peer are queued already.
    async fn lifecycle(&self, peer: &Peer, event: PeerEvent) {
        let permit = peer.lifecycle.clone().acquire_owned().await.ok();
        // An error means that nobody listens any more, who then needs no event.
        let _ = self
            .events
            .send(Queued {
                event,
                _lifecycle: permit,
            })
            .await;
    }
}

/// A replica's place in the mesh. Dropping it closes all connections without draining.
pub struct PeerEndpoint {
    shared: Arc<Shared>,
    endpoint: quinn::Endpoint,
    tasks: Mutex<JoinSet<()>>,
}

impl PeerEndpoint {
    /// Binds `config.listen` and begins to dial and accept `peers` (an entry for this replica itself is left out). Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// If the limits contradict each other, the address cannot be bound (the error names it), or the key is unusable.
    pub fn bind(
        config: PeerConfig,
        identity: &Identity,
        peers: Vec<PeerInfo>,
        counters: Arc<WireCounters>,
    ) -> Result<(Self, PeerEvents), BindError> {
        config.check()?;
        let socket = transport::bind(config.listen)?;
        Self::with_socket(socket, config, identity, peers, counters)
    }

    /// As [`PeerEndpoint::bind`], on a socket that is bound already; `config.listen` is not used.
    ///
    /// # Errors
    /// As [`PeerEndpoint::bind`].
    pub fn with_socket(
        socket: UdpSocket,
        config: PeerConfig,
        identity: &Identity,
        peers: Vec<PeerInfo>,
        counters: Arc<WireCounters>,
    ) -> Result<(Self, PeerEvents), BindError> {
        config.check()?;
        let key_error = |error: rustls::Error| BindError::Key(error.to_string());
        let others: Vec<PeerInfo> = peers.into_iter().filter(|peer| peer.id != identity.id).collect();
        let server_tls = tls::peer_server(
            &identity.network_secret,
            identity.chain,
            others.iter().map(|peer| peer.network_key),
        )
        .map_err(key_error)?;
        // A dialer opens the hello stream and its stream of frames; an acceptor only the latter.
        let server = transport::server(
            server_tls,
            transport::transport(&config.transport, 1, 1),
            config.accept.max_total,
        )?;
        let endpoint = transport::endpoint(socket, Some(server), Some((&identity.network_secret, "peers")))?;

        let per_peer = config.votes.inbound_frames + config.bulk.inbound_frames + LIFECYCLE_EVENTS;
        // Room for every peer's whole budget: no peer can fill the queue for another.
        let (events, receiver) = mpsc::channel((per_peer * others.len()).max(1));
        let states = others.iter().map(|info| {
            let state = Peer {
                info: info.clone(),
                address: watch::Sender::new(info.address),
                votes: LaneState::new(&config.votes),
                bulk: LaneState::new(&config.bulk),
                lifecycle: Arc::new(Semaphore::new(LIFECYCLE_EVENTS)),
                hellos: Arc::new(Semaphore::new(HELLOS_AT_ONCE)),
                current: Mutex::default(),
            };
            (info.id, Arc::new(state))
        });
        let shared = Arc::new(Shared {
            me: identity.id,
            chain: identity.chain,
            counters,
            peers: states.collect(),
            events,
            stopping: watch::Sender::new(false),
            config,
        });

        let mut tasks = JoinSet::new();
        let mut acceptors = BTreeMap::new();
        for peer in shared.peers.values() {
            if peer.info.id < shared.me {
                let tls = tls::dialer(
                    peer.info.network_key,
                    shared.chain,
                    Some(&identity.network_secret),
                    tls::PEER_ALPN,
                )
                .map_err(key_error)?;
                let dialer = transport::dialer(tls, transport::transport(&shared.config.transport, 0, 1))?;
                tasks.spawn(dial::run(shared.clone(), peer.clone(), endpoint.clone(), dialer));
            } else {
                let (lanes, receiver) = mpsc::channel(HELLOS_AT_ONCE);
                acceptors.insert(
                    peer.info.network_key,
                    accept::Acceptor {
                        peer: peer.clone(),
                        lanes,
                    },
                );
                tasks.spawn(accept::run_peer(shared.clone(), peer.clone(), receiver));
            }
        }
        tasks.spawn(accept::run(shared.clone(), endpoint.clone(), acceptors));
        Ok((
            Self {
                shared,
                endpoint,
                tasks: Mutex::new(tasks),
            },
            PeerEvents(receiver),
        ))
    }

    /// The bound address.
    ///
    /// # Errors
    /// If the system cannot tell.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Queues a frame for a peer. Never waits; a frame that is not taken is dropped and counted.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(&self, to: PeerId, lane: Lane, frame: Bytes) -> Result<(), SendError> {
        let peer = self.shared.peers.get(&to).ok_or(SendError::Unknown)?;
        peer.lane(lane).queue.push(frame).inspect_err(|error| {
            if let Some(counters) = self.shared.counters_of(to) {
                counters.lane(lane).dropped(*error);
            }
        })
    }

    /// Closes the connections of a peer whose input is not acceptable. `reason` is told to the peer and logged; the
    /// peer may come back after a pause.
    pub fn close_peer(&self, peer: PeerId, reason: &str) {
        let Some(peer) = self.shared.peers.get(&peer) else {
            return;
        };
        let cause = CloseCause::new(CloseCode::RejectedInput, reason);
        let mut current = peer.current();
        for connection in &current.connections {
            cause.close(connection);
        }
        if !current.connections.is_empty() {
            current.rejected = Some(cause);
        }
    }

    /// Has a peer dialed at another address from now on; a connection to the old one is given up for it. Of a peer that dials
    /// this replica nothing changes, as it need not be found.
    pub fn move_peer(&self, peer: PeerId, address: SocketAddr) {
        let Some(peer) = self.shared.peers.get(&peer) else {
            return;
        };
        peer.address.send_if_modified(|current| {
            let moved = *current != address;
            *current = address;
            moved
        });
    }

    /// Whether both lanes to a peer are up.
    pub fn is_connected(&self, peer: PeerId) -> bool {
        self.shared
            .counters_of(peer)
            .is_some_and(PeerCounters::is_connected)
    }

    /// The counters given to [`PeerEndpoint::bind`].
    pub fn counters(&self) -> &Arc<WireCounters> {
        &self.shared.counters
    }

    /// Stops: takes no more frames, gives what is queued up to `within` to be written and acknowledged, then closes every
    /// connection with `reason`.
    pub async fn close(&self, reason: &str, within: Duration) {
        self.shared.stopping.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let drained = timeout(within, async { while tasks.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!("stopped before all peers took what was queued for them");
        }
        CloseCause::new(CloseCode::Shutdown, printable(reason)).close_endpoint(&self.endpoint);
        tasks.shutdown().await;
        // An unreachable peer never acknowledges the close; it will find out by its idle timeout.
        let _ = timeout(LAST_WORDS, self.endpoint.wait_idle()).await;
    }
}

impl Drop for PeerEndpoint {
    fn drop(&mut self) {
        CloseCause::new(CloseCode::Shutdown, "stopped").close_endpoint(&self.endpoint);
    }
}
