//! Clients: those that keep the rules, and those that do not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use support::raw::{self, RawDialer, Shown};
use support::{PATIENCE, chain, free_socket, identity, secret, soon, until};
use tagma_wire::{
    BindError, ClientConfig, ClientConnection, ClientEndpoint, ClientEvent, ClientEvents, ClientListener,
    ClientListenerConfig, ConnectError, ConnectionId, Fault, FramePermit, Refusal, SendError, WireCounters,
    WireSnapshot,
};

struct Replica {
    listener: ClientListener,
    events: ClientEvents,
    counters: Arc<WireCounters>,
    address: SocketAddr,
}

impl Replica {
    fn start(id: u32, adjust: impl Fn(&mut ClientListenerConfig)) -> Self {
        let (socket, address) = free_socket();
        let mut config = ClientListenerConfig::new(address);
        config.frames.max_frame = 4096;
        adjust(&mut config);
        let counters = Arc::new(WireCounters::new([]));
        let (listener, events) =
            ClientListener::with_socket(socket, config, &identity(id, "main"), counters.clone()).unwrap();
        Self {
            listener,
            events,
            counters,
            address,
        }
    }

    fn snapshot(&self) -> WireSnapshot {
        self.counters.snapshot()
    }

    async fn request(&mut self) -> (ConnectionId, Bytes) {
        loop {
            let event = soon("a request", self.events.recv()).await.unwrap();
            if let ClientEvent::Frame {
                connection, payload, ..
            } = event
            {
                return (connection, payload);
            }
        }
    }

    async fn disconnect(&mut self) -> String {
        loop {
            let event = soon("a disconnect", self.events.recv()).await.unwrap();
            if let ClientEvent::Disconnected { reason, .. } = event {
                return reason;
            }
        }
    }

    /// A request of an honest client is still answered.
    async fn serves(&mut self) {
        let endpoint = endpoint();
        let mut client = connect(&endpoint, self).await;
        client.send(Bytes::from_static(b"ping")).unwrap();
        let (connection, payload) = self.request().await;
        assert_eq!(payload, "ping");
        self.listener
            .reply(connection, Bytes::from_static(b"pong"))
            .unwrap();
        assert_eq!(soon("the reply", client.recv()).await.unwrap(), "pong");
        drop(client);
        self.disconnect().await;
    }
}

fn endpoint() -> ClientEndpoint {
    ClientEndpoint::bind(ClientConfig::new("127.0.0.1:0".parse().unwrap())).unwrap()
}

async fn connect(endpoint: &ClientEndpoint, replica: &Replica) -> ClientConnection {
    endpoint
        .connect(replica.address, secret(0).public(), chain("main"))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_socket_talks_to_four_replicas() {
    let mut replicas: Vec<_> = (0..4).map(|id| Replica::start(id, |_| {})).collect();
    let endpoint = endpoint();
    for (id, replica) in (0..4_u32).zip(&mut replicas) {
        let mut client = endpoint
            .connect(replica.address, secret(id).public(), chain("main"))
            .await
            .unwrap();
        assert_eq!(client.replica(), id);
        for number in 0..100 {
            client
                .send(Bytes::from(format!("request {number} to {id}")))
                .unwrap();
        }
        for number in 0..100 {
            let (connection, payload) = replica.request().await;
            assert_eq!(payload, format!("request {number} to {id}"));
            replica
                .listener
                .reply(connection, Bytes::from(format!("reply {number} of {id}")))
                .unwrap();
        }
        for number in 0..100 {
            assert_eq!(
                soon("a reply", client.recv()).await.unwrap(),
                format!("reply {number} of {id}")
            );
        }
        let clients = replica.snapshot().clients;
        assert_eq!(
            (clients.open, clients.accepted, clients.traffic.frames_received),
            (1, 1, 100)
        );
    }
    endpoint.close("done").await;
    for replica in &mut replicas {
        assert!(replica.disconnect().await.contains("done"));
        assert_eq!(replica.snapshot().clients.open, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_genesis_is_refused_with_both_chain_ids_on_both_sides() {
    let replica = Replica::start(0, |_| {});
    let error = endpoint()
        .connect(replica.address, secret(0).public(), chain("other"))
        .await
        .err()
        .unwrap();
    assert!(matches!(&error, ConnectError::Refused { theirs, ours, .. }
        if (*theirs, *ours) == (chain("main"), chain("other"))));
    for text in [error.to_string(), replica.snapshot().clients.refusals.last] {
        for name in ["main", "other"] {
            assert!(text.contains(&chain(name).to_string()), "{name} in: {text}");
        }
    }
    assert_eq!(replica.snapshot().clients.refusals.count(Refusal::OtherChain), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_believes_only_the_pinned_key() {
    let replica = Replica::start(0, |_| {});
    let error = endpoint()
        .connect(replica.address, secret(1).public(), chain("main"))
        .await
        .err()
        .unwrap();
    let text = error.to_string();
    assert!(
        matches!(error, ConnectError::Handshake { .. }) && text.contains("network key is not"),
        "{text}"
    );
    until("the replica hears why", || {
        replica
            .snapshot()
            .clients
            .refusals
            .count(Refusal::RefusedByDialer)
            == 1
    })
    .await;
    assert!(
        replica
            .snapshot()
            .clients
            .refusals
            .last
            .contains("network key is not")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_at_the_address_is_an_error_in_bounded_time() {
    // Bound but not served: packets arrive and nobody answers.
    let (_socket, address) = free_socket();
    let mut config = ClientConfig::new("127.0.0.1:0".parse().unwrap());
    config.connect_timeout = Duration::from_millis(200);
    let endpoint = ClientEndpoint::bind(config).unwrap();
    let error = soon(
        "giving up",
        endpoint.connect(address, secret(0).public(), chain("main")),
    )
    .await
    .err();
    assert!(matches!(error, Some(ConnectError::Timeout { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_application_protocol_is_refused() {
    let replica = Replica::start(0, |_| {});
    let told = RawDialer::new(Shown::NotOffered, "h3")
        .refusal(replica.address)
        .await;
    assert!(told.contains("known protocol"), "{told}");
    until("counted", || {
        replica.snapshot().clients.refusals.count(Refusal::WrongProtocol) == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_oversized_frames_close_the_connection_with_a_reason() {
    let mut replica = Replica::start(0, |config| {
        config.accept.frame_timeout = Duration::from_millis(300);
    });
    for (bytes, finish, fault, words) in [
        (
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            false,
            Fault::FrameTooLarge,
            "over the cap of 4096",
        ),
        (
            4097_u32.to_le_bytes().to_vec(),
            false,
            Fault::FrameTooLarge,
            "4097 bytes is over the cap",
        ),
        (
            [&9_u32.to_le_bytes()[..], b"short"].concat(),
            true,
            Fault::FrameTruncated,
            "ended inside a frame",
        ),
        (
            [&9_u32.to_le_bytes()[..], b"slow"].concat(),
            false,
            Fault::FrameTimeout,
            "did not arrive in time",
        ),
        (vec![0, 0], false, Fault::FrameTimeout, "did not arrive in time"),
    ] {
        let before = replica.snapshot().clients.faults.count(fault);
        let dialer = RawDialer::client();
        let connection = dialer.connect(replica.address).await.unwrap();
        let (mut send, _recv, answer) = raw::greet(&connection, &raw::client_hello(chain("main"))).await;
        assert_eq!(answer[..4], [0; 4], "accepted");
        send.write_all(&bytes).await.unwrap();
        if finish {
            send.finish().unwrap();
        }
        let told = soon("the close", connection.closed()).await.to_string();
        assert!(told.contains(words), "{told}");
        let reason = replica.disconnect().await;
        assert!(reason.contains(words), "{reason}");
        assert_eq!(replica.snapshot().clients.faults.count(fault), before + 1);
        replica.serves().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_and_never_ending_hellos_are_given_up_on() {
    let mut replica = Replica::start(0, |config| {
        config.accept.hello_timeout = Duration::from_millis(300);
    });
    let half = raw::framed(&raw::client_hello(chain("main")));
    let long = 1_000_000_u32.to_le_bytes();
    let text = raw::framed(b"GET / HTTP/1.1");
    for (begun, refusal, words) in [
        (&half[..3], Refusal::HelloTimeout, "no hello"),
        (&half[..20], Refusal::HelloTimeout, "no hello"),
        (&long[..], Refusal::MalformedHello, "over the cap"),
        (&text[..], Refusal::MalformedHello, "malformed hello"),
    ] {
        let before = replica.snapshot().clients.refusals.count(refusal);
        let dialer = RawDialer::client();
        let connection = dialer.connect(replica.address).await.unwrap();
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(begun).await.unwrap();
        let told = soon("the close", connection.closed()).await.to_string();
        assert!(told.contains(words), "{told}");
        assert_eq!(replica.snapshot().clients.refusals.count(refusal), before + 1);
        replica.serves().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_input_closes_the_connection_with_the_owners_reason() {
    let mut replica = Replica::start(0, |_| {});
    let endpoint = endpoint();
    let mut client = connect(&endpoint, &replica).await;
    client.send(Bytes::from_static(b"nonsense")).unwrap();
    let (connection, _) = replica.request().await;
    replica.listener.close_client(connection, "not a request");
    assert_eq!(soon("the end", client.recv()).await, None);
    let told = client.close_reason().unwrap();
    assert!(told.contains("not a request"), "{told}");
    assert_eq!(client.send(Bytes::new()), Err(SendError::Disconnected));
    assert_eq!(replica.disconnect().await, "not a request");
    assert_eq!(replica.snapshot().clients.faults.count(Fault::RejectedInput), 1);
    assert_eq!(
        replica.listener.reply(connection, Bytes::new()),
        Err(SendError::Disconnected)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_closed() {
    let mut replica = Replica::start(0, |config| config.idle_timeout = Duration::from_millis(200));
    let endpoint = endpoint();
    let mut client = connect(&endpoint, &replica).await;
    assert_eq!(soon("the end", client.recv()).await, None);
    assert!(replica.disconnect().await.contains("no request for too long"));
    assert_eq!(replica.snapshot().clients.faults.count(Fault::Idle), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_are_limited_and_given_back() {
    let mut replica = Replica::start(0, |config| config.accept.max_per_source = 2);
    let endpoint = endpoint();
    let first = connect(&endpoint, &replica).await;
    let second = connect(&endpoint, &replica).await;
    assert!(
        endpoint
            .connect(replica.address, secret(0).public(), chain("main"))
            .await
            .is_err()
    );
    assert_eq!(replica.snapshot().clients.refusals.count(Refusal::Overloaded), 1);
    drop(first);
    // The place is free once the disconnect has been noticed.
    replica.disconnect().await;
    let _third = connect(&endpoint, &replica).await;
    drop(second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_sources_must_prove_their_address_first() {
    let mut replica = Replica::start(0, |config| config.accept.retry_above = 0);
    replica.serves().await;
    assert_eq!(replica.snapshot().clients.refusals.retried, 1);
}

/// Its replies fill its own queue and are then dropped; others are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_bounded() {
    let mut replica = Replica::start(0, |config| config.frames.queue_frames = 8);
    let silent = RawDialer::client();
    let connection = silent.connect(replica.address).await.unwrap();
    let (mut send, _recv, _) = raw::greet(&connection, &raw::client_hello(chain("main"))).await;
    send.write_all(&raw::framed(b"much, please")).await.unwrap();
    let (id, _) = replica.request().await;
    let reply = Bytes::from(vec![1; 100_000]);
    until("the queue is full", || {
        replica.listener.reply(id, reply.clone()) == Err(SendError::Full)
    })
    .await;
    assert!(replica.snapshot().clients.traffic.dropped_full > 0);
    let endpoint = endpoint();
    let mut client = connect(&endpoint, &replica).await;
    client.send(Bytes::from_static(b"ping")).unwrap();
    let (other, _) = replica.request().await;
    replica
        .listener
        .reply(other, Bytes::from_static(b"pong"))
        .unwrap();
    assert_eq!(soon("the reply", client.recv()).await.unwrap(), "pong");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_disconnects_a_replica_that_sends_too_long_a_reply() {
    let mut replica = Replica::start(0, |_| {});
    let mut config = ClientConfig::new("127.0.0.1:0".parse().unwrap());
    config.max_reply = 100;
    let endpoint = ClientEndpoint::bind(config).unwrap();
    let mut client = connect(&endpoint, &replica).await;
    client.send(Bytes::from_static(b"ping")).unwrap();
    let (connection, _) = replica.request().await;
    replica
        .listener
        .reply(connection, Bytes::from(vec![0; 101]))
        .unwrap();
    assert_eq!(soon("the end", client.recv()).await, None);
    assert!(
        client
            .close_reason()
            .unwrap()
            .contains("101 bytes is over the cap of 100")
    );
    let reason = replica.disconnect().await;
    assert!(reason.contains("over the cap"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_close_delivers_the_replies() {
    let mut replica = Replica::start(0, |_| {});
    let endpoint = endpoint();
    let mut client = connect(&endpoint, &replica).await;
    client.send(Bytes::from_static(b"ping")).unwrap();
    let (connection, _) = replica.request().await;
    for _ in 0..30 {
        replica
            .listener
            .reply(connection, Bytes::from(vec![5; 100_000]))
            .unwrap();
    }
    let receive = async {
        for _ in 0..30 {
            assert_eq!(soon("a reply", client.recv()).await.unwrap().len(), 100_000);
        }
        assert_eq!(soon("the end", client.recv()).await, None);
    };
    tokio::join!(
        soon("close", replica.listener.close("maintenance", PATIENCE)),
        receive
    );
    assert!(
        client.close_reason().unwrap().contains("stopping"),
        "{:?}",
        client.close_reason()
    );
}

/// What nobody has finished with is bounded for each client, and only the replica makes that bound wider, up to its limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_has_more_requests_unread_only_where_it_earned_that() {
    let mut replica = Replica::start(0, |config| {
        config.frames.inbound_frames = 2;
        config.earned_frames = 5;
    });
    let endpoint = endpoint();
    let mut clients = vec![
        connect(&endpoint, &replica).await,
        connect(&endpoint, &replica).await,
    ];
    for client in &mut clients {
        for _ in 0..10 {
            client.send(Bytes::from_static(b"request")).unwrap();
        }
    }
    let mut held: BTreeMap<ConnectionId, Vec<FramePermit>> = BTreeMap::new();
    async fn unread(replica: &mut Replica, held: &mut BTreeMap<ConnectionId, Vec<FramePermit>>, all: usize) {
        while held.values().map(Vec::len).sum::<usize>() < all {
            let event = soon("a request", replica.events.recv()).await.unwrap();
            if let ClientEvent::Frame {
                connection, permit, ..
            } = event
            {
                held.entry(connection).or_default().push(permit);
            }
        }
        // Long enough for a request that should not come.
        let more = tokio::time::timeout(Duration::from_millis(200), replica.events.recv());
        assert!(more.await.is_err(), "more than {all} are unread");
    }
    unread(&mut replica, &mut held, 4).await;
    let earner = *held.keys().next().unwrap();
    replica.listener.widen(earner, 4);
    unread(&mut replica, &mut held, 6).await;
    replica.listener.widen(earner, 3);
    replica.listener.widen(earner, 100);
    unread(&mut replica, &mut held, 7).await;
    assert_eq!(held[&earner].len(), 5);
    held.get_mut(&earner).unwrap().clear();
    unread(&mut replica, &mut held, 7).await;
    assert_eq!(held[&earner].len(), 5);
}

/// Said, acknowledged and gone: what a client sent before it closed is not lost because its reader was behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_arrived_before_the_close_are_still_read() {
    let mut replica = Replica::start(0, |config| config.frames.inbound_frames = 1);
    let dialer = RawDialer::client();
    let connection = dialer.connect(replica.address).await.unwrap();
    let (mut send, _recv, _) = raw::greet(&connection, &raw::client_hello(chain("main"))).await;
    for number in 0..10 {
        send.write_all(&raw::framed(format!("request {number}").as_bytes()))
            .await
            .unwrap();
    }
    send.finish().unwrap();
    soon("all is acknowledged", send.stopped()).await.unwrap();
    connection.close(0_u32.into(), b"gone");
    for number in 0..10 {
        assert_eq!(replica.request().await.1, format!("request {number}"));
    }
    assert!(replica.disconnect().await.contains("gone"));
}

#[tokio::test]
async fn less_room_by_merit_than_without_is_refused() {
    let (_socket, address) = free_socket();
    let mut config = ClientListenerConfig::new(address);
    config.earned_frames = config.frames.inbound_frames - 1;
    let bound = ClientListener::bind(config, &identity(0, "main"), Arc::new(WireCounters::new([])));
    assert!(matches!(bound.err(), Some(BindError::Config(why)) if why.contains("earned_frames")));
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let (_socket, address) = free_socket();
    let bound = ClientListener::bind(
        ClientListenerConfig::new(address),
        &identity(0, "main"),
        Arc::new(WireCounters::new([])),
    );
    assert!(matches!(bound.err(), Some(BindError::Address { address: named, .. }) if named == address));
}
