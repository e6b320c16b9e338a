//! Where the ledger's records lie, and how their keys and values are written.

use crate::batch::Request;
use crate::block::BlockHeader;
use crate::outcome::Receipt;
use crate::partition_tree::Place;
use crate::store::{StoreError, Table};
use serde::Serialize;
use tagma_crypto::encode::{Decode, Encode, List, MAX_INPUT, decode};
use tagma_crypto::{Digest, PublicKey};

/// Height (u64, big endian) → [`BlockHeader`]. Never collected.
pub const HEADERS: Table = Table("headers");
/// Height (u64, big endian) → requests and receipts of the block. Old ones may be pruned.
pub const BODIES: Table = Table("bodies");
/// Height (u64, big endian) → the block's commit certificate, as the protocol encodes it. Never collected.
pub const CERTIFICATES: Table = Table("certificates");
/// Request digest → where the request was *executed*. Occurrences without effect are not indexed.
pub const TRANSACTIONS: Table = Table("transactions");
/// Bucket (u32, big endian) ‖ key → [`crate::Account`], as of the height in [`META`].
pub const ACCOUNTS: Table = Table("accounts");
/// Bucket (u32, big endian) ‖ part (u64, big endian) → a checked part of a state being fetched.
pub const STAGING: Table = Table("staging");
/// Single records by name.
pub const META: Table = Table("ledger_meta");

/// Every table of the ledger, for stores that must declare them when they are opened.
pub const TABLES: [Table; 7] = [
    HEADERS,
    BODIES,
    CERTIFICATES,
    TRANSACTIONS,
    ACCOUNTS,
    STAGING,
    META,
];

/// In [`META`]: the chain id the store was made for.
pub(super) const CHAIN: &[u8] = b"chain";
/// In [`META`]: the height of the state in [`ACCOUNTS`].
pub(super) const STATE_HEIGHT: &[u8] = b"state_height";
/// In [`META`]: the height of the last state that was taken over from others. Some blocks below never were here.
pub(super) const TAKEN_OVER: &[u8] = b"taken_over";
/// In [`META`]: which state [`STAGING`] is filled for.
pub(super) const STAGING_TARGET: &[u8] = b"staging_target";

/// A block without its header.
#[derive(Clone, Debug, PartialEq, Eq, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub(super) struct Body {
    pub(super) proposed_time_ms: u64,
    pub(super) requests: List<Request>,
    pub(super) receipts: List<Receipt>,
}

/// Where a request was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct Location {
    /// The height of the block.
    pub height: u64,
    /// The request's position in the block's batch, from 0.
    pub position: u32,
}

pub(super) fn height_key(height: u64) -> [u8; 8] {
    height.to_be_bytes()
}

pub(super) fn account_key(place: &Place) -> Vec<u8> {
    let mut key = place.bucket.to_be_bytes().to_vec();
    key.extend_from_slice(place.key.as_bytes());
    key
}

/// The account's key in a key of [`ACCOUNTS`], if it has the right form.
pub(super) fn account_of_key(key: &[u8]) -> Option<Place> {
    let (bucket, key) = key.split_first_chunk::<4>()?;
    let key = PublicKey::from_bytes(key.try_into().ok()?);
    Some(Place {
        bucket: u32::from_be_bytes(*bucket),
        key,
    })
}

pub(super) fn part_key(bucket: u32, part: u64) -> Vec<u8> {
    let mut key = bucket.to_be_bytes().to_vec();
    key.extend_from_slice(&part.to_be_bytes());
    key
}

/// The first key of a bucket in [`ACCOUNTS`] or [`STAGING`]; that of the bucket after it ends the bucket.
pub(super) fn bucket_key(bucket: u32) -> [u8; 4] {
    bucket.to_be_bytes()
}

pub(super) fn corrupt(table: Table, key: &[u8], why: impl ToString) -> StoreError {
    StoreError::Corrupt {
        table,
        key: key.to_vec(),
        why: why.to_string(),
    }
}

pub(super) fn missing(table: Table, key: &[u8]) -> StoreError {
    StoreError::Missing {
        table,
        key: key.to_vec(),
    }
}

/// Decodes a record, naming it if it is damaged.
pub(super) fn read<T: Decode<()>>(table: Table, key: &[u8], value: &[u8]) -> Result<T, StoreError> {
    decode(value, MAX_INPUT).map_err(|error| corrupt(table, key, error))
}

/// Decodes a header and checks that it lies under its own height.
pub(super) fn read_header(key: &[u8], value: &[u8]) -> Result<BlockHeader, StoreError> {
    let header: BlockHeader = read(HEADERS, key, value)?;
    if height_key(header.height) == *key {
        Ok(header)
    } else {
        Err(corrupt(
            HEADERS,
            key,
            format!("it is the header of height {}", header.height),
        ))
    }
}

/// Decodes the chain id of [`META`].
pub(super) fn read_chain(value: &[u8]) -> Result<Digest, StoreError> {
    read(META, CHAIN, value)
}
