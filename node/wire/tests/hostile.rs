//! Replicas that are accepted and then break the rules, and what others notice of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use support::raw::{self, RawDialer};
use support::{Node, chain, config, free_socket, identity, infos, secret, soon, until};
use tagma_wire::{Fault, Lane, PeerConfig, PeerEvent, Refusal};

/// Replicas 0 and 1, connected, and the key of replica 2 in the hands of a test.
async fn two_and_a_culprit(adjust: impl Fn(&mut PeerConfig)) -> (Node, Node, RawDialer) {
    let (socket, address) = free_socket();
    let (other_socket, other_address) = free_socket();
    let infos = infos(&[address, other_address, "127.0.0.1:1".parse().unwrap()]);
    let start = |socket, id| {
        let mut config = config(infos[id as usize].address);
        adjust(&mut config);
        Node::start(socket, config, &identity(id, "main"), &infos)
    };
    let (victim, witness) = (start(socket, 0), start(other_socket, 1));
    victim.connected_to(&[1]).await;
    witness.connected_to(&[0]).await;
    (victim, witness, RawDialer::replica(&secret(2)))
}

/// The connection of 0 and 1 is the one it always was, and carries frames.
async fn unaffected(victim: &mut Node, witness: &Node) {
    witness.send(0, Lane::Votes, "still here");
    loop {
        match victim.event().await {
            PeerEvent::Frame { peer: 1, payload, .. } => break assert_eq!(payload, "still here"),
            PeerEvent::Disconnected { peer: 1, reason } => panic!("lost the witness: {reason}"),
            _ => {}
        }
    }
    assert_eq!(victim.peer(1).connects, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_and_truncated_frames_close_the_connection_with_a_reason() {
    let (mut victim, witness, culprit) = two_and_a_culprit(|_| {}).await;
    for (lane, bytes, fault, words) in [
        (
            0,
            4097_u32.to_le_bytes().to_vec(),
            Fault::FrameTooLarge,
            "4097 bytes is over the cap of 4096",
        ),
        (
            1,
            u32::MAX.to_le_bytes().to_vec(),
            Fault::FrameTooLarge,
            "over the cap of 1048576",
        ),
        // Read as a length, text is far over any cap.
        (
            0,
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            Fault::FrameTooLarge,
            "over the cap",
        ),
        (
            1,
            [&100_u32.to_le_bytes()[..], b"short"].concat(),
            Fault::FrameTruncated,
            "ended inside a frame",
        ),
    ] {
        let before = victim.peer(2).faults.count(fault);
        let lanes = raw::join(&culprit, victim.address, chain("main"), 2, 0).await;
        let mut stream = lanes[lane].open_uni().await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.finish().unwrap();
        for connection in &lanes {
            let told = soon("the close", connection.closed()).await.to_string();
            assert!(told.contains(words), "{told}");
        }
        let reason = victim.disconnect(2).await;
        assert!(reason.contains(words), "{reason}");
        assert_eq!(victim.peer(2).faults.count(fault), before + 1);
        unaffected(&mut victim, &witness).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_never_ends_closes_the_connection() {
    let (mut victim, witness, culprit) =
        two_and_a_culprit(|config| config.accept.frame_timeout = Duration::from_millis(200)).await;
    for begun in [&[9_u8][..], &[9, 0, 0, 0, 1, 2, 3]] {
        let lanes = raw::join(&culprit, victim.address, chain("main"), 2, 0).await;
        let mut stream = lanes[0].open_uni().await.unwrap();
        stream.write_all(begun).await.unwrap();
        let reason = victim.disconnect(2).await;
        assert!(reason.contains("did not arrive in time"), "{reason}");
        unaffected(&mut victim, &witness).await;
    }
    assert_eq!(victim.peer(2).faults.count(Fault::FrameTimeout), 2);
}

/// What a frame holds is judged by the owner of the endpoint, who can close the connection for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_input_closes_the_connection_with_the_owners_reason() {
    let (mut victim, witness, culprit) = two_and_a_culprit(|_| {}).await;
    let lanes = raw::join(&culprit, victim.address, chain("main"), 2, 0).await;
    let mut stream = lanes[0].open_uni().await.unwrap();
    stream.write_all(&raw::framed(b"\xff\xff\xff")).await.unwrap();
    assert_eq!(
        victim.frame().await,
        (2, Lane::Votes, Bytes::from_static(b"\xff\xff\xff"))
    );
    victim.endpoint.close_peer(2, "no PBFT message: unknown tag");
    for connection in &lanes {
        let told = soon("the close", connection.closed()).await.to_string();
        assert!(told.contains("no PBFT message: unknown tag"), "{told}");
    }
    assert_eq!(victim.disconnect(2).await, "no PBFT message: unknown tag");
    assert_eq!(victim.peer(2).faults.count(Fault::RejectedInput), 1);
    unaffected(&mut victim, &witness).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_that_never_ends_is_given_up_on() {
    let (mut victim, witness, culprit) =
        two_and_a_culprit(|config| config.accept.hello_timeout = Duration::from_millis(300)).await;
    // No stream at all, a stream with half a length, and one with half a hello.
    let half = raw::framed(&raw::peer_hello(chain("main"), 2, 0, 0));
    for (index, begun) in [None, Some(&half[..2]), Some(&half[..20])]
        .into_iter()
        .enumerate()
    {
        let connection = culprit.connect(victim.address).await.unwrap();
        let mut stream = connection.open_bi().await.unwrap().0;
        if let Some(begun) = begun {
            stream.write_all(begun).await.unwrap();
        }
        let told = soon("the close", connection.closed()).await.to_string();
        assert!(told.contains("no hello"), "{told}");
        let refusals = victim.counters.snapshot().peer_refusals;
        assert_eq!(refusals.count(Refusal::HelloTimeout), index as u64 + 1);
        unaffected(&mut victim, &witness).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_longer_than_any_is_refused_unread() {
    let (mut victim, witness, culprit) = two_and_a_culprit(|_| {}).await;
    let connection = culprit.connect(victim.address).await.unwrap();
    let (mut stream, _recv) = connection.open_bi().await.unwrap();
    stream.write_all(&1_000_000_u32.to_le_bytes()).await.unwrap();
    let told = soon("the close", connection.closed()).await.to_string();
    assert!(told.contains("1000000 bytes is over the cap"), "{told}");
    assert_eq!(
        victim
            .counters
            .snapshot()
            .peer_refusals
            .count(Refusal::MalformedHello),
        1
    );
    unaffected(&mut victim, &witness).await;
}

/// One replica cannot keep more than a few connections at their hello, nor keep others from theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_are_few() {
    let (mut victim, witness, culprit) =
        two_and_a_culprit(|config| config.accept.hello_timeout = Duration::from_secs(600)).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(culprit.connect(victim.address).await.unwrap());
    }
    until("the surplus is refused", || {
        victim
            .counters
            .snapshot()
            .peer_refusals
            .count(Refusal::Overloaded)
            == 4
    })
    .await;
    unaffected(&mut victim, &witness).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_connection_replaces_the_older_of_the_same_lane() {
    let (mut victim, witness, culprit) = two_and_a_culprit(|_| {}).await;
    let old = raw::join(&culprit, victim.address, chain("main"), 2, 0).await;
    victim.connected_to(&[2]).await;
    let new = raw::join(&culprit, victim.address, chain("main"), 2, 0).await;
    for connection in &old {
        let told = soon("the close", connection.closed()).await.to_string();
        assert!(told.contains("a newer connection took its place"), "{told}");
    }
    assert!(victim.disconnect(2).await.contains("newer connection"));
    let mut stream = new[1].open_uni().await.unwrap();
    stream.write_all(&raw::framed(b"from the new one")).await.unwrap();
    assert_eq!(victim.frame().await.2, "from the new one");
    unaffected(&mut victim, &witness).await;
}

/// Flow control and stream counts are finite: no second stream of frames, no datagrams.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn further_streams_and_datagrams_are_not_to_be_had() {
    let (victim, _witness, culprit) = two_and_a_culprit(|_| {}).await;
    let lanes = raw::join(&culprit, victim.address, chain("main"), 2, 0).await;
    let _first = lanes[0].open_uni().await.unwrap();
    let second = tokio::time::timeout(Duration::from_millis(300), lanes[0].open_uni()).await;
    assert!(second.is_err(), "a second stream was granted");
    assert_eq!(lanes[0].max_datagram_size(), None);
}
