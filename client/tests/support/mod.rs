//! Scripted replicas behind real client sockets. They share one ledger, so that the honest ones agree without a protocol,
//! and each behaves as it is told.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panic, and each test file uses its part of this"
)]

pub mod world;

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tagma_client::{Client, Config, Network};
use tagma_crypto::{List, PublicKey, SecretKey, Text};
use tagma_ledger::{
    Genesis, GenesisAccount, GenesisReplica, Operation, Parameters, SignedTransaction, Transaction,
};
use tagma_wire::{ClientListener, ClientListenerConfig, Identity, WireCounters};
use tempfile::TempDir;
use tokio::time::timeout;
use world::{Behaviour, World};

/// Longer than anything here takes, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

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

pub fn network_key(id: u16) -> SecretKey {
    SecretKey::from_seed([u8::try_from(id).unwrap() + 100; 32])
}

/// The development accounts' keys: a good seed for each name.
pub fn account_key(name: &str) -> SecretKey {
    let mut seed = [7; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    SecretKey::from_seed(seed)
}

/// A network of scripted replicas. Dropped, everything goes.
pub struct Fakes {
    pub genesis: Genesis,
    pub world: Arc<World>,
    home: TempDir,
}

impl Fakes {
    /// `n` honest replicas on loopback; alice, bob and carol own 1000 each. Must be called within a tokio runtime.
    pub fn start(n: u16) -> Self {
        let sockets: Vec<UdpSocket> = (0..n).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let replica = |id: u16| GenesisReplica {
            id,
            vote_key: world::vote_key(id).public(),
            network_key: network_key(id).public(),
            // Nobody listens at the other addresses; they need only be different.
            peer_address: Text::from(format!("127.0.1.{}:1", id + 1)),
            client_address: Text::from(sockets[usize::from(id)].local_addr().unwrap().to_string()),
            http_address: Text::from(format!("127.0.1.{}:2", id + 1)),
        };
        let account = |name: &str| GenesisAccount {
            name: Some(Text::from(name)),
            key: account_key(name).public(),
            balance: 1000,
        };
        let genesis = Genesis {
            chain_name: Text::from("fakes"),
            time_ms: 1_700_000_000_000,
            replicas: (0..n).map(replica).collect(),
            accounts: List::from(["alice", "bob", "carol"].map(account).to_vec()),
            parameters: Parameters::default(),
        };
        genesis.validate().unwrap();
        let home = TempDir::new().unwrap();
        std::fs::write(home.path().join("genesis.json"), genesis.to_json()).unwrap();
        let accounts = home.path().join("accounts");
        std::fs::create_dir(&accounts).unwrap();
        for name in ["alice", "bob", "carol"] {
            account_key(name)
                .save(&accounts.join(format!("{name}.key")))
                .unwrap();
        }
        let world = World::new(&genesis);
        for (id, socket) in (0..n).zip(sockets) {
            listen(&world, id, socket, network_key(id));
        }
        Self { genesis, world, home }
    }

    /// A network with one behaviour for each replica.
    pub fn behaving(behaviours: &[Behaviour]) -> Self {
        let fakes = Self::start(u16::try_from(behaviours.len()).unwrap());
        for (id, behaviour) in (0..).zip(behaviours) {
            fakes.world.set(id, *behaviour);
        }
        fakes
    }

    /// The directory with genesis, accounts and pending requests.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn pending(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.home().join("pending"));
        entries
            .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
            .unwrap_or_default()
    }

    /// Starts a stopped replica again, with another network key if one is given.
    pub fn restart(&self, id: u16, key: Option<SecretKey>) {
        let address = self.genesis.replicas[usize::from(id)].client_address.to_string();
        // The stopped listener's socket is closed when its last task has ended.
        let mut socket = UdpSocket::bind(&address);
        for _ in 0..1000 {
            if socket.is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
            socket = UdpSocket::bind(&address);
        }
        listen(
            &self.world,
            id,
            socket.unwrap(),
            key.unwrap_or_else(|| network_key(id)),
        );
    }

    pub fn network(&self) -> Network {
        Network::from_genesis(&self.genesis).unwrap()
    }

    /// A client with short pauses.
    pub fn client(&self) -> Client {
        let mut config = Config::default();
        config.retry.first = Duration::from_millis(100);
        config.retry.longest = Duration::from_millis(400);
        Client::start(self.network(), config).unwrap()
    }

    /// A client that is connected to all replicas that listen.
    pub async fn connected(&self) -> Client {
        let client = self.client();
        let listening = self.world.listening();
        assert_eq!(client.connected(listening, PATIENCE).await, listening);
        client
    }

    pub fn transfer(&self, from: &str, to: PublicKey, amount: u64, nonce: u64) -> SignedTransaction {
        let key = account_key(from);
        let transaction = Transaction {
            chain: self.genesis.chain_id(),
            account: key.public(),
            nonce,
            operation: Operation::Transfer { to, amount },
            expiry_height: 1000,
        };
        transaction.sign(&key)
    }
}

impl Drop for Fakes {
    fn drop(&mut self) {
        self.world.stop_all();
    }
}

fn listen(world: &Arc<World>, id: u16, socket: UdpSocket, key: SecretKey) {
    let identity = Identity {
        id: u32::from(id),
        network_secret: key,
        chain: world.chain(),
    };
    let mut config = ClientListenerConfig::new(socket.local_addr().unwrap());
    config.frames.queue_bytes = 16 << 20;
    config.max_reply = 16 << 20;
    let counters = Arc::new(WireCounters::new([]));
    let (listener, events) = ClientListener::with_socket(socket, config, &identity, counters).unwrap();
    world.serve(id, listener, events);
}
