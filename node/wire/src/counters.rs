//! What crossed the wire and what did not, as plain counters for metrics and tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::error::SendError;
use crate::hello::{Lane, PeerId};

/// Why a connection was refused before it counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// TLS: the key shown is not in genesis.
    UnknownKey,
    /// TLS: the other side does not hold the secret of the key it showed.
    BadSignature,
    /// TLS: no raw public key was shown.
    NoKey,
    /// TLS: another application protocol.
    WrongProtocol,
    /// TLS or QUIC failed otherwise.
    Handshake,
    /// The dialer went away or refused this side.
    RefusedByDialer,
    /// The handshake took too long.
    HandshakeTimeout,
    /// The hello took too long.
    HelloTimeout,
    /// The hello is not one.
    MalformedHello,
    /// The hello is of another protocol version.
    OtherVersion,
    /// The hello names another chain id, hence another genesis.
    OtherChain,
    /// The hello's sender is not the owner of the key.
    WrongSender,
    /// The hello is for another replica.
    WrongRecipient,
    /// The replica with the higher id dials; this one has the lower.
    WrongDirection,
    /// No place is left for this source or at all.
    Overloaded,
}

impl Refusal {
    /// All of them, in the order of their index.
    pub const ALL: [Self; 15] = [
        Self::UnknownKey,
        Self::BadSignature,
        Self::NoKey,
        Self::WrongProtocol,
        Self::Handshake,
        Self::RefusedByDialer,
        Self::HandshakeTimeout,
        Self::HelloTimeout,
        Self::MalformedHello,
        Self::OtherVersion,
        Self::OtherChain,
        Self::WrongSender,
        Self::WrongRecipient,
        Self::WrongDirection,
        Self::Overloaded,
    ];

    /// The label in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::NoKey => "no_key",
            Self::WrongProtocol => "wrong_protocol",
            Self::Handshake => "handshake",
            Self::RefusedByDialer => "refused_by_dialer",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HelloTimeout => "hello_timeout",
            Self::MalformedHello => "malformed_hello",
            Self::OtherVersion => "other_version",
            Self::OtherChain => "other_chain",
            Self::WrongSender => "wrong_sender",
            Self::WrongRecipient => "wrong_recipient",
            Self::WrongDirection => "wrong_direction",
            Self::Overloaded => "overloaded",
        }
    }
}

/// What an accepted connection was closed for by this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A frame over the cap.
    FrameTooLarge,
    /// A frame that ended early.
    FrameTruncated,
    /// A frame that came too slowly.
    FrameTimeout,
    /// The owner of the endpoint rejected a frame.
    RejectedInput,
    /// Nothing for too long (clients only).
    Idle,
}

impl Fault {
    /// All of them, in the order of their index.
    pub const ALL: [Self; 5] = [
        Self::FrameTooLarge,
        Self::FrameTruncated,
        Self::FrameTimeout,
        Self::RejectedInput,
        Self::Idle,
    ];

    /// The label in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::FrameTooLarge => "frame_too_large",
            Self::FrameTruncated => "frame_truncated",
            Self::FrameTimeout => "frame_timeout",
            Self::RejectedInput => "rejected_input",
            Self::Idle => "idle",
        }
    }
}

#[derive(Debug, Default)]
struct Text(Mutex<String>);

impl Text {
    fn set(&self, text: &str) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *held != text;
        if changed {
            text.clone_into(&mut held);
        }
        changed
    }

    fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Counts and last text of refusals on one socket.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    counts: [AtomicU64; Refusal::ALL.len()],
    retried: AtomicU64,
    last: Text,
}

impl Refusals {
    /// Counts a refusal. True if its text differs from the last one's, and so is worth a line in the log.
    pub(crate) fn add(&self, refusal: Refusal, text: &str) -> bool {
        if let Some(count) = self.counts.get(refusal as usize) {
            count.fetch_add(1, Relaxed);
        }
        self.last.set(text)
    }

    pub(crate) fn add_retried(&self) {
        self.retried.fetch_add(1, Relaxed);
    }

    fn snapshot(&self) -> RefusalsSnapshot {
        RefusalsSnapshot {
            counts: self.counts.each_ref().map(|count| count.load(Relaxed)),
            retried: self.retried.load(Relaxed),
            last: self.last.get(),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Faults([AtomicU64; Fault::ALL.len()]);

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        if let Some(count) = self.0.get(fault as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    fn snapshot(&self) -> FaultsSnapshot {
        FaultsSnapshot(self.0.each_ref().map(|count| count.load(Relaxed)))
    }
}

/// Frames and bytes of payload one way each, and what was dropped instead of being sent.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    frames_sent: AtomicU64,
    bytes_sent: AtomicU64,
    frames_received: AtomicU64,
    bytes_received: AtomicU64,
    dropped_full: AtomicU64,
    dropped_disconnected: AtomicU64,
    dropped_too_large: AtomicU64,
}

impl Traffic {
    pub(crate) fn sent(&self, frames: usize, bytes: usize) {
        self.frames_sent.fetch_add(frames as u64, Relaxed);
        self.bytes_sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.frames_received.fetch_add(1, Relaxed);
        self.bytes_received.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn dropped(&self, error: SendError) {
        let count = match error {
            SendError::Full => &self.dropped_full,
            SendError::Disconnected | SendError::Unknown => &self.dropped_disconnected,
            SendError::TooLarge => &self.dropped_too_large,
        };
        count.fetch_add(1, Relaxed);
    }

    /// Counts frames that were queued when their connection ended.
    pub(crate) fn dropped_with_connection(&self, frames: usize) {
        self.dropped_disconnected.fetch_add(frames as u64, Relaxed);
    }

    fn snapshot(&self) -> TrafficSnapshot {
        TrafficSnapshot {
            frames_sent: self.frames_sent.load(Relaxed),
            bytes_sent: self.bytes_sent.load(Relaxed),
            frames_received: self.frames_received.load(Relaxed),
            bytes_received: self.bytes_received.load(Relaxed),
            dropped_full: self.dropped_full.load(Relaxed),
            dropped_disconnected: self.dropped_disconnected.load(Relaxed),
            dropped_too_large: self.dropped_too_large.load(Relaxed),
        }
    }
}

/// The counters of one other replica.
#[derive(Debug, Default)]
pub(crate) struct PeerCounters {
    votes: Traffic,
    bulk: Traffic,
    connected: AtomicBool,
    connects: AtomicU64,
    dial_failures: AtomicU64,
    pub(crate) faults: Faults,
    last_failure: Text,
}

impl PeerCounters {
    pub(crate) fn lane(&self, lane: Lane) -> &Traffic {
        match lane {
            Lane::Votes => &self.votes,
            Lane::Bulk => &self.bulk,
        }
    }

    pub(crate) fn connected(&self) {
        self.connected.store(true, Relaxed);
        self.connects.fetch_add(1, Relaxed);
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Relaxed)
    }

    pub(crate) fn disconnected(&self, reason: &str) {
        self.connected.store(false, Relaxed);
        self.last_failure.set(reason);
    }

    /// Counts a failed dial. True if its reason differs from the last failure's.
    pub(crate) fn dial_failed(&self, reason: &str) -> bool {
        self.dial_failures.fetch_add(1, Relaxed);
        self.last_failure.set(reason)
    }
}

/// The counters of the client socket.
#[derive(Debug, Default)]
pub(crate) struct ClientCounters {
    pub(crate) traffic: Traffic,
    pub(crate) refusals: Refusals,
    pub(crate) faults: Faults,
    open: AtomicU64,
    accepted: AtomicU64,
}

impl ClientCounters {
    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Relaxed);
        self.accepted.fetch_add(1, Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }
}

/// All counters of one replica's two sockets. Cheap to add to from anywhere.
#[derive(Debug, Default)]
pub struct WireCounters {
    peers: BTreeMap<PeerId, PeerCounters>,
    pub(crate) peer_refusals: Refusals,
    pub(crate) clients: ClientCounters,
}

impl WireCounters {
    /// Counters at zero for the replicas with these ids.
    pub fn new(peers: impl IntoIterator<Item = PeerId>) -> Self {
        Self {
            peers: peers
                .into_iter()
                .map(|id| (id, PeerCounters::default()))
                .collect(),
            ..Self::default()
        }
    }

    pub(crate) fn peer(&self, id: PeerId) -> Option<&PeerCounters> {
        self.peers.get(&id)
    }

    /// All counters now. Taken one by one, so sums over them may be off by what happens meanwhile.
    pub fn snapshot(&self) -> WireSnapshot {
        let peers = self.peers.iter().map(|(id, peer)| PeerSnapshot {
            id: *id,
            connected: peer.is_connected(),
            connects: peer.connects.load(Relaxed),
            dial_failures: peer.dial_failures.load(Relaxed),
            votes: peer.votes.snapshot(),
            bulk: peer.bulk.snapshot(),
            faults: peer.faults.snapshot(),
            last_failure: peer.last_failure.get(),
        });
        WireSnapshot {
            peers: peers.collect(),
            peer_refusals: self.peer_refusals.snapshot(),
            clients: ClientsSnapshot {
                open: self.clients.open.load(Relaxed),
                accepted: self.clients.accepted.load(Relaxed),
                traffic: self.clients.traffic.snapshot(),
                refusals: self.clients.refusals.snapshot(),
                faults: self.clients.faults.snapshot(),
            },
        }
    }
}

/// [`WireCounters`] at one moment.
#[derive(Clone, Debug, Default)]
pub struct WireSnapshot {
    /// One entry for each other replica, by id.
    pub peers: Vec<PeerSnapshot>,
    /// Connections refused on the peer socket. By whom is not known before they are accepted.
    pub peer_refusals: RefusalsSnapshot,
    /// The client socket.
    pub clients: ClientsSnapshot,
}

/// One other replica.
#[derive(Clone, Debug)]
pub struct PeerSnapshot {
    /// Its id.
    pub id: PeerId,
    /// Whether both lanes are up.
    pub connected: bool,
    /// How often they came up.
    pub connects: u64,
    /// How often dialing it failed.
    pub dial_failures: u64,
    /// The votes lane.
    pub votes: TrafficSnapshot,
    /// The bulk lane.
    pub bulk: TrafficSnapshot,
    /// What its connections were closed for.
    pub faults: FaultsSnapshot,
    /// Why it was last lost or could not be dialed; empty if never.
    pub last_failure: String,
}

/// The client socket.
#[derive(Clone, Debug, Default)]
pub struct ClientsSnapshot {
    /// Connections open now.
    pub open: u64,
    /// Connections accepted ever.
    pub accepted: u64,
    /// Requests (received) and replies (sent).
    pub traffic: TrafficSnapshot,
    /// Connections refused.
    pub refusals: RefusalsSnapshot,
    /// What connections were closed for.
    pub faults: FaultsSnapshot,
}

/// Frames, bytes of payload and drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficSnapshot {
    /// Frames handed to QUIC.
    pub frames_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Frames received whole.
    pub frames_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Frames not sent because the queue was full.
    pub dropped_full: u64,
    /// Frames not sent because there was no connection, or it ended before their turn.
    pub dropped_disconnected: u64,
    /// Frames not sent because they are over the cap.
    pub dropped_too_large: u64,
}

/// Refusals on one socket.
#[derive(Clone, Debug, Default)]
pub struct RefusalsSnapshot {
    counts: [u64; Refusal::ALL.len()],
    /// Handshakes that were asked to prove their address first.
    pub retried: u64,
    /// The last refusal in words; empty if none.
    pub last: String,
}

impl RefusalsSnapshot {
    /// How many were refused for this reason.
    pub fn count(&self, refusal: Refusal) -> u64 {
        self.counts.get(refusal as usize).copied().unwrap_or(0)
    }

    /// How many were refused for any reason.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Faults of one sender.
#[derive(Clone, Debug, Default)]
pub struct FaultsSnapshot([u64; Fault::ALL.len()]);

impl FaultsSnapshot {
    /// How many there were of this kind.
    pub fn count(&self, fault: Fault) -> u64 {
        self.0.get(fault as usize).copied().unwrap_or(0)
    }
}
