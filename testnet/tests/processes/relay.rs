//! Somebody between one replica and all others, with the keys of all of them: everything they say to each other passes
//! through here, is seen, and can be changed where it is not signed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tagma_crypto::SecretKey;
use tagma_crypto::encode::{decode, encode};
use tagma_ledger::GenesisReplica;
use tagma_node::config::Config;
use tagma_pbft::Message;
use tagma_testnet::Network;
use tagma_wire::{Identity, Lane, PeerEndpoint, PeerEvent, PeerEvents, PeerId, PeerInfo, WireCounters};
use tokio::runtime::Runtime;

use crate::support::{configure, runtime};

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the replica in question to this one.
    Out(u16),
    /// From this one to the replica in question.
    In(u16),
}

/// Stands between a replica and all others until it is dropped.
pub(crate) struct Relay(#[expect(dead_code, reason = "its tasks end with it")] Runtime);

impl Relay {
    /// Gives every message from and to `node` to `pass`, and passes on what that returns. The settings of `node`, whose
    /// process must not run yet, are changed so that it finds the others here; the others need no change, as the relay
    /// listens where `node` should.
    pub(crate) fn start(
        network: &Network,
        node: u16,
        pass: impl Fn(Way, Message) -> Option<Message> + Send + Sync + 'static,
    ) -> Self {
        let genesis = network.genesis();
        let replica = |id| genesis.replica(id).unwrap();
        let outside: SocketAddr = replica(node).peer_address.parse().unwrap();
        // Of the ten ports of a replica's block it uses three itself.
        let spare = |index: u16| SocketAddr::new(outside.ip(), outside.port() + 3 + index);
        let others: Vec<u16> = network.nodes().into_iter().filter(|id| *id != node).collect();
        assert!(others.len() <= 6, "the spare ports suffice for seven replicas");
        let addresses: BTreeMap<u16, SocketAddr> = others.iter().copied().zip((1..).map(spare)).collect();
        let lines: Vec<String> = addresses
            .iter()
            .map(|(id, address)| format!("{id} = \"{address}\""))
            .collect();
        let settings = format!(
            "[network]\npeer_listen = \"{}\"\n[network.peer_addresses]\n{}",
            spare(0),
            lines.join("\n")
        );
        configure(network.layout(), node, &settings);

        let runtime = runtime();
        let _context = runtime.enter();
        let bind = |id: u16, listen: SocketAddr, peers: Vec<PeerInfo>| {
            let mut config = Config::default().peers(genesis, replica(id)).unwrap();
            config.listen = listen;
            let identity = Identity {
                id: id.into(),
                network_secret: SecretKey::load(&network.layout().network_key(id)).unwrap(),
                chain: genesis.chain_id(),
            };
            let counters = Arc::new(WireCounters::new(peers.iter().map(|peer| peer.id)));
            let (endpoint, events) = PeerEndpoint::bind(config, &identity, peers, counters).unwrap();
            (Arc::new(endpoint), events)
        };
        let at_home = |id: u16| info(replica(id), replica(id).peer_address.parse().unwrap());
        let (towards_others, from_others) =
            bind(node, outside, others.iter().map(|id| at_home(*id)).collect());
        let mut towards_node = BTreeMap::new();
        let pass = Arc::new(pass);
        for (id, address) in addresses {
            let (endpoint, events) = bind(id, address, vec![info(replica(node), spare(0))]);
            towards_node.insert(id, Arc::clone(&endpoint));
            let (pass, to) = (Arc::clone(&pass), Arc::clone(&towards_others));
            runtime.spawn(carry(events, move |_, lane, message| {
                forward(&to, id.into(), lane, pass(Way::Out(id), message));
                // The endpoint in the name of `id` lives as long as its frames are carried.
                let _ = &endpoint;
            }));
        }
        runtime.spawn(carry(from_others, move |from, lane, message| {
            let from = u16::try_from(from).unwrap();
            let message = pass(Way::In(from), message);
            forward(&towards_node[&from], node.into(), lane, message);
            let _ = &towards_others;
        }));
        drop(_context);
        Self(runtime)
    }
}

fn info(replica: &GenesisReplica, address: SocketAddr) -> PeerInfo {
    PeerInfo {
        id: replica.id.into(),
        address,
        network_key: replica.network_key,
    }
}

fn forward(endpoint: &PeerEndpoint, to: PeerId, lane: Lane, message: Option<Message>) {
    if let Some(message) = message {
        // What is not taken is lost, as on any network.
        let _ = endpoint.send(to, lane, Bytes::from(encode(&message)));
    }
}

async fn carry(mut events: PeerEvents, mut take: impl FnMut(PeerId, Lane, Message)) {
    while let Some(event) = events.recv().await {
        if let PeerEvent::Frame {
            peer, lane, payload, ..
        } = event
        {
            take(peer, lane, decode(&payload, payload.len()).unwrap());
        }
    }
}
