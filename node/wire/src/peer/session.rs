//! A connected peer: both lanes, read and written side by side until one of them ends.

use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, VarInt};
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Peer, PeerEvent, Queued, Shared};
use crate::close::{CloseCause, CloseCode, describe};
use crate::counters::Fault;
use crate::framing::{FrameDeadline, FrameError, FrameReader, write_frames};
use crate::hello::Lane;

/// Most time for the other side to acknowledge the last frames before a close.
const LAST_ACKNOWLEDGEMENT: Duration = Duration::from_secs(2);

/// Why a session ended.
pub(super) struct SessionEnd {
    /// What the other side is told.
    cause: CloseCause,
    /// Set if the peer did something it must not do.
    pub(super) fault: Option<Fault>,
}

impl SessionEnd {
    fn lost(text: String) -> Self {
        Self {
            cause: CloseCause::new(CloseCode::LaneLost, text),
            fault: None,
        }
    }

    /// The end of a session whose place a newer connection takes.
    pub(super) fn replaced() -> Self {
        Self {
            cause: CloseCause::new(CloseCode::Replaced, "a newer connection took its place"),
            fault: None,
        }
    }

    fn stopping() -> Self {
        Self {
            cause: CloseCause::new(CloseCode::Shutdown, "the replica is stopping"),
            fault: None,
        }
    }

    fn from_frame_error(error: &FrameError) -> Self {
        Self {
            cause: error.cause(),
            fault: error.fault(),
        }
    }
}

/// How one of a session's tasks ended.
enum TaskEnd {
    /// This side is stopping, and the lane's last frame has been acknowledged.
    Drained,
    Session(SessionEnd),
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
    let mut tasks = JoinSet::new();
    for (lane, connection) in [(Lane::Votes, votes), (Lane::Bulk, bulk)] {
        // Tasks of their own, so that taking in a long frame of bulk delays no vote.
        tasks.spawn(read(shared.clone(), peer.clone(), lane, connection.clone()));
        tasks.spawn(write(shared.clone(), peer.clone(), lane, connection.clone()));
    }
    let mut drained = 0;
    let mut stopping = false;
    tokio::pin!(interrupt);
    let end = loop {
        tokio::select! {
            Some(ended) = tasks.join_next() => match ended {
                Ok(TaskEnd::Session(end)) => break end,
                Ok(TaskEnd::Drained) => drained += 1,
                Err(error) => break SessionEnd::lost(format!("a task of the connection failed: {error}")),
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
        if drained == Lane::ALL.len() {
            break SessionEnd::stopping();
        }
    };
    tasks.shutdown().await;
    end
}

async fn read(shared: Arc<Shared>, peer: Arc<Peer>, lane: Lane, connection: Connection) -> TaskEnd {
    TaskEnd::Session(match read_frames(&shared, &peer, lane, &connection).await {
        Ok(end) => end,
        Err(error) => SessionEnd::from_frame_error(&error),
    })
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

async fn write(shared: Arc<Shared>, peer: Arc<Peer>, lane: Lane, connection: Connection) -> TaskEnd {
    let mut stream = match connection.open_uni().await {
        Ok(stream) => stream,
        Err(error) => return TaskEnd::Session(SessionEnd::lost(describe(&error))),
    };
    while let Some(frames) = peer.lane(lane).queue.take().await {
        let count = frames.len();
        let bytes = frames.iter().map(|frame| frame.len()).sum();
        if let Err(error) = write_frames(&mut stream, frames).await {
            if let Some(counters) = shared.counters_of(peer.info.id) {
                counters.lane(lane).dropped_with_connection(count);
            }
            return TaskEnd::Session(SessionEnd::lost(error));
        }
        if let Some(counters) = shared.counters_of(peer.info.id) {
            counters.lane(lane).sent(count, bytes);
        }
    }
    // The stream cannot have been finished before, which is all that finishing can fail for.
    let _ = stream.finish();
    let acknowledged: Result<_, _> = timeout(LAST_ACKNOWLEDGEMENT, stream.stopped()).await;
    if !matches!(acknowledged, Ok(Ok::<Option<VarInt>, _>(None))) {
        tracing::debug!(
            peer = peer.info.id,
            lane = lane.name(),
            "the last frames were not acknowledged"
        );
    }
    TaskEnd::Drained
}
