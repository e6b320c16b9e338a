//! What does not belong there, on both sockets: closed with a reason, counted, and agreement goes on.

use std::net::UdpSocket;
use std::sync::Arc;

use bytes::Bytes;
use tagma_crypto::encode::encode;
use tagma_crypto::{Blob, Digest, Request, Signature};
use tagma_ledger::Parameters;
use tagma_pbft::message::{Phase, Vote};
use tagma_pbft::{Message, ReplicaId, SeqNum, View};
use tagma_wire::client_protocol::{ClientRequest, ClientResponse, Refusal};
use tagma_wire::{Identity, Lane, PeerConfig, PeerEndpoint, PeerEvent, PeerEvents, PeerInfo, WireCounters};

use super::agreement::short;
use super::support::*;

/// Replica 3's place in the mesh, held by somebody who sends what he likes.
struct Traitor {
    endpoint: PeerEndpoint,
    events: PeerEvents,
}

impl Traitor {
    fn bind(network: &Network) -> Self {
        let replica = |id: u16| network.genesis.replica(id).unwrap();
        let infos = (0..4).map(|id| PeerInfo {
            id: u32::from(id),
            address: replica(id).peer_address.parse().unwrap(),
            network_key: replica(id).network_key,
        });
        let mut config = PeerConfig::new(replica(3).peer_address.parse().unwrap());
        // Its own limits, so that it can send more than others take.
        config.votes.max_frame = 4 << 20;
        config.votes.inbound_bytes = 8 << 20;
        let identity = Identity {
            id: 3,
            network_secret: network_key(3),
            chain: network.genesis.chain_id(),
        };
        let counters = Arc::new(WireCounters::new([0, 1, 2]));
        let (endpoint, events) = PeerEndpoint::bind(config, &identity, infos.collect(), counters).unwrap();
        Self { endpoint, events }
    }

    async fn connected_to(&mut self, peer: u32) {
        eventually("the traitor connects", async || {
            self.endpoint.is_connected(peer).then_some(())
        })
        .await;
        while self.events.try_recv().is_some() {}
    }

    /// The reason that a peer gives for ending the connection.
    async fn thrown_out_by(&mut self, expected: u32) -> String {
        loop {
            let event = tokio::time::timeout(DEADLINE, self.events.recv())
                .await
                .expect("no disconnect");
            if let Some(PeerEvent::Disconnected { peer, reason }) = event
                && peer == expected
            {
                return reason;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_of_a_peer_closes_its_connection_and_nothing_else() {
    let network = Network::start(4, 0..3, short()).await;
    let mut traitor = Traitor::bind(&network);
    let mut client = Client::connect(&network, 0..3).await;
    let (alice, bob) = (account_key(0), account_key(1).public());
    client.submit(&transfer(client.chain, &alice, bob, 0, 1)).await;

    // Bytes that are no message.
    traitor.connected_to(0).await;
    traitor
        .endpoint
        .send(0, Lane::Bulk, Bytes::from_static(b"\xff\xfe garbage"))
        .unwrap();
    let reason = traitor.thrown_out_by(0).await;
    assert!(reason.contains("no message"), "{reason}");
    let node = &network.nodes[&0];
    let line = "tagma_messages_rejected_total{kind=\"undecodable\",reason=\"malformed\"}";
    assert_eq!(metric(node, line), 1);

    // A frame over the cap of the votes lane.
    traitor.connected_to(1).await;
    traitor
        .endpoint
        .send(1, Lane::Votes, Bytes::from(vec![0; 1 << 20]))
        .unwrap();
    traitor.thrown_out_by(1).await;
    let line = "tagma_connections_closed_total{socket=\"peers\",peer=\"3\",reason=\"frame_too_large\"}";
    assert_eq!(metric(&network.nodes[&1], line), 1);

    // Votes with signatures that are none, more than anybody is forgiven.
    traitor.connected_to(2).await;
    for seq in 1..100 {
        let vote = Message::Vote(Vote {
            phase: Phase::Prepare,
            view: View::ZERO,
            seq: SeqNum::new(seq),
            digest: Digest::ZERO,
            sender: ReplicaId::new(3),
            signature: Signature::from_bytes([7; 64]),
        });
        // The connection may be gone already: then it has been thrown out.
        let _ = traitor.endpoint.send(2, Lane::Votes, Bytes::from(encode(&vote)));
    }
    let reason = traitor.thrown_out_by(2).await;
    assert!(reason.contains("do not verify"), "{reason}");
    let line = "tagma_messages_rejected_total{kind=\"prepare\",reason=\"signature\"}";
    assert!(metric(&network.nodes[&2], line) >= 8);

    // Datagrams that are no QUIC, on both sockets.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let replica = network.genesis.replica(0).unwrap();
    for length in [0, 1, 20, 1200, 9000] {
        for address in [&replica.peer_address, &replica.client_address] {
            socket.send_to(&vec![0xc3; length], address.as_str()).unwrap();
        }
    }

    for nonce in 1..5 {
        client
            .submit(&transfer(client.chain, &alice, bob, nonce, 1))
            .await;
    }
    traitor
        .endpoint
        .close("the test is over", std::time::Duration::ZERO)
        .await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_of_a_client_closes_its_connection_and_nothing_else() {
    let network = Network::start(4, 0..4, Parameters::default()).await;
    let mut good = Client::connect(&network, 0..4).await;
    let (alice, bob) = (account_key(0), account_key(1).public());
    good.submit(&transfer(good.chain, &alice, bob, 0, 1)).await;
    let node = &network.nodes[&0];

    // Bytes that are no request.
    let mut bad = Client::connect(&network, [0]).await;
    bad.connections[&0]
        .send(Bytes::from_static(b"\xff\xff\xff\xff\xff garbage"))
        .unwrap();
    let reason = closed(&mut bad).await;
    assert!(reason.contains("no request"), "{reason}");
    assert_eq!(
        metric(node, "tagma_admission_rejected_total{reason=\"malformed\"}"),
        1
    );

    // A frame over the cap.
    let mut bad = Client::connect(&network, [0]).await;
    bad.connections[&0].send(Bytes::from(vec![0; 512 << 10])).unwrap();
    closed(&mut bad).await;
    let line = "tagma_connections_closed_total{socket=\"clients\",reason=\"frame_too_large\"}";
    assert_eq!(metric(node, line), 1);

    // Requests that are not valid: each refused with the reason, and too many of them end the connection.
    let mut bad = Client::connect(&network, [0]).await;
    let forged = Request {
        signature: Signature::from_bytes([9; 64]),
        ..transfer(good.chain, &alice, bob, 1, 1)
    };
    let junk = Request {
        content: Blob::from(vec![1, 2, 3]),
        signature: forged.signature,
    };
    for request in [&forged, &junk] {
        bad.send(0, &ClientRequest::Submit(request.clone()));
        let refused = bad.receive(0).await;
        let ClientResponse::Refused {
            request: digest,
            reason: Refusal::Invalid(_),
        } = refused
        else {
            panic!("{refused:?}")
        };
        assert_eq!(digest, request.digest(&good.chain));
    }
    for _ in 0..30 {
        // The connection may be gone already: then it has been thrown out.
        let frame = Bytes::from(encode(&ClientRequest::Submit(forged.clone())));
        let _ = bad.connections[&0].send(frame);
    }
    let reason = closed(&mut bad).await;
    assert!(reason.contains("not valid"), "{reason}");
    assert!(metric(node, "tagma_admission_rejected_total{reason=\"invalid\"}") >= 16);

    for nonce in 1..5 {
        good.submit(&transfer(good.chain, &alice, bob, nonce, 1)).await;
    }
    network.stop().await;
}

/// Waits until replica 0 has closed the connection, and returns its reason.
async fn closed(client: &mut Client) -> String {
    let connection = client.connections.get_mut(&0).unwrap();
    let drained = async { while connection.recv().await.is_some() {} };
    tokio::time::timeout(DEADLINE, drained)
        .await
        .expect("the connection stays open");
    connection.close_reason().unwrap_or_default()
}
