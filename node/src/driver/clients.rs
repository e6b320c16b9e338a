//! Responses to clients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tagma_crypto::encode::encode;
use tagma_wire::client_protocol::{ClientResponse, Reply, join_replies};
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
        if let Some(response) = self.altered(to, response) {
            self.send(to, &response);
        }
    }

    /// Queues what the steps of a turn respond. The replies to one client share a frame for each block.
    pub(super) fn respond_all(&self, responses: impl Iterator<Item = (ConnectionId, ClientResponse)>) {
        let mut replies: BTreeMap<ConnectionId, Vec<Reply>> = BTreeMap::new();
        for (to, response) in responses {
            match response {
                ClientResponse::Reply(_) => match self.altered(to, response) {
                    Some(ClientResponse::Reply(reply)) => replies.entry(to).or_default().push(reply),
                    Some(other) => self.send(to, &other),
                    None => {}
                },
                other => self.respond(to, other),
            }
        }
        for (to, replies) in replies {
            for response in join_replies(&replies) {
                self.send(to, &response);
            }
        }
    }

    /// What somebody between the replica and its sockets makes of a response.
    fn altered(&self, to: ConnectionId, response: ClientResponse) -> Option<ClientResponse> {
        match &self.interposer {
            None => Some(response),
            Some(interposer) => interposer.respond(to, response),
        }
    }

    fn send(&self, to: ConnectionId, response: &ClientResponse) {
        if let Err(error) = self.listener.reply(to, Bytes::from(encode(response))) {
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

    /// So many requests of a client may wait to be looked at.
    pub(super) fn widen(&self, client: ConnectionId, requests: usize) {
        self.listener.widen(client, requests);
    }

    /// Ends the connection of a client that does what no correct client does.
    pub(super) fn close(&self, client: ConnectionId, reason: &str) {
        self.listener.close_client(client, reason);
    }
}
