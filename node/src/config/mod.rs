//! A replica's own settings. What replicas must agree on is in genesis; these decide how, never what.

mod layers;
mod units;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tagma_ledger::{Genesis, GenesisReplica};
use tagma_pbft::{ReplicaId, Tuning};
use tagma_wire::client_protocol::{MAX_ANSWER_FRAME, MAX_CLIENT_FRAME};
use tagma_wire::{ClientListenerConfig, PeerConfig, PeerInfo};

pub use layers::{ConfigError, Layered, Layers, Origin};
pub use units::{Size, Span};

use crate::storage::StorageConfig;

/// An address that is the one of genesis unless said otherwise.
const FROM_GENESIS: &str = "genesis";

/// All settings.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Sockets.
    pub network: Network,
    /// The protocol's timing.
    pub consensus: Consensus,
    /// What clients may do.
    pub clients: Clients,
    /// The database.
    pub storage: Storage,
    /// What is kept for audits.
    pub transcript: TranscriptSettings,
    /// Logs.
    pub log: Log,
}

/// Sockets. A listen address is an `ip:port`, or `genesis` for the one that stands there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// UDP, for replicas.
    pub peer_listen: String,
    /// UDP, for clients.
    pub client_listen: String,
    /// TCP, for HTTP.
    pub http_listen: String,
    /// Where to reach other replicas, by number, where it is not the address of genesis.
    pub peer_addresses: BTreeMap<String, SocketAddr>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            peer_listen: FROM_GENESIS.to_owned(),
            client_listen: FROM_GENESIS.to_owned(),
            http_listen: FROM_GENESIS.to_owned(),
            peer_addresses: BTreeMap::new(),
        }
    }
}

/// The protocol's timing; see [`Tuning`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "named like the fields of Tuning, which say what they are"
)]
pub struct Consensus {
    pub batch_max_delay: Span,
    pub max_in_flight: u64,
    pub request_timeout: Span,
    pub view_change_timeout_max: Span,
    pub status_interval: Span,
    pub idle_status_interval: Span,
    pub fetch_timeout: Span,
    pub forward_room: usize,
    pub fetch_blocks: u32,
    pub standby: bool,
}

impl Default for Consensus {
    fn default() -> Self {
        let tuning = Tuning::default();
        Self {
            batch_max_delay: Span(tuning.batch_max_delay),
            max_in_flight: tuning.max_in_flight,
            request_timeout: Span(tuning.request_timeout),
            view_change_timeout_max: Span(tuning.view_change_timeout_max),
            status_interval: Span(tuning.status_interval),
            idle_status_interval: Span(tuning.idle_status_interval),
            fetch_timeout: Span(tuning.fetch_timeout),
            forward_room: tuning.forward_room,
            fetch_blocks: tuning.fetch_blocks,
            standby: tuning.standby,
        }
    }
}

impl Consensus {
    /// The protocol's tuning on a chain with this window: more batches than it holds are never in flight.
    pub fn tuning(&self, window: u64) -> Tuning {
        let consensus = self;
        Tuning {
            batch_max_delay: consensus.batch_max_delay.0,
            max_in_flight: consensus.max_in_flight.min(window),
            request_timeout: consensus.request_timeout.0,
            view_change_timeout_max: consensus.view_change_timeout_max.0,
            status_interval: consensus.status_interval.0,
            idle_status_interval: consensus.idle_status_interval.0,
            fetch_timeout: consensus.fetch_timeout.0,
            forward_room: consensus.forward_room,
            fetch_blocks: consensus.fetch_blocks,
            standby: consensus.standby,
        }
    }
}

/// What clients may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clients {
    /// Most connections at once.
    pub max_connections: usize,
    /// Most of them from one address.
    pub max_connections_per_source: usize,
    /// A connection without a request for so long is closed.
    pub idle_timeout: Span,
    /// Requests with bad signatures after which a connection is closed.
    pub max_bad_signatures: u32,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            max_connections: 256,
            max_connections_per_source: 128,
            idle_timeout: Span::from_secs(300),
            max_bad_signatures: 16,
        }
    }
}

/// The database's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Blocks kept in memory.
    pub block_cache: Size,
    /// Writes kept in memory before they go into sorted files.
    pub write_buffers: Size,
    /// How many blocks below each checkpoint keep their requests and receipts; 0 keeps all, for ever.
    pub keep_blocks: u64,
}

impl Storage {
    /// How many blocks are kept, all if none is said.
    pub fn kept_blocks(&self) -> Option<u64> {
        (self.keep_blocks > 0).then_some(self.keep_blocks)
    }
}

impl Default for Storage {
    fn default() -> Self {
        let default = StorageConfig::default();
        Self {
            block_cache: Size(default.block_cache),
            write_buffers: Size(default.write_buffers),
            keep_blocks: 0,
        }
    }
}

/// The log of signed statements sent and received, in `data/transcript`, which `tagma-testnet check --audit` reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TranscriptSettings {
    /// Whether it is written.
    pub enabled: bool,
    /// The disk space it takes; the oldest part goes first.
    pub max_bytes: Size,
}

impl Default for TranscriptSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            max_bytes: Size(64 << 20),
        }
    }
}

/// Logs, on stderr.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Which events, as `tracing` filters say it: `info`, `warn,tagma_node=debug`.
    pub filter: String,
    /// How they are written.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// The smallest frame of the votes lane: a STATUS with a full window must fit.
const MIN_VOTE_FRAME: usize = 64 << 10;
/// Bytes of one sequence number in a STATUS, rounded up.
const SLOT_BYTES: u64 = 48;

impl Config {
    /// What no single value shows: relations, ranges, addresses.
    ///
    /// # Errors
    /// The first setting that makes no sense.
    pub fn check(&self, genesis: &Genesis) -> Result<(), ConfigError> {
        let consensus = &self.consensus;
        let positive = [
            ("consensus.request_timeout", consensus.request_timeout),
            ("consensus.status_interval", consensus.status_interval),
            ("consensus.idle_status_interval", consensus.idle_status_interval),
            ("consensus.fetch_timeout", consensus.fetch_timeout),
        ];
        for (key, span) in positive {
            if span.0.is_zero() {
                return Err(ConfigError::value(key, "must be longer than zero"));
            }
        }
        if consensus.view_change_timeout_max.0 < consensus.request_timeout.0 {
            return Err(ConfigError::value(
                "consensus.view_change_timeout_max",
                "must not be shorter than consensus.request_timeout",
            ));
        }
        if consensus.max_in_flight == 0 {
            return Err(ConfigError::value("consensus.max_in_flight", "must not be zero"));
        }
        if consensus.forward_room == 0 || consensus.fetch_blocks == 0 {
            let key = if consensus.forward_room == 0 {
                "forward_room"
            } else {
                "fetch_blocks"
            };
            return Err(ConfigError::value(format!("consensus.{key}"), "must not be zero"));
        }
        if self.clients.max_connections == 0 || self.clients.max_connections_per_source == 0 {
            return Err(ConfigError::value("clients.max_connections", "must not be zero"));
        }
        if self.storage.block_cache.0 < 1 << 20 || self.storage.write_buffers.0 < 4 << 20 {
            return Err(ConfigError::value(
                "storage",
                "block_cache must be 1MiB or more, write_buffers 4MiB or more",
            ));
        }
        if self.transcript.max_bytes.0 < 64 << 10 {
            return Err(ConfigError::value(
                "transcript.max_bytes",
                "must be 64KiB or more",
            ));
        }
        for key in self.network.peer_addresses.keys() {
            if key.parse().ok().and_then(|id| genesis.replica(id)).is_none() {
                return Err(ConfigError::value(
                    format!("network.peer_addresses.{key}"),
                    "there is no replica of this number in genesis",
                ));
            }
        }
        Ok(())
    }

    fn listen(&self, key: &str, value: &str, genesis: &str) -> Result<SocketAddr, ConfigError> {
        let text = if value == FROM_GENESIS { genesis } else { value };
        text.parse().map_err(|_| {
            ConfigError::value(
                format!("network.{key}"),
                format!("{text:?} is neither `genesis` nor an ip:port"),
            )
        })
    }

    /// The mesh's socket.
    ///
    /// # Errors
    /// If the address is none.
    pub fn peers(&self, genesis: &Genesis, me: &GenesisReplica) -> Result<PeerConfig, ConfigError> {
        let listen = self.listen("peer_listen", &self.network.peer_listen, &me.peer_address)?;
        let mut config = PeerConfig::new(listen);
        let message = usize::try_from(tagma_ledger::genesis::MAX_MESSAGE_BYTES).unwrap_or(usize::MAX);
        config.bulk.max_frame = message;
        let status = genesis.parameters.window.saturating_mul(SLOT_BYTES);
        let status = usize::try_from(status).unwrap_or(usize::MAX).saturating_add(4096);
        config.votes.max_frame = status.clamp(MIN_VOTE_FRAME, message);
        config.votes.queue_bytes = config.votes.queue_bytes.max(2 * config.votes.max_frame);
        config.votes.inbound_bytes = config.votes.inbound_bytes.max(2 * config.votes.max_frame);
        Ok(config)
    }

    /// The client socket.
    ///
    /// # Errors
    /// If the address is none.
    pub fn client_listener(&self, me: &GenesisReplica) -> Result<ClientListenerConfig, ConfigError> {
        let listen = self.listen("client_listen", &self.network.client_listen, &me.client_address)?;
        let mut config = ClientListenerConfig::new(listen);
        config.frames.max_frame = MAX_CLIENT_FRAME;
        config.max_reply = MAX_ANSWER_FRAME;
        config.frames.queue_bytes = config.frames.queue_bytes.max(2 * MAX_ANSWER_FRAME);
        config.accept.max_total = self.clients.max_connections;
        config.accept.max_per_source = self.clients.max_connections_per_source;
        config.idle_timeout = self.clients.idle_timeout.0;
        Ok(config)
    }

    /// Where HTTP listens.
    ///
    /// # Errors
    /// If the address is none.
    pub fn http(&self, me: &GenesisReplica) -> Result<SocketAddr, ConfigError> {
        self.listen("http_listen", &self.network.http_listen, &me.http_address)
    }

    /// Where the other replicas are.
    ///
    /// # Errors
    /// If an address of genesis is none, which a valid genesis excludes.
    pub fn peer_infos(&self, genesis: &Genesis) -> Result<Vec<PeerInfo>, ConfigError> {
        let info = |replica: &GenesisReplica| {
            let key = replica.id.to_string();
            let address = match self.network.peer_addresses.get(&key) {
                Some(address) => *address,
                None => self.listen("peer_addresses", FROM_GENESIS, &replica.peer_address)?,
            };
            Ok(PeerInfo {
                id: u32::from(ReplicaId::new(replica.id).get()),
                address,
                network_key: replica.network_key,
            })
        };
        genesis.replicas.iter().map(info).collect()
    }

    /// The database's settings.
    pub fn database(&self) -> StorageConfig {
        StorageConfig {
            block_cache: self.storage.block_cache.0,
            write_buffers: self.storage.write_buffers.0,
        }
    }
}
