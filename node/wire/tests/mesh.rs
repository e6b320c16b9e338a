//! Replicas that keep the rules.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

mod support;

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use support::{Node, PATIENCE, config, free_socket, identity, infos, mesh, soon, until};
use tagma_wire::{BindError, Lane, PeerConfig, PeerEndpoint, PeerEvent, SendError, WireCounters};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_replicas_exchange_frames_on_both_lanes() {
    let mut nodes = mesh(4, |_, _| {}).await;
    for from in &nodes {
        for to in (0..4).filter(|to| *to != from.id) {
            for lane in Lane::ALL {
                for number in 0..50 {
                    from.send(
                        to,
                        lane,
                        &format!("{} to {to} on {} number {number}", from.id, lane.name()),
                    );
                }
            }
        }
    }
    for node in &mut nodes {
        let mut connected = BTreeSet::new();
        let mut next = [[0; 2]; 4];
        for _ in 0..3 * 2 * 50 {
            let (peer, lane, payload) = loop {
                match node.event().await {
                    PeerEvent::Connected { peer } => assert!(connected.insert(peer), "connected once"),
                    PeerEvent::Disconnected { peer, reason } => panic!("lost {peer}: {reason}"),
                    PeerEvent::Frame {
                        peer, lane, payload, ..
                    } => break (peer, lane, payload),
                }
            };
            assert!(connected.contains(&peer), "connected before the first frame");
            let number = &mut next[peer as usize][lane as usize];
            let expected = format!("{peer} to {} on {} number {number}", node.id, lane.name());
            assert_eq!(payload, expected.as_bytes(), "whole, and in order within a lane");
            *number += 1;
        }
        let snapshot = node.counters.snapshot();
        assert_eq!(
            snapshot.peer_refusals.total(),
            0,
            "{}",
            snapshot.peer_refusals.last
        );
        for peer in snapshot.peers.iter().filter(|peer| peer.id != node.id) {
            assert!(peer.connected);
            assert_eq!(
                (
                    peer.connects,
                    peer.votes.frames_received,
                    peer.bulk.frames_received
                ),
                (1, 50, 50)
            );
        }
    }
    for node in &nodes {
        until("all sent frames are counted", || {
            let sent = |peer: u32| node.peer(peer).votes.frames_sent + node.peer(peer).bulk.frames_sent;
            (0..4)
                .filter(|peer| *peer != node.id)
                .all(|peer| sent(peer) == 100)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_up_to_the_cap_pass_and_longer_ones_are_not_even_queued() {
    let mut nodes = mesh(2, |_, _| {}).await;
    let largest = Bytes::from(vec![0x5a; 1 << 20]);
    nodes[1].endpoint.send(0, Lane::Bulk, largest.clone()).unwrap();
    nodes[1].endpoint.send(0, Lane::Bulk, Bytes::new()).unwrap();
    assert_eq!(nodes[0].frame().await, (1, Lane::Bulk, largest.clone()));
    assert_eq!(nodes[0].frame().await, (1, Lane::Bulk, Bytes::new()));
    assert_eq!(
        nodes[1].endpoint.send(0, Lane::Votes, largest),
        Err(SendError::TooLarge)
    );
    assert_eq!(nodes[1].peer(0).votes.dropped_too_large, 1);
    assert_eq!(
        nodes[1].endpoint.send(9, Lane::Votes, Bytes::new()),
        Err(SendError::Unknown)
    );
}

/// NW6: the queue to it is bounded, the others are served as if it were not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_stops_reading_delays_nobody_else() {
    let mut nodes = mesh(4, |_, config| {
        config.votes.inbound_frames = 8;
        config.votes.queue_frames = 256;
        config.votes.queue_bytes = 1 << 20;
        config.transport.stream_receive_window = 64 << 10;
        config.transport.receive_window = 80 << 10;
        config.transport.send_window = 128 << 10;
    })
    .await;
    // Replica 0 takes no events. What goes to it fills its budget, its windows and then the sender's queue.
    let frame = Bytes::from(vec![1; 4096]);
    until("the queue to the silent peer is full", || {
        nodes[3].endpoint.send(0, Lane::Votes, frame.clone()) == Err(SendError::Full)
    })
    .await;
    assert!(nodes[3].peer(0).votes.dropped_full > 0);
    for round in 0..100 {
        let text = format!("round {round}");
        for to in [1, 2] {
            nodes[3].send(to, Lane::Votes, &text);
        }
        for to in [1, 2] {
            let (peer, lane, payload) = nodes[to].frame().await;
            assert_eq!((peer, lane, payload), (3, Lane::Votes, Bytes::from(text.clone())));
        }
    }
    // Bulk to the same peer has a connection and a budget of its own, and is still taken.
    nodes[3].send(0, Lane::Bulk, "bulk passes");
    until("bulk reached the peer whose votes are stuck", || {
        nodes[0].peer(3).bulk.frames_received == 1
    })
    .await;
    assert!(
        nodes[0].peer(3).votes.frames_received <= 8 + 1,
        "the budget of 8 holds, one more may be read"
    );
    assert!(nodes[3].endpoint.is_connected(0));
    // And as soon as it reads again, all that was not dropped arrives.
    let kept = nodes[3].peer(0).votes;
    let mut votes = 0;
    while votes < kept.frames_sent {
        if nodes[0].frame().await.1 == Lane::Votes {
            votes += 1;
        }
    }
}

/// Held permits hold only their own peer back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flooding_peer_does_not_fill_the_queue_for_others() {
    let mut nodes = mesh(3, |_, config| config.votes.inbound_frames = 4).await;
    let mut held = Vec::new();
    let flood = Bytes::from_static(b"flood");
    until("the flood is held back", || {
        let _ = nodes[2].endpoint.send(0, Lane::Votes, flood.clone());
        while let Some(event) = nodes[0].events.try_recv() {
            held.push(event);
        }
        held.iter()
            .filter(|event| matches!(event, PeerEvent::Frame { .. }))
            .count()
            == 4
    })
    .await;
    nodes[1].send(0, Lane::Votes, "still heard");
    let (peer, _, payload) = nodes[0].frame().await;
    assert_eq!((peer, payload), (1, Bytes::from_static(b"still heard")));
    // Four may have been all that was sent so far.
    nodes[2].send(0, Lane::Votes, "waits for room");
    drop(held);
    assert_eq!(
        nodes[0].frame().await.0,
        2,
        "and the flood goes on when its frames are dealt with"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_peer_is_connected_again_on_the_same_port() {
    let mut nodes = mesh(3, |_, _| {}).await;
    let infos = infos(&nodes.iter().map(|node| node.address).collect::<Vec<_>>());
    // Replica 1 dials 0 and is dialed by 2: both directions of reconnecting.
    let old = nodes.remove(1);
    let address = old.address;
    soon("stop", old.endpoint.close("restarting", PATIENCE)).await;
    drop(old);
    for node in &mut nodes {
        let reason = node.disconnect(1).await;
        assert!(reason.contains("the replica is stopping"), "{reason}");
        assert_eq!(
            node.endpoint.send(1, Lane::Votes, Bytes::new()),
            Err(SendError::Disconnected)
        );
        assert_eq!(node.peer(1).votes.dropped_disconnected, 1);
    }
    let mut socket = None;
    until("the port is free again", || {
        socket = UdpSocket::bind(address).ok();
        socket.is_some()
    })
    .await;
    let mut new = Node::start(socket.unwrap(), config(address), &identity(1, "main"), &infos);
    new.connected_to(&[0, 2]).await;
    for node in &mut nodes {
        node.connected_to(&[1]).await;
        node.send(1, Lane::Votes, "welcome back");
        assert_eq!(new.frame().await.2, "welcome back");
        new.send(node.id, Lane::Bulk, "thanks");
        assert_eq!(node.frame().await, (1, Lane::Bulk, Bytes::from_static(b"thanks")));
    }
}

/// A killed process says nothing. Its successor answers what is sent to the old connections with a stateless reset, long before
/// the idle timeout would tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_and_restarted_acceptor_is_noticed_without_the_idle_timeout() {
    let (socket, address) = free_socket();
    let kept = socket.try_clone().unwrap();
    let (other_socket, other_address) = free_socket();
    let infos = infos(&[address, other_address]);
    let never = |config: &mut PeerConfig| {
        config.transport.idle_timeout = Duration::from_secs(3600);
        config.transport.keep_alive = Duration::from_millis(100);
    };
    let mut first_config = config(address);
    never(&mut first_config);
    let mut dialer_config = config(other_address);
    never(&mut dialer_config);
    let mut dialer = Node::start(other_socket, dialer_config.clone(), &identity(1, "main"), &infos);
    // The first process lives in a runtime of its own, which dies without a word.
    let first = std::thread::spawn({
        let (infos, config) = (infos.clone(), first_config.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let node = runtime.block_on(async {
                let node = Node::start(socket, config, &identity(0, "main"), &infos);
                node.connected_to(&[1]).await;
                node
            });
            runtime.shutdown_background();
            std::mem::forget(node);
        }
    });
    tokio::task::spawn_blocking(move || first.join())
        .await
        .unwrap()
        .unwrap();
    dialer.connected_to(&[0]).await;
    let second = Node::start(kept, first_config, &identity(0, "main"), &infos);
    let reason = dialer.disconnect(0).await;
    assert!(reason.contains("reset"), "{reason}");
    second.connected_to(&[1]).await;
}

/// Replica 0 has moved to another machine, and 1 and 2 are told: the old connection is given up for the new place. The old
/// process still runs, so nothing but the new address can have brought that about.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_has_moved_is_dialed_at_its_new_address() {
    let mut nodes = mesh(3, |_, _| {}).await;
    let infos = infos(&nodes.iter().map(|node| node.address).collect::<Vec<_>>());
    let (socket, address) = free_socket();
    let mut moved = Node::start(socket, config(address), &identity(0, "main"), &infos);
    let old = nodes.remove(0);
    for node in &mut nodes {
        // To where it is already: nothing happens.
        node.endpoint.move_peer(0, old.address);
        node.endpoint.move_peer(0, address);
        let reason = node.disconnect(0).await;
        assert!(reason.contains("another address"), "{reason}");
        node.connected_to(&[0]).await;
        node.send(0, Lane::Votes, "found you");
        assert_eq!(moved.frame().await.2, "found you");
        assert_eq!(node.peer(0).connects, 2);
    }
    moved.connected_to(&[1, 2]).await;
}

/// Also what the receiver's consumer had not got to when the connection was closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_close_delivers_what_is_queued() {
    let mut nodes = mesh(2, |_, config| config.bulk.inbound_frames = 2).await;
    let frame = Bytes::from(vec![7; 100_000]);
    for _ in 0..20 {
        nodes[1].endpoint.send(0, Lane::Bulk, frame.clone()).unwrap();
    }
    let last = nodes.pop().unwrap();
    soon("close", last.endpoint.close("done", PATIENCE)).await;
    assert_eq!(
        last.endpoint.send(0, Lane::Votes, Bytes::new()),
        Err(SendError::Disconnected)
    );
    for _ in 0..20 {
        assert_eq!(nodes[0].frame().await.2, frame);
    }
    let reason = nodes[0].disconnect(1).await;
    assert!(reason.contains("the replica is stopping"), "{reason}");
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let (_socket, address) = free_socket();
    let counters = Arc::new(WireCounters::new([]));
    let error = PeerEndpoint::bind(
        PeerConfig::new(address),
        &identity(0, "main"),
        Vec::new(),
        counters,
    )
    .err()
    .unwrap();
    assert!(matches!(error, BindError::Address { address: named, .. } if named == address));
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn contradicting_limits_are_refused() {
    let bind = |adjust: fn(&mut PeerConfig)| {
        let mut config = PeerConfig::new("127.0.0.1:0".parse().unwrap());
        adjust(&mut config);
        PeerEndpoint::bind(
            config,
            &identity(0, "main"),
            Vec::new(),
            Arc::new(WireCounters::new([])),
        )
        .map(|_| ())
    };
    assert!(bind(|_| {}).is_ok());
    let wrong: [fn(&mut PeerConfig); 5] = [
        |config| config.transport.send_window = u64::from(config.transport.stream_receive_window),
        |config| config.transport.keep_alive = config.transport.idle_timeout,
        |config| config.bulk.inbound_bytes = config.bulk.max_frame - 1,
        |config| config.votes.max_frame = 0,
        |config| config.reconnect_min = Duration::ZERO,
    ];
    for adjust in wrong {
        assert!(matches!(bind(adjust), Err(BindError::Config(_))));
    }
}
