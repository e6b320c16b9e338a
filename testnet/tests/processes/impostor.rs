//! Somebody who answers clients in the name of a replica, with its key.

use std::sync::Arc;

use bytes::Bytes;
use tagma_crypto::SecretKey;
use tagma_crypto::encode::{decode, encode};
use tagma_testnet::Network;
use tagma_wire::client_protocol::{ClientRequest, ClientResponse, MAX_CLIENT_FRAME};
use tagma_wire::{ClientEvent, ClientEvents, ClientListener, ClientListenerConfig, Identity, WireCounters};
use tokio::runtime::Runtime;

use crate::support::{PATIENCE, runtime};

/// Answers in the place of a replica whose process is down.
pub(crate) struct Impostor(Runtime);

impl Impostor {
    /// Gives every request to `answer`, and its answers back.
    pub(crate) fn start(
        network: &Network,
        node: u16,
        answer: impl Fn(ClientRequest) -> Option<ClientResponse> + Send + 'static,
    ) -> Self {
        let genesis = network.genesis();
        let listen = genesis.replica(node).unwrap().client_address.parse().unwrap();
        let config = ClientListenerConfig::new(listen);
        let identity = Identity {
            id: node.into(),
            network_secret: SecretKey::load(&network.layout().network_key(node)).unwrap(),
            chain: genesis.chain_id(),
        };
        let runtime = runtime();
        {
            let _context = runtime.enter();
            let counters = Arc::new(WireCounters::new([]));
            let (listener, events) = ClientListener::bind(config, &identity, counters).unwrap();
            runtime.spawn(serve(listener, events, answer));
        }
        Self(runtime)
    }

    /// Returns once the port is free again.
    pub(crate) fn stop(self) {
        self.0.shutdown_timeout(PATIENCE);
    }
}

async fn serve(
    listener: ClientListener,
    mut events: ClientEvents,
    answer: impl Fn(ClientRequest) -> Option<ClientResponse>,
) {
    while let Some(event) = events.recv().await {
        let ClientEvent::Frame {
            connection, payload, ..
        } = event
        else {
            continue;
        };
        if let Ok(request) = decode(&payload, MAX_CLIENT_FRAME)
            && let Some(response) = answer(request)
        {
            // A client that has gone needs no answer.
            let _ = listener.reply(connection, Bytes::from(encode(&response)));
        }
    }
}
