//! A connected peer: both lanes, read and written side by side until one of them ends.

use std::sync::Arc;
use std::time::Duration;

use quinn::Connection;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::{Peer, PeerEvent, Queued, Shared};
use crate::close::{CloseCause, CloseCode, describe};
use crate::counters::Fault;
use crate::framing::{FrameDeadline, FrameError, FrameReader, write_frames};
use crate::hello::Lane;

/// Most time to read what arrived before the connection was lost, while its consumer is slow.
const TIME_TO_READ_THE_REST: Duration = Duration::from_secs(5);

/// Why a session ended.
pub(super) struct SessionEnd {
    /// What the other side is told.
    cause: CloseCause,
    /// Set if the peer did something it must not do.
    pub(super) fault: Option<Fault>,
    /// Whether the connection was lost, rather than ended by this side.
    lost: bool,
}

impl SessionEnd {
    fn new(code: CloseCode, text: &str) -> Self {
        Self {
            cause: CloseCause::new(code, text),
            fault: None,
            lost: false,
        }
    }

    fn lost(text: String) -> Self {
        Self {
            lost: true,
            ..Self::new(CloseCode::LaneLost, &text)
        }
    }

    fn task_failed(error: JoinError) -> Self {
        Self::lost(format!("a task of the connection failed: {error}"))
    }

    /// The end of a session whose place a newer connection takes.
    pub(super) fn replaced() -> Self {
        Self::new(CloseCode::Replaced, "a newer connection took its place")
    }

    /// The end of a session with a peer that is to be found elsewhere.
    pub(super) fn moved() -> Self {
        Self::new(CloseCode::Replaced, "the peer has another address now")
    }

    fn stopping() -> Self {
        Self::new(CloseCode::Shutdown, "the replica is stopping")
    }

    fn from_frame_error(error: &FrameError) -> Self {
        Self {
            cause: error.cause(),
            fault: error.fault(),
            lost: matches!(error, FrameError::Lost(_)),
        }
    }
}

/// Runs a session to its end, which `interrupt` may bring about. Tells of the connect before the first frame and of the
/// disconnect after the last.
pub(super) async fn run(
    shared: &Arc<Shared>,
    peer: &Arc<Peer>,
    votes: &Connection,
    bulk: &Connection,
    interrupt: impl Future<Output = SessionEnd>,
) -> SessionEnd {
    let id = peer.info.id;
    {
        let mut current = peer.current();
        current.connections = vec![votes.clone(), bulk.clone()];
        current.rejected = None;
    }
    for lane in Lane::ALL {
        peer.lane(lane).queue.open();
    }
    tracing::info!(peer = id, remote = %votes.remote_address(), "connected");
    if let Some(counters) = shared.counters_of(id) {
        counters.connected();
    }
    shared.lifecycle(peer, PeerEvent::Connected { peer: id }).await;

    let mut end = run_tasks(shared, peer, votes, bulk, interrupt).await;

    let rejected = {
        let mut current = peer.current();
        current.connections.clear();
        current.rejected.take()
    };
    if let Some(cause) = rejected {
        end = SessionEnd {
            cause,
            fault: Some(Fault::RejectedInput),
            lost: false,
        };
    }
    end.cause.close(votes);
    end.cause.close(bulk);
    for lane in Lane::ALL {
        let dropped = peer.lane(lane).queue.close();
        if let Some(counters) = shared.counters_of(id) {
            counters.lane(lane).dropped_with_connection(dropped);
        }
    }
    if let Some(counters) = shared.counters_of(id) {
        counters.disconnected(&end.cause.text);
        if let Some(fault) = end.fault {
            counters.faults.add(fault);
        }
    }
    match end.fault {
        Some(fault) => {
            tracing::warn!(peer = id, fault = fault.name(), reason = %end.cause, "closed the connection of a faulty peer");
        }
        None => tracing::info!(peer = id, reason = %end.cause, "disconnected"),
    }
    let reason = end.cause.text.clone();
    shared
        .lifecycle(peer, PeerEvent::Disconnected { peer: id, reason })
        .await;
    end
}

/// Runs the readers and writers; when this returns none of them runs any more.
async fn run_tasks(
    shared: &Arc<Shared>,
    peer: &Arc<Peer>,
    votes: &Connection,
    bulk: &Connection,
    interrupt: impl Future<Output = SessionEnd>,
) -> SessionEnd {
    let mut readers = JoinSet::new();
    let mut writers = JoinSet::new();
    for (lane, connection) in [(Lane::Votes, votes), (Lane::Bulk, bulk)] {
        // Tasks of their own, so that taking in a long frame of bulk delays no vote.
        readers.spawn(read(shared.clone(), peer.clone(), lane, connection.clone()));
        writers.spawn(write(shared.clone(), peer.clone(), lane, connection.clone()));
    }
    let mut stopping = false;
    tokio::pin!(interrupt);
    let end = loop {
        tokio::select! {
            Some(ended) = readers.join_next() => break ended.unwrap_or_else(SessionEnd::task_failed),
            ended = writers.join_next() => match ended {
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(end))) => break end,
                Some(Err(error)) => break SessionEnd::task_failed(error),
                // Both lanes' last frames have been acknowledged.
                None => break SessionEnd::stopping(),
            },
            error = votes.closed() => break SessionEnd::lost(describe(&error)),
            error = bulk.closed() => break SessionEnd::lost(describe(&error)),
            end = &mut interrupt => break end,
            () = shared.stopped(), if !stopping => {
                stopping = true;
                for lane in Lane::ALL {
                    peer.lane(lane).queue.finish();
                }
            }
        }
    };
    writers.shutdown().await;
    if end.lost && peer.current().rejected.is_none() {
        // What has arrived was acknowledged, so the peer counts on it: it is still read. Reading ends by itself where the
        // arrived bytes end, once both connections are closed.
        end.cause.close(votes);
        end.cause.close(bulk);
        tokio::select! {
            _ = timeout(TIME_TO_READ_THE_REST, async { while readers.join_next().await.is_some() {} }) => {}
            _ = &mut interrupt => {}
        }
    }
    readers.shutdown().await;
    end
}

async fn read(shared: Arc<Shared>, peer: Arc<Peer>, lane: Lane, connection: Connection) -> SessionEnd {
    match read_frames(&shared, &peer, lane, &connection).await {
        Ok(end) => end,
        Err(error) => SessionEnd::from_frame_error(&error),
    }
}

async fn read_frames(
    shared: &Shared,
    peer: &Peer,
    lane: Lane,
    connection: &Connection,
) -> Result<SessionEnd, FrameError> {
    let deadline = FrameDeadline {
        base: shared.config.accept.frame_timeout,
        min_rate: shared.config.accept.min_rate,
    };
    let state = peer.lane(lane);
    let stream = match connection.accept_uni().await {
        Ok(stream) => stream,
        Err(error) => return Ok(SessionEnd::lost(describe(&error))),
    };
    let mut reader = FrameReader::new(stream);
    loop {
        if !reader.ready().await? {
            // A stopping peer ends its stream and closes the connection once all lanes are drained.
            return Ok(SessionEnd::lost(describe(&connection.closed().await)));
        }
        let len = reader.length(state.max_frame, deadline).await?;
        // Before the payload is read: a peer without budget is held back by QUIC's flow control.
        let permit = state.budget.acquire(len).await;
        let payload = reader.payload(len, deadline).await?;
        if let Some(counters) = shared.counters_of(peer.info.id) {
            counters.lane(lane).received(payload.len());
        }
        let event = PeerEvent::Frame {
            peer: peer.info.id,
            lane,
            payload,
            permit,
        };
        match shared.events.try_send(Queued {
            event,
            _lifecycle: None,
        }) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => return Ok(SessionEnd::stopping()),
            Err(TrySendError::Full(_)) => {
                unreachable!("the event queue holds the budgets of all peers")
            }
        }
    }
}

/// Writes what is queued until the queue ends. Ok once all of it is acknowledged.
async fn write(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    lane: Lane,
    connection: Connection,
) -> Result<(), SessionEnd> {
    let lost = |error: quinn::ConnectionError| SessionEnd::lost(describe(&error));
    let mut stream = connection.open_uni().await.map_err(lost)?;
    while let Some(frames) = peer.lane(lane).queue.take().await {
        let count = frames.len();
        let bytes = frames.iter().map(|frame| frame.len()).sum();
        let written = write_frames(&mut stream, frames).await;
        if let Some(counters) = shared.counters_of(peer.info.id) {
            match written {
                Ok(()) => counters.lane(lane).sent(count, bytes),
                Err(_) => counters.lane(lane).dropped_with_connection(count),
            }
        }
        written.map_err(SessionEnd::lost)?;
    }
    // The stream cannot have been finished before, which is all that finishing can fail for.
    let _ = stream.finish();
    // An error is the connection's end, which the session sees as well.
    let _ = stream.stopped().await;
    Ok(())
}
