//! The connection to one replica: made again whenever it is lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tagma_crypto::encode::decode;
use tagma_wire::client_protocol::{ClientResponse, MAX_ANSWER_FRAME};
use tagma_wire::{ClientConnection, ClientSender, SendError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::client::Shared;
use crate::network::ReplicaAddress;

/// How the connection to a replica is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// The first attempt is under way.
    #[default]
    Connecting,
    /// It is connected.
    Up,
    /// The last attempt failed or the connection was lost, for this reason; the next attempt comes by itself.
    Down(String),
}

/// What the rest of the client sees of a connection.
#[derive(Default)]
pub(crate) struct Link {
    sender: Mutex<Option<ClientSender>>,
    state: watch::Sender<LinkState>,
}

impl Link {
    pub(crate) fn state(&self) -> LinkState {
        self.state.borrow().clone()
    }

    /// The state once the first attempt is over.
    pub(crate) async fn attempted(&self) -> LinkState {
        let mut receiver = self.state.subscribe();
        match receiver.wait_for(|state| *state != LinkState::Connecting).await {
            Ok(state) => state.clone(),
            Err(_) => LinkState::Down("the client is closed".into()),
        }
    }

    /// Queues a frame. Never waits.
    pub(crate) fn send(&self, frame: Bytes) -> Result<(), SendError> {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        match sender.as_ref() {
            Some(sender) => sender.send(frame),
            None => Err(SendError::Disconnected),
        }
    }

    fn set_sender(&self, sender: Option<ClientSender>) {
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = sender;
    }
}

/// A connection that lasted so long was a good one: the pauses begin from the shortest again.
const LASTING: Duration = Duration::from_secs(5);

/// Keeps the connection to one replica until the client is dropped.
pub(crate) async fn run(shared: Arc<Shared>, replica: ReplicaAddress) {
    let Some(link) = shared.links.get(usize::from(replica.id)) else {
        return;
    };
    let (shortest, longest) = (shared.config.reconnect_min, shared.config.reconnect_max);
    let mut pause = shortest;
    loop {
        let chain = shared.network.chain();
        let connecting = shared
            .endpoint
            .connect(replica.address, replica.network_key, chain);
        let reason = match connecting.await {
            Ok(connection) => {
                let since = Instant::now();
                let reason = serve(&shared, link, &replica, connection).await;
                if since.elapsed() >= LASTING {
                    pause = shortest;
                }
                reason
            }
            Err(error) => error.to_string(),
        };
        tracing::debug!(replica = replica.id, %reason, "no connection");
        link.state.send_replace(LinkState::Down(reason));
        shared.link_changed.notify_waiters();
        // Clients that lost a replica together must not come back together.
        sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
        pause = (pause * 2).min(longest);
    }
}

/// Serves a connection until it ends, and says why it did.
async fn serve(
    shared: &Arc<Shared>,
    link: &Link,
    replica: &ReplicaAddress,
    mut connection: ClientConnection,
) -> String {
    if connection.replica() != u32::from(replica.id) {
        return format!("it says to be replica {}", connection.replica());
    }
    link.set_sender(Some(connection.sender()));
    shared.link_up(replica.id);
    link.state.send_replace(LinkState::Up);
    shared.link_changed.notify_waiters();
    let mut malformed = None;
    while let Some(frame) = connection.recv().await {
        match decode::<ClientResponse>(&frame, MAX_ANSWER_FRAME) {
            Ok(response) => shared.heard(replica.id, response),
            Err(error) => {
                tracing::warn!(replica = replica.id, %error, "a replica sent garbage");
                malformed = Some(format!("it sent garbage: {error}"));
                break;
            }
        }
    }
    link.set_sender(None);
    shared.link_down(replica.id);
    let ended = || {
        connection
            .close_reason()
            .unwrap_or_else(|| "the connection ended".into())
    };
    malformed.unwrap_or_else(ended)
}
