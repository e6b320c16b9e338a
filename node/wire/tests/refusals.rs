//! Replicas that are refused, and why, in the words of both sides.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

mod support;

use support::raw::{self, RawDialer, Shown, certified};
use support::{Node, chain, config, free_socket, identity, infos, secret, soon, until};
use tagma_wire::{Refusal, RefusalsSnapshot};

/// Replica 0 of three, alone: it only accepts.
fn acceptor() -> Node {
    let (socket, address) = free_socket();
    // Ports 1 and 2 of loopback: nobody is there, and nobody is dialed by the lowest id.
    let infos = infos(&[
        address,
        "127.0.0.1:1".parse().unwrap(),
        "127.0.0.1:2".parse().unwrap(),
    ]);
    Node::start(socket, config(address), &identity(0, "main"), &infos)
}

fn refusals(node: &Node) -> RefusalsSnapshot {
    node.counters.snapshot().peer_refusals
}

async fn refused(node: &Node, refusal: Refusal) -> String {
    until(refusal.name(), || refusals(node).count(refusal) == 1).await;
    assert_eq!(refusals(node).total(), 1);
    refusals(node).last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_key_is_refused_with_the_reason_on_both_sides() {
    let node = acceptor();
    let stranger = RawDialer::replica(&secret(77));
    let theirs = stranger.refusal(node.address).await;
    let expected = format!("the network key is not in the genesis of chain {}", chain("main"));
    assert!(theirs.contains(&expected), "{theirs}");
    let ours = refused(&node, Refusal::UnknownKey).await;
    assert!(
        ours.contains(&expected) && ours.contains("dialed for chain raw"),
        "{ours}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shown_key_without_its_secret_is_refused() {
    let node = acceptor();
    // The key of replica 1 is shown, another one signs.
    let liar = RawDialer::new(
        Shown::Key(certified(&secret(77), secret(1).public())),
        "tagma-peer/1",
    );
    let theirs = liar.refusal(node.address).await;
    assert!(theirs.contains("BadSignature"), "{theirs}");
    let ours = refused(&node, Refusal::BadSignature).await;
    assert!(ours.contains("BadSignature"), "{ours}");
    assert_eq!(node.peer(1).connects, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_is_refused() {
    for (shown, refusal, words) in [
        (Shown::Nothing, Refusal::NoKey, "peer sent no certificates"),
        (
            Shown::NotOffered,
            Refusal::Handshake,
            "IncorrectCertificateTypeExtension",
        ),
    ] {
        let node = acceptor();
        let theirs = RawDialer::new(shown, "tagma-peer/1").refusal(node.address).await;
        assert!(theirs.contains(words), "{theirs}");
        let ours = refused(&node, refusal).await;
        assert!(ours.contains(words), "{ours}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_application_protocol_is_refused() {
    let node = acceptor();
    let key = certified(&secret(1), secret(1).public());
    let theirs = RawDialer::new(Shown::Key(key), "tagma-peer/2")
        .refusal(node.address)
        .await;
    assert!(theirs.contains("known protocol"), "{theirs}");
    refused(&node, Refusal::WrongProtocol).await;
}

/// The keys are those of genesis, so TLS lets them through: the hello must not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hellos_that_do_not_fit_the_key_are_refused() {
    let main = chain("main");
    for (hello, refusal, words) in [
        (
            raw::peer_hello(main, 2, 0, 0),
            Refusal::WrongSender,
            "the key is replica 1's, not 2's",
        ),
        (
            raw::peer_hello(main, 1, 2, 0),
            Refusal::WrongRecipient,
            "this is replica 0, not 2",
        ),
        (
            raw::peer_hello(chain("other"), 1, 0, 0),
            Refusal::OtherChain,
            "another genesis",
        ),
        (
            raw::peer_hello(main, 1, 0, 2),
            Refusal::MalformedHello,
            "malformed hello",
        ),
        (
            b"GET / HTTP/1.1".to_vec(),
            Refusal::MalformedHello,
            "malformed hello",
        ),
        (
            [&[2, 0, 0, 0], &raw::peer_hello(main, 1, 0, 0)[4..]].concat(),
            Refusal::OtherVersion,
            "version 2",
        ),
    ] {
        let node = acceptor();
        let dialer = RawDialer::replica(&secret(1));
        let connection = dialer.connect(node.address).await.unwrap();
        let (_, _, answer) = raw::greet(&connection, &hello).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains(words), "{answer}");
        let ours = refused(&node, refusal).await;
        assert!(ours.contains(words), "{ours}");
        let closed = soon("the close", connection.closed()).await.to_string();
        assert!(closed.contains(words), "{closed}");
        assert_eq!(node.peer(1).connects, 0);
    }
}

/// The replica with the higher id dials; the other way round both would keep replacing each other's connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lower_id_may_not_dial() {
    let (socket, address) = free_socket();
    let infos = infos(&["127.0.0.1:1".parse().unwrap(), address]);
    let node = Node::start(socket, config(address), &identity(1, "main"), &infos);
    let theirs = RawDialer::replica(&secret(0)).refusal(node.address).await;
    assert!(theirs.contains("the higher id dials"), "{theirs}");
    refused(&node, Refusal::WrongDirection).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_genesis_is_refused_with_both_chain_ids_on_both_sides() {
    let (sockets, addresses): (Vec<_>, Vec<_>) = (0..2).map(|_| free_socket()).unzip();
    let infos = infos(&addresses);
    let mut sockets = sockets.into_iter();
    let mut start = |id, name| {
        Node::start(
            sockets.next().unwrap(),
            config(addresses[id as usize]),
            &identity(id, name),
            &infos,
        )
    };
    let (acceptor, dialer) = (start(0, "main"), start(1, "other"));
    until("both refuse", || {
        refusals(&acceptor).count(Refusal::OtherChain) >= 2 && dialer.peer(0).dial_failures >= 2
    })
    .await;
    for text in [refusals(&acceptor).last, dialer.peer(0).last_failure] {
        for name in ["main", "other"] {
            assert!(text.contains(&chain(name).to_string()), "{name} in: {text}");
        }
    }
    assert_eq!((acceptor.peer(1).connects, dialer.peer(0).connects), (0, 0));
}

/// Another genesis with other keys fails in TLS already. The dialer's server name and the acceptor's reason still tell both
/// sides both chains.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dialer_of_another_genesis_with_another_key_learns_both_chain_ids() {
    let acceptor = acceptor();
    let (socket, address) = free_socket();
    let mut infos = infos(&[acceptor.address, address]);
    infos[1].network_key = secret(50).public();
    let mut me = identity(1, "other");
    me.network_secret = secret(50);
    let dialer = Node::start(socket, config(address), &me, &infos);
    until("the dialer is refused", || dialer.peer(0).dial_failures > 0).await;
    until("the acceptor refuses", || {
        refusals(&acceptor).count(Refusal::UnknownKey) > 0
    })
    .await;
    let theirs = dialer.peer(0).last_failure;
    assert!(theirs.contains(&chain("main").to_string()), "{theirs}");
    let ours = refusals(&acceptor).last;
    assert!(ours.contains(&chain("main").to_string()), "{ours}");
    assert!(ours.contains(&chain("other").to_string()[..32]), "{ours}");
}

/// What answers at a peer's address with another key, another replica's key, or a key it has no secret of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dialer_believes_only_the_pinned_key() {
    for (signs, shows, words) in [
        (secret(77), secret(77).public(), "the server's network key is not"),
        (secret(2), secret(2).public(), "the server's network key is not"),
        (secret(77), secret(0).public(), "BadSignature"),
    ] {
        let (impostor, impostor_address) = raw::server(&signs, shows, "tagma-peer/1");
        let accepting = tokio::spawn(async move {
            let mut reasons = Vec::new();
            while reasons.is_empty()
                && let Some(incoming) = impostor.accept().await
            {
                if let Err(error) = incoming.await {
                    reasons.push(error.to_string());
                }
            }
            reasons
        });
        let (socket, address) = free_socket();
        let infos = infos(&[impostor_address, address, "127.0.0.1:1".parse().unwrap()]);
        let dialer = Node::start(socket, config(address), &identity(1, "main"), &infos);
        until("the dialer gives up", || dialer.peer(0).dial_failures > 0).await;
        assert!(
            dialer.peer(0).last_failure.contains(words),
            "{}",
            dialer.peer(0).last_failure
        );
        let heard = soon("the impostor hears why", accepting).await.unwrap();
        assert!(heard[0].contains(words), "{heard:?}");
        assert_eq!(dialer.peer(0).connects, 0);
    }
}
