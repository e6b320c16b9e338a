//! A network of replicas on loopback, with real sockets and real databases, inside one test process.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its part of what is shared"
)]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tagma_crypto::encode::{decode, encode};
use tagma_crypto::{Digest, List, PublicKey, Request, SecretKey, Text};
use tagma_ledger::{Genesis, GenesisAccount, GenesisReplica, Operation, Outcome, Parameters, Transaction};
use tagma_node::config::Config;
use tagma_node::driver::{Node, NodeSetup, create_store};
use tagma_node::home::Home;
use tagma_wire::client_protocol::{ClientRequest, ClientResponse, MAX_ANSWER_FRAME, Reply};
use tagma_wire::{ClientConfig, ClientConnection, ClientEndpoint};

/// Generous: what is waited for comes within milliseconds on an idle machine, and CI machines are not idle.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Polls until `done` gives something.
pub async fn eventually<T>(what: &str, mut done: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = done().await {
            return value;
        }
        assert!(begun.elapsed() < DEADLINE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Below what systems give to outgoing connections, which could take a replica's port while it is restarted.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Addresses whose ports are free for UDP and TCP now. Test processes begin at different places in the range, and no
/// process hands a port out twice.
pub fn free_addresses(count: usize) -> Vec<SocketAddr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let places = u32::from(PORTS.end - PORTS.start);
    let begin = std::process::id().wrapping_mul(97);
    let candidates = (0..places).map(|_| {
        let place = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % places;
        SocketAddr::from(([127, 0, 0, 1], PORTS.start + u16::try_from(place).unwrap()))
    });
    let free = |address: &SocketAddr| UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok();
    let addresses: Vec<SocketAddr> = candidates.filter(free).take(count).collect();
    assert_eq!(addresses.len(), count, "too few free ports");
    addresses
}

pub fn key(kind: u8, index: u16) -> SecretKey {
    let mut seed = [kind; 32];
    seed[..2].copy_from_slice(&index.to_be_bytes());
    SecretKey::from_seed(seed)
}

pub fn vote_key(id: u16) -> SecretKey {
    key(1, id)
}

pub fn network_key(id: u16) -> SecretKey {
    key(2, id)
}

pub fn account_key(index: u16) -> SecretKey {
    key(3, index)
}

pub const SUPPLY_EACH: u64 = 1_000_000;

/// A genesis of `n` replicas on free ports and two accounts.
pub fn genesis(n: u16, parameters: Parameters) -> Genesis {
    let addresses = free_addresses(3 * usize::from(n));
    let replica = |id: u16| {
        let at = |offset: usize| Text::from(addresses[3 * usize::from(id) + offset].to_string());
        GenesisReplica {
            id,
            vote_key: vote_key(id).public(),
            network_key: network_key(id).public(),
            peer_address: at(0),
            client_address: at(1),
            http_address: at(2),
        }
    };
    let account = |index: u16| GenesisAccount {
        name: None,
        key: account_key(index).public(),
        balance: SUPPLY_EACH,
    };
    let genesis = Genesis {
        chain_name: Text::from("node-test"),
        time_ms: 1_700_000_000_000,
        replicas: List::from((0..n).map(replica).collect::<Vec<_>>()),
        accounts: List::from((0..2).map(account).collect::<Vec<_>>()),
        parameters,
    };
    genesis.validate().unwrap();
    genesis
}

/// Makes a replica's home as `tagma-node init` does.
pub fn make_home(root: &Path, genesis: &Genesis, id: u16) -> Home {
    let home = Home::new(root.join(format!("n{id}")));
    std::fs::create_dir_all(home.keys()).unwrap();
    vote_key(id).save(&home.vote_key()).unwrap();
    network_key(id).save(&home.network_key()).unwrap();
    create_store(&home, genesis).unwrap();
    std::fs::write(home.genesis(), genesis.to_json()).unwrap();
    home
}

/// Replicas that run in this process.
pub struct Network {
    pub genesis: Arc<Genesis>,
    pub nodes: BTreeMap<u16, Node>,
    root: tempfile::TempDir,
}

impl Network {
    /// Makes homes for `n` replicas and starts those in `started`.
    pub async fn start(n: u16, started: impl IntoIterator<Item = u16>, parameters: Parameters) -> Self {
        let root = tempfile::tempdir().unwrap();
        let genesis = Arc::new(genesis(n, parameters));
        for id in 0..n {
            make_home(root.path(), &genesis, id);
        }
        let nodes = BTreeMap::new();
        let mut network = Self { genesis, nodes, root };
        for id in started {
            network.start_node(id).await;
        }
        network
    }

    pub fn home(&self, id: u16) -> Home {
        Home::new(self.root.path().join(format!("n{id}")))
    }

    pub async fn start_node(&mut self, id: u16) {
        let setup = NodeSetup::load(self.home(id), Config::default()).unwrap();
        let node = Node::start(setup).await.unwrap();
        self.nodes.insert(id, node);
    }

    pub async fn stop_node(&mut self, id: u16) {
        self.nodes.remove(&id).unwrap().stop("the test stops it").await;
    }

    pub async fn stop(mut self) {
        self.stop_all().await;
    }

    /// Stops every running replica, all at once.
    pub async fn stop_all(&mut self) {
        let mut stops = tokio::task::JoinSet::new();
        while let Some((_, node)) = self.nodes.pop_first() {
            stops.spawn(async move { node.stop("the test stops it").await });
        }
        stops.join_all().await;
    }

    /// Waits until every running replica has executed `height`, and holds their chains against each other.
    pub async fn wait_for_height(&self, height: u64) {
        for (id, node) in &self.nodes {
            let what = format!("replica {id} at height {height}");
            eventually(&what, async || {
                (node.shared().published().ledger.header.height >= height).then_some(())
            })
            .await;
        }
        let header = |node: &Node| node.shared().ledger().header(height).unwrap().unwrap();
        let headers: Vec<_> = self.nodes.values().map(header).collect();
        assert!(headers.iter().all(|header| *header == headers[0]), "{headers:?}");
    }

    pub fn client_address(&self, id: u16) -> SocketAddr {
        self.genesis.replica(id).unwrap().client_address.parse().unwrap()
    }
}

/// A counter's value as a scrape shows it; 0 if it is not there.
pub fn metric(node: &Node, line: &str) -> u64 {
    let text = node.metrics().encode();
    let value = text
        .lines()
        .find_map(|candidate| candidate.strip_prefix(line)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

pub fn transfer(chain: Digest, from: &SecretKey, to: PublicKey, nonce: u64, amount: u64) -> Request {
    let transaction = Transaction {
        chain,
        account: from.public(),
        nonce,
        operation: Operation::Transfer { to, amount },
        expiry_height: u64::MAX,
    };
    transaction.sign(from).to_request()
}

/// A client that is connected with some replicas and believes no one alone.
pub struct Client {
    pub chain: Digest,
    pub endpoint: ClientEndpoint,
    pub connections: BTreeMap<u16, ClientConnection>,
}

impl Client {
    pub async fn connect(network: &Network, ids: impl IntoIterator<Item = u16>) -> Self {
        let mut config = ClientConfig::new("127.0.0.1:0".parse().unwrap());
        config.max_reply = MAX_ANSWER_FRAME;
        // For those who want to send more than is allowed.
        config.max_request = 1 << 20;
        let endpoint = ClientEndpoint::bind(config).unwrap();
        let chain = network.genesis.chain_id();
        let mut connections = BTreeMap::new();
        for id in ids {
            let address = network.client_address(id);
            let connection = endpoint
                .connect(address, network_key(id).public(), chain)
                .await
                .unwrap();
            connections.insert(id, connection);
        }
        Self {
            chain,
            endpoint,
            connections,
        }
    }

    pub fn send(&self, to: u16, request: &ClientRequest) {
        self.connections[&to].send(Bytes::from(encode(request))).unwrap();
    }

    pub async fn receive(&mut self, from: u16) -> ClientResponse {
        let connection = self.connections.get_mut(&from).unwrap();
        let frame = tokio::time::timeout(DEADLINE, connection.recv())
            .await
            .expect("no answer");
        let Some(frame) = frame else {
            panic!(
                "replica {from} closed the connection: {:?}",
                connection.close_reason()
            );
        };
        decode(&frame, MAX_ANSWER_FRAME).unwrap()
    }

    /// Submits to every connected replica, again if one is busy, and returns the reply they all agree on.
    pub async fn submit(&mut self, request: &Request) -> Reply {
        let digest = request.digest(&self.chain);
        let ids: Vec<u16> = self.connections.keys().copied().collect();
        let submit = ClientRequest::Submit(request.clone());
        for id in &ids {
            self.send(*id, &submit);
        }
        let mut replies: Vec<Reply> = Vec::new();
        for id in ids {
            loop {
                match self.receive(id).await {
                    ClientResponse::Reply(reply) if reply.request == digest => {
                        replies.push(reply);
                        break;
                    }
                    ClientResponse::Busy { request } if request == digest => self.send(id, &submit),
                    ClientResponse::Refused { request, reason } if request == digest => {
                        panic!("replica {id} refused: {reason:?}")
                    }
                    _ => {}
                }
            }
        }
        let first = replies[0];
        for reply in &replies {
            assert_eq!(
                (reply.outcome, reply.height),
                (first.outcome, first.height),
                "replies differ"
            );
        }
        assert_eq!(first.outcome, Outcome::Transferred);
        first
    }
}
