//! Accepting peers: handshake, hello, and pairing of the two lanes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, Endpoint, Incoming};
use rustls::pki_types::CertificateDer;
use tagma_crypto::PublicKey;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::session::SessionEnd;
use super::{Peer, Shared, session};
use crate::close::{CloseCause, CloseCode, describe};
use crate::counters::Refusal;
use crate::greeting::Hearer;
use crate::hello::{self, Lane, PeerHello, PeerId};
use crate::sources::{Place, Sources};
use crate::{tls, transport};

/// How long a peer waits after a fault of its own before it is let in again.
const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(1);

/// A connection that passed its hello.
pub(super) struct AcceptedLane {
    lane: Lane,
    connection: Connection,
}

/// Where the accepted lanes of a peer that dials go.
#[derive(Clone)]
pub(super) struct Acceptor {
    pub(super) peer: Arc<Peer>,
    pub(super) lanes: mpsc::Sender<AcceptedLane>,
}

type Acceptors = BTreeMap<PublicKey, Acceptor>;

/// Takes in handshakes until the endpoint stops.
pub(super) async fn run(shared: Arc<Shared>, endpoint: Endpoint, acceptors: Acceptors) {
    let limits = &shared.config.accept;
    let sources = Sources::new(limits.max_total, limits.max_per_source);
    let acceptors = Arc::new(acceptors);
    let mut handshakes = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { return };
                let refusals = &shared.counters.peer_refusals;
                if let Some((incoming, place)) = transport::admit(incoming, &sources, limits.retry_above, refusals) {
                    handshakes.spawn(accept(shared.clone(), acceptors.clone(), incoming, place));
                }
            }
            Some(_) = handshakes.join_next() => {}
            () = shared.stopped() => return,
        }
    }
}

/// Counts and logs a refusal.
fn refused(shared: &Shared, remote: SocketAddr, refusal: Refusal, text: &str) {
    if shared.counters.peer_refusals.add(refusal, text) {
        tracing::warn!(%remote, refusal = refusal.name(), reason = text, "refused a connection on the peer socket");
    } else {
        tracing::debug!(%remote, refusal = refusal.name(), reason = text, "refused again on the peer socket");
    }
}

async fn accept(shared: Arc<Shared>, acceptors: Arc<Acceptors>, incoming: Incoming, place: Place) {
    let remote = incoming.remote_address();
    let Some(connection) = handshake(&shared, incoming).await else {
        return;
    };
    let Some(key) = key_of(&connection) else {
        refused(&shared, remote, Refusal::NoKey, "no raw public key was shown");
        return CloseCause::new(CloseCode::Refused, "no raw public key was shown").close(&connection);
    };
    let Some(acceptor) = acceptors.get(&key) else {
        let text = format!(
            "replica {} dials this one, not the other way round: the higher id dials",
            shared.me
        );
        refused(&shared, remote, Refusal::WrongDirection, &text);
        return CloseCause::new(CloseCode::Refused, text).close(&connection);
    };
    // From here on the peer's own places count, not those of unknown sources.
    drop(place);
    let Ok(_hello_place) = acceptor.peer.hellos.clone().try_acquire_owned() else {
        refused(
            &shared,
            remote,
            Refusal::Overloaded,
            "too many connections of one replica at their hello",
        );
        return CloseCause::new(CloseCode::Overloaded, "too many connections at their hello")
            .close(&connection);
    };
    if let Some(lane) = hear_hello(&shared, acceptor, &connection).await {
        // Waits while the peer's session is being replaced; the hello place stays taken meanwhile.
        let _ = acceptor.lanes.send(AcceptedLane { lane, connection }).await;
    }
}

/// The QUIC and TLS handshake, in which the key is checked.
async fn handshake(shared: &Shared, incoming: Incoming) -> Option<Connection> {
    let remote = incoming.remote_address();
    let mut their_chain = None;
    let handshake = async {
        let mut connecting = incoming.accept()?;
        let data = connecting.handshake_data().await?;
        their_chain = data
            .downcast::<HandshakeData>()
            .ok()
            .and_then(|data| data.server_name);
        connecting.await
    };
    let (refusal, reason) = match timeout(shared.config.accept.handshake_timeout, handshake).await {
        Ok(Ok(connection)) => return Some(connection),
        Ok(Err(error)) => (transport::classify(&error), describe(&error)),
        Err(_) => (
            Refusal::HandshakeTimeout,
            "the handshake took too long".to_owned(),
        ),
    };
    let named = their_chain
        .as_deref()
        .map_or("unknown", |name| name.trim_end_matches(".tagma"));
    let text = format!("{reason}; dialed for chain {named}, mine is {}", shared.chain);
    refused(shared, remote, refusal, &crate::close::printable(&text));
    None
}

/// The network key that the other side proved to hold.
fn key_of(connection: &Connection) -> Option<PublicKey> {
    let identity = connection
        .peer_identity()?
        .downcast::<Vec<CertificateDer<'static>>>()
        .ok()?;
    let [der] = identity.as_slice() else { return None };
    let key = PublicKey::from_bytes(*der.as_ref().last_chunk()?);
    (tls::spki(&key).as_ref() == der.as_ref()).then_some(key)
}

/// Reads and answers the hello. None if it was refused; the connection is then closed.
async fn hear_hello(shared: &Shared, acceptor: &Acceptor, connection: &Connection) -> Option<Lane> {
    let peer = acceptor.peer.info.id;
    let hearer = Hearer {
        chain: shared.chain,
        replica: shared.me,
        within: shared.config.accept.hello_timeout,
    };
    let judge = |hello: &PeerHello| judge(shared, peer, hello);
    let refused = |refusal, reason: &str| {
        refused(
            shared,
            connection.remote_address(),
            refusal,
            &format!("replica {peer}: {reason}"),
        );
    };
    let (hello, mut greeted) = hearer.hear(connection, judge, refused).await?;
    // The answer is all that goes this way; it cannot have been finished before.
    let _ = greeted.send.finish();
    Some(hello.lane)
}

/// Whether a hello is right for a connection whose key belongs to `peer`.
fn judge(shared: &Shared, peer: PeerId, hello: &PeerHello) -> Result<(), (Refusal, String)> {
    hello::judge(hello.version, &hello.chain, &shared.chain)?;
    if hello.from != peer {
        return Err((
            Refusal::WrongSender,
            format!("the key is replica {peer}'s, not {}'s", hello.from),
        ));
    }
    if hello.to != shared.me {
        return Err((
            Refusal::WrongRecipient,
            format!("this is replica {}, not {}", shared.me, hello.to),
        ));
    }
    Ok(())
}

/// Pairs the lanes of a peer that dials and runs its sessions until the endpoint stops.
pub(super) async fn run_peer(shared: Arc<Shared>, peer: Arc<Peer>, mut lanes: mpsc::Receiver<AcceptedLane>) {
    let mut votes: Option<Connection> = None;
    let mut bulk: Option<Connection> = None;
    loop {
        let new = tokio::select! {
            new = lanes.recv() => new,
            () = shared.stopped() => None,
        };
        let Some(new) = new else { return };
        put(&mut votes, &mut bulk, new);
        // A pair may also form of a lane and the leftover of an older attempt whose close has not arrived yet. Such a session
        // ends at once and is formed anew with the next lane.
        while let Some((up_votes, up_bulk)) = take_pair(&mut votes, &mut bulk) {
            let mut next = None;
            let replaced = async {
                match lanes.recv().await {
                    Some(lane) => {
                        next = Some(lane);
                        SessionEnd::replaced()
                    }
                    None => std::future::pending().await,
                }
            };
            let end = session::run(&shared, &peer, &up_votes, &up_bulk, replaced).await;
            if end.fault.is_some() {
                sleep(PAUSE_AFTER_FAULT).await;
            }
            if let Some(lane) = next {
                put(&mut votes, &mut bulk, lane);
            }
        }
    }
}

fn put(votes: &mut Option<Connection>, bulk: &mut Option<Connection>, new: AcceptedLane) {
    let slot = match new.lane {
        Lane::Votes => votes,
        Lane::Bulk => bulk,
    };
    if let Some(old) = slot.replace(new.connection) {
        CloseCause::new(CloseCode::Replaced, "a newer connection took its place").close(&old);
    }
}

/// Takes both lanes out if both are there and neither has been closed meanwhile.
fn take_pair(
    votes: &mut Option<Connection>,
    bulk: &mut Option<Connection>,
) -> Option<(Connection, Connection)> {
    for slot in [&mut *votes, &mut *bulk] {
        slot.take_if(|connection| connection.close_reason().is_some());
    }
    match (votes.take(), bulk.take()) {
        (Some(up_votes), Some(up_bulk)) => Some((up_votes, up_bulk)),
        (left_votes, left_bulk) => {
            *votes = left_votes;
            *bulk = left_bulk;
            None
        }
    }
}
