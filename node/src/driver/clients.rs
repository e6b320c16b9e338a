//! Responses to clients.

use std::sync::Arc;

use bytes::Bytes;
use tagma_crypto::encode::encode;
use tagma_wire::client_protocol::ClientResponse;
use tagma_wire::{ClientListener, ConnectionId};

use super::interposer::Interposer;

/// The way to all clients. Clones share it.
#[derive(Clone)]
pub(super) struct Clients {
    pub(super) listener: Arc<ClientListener>,
    pub(super) interposer: Option<Arc<dyn Interposer>>,
}

impl Clients {
    /// Queues a response. A client that is gone or does not read loses it; it asks again.
    pub(super) fn respond(&self, to: ConnectionId, response: ClientResponse) {
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

    /// Ends the connection of a client that does what no correct client does.
    pub(super) fn close(&self, client: ConnectionId, reason: &str) {
        self.listener.close_client(client, reason);
    }
}
