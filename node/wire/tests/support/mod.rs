//! What the tests of this crate share: meshes on loopback, polling with a deadline, and a dialer that keeps no rules.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panic, and each test file uses its part of this"
)]

pub mod raw;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tagma_crypto::{Digest, SecretKey};
use tagma_wire::{
    Identity, Lane, PeerConfig, PeerEndpoint, PeerEvent, PeerEvents, PeerId, PeerInfo, WireCounters,
};
use tokio::time::timeout;

/// Longer than anything here takes, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Polls until `done`, or fails naming `what`.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let poll = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(
        timeout(PATIENCE, poll).await.is_ok(),
        "did not happen in time: {what}"
    );
}

/// Awaits a future for as long as patience lasts.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("did not happen in time: {what}"),
    }
}

pub fn secret(id: PeerId) -> SecretKey {
    SecretKey::from_seed([u8::try_from(id).unwrap() + 1; 32])
}

pub fn chain(name: &str) -> Digest {
    Digest::of("test chain", &[name.as_bytes()])
}

pub fn identity(id: PeerId, chain_name: &str) -> Identity {
    Identity {
        id,
        network_secret: secret(id),
        chain: chain(chain_name),
    }
}

/// A socket on a free port of loopback.
pub fn free_socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Small bounds, so that tests reach them; short pauses, so that they do not take long.
pub fn config(listen: SocketAddr) -> PeerConfig {
    let mut config = PeerConfig::new(listen);
    config.votes.max_frame = 4096;
    config.bulk.max_frame = 1 << 20;
    config.reconnect_min = Duration::from_millis(20);
    config.reconnect_max = Duration::from_millis(200);
    config
}

pub struct Node {
    pub id: PeerId,
    pub endpoint: PeerEndpoint,
    pub events: PeerEvents,
    pub address: SocketAddr,
    pub counters: Arc<WireCounters>,
}

impl Node {
    /// A replica on `socket`, if its key, chain and peers are so.
    pub fn start(socket: UdpSocket, config: PeerConfig, identity: &Identity, peers: &[PeerInfo]) -> Self {
        let address = socket.local_addr().unwrap();
        let counters = Arc::new(WireCounters::new(peers.iter().map(|peer| peer.id)));
        let (endpoint, events) =
            PeerEndpoint::with_socket(socket, config, identity, peers.to_vec(), counters.clone()).unwrap();
        Self {
            id: identity.id,
            endpoint,
            events,
            address,
            counters,
        }
    }

    pub fn send(&self, to: PeerId, lane: Lane, text: &str) {
        self.endpoint
            .send(to, lane, Bytes::copy_from_slice(text.as_bytes()))
            .unwrap();
    }

    pub async fn event(&mut self) -> PeerEvent {
        soon("an event", self.events.recv())
            .await
            .expect("the endpoint is there")
    }

    /// The next frame; connects and disconnects before it are passed over.
    pub async fn frame(&mut self) -> (PeerId, Lane, Bytes) {
        loop {
            if let PeerEvent::Frame {
                peer, lane, payload, ..
            } = self.event().await
            {
                return (peer, lane, payload);
            }
        }
    }

    /// The reason of the next disconnect of `from`; other events before it are passed over.
    pub async fn disconnect(&mut self, from: PeerId) -> String {
        loop {
            if let PeerEvent::Disconnected { peer, reason } = self.event().await
                && peer == from
            {
                return reason;
            }
        }
    }

    pub fn peer(&self, id: PeerId) -> tagma_wire::PeerSnapshot {
        self.counters
            .snapshot()
            .peers
            .into_iter()
            .find(|peer| peer.id == id)
            .unwrap()
    }

    pub async fn connected_to(&self, peers: &[PeerId]) {
        until(&format!("{} is connected to {peers:?}", self.id), || {
            peers.iter().all(|peer| self.endpoint.is_connected(*peer))
        })
        .await;
    }
}

pub fn infos(addresses: &[SocketAddr]) -> Vec<PeerInfo> {
    let info = |(index, address): (usize, &SocketAddr)| {
        let id = PeerId::try_from(index).unwrap();
        PeerInfo {
            id,
            address: *address,
            network_key: secret(id).public(),
        }
    };
    addresses.iter().enumerate().map(info).collect()
}

/// Replicas 0 to n - 1 that know each other, with `adjust` applied to their configurations. Connected when this returns.
pub async fn mesh(n: usize, adjust: impl Fn(PeerId, &mut PeerConfig)) -> Vec<Node> {
    let (sockets, addresses): (Vec<_>, Vec<_>) = (0..n).map(|_| free_socket()).unzip();
    let infos = infos(&addresses);
    let nodes: Vec<Node> = sockets
        .into_iter()
        .zip(&infos)
        .map(|(socket, info)| {
            let mut config = config(info.address);
            adjust(info.id, &mut config);
            Node::start(socket, config, &identity(info.id, "main"), &infos)
        })
        .collect();
    for node in &nodes {
        let others: Vec<PeerId> = infos
            .iter()
            .map(|info| info.id)
            .filter(|id| *id != node.id)
            .collect();
        node.connected_to(&others).await;
    }
    nodes
}
