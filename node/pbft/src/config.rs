//! What a replica is told at start and never changes.

use core::time::Duration;

use tagma_crypto::SecretKey;

use crate::certificate::KeyRing;
use crate::types::{ReplicaId, SeqNum};

/// Parameters fixed by genesis: all replicas must have the same, or they would judge messages differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// K: a checkpoint every so many sequence numbers.
    pub checkpoint_interval: u64,
    /// L = 2K or more: sequence numbers in flight between the water marks.
    pub window: u64,
    /// Most requests in a batch.
    pub max_batch_requests: usize,
    /// Most bytes in a batch.
    pub max_batch_bytes: usize,
    /// How far ahead of the local wall clock a proposed time may lie, milliseconds.
    pub max_clock_drift_ms: u64,
}

impl Parameters {
    /// Whether block `seq` is a checkpoint.
    pub const fn is_checkpoint(&self, seq: SeqNum) -> bool {
        seq.get().is_multiple_of(self.checkpoint_interval)
    }
}

/// Parameters of this replica alone: they decide how fast things move, never what is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// How long a batch may wait for company while others are in flight. Longer makes larger batches where the processor is the limit, for each
    /// costs the same whatever is in it; shorter answers sooner where round trips are long.
    pub batch_max_delay: Duration,
    /// Most batches proposed and not yet executed; at most the window.
    pub max_in_flight: u64,
    /// T: how long the oldest pending request may wait before the view is left.
    pub request_timeout: Duration,
    /// The largest T·2^k.
    pub view_change_timeout_max: Duration,
    /// How often STATUS goes out while something does not progress.
    pub status_interval: Duration,
    /// How often STATUS goes out while nothing is wanted.
    pub idle_status_interval: Duration,
    /// How long a peer that was asked for a body or for blocks has before another is asked.
    pub fetch_timeout: Duration,
    /// How many pending requests a backup forwards and times at once; the primary keeps as much room for each backup.
    pub forward_room: usize,
    /// Most blocks asked for at once.
    pub fetch_blocks: u32,
    /// Whether a batch is left to the primary and 2f backups while all goes well: the other f, who take turns, execute it by their COMMITs.
    /// That saves work; where replicas are far from each other it costs time, as agreement no longer goes on with the fastest 2f + 1.
    /// Those backups also share out the checking of a batch's requests ([`Duty`](crate::Duty)). Otherwise every backup takes part in
    /// everything and checks all of it, as in the paper.
    pub standby: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            batch_max_delay: Duration::from_millis(200),
            max_in_flight: 64,
            request_timeout: Duration::from_secs(2),
            view_change_timeout_max: Duration::from_secs(60),
            status_interval: Duration::from_millis(250),
            idle_status_interval: Duration::from_secs(5),
            fetch_timeout: Duration::from_secs(1),
            forward_room: 256,
            fetch_blocks: 64,
            standby: true,
        }
    }
}

/// Everything a replica is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// This replica.
    pub id: ReplicaId,
    /// Its vote key; its public half is `ring.keys[id]`.
    pub key: SecretKey,
    /// Everybody's vote keys, the chain id and the quorum sizes.
    pub ring: KeyRing,
    /// Fixed by genesis.
    pub parameters: Parameters,
    /// This replica's own.
    pub tuning: Tuning,
}
