//! The numbers every replica must agree on from the start.

use super::GenesisError;
use crate::batch::Request;
use serde::{Deserialize, Serialize};
use tagma_crypto::encode::{Decode, Encode};

/// The most bytes one message between replicas may have. Frames above it close the connection, so everything the
/// protocol ever sends must fit, with the largest NEW-VIEW taking at most half of it (protocol.md §5).
pub const MAX_MESSAGE_BYTES: u64 = 32 << 20;

/// What a signed vote takes inside a certificate, rounded up: kind, view, sequence number, digest, signer, signature.
const VOTE_BYTES: u64 = 128;

/// Room for what travels around a batch: the message's own fields, and a length for each request.
const BATCH_OVERHEAD_BYTES: u64 = 1 << 20;

/// What a request takes in a batch beside its content: the length of the content, and the signature.
pub const REQUEST_OVERHEAD_BYTES: u64 = Request::OVERHEAD as u64;

/// The protocol parameters of a chain; hashed into its id, so no two replicas of a chain can differ in one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
#[serde(default, deny_unknown_fields)]
pub struct Parameters {
    /// K: blocks between two checkpoints.
    pub checkpoint_interval: u64,
    /// L: how far sequence numbers may run ahead of the stable checkpoint; a multiple of K, at least 2K.
    pub window: u64,
    /// The most requests in a batch.
    pub max_batch_requests: u32,
    /// The most bytes of all requests of a batch together, each counted with [`REQUEST_OVERHEAD_BYTES`].
    pub max_batch_bytes: u64,
    /// The most bytes of one request's content.
    pub max_request_bytes: u64,
    /// W: how many nonces from the next one on a replica queues for an account, and how many of its last outcomes
    /// the state keeps.
    pub lookahead: u32,
    /// The number of buckets of the state's partition tree; a power of two.
    pub bucket_count: u32,
    /// How far ahead of a backup's clock a proposed time may be, in milliseconds.
    pub max_clock_drift_ms: u64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            checkpoint_interval: 128,
            window: 256,
            max_batch_requests: 4096,
            max_batch_bytes: 1 << 20,
            max_request_bytes: 1 << 10,
            lookahead: 32,
            bucket_count: 256,
            max_clock_drift_ms: 10_000,
        }
    }
}

impl Parameters {
    /// Checks every bound, alone and against each other, for `replicas` = N = 3f + 1 replicas.
    ///
    /// # Errors
    /// [`GenesisError::Parameter`] naming the first parameter that is out of bounds.
    pub fn validate(&self, replicas: u64) -> Result<(), GenesisError> {
        within("checkpoint_interval", self.checkpoint_interval, 1, 1 << 16)?;
        within(
            "window",
            self.window,
            self.checkpoint_interval.saturating_mul(2),
            1 << 17,
        )?;
        if !self.window.is_multiple_of(self.checkpoint_interval) {
            return Err(bad(
                "window",
                self.window,
                "a multiple of checkpoint_interval".to_owned(),
            ));
        }
        within("max_request_bytes", self.max_request_bytes, 256, 1 << 20)?;
        within(
            "max_batch_requests",
            u64::from(self.max_batch_requests),
            1,
            1 << 16,
        )?;
        let one_request = self.max_request_bytes.saturating_add(REQUEST_OVERHEAD_BYTES);
        within(
            "max_batch_bytes",
            self.max_batch_bytes,
            one_request,
            MAX_MESSAGE_BYTES - BATCH_OVERHEAD_BYTES,
        )?;
        within("lookahead", u64::from(self.lookahead), 1, 1 << 10)?;
        within("bucket_count", u64::from(self.bucket_count), 1, 1 << 16)?;
        if !self.bucket_count.is_power_of_two() {
            return Err(bad(
                "bucket_count",
                u64::from(self.bucket_count),
                "a power of two".to_owned(),
            ));
        }
        within("max_clock_drift_ms", self.max_clock_drift_ms, 1, 3_600_000)?;
        let new_view = Self::new_view_bytes(replicas, self.window);
        if new_view > MAX_MESSAGE_BYTES / 2 {
            return Err(bad(
                "window",
                self.window,
                format!(
                    "small enough that a NEW-VIEW of {replicas} replicas ({new_view} bytes) takes at most half of a \
                     message ({} bytes)",
                    MAX_MESSAGE_BYTES / 2
                ),
            ));
        }
        Ok(())
    }

    /// An upper bound of a NEW-VIEW's size: a quorum of VIEW-CHANGEs, each with a stable certificate and a prepared
    /// certificate for every sequence number of the window, and a signed entry of O for each.
    fn new_view_bytes(replicas: u64, window: u64) -> u64 {
        let f = replicas.saturating_sub(1) / 3;
        let quorum = f.saturating_mul(2).saturating_add(1);
        // A prepared certificate holds the primary's signature and 2f PREPAREs: as many votes as a quorum.
        let votes_of_one = quorum.saturating_mul(window.saturating_add(1));
        let votes = quorum.saturating_mul(votes_of_one).saturating_add(window);
        votes.saturating_mul(VOTE_BYTES)
    }
}

fn within(name: &'static str, value: u64, min: u64, max: u64) -> Result<(), GenesisError> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(bad(name, value, format!("from {min} to {max}")))
    }
}

fn bad(name: &'static str, value: u64, expected: String) -> GenesisError {
    GenesisError::Parameter {
        name,
        value,
        expected,
    }
}
