//! Blocks and state on a [`Store`], as typed records.
//!
//! What changes the store is handed out as a [`WriteBatch`], so that the node can write it together with the
//! protocol's own records (protocol.md §2): a block, its receipts and its commit certificate in one batch at every
//! height, the changed accounts in one batch at every checkpoint. The accounts on disk are therefore always those of
//! one height, the last written checkpoint; [`LedgerStore::recover`] replays the blocks above it.

mod recovery;
mod staging;
mod tables;

pub use recovery::Recovered;
pub use staging::StagingTarget;
pub use tables::{ACCOUNTS, BODIES, CERTIFICATES, HEADERS, Location, META, STAGING, TABLES, TRANSACTIONS};

use crate::account::Account;
use crate::block::{Block, BlockHeader, BlockParts};
use crate::execute::Checkpoint;
use crate::genesis::{Genesis, Parameters};
use crate::state::State;
use crate::store::{Store, StoreError, WriteBatch};
use tables::{
    Body, CHAIN, STATE_HEIGHT, TAKEN_OVER, account_key, height_key, missing, read, read_chain, read_header,
};
use tagma_crypto::Digest;
use tagma_crypto::encode::{Blob, encode};

/// The ledger's records in a store.
#[derive(Clone, Debug)]
pub struct LedgerStore<S> {
    store: S,
    chain: Digest,
    parameters: Parameters,
}

impl<S: Store> LedgerStore<S> {
    /// The ledger of this genesis in `store`. Reads nothing yet: see [`LedgerStore::chain`] for whether the store was
    /// made for it.
    pub fn new(store: S, genesis: &Genesis) -> Self {
        Self {
            store,
            chain: genesis.chain_id(),
            parameters: genesis.parameters.clone(),
        }
    }

    /// The store below.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// What makes an empty store one of this genesis: header 0, its accounts, and the chain id.
    #[must_use]
    pub fn init_writes(&self, genesis: &Genesis) -> WriteBatch {
        let (state, header) = genesis.start();
        let mut batch = WriteBatch::new();
        batch.put(META, CHAIN, encode(&genesis.chain_id()));
        put_header(&mut batch, &header);
        for (key, account) in state.iter() {
            put_account(&mut batch, &state, *key, account);
        }
        batch.put(META, STATE_HEIGHT, encode(&0u64));
        batch
    }

    /// The chain id the store was made for; `None` in a store without a ledger.
    ///
    /// # Errors
    /// If the store fails or the record is damaged.
    pub fn chain(&self) -> Result<Option<Digest>, StoreError> {
        self.store
            .get(META, CHAIN)?
            .map(|value| read_chain(&value))
            .transpose()
    }

    /// What adds a block with its receipts, its commit certificate (opaque here), and where its executed requests are
    /// found.
    #[must_use]
    pub fn append_block<'a>(&self, block: impl Into<BlockParts<'a>>, certificate: &Blob) -> WriteBatch {
        let block = block.into();
        let key = height_key(block.header.height);
        // A [`Body`], without a copy of all that is in it.
        let body = (block.proposed_time_ms, block.requests, block.receipts);
        let mut batch = WriteBatch::new();
        put_header(&mut batch, block.header);
        batch.put(BODIES, key, encode(&body));
        batch.put(CERTIFICATES, key, &**certificate);
        let height = block.header.height;
        let mut locations: Vec<(Digest, Location)> = (0u32..)
            .zip(block.receipts)
            .filter_map(|(position, receipt)| {
                let request = receipt.executed()?.request;
                Some((request, Location { height, position }))
            })
            .collect();
        // A sorted table takes keys faster in their order.
        locations.sort_unstable_by_key(|(request, _)| *request);
        for (request, location) in locations {
            batch.put(TRANSACTIONS, *request.as_bytes(), encode(&location));
        }
        batch
    }

    /// What brings the accounts on disk from the checkpoint before to this one. Checkpoints must be written in
    /// order, none left out.
    #[must_use]
    pub fn checkpoint_writes(&self, checkpoint: &Checkpoint) -> WriteBatch {
        let state = checkpoint.snapshot.state();
        let mut batch = WriteBatch::new();
        for key in &checkpoint.touched {
            if let Some(account) = state.account(key) {
                put_account(&mut batch, state, *key, account);
            }
        }
        batch.put(META, STATE_HEIGHT, encode(&checkpoint.snapshot.height()));
        batch
    }

    /// What drops the bodies of all blocks below `below`, but never one that recovery needs. Headers, certificates and
    /// the index of executed requests stay.
    ///
    /// # Errors
    /// If the store fails or the record of the state's height is damaged or missing.
    pub fn prune_writes(&self, below: u64) -> Result<WriteBatch, StoreError> {
        let needed = self.state_height()?.saturating_add(1);
        let mut batch = WriteBatch::new();
        batch.delete_range(BODIES, height_key(0), height_key(below.min(needed)));
        Ok(batch)
    }

    /// The header of a height; `None` if it is not here.
    ///
    /// # Errors
    /// If the store fails or the record is damaged.
    pub fn header(&self, height: u64) -> Result<Option<BlockHeader>, StoreError> {
        let key = height_key(height);
        self.store
            .get(HEADERS, &key)?
            .map(|value| read_header(&key, &value))
            .transpose()
    }

    /// At most `limit` headers from height `from` on: upwards, or downwards if `reverse`.
    ///
    /// # Errors
    /// If the store fails or a record is damaged.
    pub fn headers(&self, from: u64, limit: usize, reverse: bool) -> Result<Vec<BlockHeader>, StoreError> {
        let pairs = if reverse {
            let above = from.checked_add(1).map(height_key);
            self.store
                .range(HEADERS, &[], above.as_ref().map(<[u8; 8]>::as_slice), limit, true)?
        } else {
            self.store.range(HEADERS, &height_key(from), None, limit, false)?
        };
        pairs.iter().map(|(key, value)| read_header(key, value)).collect()
    }

    /// The highest header; `None` in a store without a ledger.
    ///
    /// # Errors
    /// If the store fails or the record is damaged.
    pub fn tip(&self) -> Result<Option<BlockHeader>, StoreError> {
        Ok(self.headers(u64::MAX, 1, true)?.pop())
    }

    /// The block of a height; `None` if its header or its body is not here. Height 0 has no body.
    ///
    /// # Errors
    /// If the store fails or a record is damaged.
    pub fn block(&self, height: u64) -> Result<Option<Block>, StoreError> {
        let key = height_key(height);
        let Some(header) = self.header(height)? else {
            return Ok(None);
        };
        let Some(value) = self.store.get(BODIES, &key)? else {
            return Ok(None);
        };
        let Body {
            proposed_time_ms,
            requests,
            receipts,
        } = read(BODIES, &key, &value)?;
        Ok(Some(Block {
            header,
            proposed_time_ms,
            requests,
            receipts,
        }))
    }

    /// The commit certificate of a height as it was given; `None` if it is not here.
    ///
    /// # Errors
    /// If the store fails.
    pub fn certificate(&self, height: u64) -> Result<Option<Blob>, StoreError> {
        Ok(self.store.get(CERTIFICATES, &height_key(height))?.map(Blob::from))
    }

    /// Where the request with this digest was executed; `None` if it was not, as far as this store goes: what was executed in blocks
    /// that are not here ([`LedgerStore::taken_over`]) is not known.
    ///
    /// # Errors
    /// If the store fails or the record is damaged.
    pub fn transaction(&self, request: &Digest) -> Result<Option<Location>, StoreError> {
        let key = request.as_bytes();
        self.store
            .get(TRANSACTIONS, key)?
            .map(|value| read(TRANSACTIONS, key, &value))
            .transpose()
    }

    /// The height of the last state that was taken over from others, if one was: blocks were left out below it.
    ///
    /// # Errors
    /// If the store fails or the record is damaged.
    pub fn taken_over(&self) -> Result<Option<u64>, StoreError> {
        self.store
            .get(META, TAKEN_OVER)?
            .map(|value| read(META, TAKEN_OVER, &value))
            .transpose()
    }

    /// The height of the accounts on disk.
    ///
    /// # Errors
    /// If the store fails or the record is damaged or missing.
    pub fn state_height(&self) -> Result<u64, StoreError> {
        let value = self
            .store
            .get(META, STATE_HEIGHT)?
            .ok_or_else(|| missing(META, STATE_HEIGHT))?;
        read(META, STATE_HEIGHT, &value)
    }
}

fn put_header(batch: &mut WriteBatch, header: &BlockHeader) {
    batch.put(HEADERS, height_key(header.height), encode(header));
}

fn put_account(batch: &mut WriteBatch, state: &State, key: tagma_crypto::PublicKey, account: &Account) {
    batch.put(ACCOUNTS, account_key(&state.place(key)), encode(account));
}
