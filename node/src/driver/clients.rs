//! Responses to clients.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tagma_crypto::encode::encode;
use tagma_wire::client_protocol::ClientResponse;
use tagma_wire::{ClientListener, ConnectionId};

use super::interposer::Interposer;
use super::throttle::{Leniency, Throttle};

/// To refuse a request costs almost as much as to take it, as its signature is verified first. So many refusals of a connection
/// are free, more than an account's requests that one restart of a network can make useless, and so many a second.
const REFUSALS: Leniency = Leniency {
    burst: 256.0,
    per_second: 64.0,
};

/// The way to all clients. Clones share it.
#[derive(Clone)]
pub(super) struct Clients {
    listener: Arc<ClientListener>,
    interposer: Option<Arc<dyn Interposer>>,
    throttle: Arc<Throttle<ConnectionId>>,
}

impl Clients {
    pub(super) fn new(listener: Arc<ClientListener>, interposer: Option<Arc<dyn Interposer>>) -> Self {
        Self {
            listener,
            interposer,
            throttle: Arc::new(Throttle::new(REFUSALS)),
        }
    }

    /// Queues a response. A client that is gone or does not read loses it; it asks again.
    pub(super) fn respond(&self, to: ConnectionId, response: ClientResponse) {
        if matches!(response, ClientResponse::Refused { .. }) {
            self.throttle.charge(to, 1.0, Instant::now());
        }
        let response = match &self.interposer {
            None => response,
            Some(interposer) => match interposer.respond(to, response) {
                Some(response) => response,
                None => return,
            },
        };
        if let Err(error) = self.listener.reply(to, Bytes::from(encode(&response))) {
            tracing::debug!(client = %to, %error, "a response was not sent");
        }
    }

    /// Whether a client has had so many requests refused lately that the next is not even looked at.
    pub(super) fn is_throttled(&self, client: ConnectionId) -> bool {
        self.throttle.is_exhausted(client, Instant::now())
    }

    /// A client's connection has ended.
    pub(super) fn gone(&self, client: ConnectionId) {
        self.throttle.forget(client);
    }

    /// Ends the connection of a client that does what no correct client does.
    pub(super) fn close(&self, client: ConnectionId, reason: &str) {
        self.listener.close_client(client, reason);
    }
}
