//! A replica that tells clients a wrong result is outvoted and named.

use std::sync::Arc;

use bytes::Bytes;
use tagma_crypto::SecretKey;
use tagma_crypto::encode::{decode, encode};
use tagma_ledger::Outcome;
use tagma_testnet::plan::INITIAL_BALANCE;
use tagma_testnet::{Layout, Network};
use tagma_wire::client_protocol::{ClientRequest, ClientResponse, MAX_CLIENT_FRAME, Reply};
use tagma_wire::{ClientEvent, ClientListener, ClientListenerConfig, Identity, WireCounters};

use crate::support::{Running, words};

/// What the liar says of every request.
const LIE: Outcome = Outcome::InsufficientFunds { balance: 7 };

/// Answers clients in the name of replica `node`, with its key: every request failed.
async fn lie(network: &Network, node: u16) {
    let layout: &Layout = network.layout();
    let genesis = network.genesis();
    let chain = genesis.chain_id();
    let listen = genesis.replica(node).unwrap().client_address.parse().unwrap();
    let identity = Identity {
        id: node.into(),
        network_secret: SecretKey::load(&layout.network_key(node)).unwrap(),
        chain,
    };
    let counters = Arc::new(WireCounters::new([]));
    let (listener, mut events) =
        ClientListener::bind(ClientListenerConfig::new(listen), &identity, counters).unwrap();
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
        drop(listener.reply(connection, Bytes::from(encode(&reply))));
    }
}

#[test]
fn a_replica_that_replies_wrongly_is_outvoted_and_named() {
    let mut net = Running::start(4);
    // The primary, so that clients ask it first: it lies to them, and to its fellows it seems dead.
    let liar = net.primary();
    net.kill(liar);
    let Running {
        network,
        payer,
        runtime,
        ..
    } = &mut net;
    runtime.block_on(async {
        tokio::select! {
            () = lie(network, liar) => panic!("the liar lies for ever"),
            paid = payer.pay("alice", "bob", 5, crate::support::PATIENCE) => {
                let paid = paid.unwrap();
                assert_eq!(paid.outcome, Outcome::Transferred);
                assert_eq!(paid.liars, [liar]);
                assert!(paid.replicas.len() >= 2 && !paid.replicas.contains(&liar), "{paid:?}");
            }
        }
    });

    // The command says so too.
    let layout = network.layout().clone();
    let output = runtime.block_on(async {
        tokio::select! {
            () = lie(network, liar) => panic!("the liar lies for ever"),
            output = tokio::task::spawn_blocking(move || {
                crate::support::tagma(&layout, &["transfer", "alice", "bob", "6", "--timeout", "60s"])
            }) => output.unwrap(),
        }
    });
    assert!(output.status.success(), "{}", words(&output));

    network.start(liar).unwrap();
    net.wait_ready(&[0, 1, 2, 3]);
    let report = net.check();
    assert_eq!(net.balance(&report, "bob"), INITIAL_BALANCE + 11);
}
