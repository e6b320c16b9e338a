//! A replica that tells clients a wrong result is outvoted and named.

use std::sync::Arc;

use bytes::Bytes;
use tagma_crypto::encode::{decode, encode};
use tagma_crypto::{Digest, SecretKey};
use tagma_ledger::Outcome;
use tagma_testnet::Network;
use tagma_testnet::plan::INITIAL_BALANCE;
use tagma_wire::client_protocol::{ClientRequest, ClientResponse, MAX_CLIENT_FRAME, Reply};
use tagma_wire::{ClientEvent, ClientEvents, ClientListener, ClientListenerConfig, Identity, WireCounters};

use tokio::runtime::Runtime;

use crate::support::{PATIENCE, Running, runtime, words};

/// What the liar says of every request.
const LIE: Outcome = Outcome::InsufficientFunds { balance: 7 };

/// Answers clients in the name of a replica, with its key: every request failed.
struct Liar(Runtime);

impl Liar {
    fn start(network: &Network, node: u16) -> Self {
        let genesis = network.genesis();
        let chain = genesis.chain_id();
        let listen = genesis.replica(node).unwrap().client_address.parse().unwrap();
        let identity = Identity {
            id: node.into(),
            network_secret: SecretKey::load(&network.layout().network_key(node)).unwrap(),
            chain,
        };
        let runtime = runtime();
        {
            let _context = runtime.enter();
            let config = ClientListenerConfig::new(listen);
            let counters = Arc::new(WireCounters::new([]));
            let (listener, events) = ClientListener::bind(config, &identity, counters).unwrap();
            runtime.spawn(lie(chain, listener, events));
        }
        Self(runtime)
    }

    /// Returns once the port is free again.
    fn stop(self) {
        self.0.shutdown_timeout(PATIENCE);
    }
}

async fn lie(chain: Digest, listener: ClientListener, mut events: ClientEvents) {
    while let Some(event) = events.recv().await {
        let ClientEvent::Frame {
            connection, payload, ..
        } = event
        else {
            continue;
        };
        let Ok(ClientRequest::Submit(request)) = decode(&payload, MAX_CLIENT_FRAME) else {
            continue;
        };
        let reply = ClientResponse::Reply(Reply {
            request: request.digest(&chain),
            outcome: LIE,
            height: 1,
            header: None,
            view: 0,
        });
        // A client that has gone needs no lie.
        let _ = listener.reply(connection, Bytes::from(encode(&reply)));
    }
}

#[test]
fn a_replica_that_replies_wrongly_is_outvoted_and_named() {
    let mut net = Running::start(4);
    // The primary, so that clients ask it first: it lies to them, and to its fellows it seems dead.
    let liar = net.primary();
    net.kill(liar);
    let lying = Liar::start(&net.network, liar);
    let paid = net.pay("alice", "bob", 5);
    assert_eq!(paid.outcome, Outcome::Transferred);
    assert_eq!(paid.liars, [liar]);
    assert!(
        paid.replicas.len() >= 2 && !paid.replicas.contains(&liar),
        "{paid:?}"
    );

    let output = net.tagma(&["transfer", "alice", "bob", "6", "--timeout", "60s"]);
    assert!(output.status.success(), "{}", words(&output));
    lying.stop();

    net.network.start(liar).unwrap();
    net.wait_ready(&[0, 1, 2, 3]);
    let report = net.check();
    assert_eq!(net.balance(&report, "bob"), INITIAL_BALANCE + 11);
}
