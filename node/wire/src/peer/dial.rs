//! Dialing a peer, for ever.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, Endpoint};
use tagma_crypto::Digest;
use tokio::time::{Instant, sleep, timeout};

use super::session::SessionEnd;
use super::{Peer, Shared, session};
use crate::close::{CloseCause, CloseCode, describe, printable};
use crate::greeting::{self, NoAnswer};
use crate::hello::{Answer, Lane, PeerHello, PeerId, VERSION};
use crate::tls::chain_name;

/// Why a dial failed.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("{0}")]
    Handshake(String),
    #[error("refused: {reason}; its chain {theirs}, my chain {ours}")]
    Refused {
        reason: String,
        theirs: Digest,
        ours: Digest,
    },
    #[error("accepted as replica {replica} of chain {chain}, which is not the one that was dialed")]
    Mismatch { chain: Digest, replica: PeerId },
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
}

/// Keeps a session with `peer` up until the endpoint stops.
pub(super) async fn run(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    endpoint: Endpoint,
    config: quinn::ClientConfig,
) {
    let mut pause = shared.config.reconnect_min;
    let mut moves = peer.address.subscribe();
    loop {
        let address = *moves.borrow_and_update();
        let dialed = tokio::select! {
            dialed = dial_both(&shared, &peer, &endpoint, &config, address) => dialed,
            // What is on its way to the old address is given up.
            Ok(()) = moves.changed() => {
                pause = shared.config.reconnect_min;
                continue;
            }
            () = shared.stopped() => return,
        };
        match dialed {
            Ok((votes, bulk)) => {
                let since = Instant::now();
                let moved = async {
                    // The sender lives as long as `peer`, so only a change ends this.
                    let _ = moves.changed().await;
                    SessionEnd::moved()
                };
                let end = session::run(&shared, &peer, &votes, &bulk, moved).await;
                if end.fault.is_none() && since.elapsed() > shared.config.reconnect_max {
                    pause = shared.config.reconnect_min;
                }
            }
            Err(error) => {
                let reason = error.to_string();
                let news = shared
                    .counters_of(peer.info.id)
                    .is_some_and(|counters| counters.dial_failed(&reason));
                if news {
                    tracing::warn!(peer = peer.info.id, %address, %reason, "cannot connect");
                } else {
                    tracing::debug!(peer = peer.info.id, %reason, "still cannot connect");
                }
            }
        }
        tokio::select! {
            () = sleep(jittered(pause)) => {}
            Ok(()) = moves.changed() => pause = shared.config.reconnect_min,
            () = shared.stopped() => return,
        }
        pause = (pause * 2).min(shared.config.reconnect_max);
    }
}

/// Between half and all of `pause`, so that replicas started together do not dial in step.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}

async fn dial_both(
    shared: &Shared,
    peer: &Peer,
    endpoint: &Endpoint,
    config: &quinn::ClientConfig,
    address: SocketAddr,
) -> Result<(Connection, Connection), DialError> {
    // One after the other: what refuses the first lane refuses the second as well, and need not be asked.
    let votes = dial(shared, peer, endpoint, config, address, Lane::Votes).await?;
    let bulk = dial(shared, peer, endpoint, config, address, Lane::Bulk).await?;
    Ok((votes, bulk))
}

async fn dial(
    shared: &Shared,
    peer: &Peer,
    endpoint: &Endpoint,
    config: &quinn::ClientConfig,
    address: SocketAddr,
    lane: Lane,
) -> Result<Connection, DialError> {
    let connecting = endpoint
        .connect_with(config.clone(), address, &chain_name(&shared.chain))
        .map_err(|error| DialError::Handshake(error.to_string()))?;
    let connection = timeout(shared.config.accept.handshake_timeout, connecting)
        .await
        .map_err(|_| NoAnswer::Timeout)?
        .map_err(|error| DialError::Handshake(describe(&error)))?;
    match say_hello(shared, peer, &connection, lane).await {
        Ok(()) => Ok(connection),
        Err(error) => {
            CloseCause::new(CloseCode::Refused, format!("dialing given up: {error}")).close(&connection);
            Err(error)
        }
    }
}

async fn say_hello(
    shared: &Shared,
    peer: &Peer,
    connection: &Connection,
    lane: Lane,
) -> Result<(), DialError> {
    let hello = PeerHello {
        version: VERSION,
        chain: shared.chain,
        from: shared.me,
        to: peer.info.id,
        lane,
    };
    let (answer, mut greeted) = greeting::say(connection, &hello, shared.config.accept.hello_timeout).await?;
    // The hello is all that goes this way; it cannot have been finished before.
    let _ = greeted.send.finish();
    match answer {
        Answer::Accepted { chain, replica } if chain == shared.chain && replica == peer.info.id => Ok(()),
        Answer::Accepted { chain, replica } => Err(DialError::Mismatch { chain, replica }),
        Answer::Refused { chain, reason } => Err(DialError::Refused {
            reason: printable(reason.as_str()),
            theirs: chain,
            ours: shared.chain,
        }),
    }
}
