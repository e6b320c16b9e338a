//! From what is on disk to a replica's state, trusting no record that does not check out.

use super::LedgerStore;
use super::tables::{
    ACCOUNTS, BODIES, CERTIFICATES, HEADERS, account_of_key, corrupt, height_key, missing, read,
};
use crate::account::AccountEntry;
use crate::batch::{Batch, digests_of};
use crate::block::{Block, BlockHeader, verify_link};
use crate::execute::{Checkpoint, ExecContext, execute};
use crate::genesis::Genesis;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::store::{Store, StoreError};
use std::collections::BTreeSet;

/// How many records are read from the store at a time, so that no scan holds a whole table twice.
const SCAN: usize = 1024;

/// What a replica resumes from.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The highest header.
    pub tip: BlockHeader,
    /// The state at the tip.
    pub state: State,
    /// The last checkpoint at or below the tip.
    pub snapshot: Snapshot,
    /// If that checkpoint is above where the replay began, what has to be written to bring the accounts there.
    pub unwritten: Option<Checkpoint>,
}

impl<S: Store> LedgerStore<S> {
    /// The accounts on disk with their header, checked against its state root.
    ///
    /// # Errors
    /// If the store fails, a record is missing or damaged, or the accounts do not give the root.
    pub fn load_state(&self) -> Result<Snapshot, StoreError> {
        let height = self.state_height()?;
        let key = height_key(height);
        let header = self.header(height)?.ok_or_else(|| missing(HEADERS, &key))?;
        let state = State::from_entries(self.accounts()?, self.parameters.bucket_count);
        let root = state.root();
        Snapshot::new(header, state).ok_or_else(|| {
            corrupt(
                ACCOUNTS,
                &[],
                format!("the accounts give {root}, not the root of height {height}"),
            )
        })
    }

    fn accounts(&self) -> Result<Vec<AccountEntry>, StoreError> {
        let mut entries = Vec::new();
        let mut from = Vec::new();
        loop {
            let pairs = self.store.range(ACCOUNTS, &from, None, SCAN, false)?;
            let Some((last, _)) = pairs.last() else {
                return Ok(entries);
            };
            from.clone_from(last);
            // The least key above the last one read.
            from.push(0);
            for (key, value) in &pairs {
                let place = account_of_key(key).ok_or_else(|| corrupt(ACCOUNTS, key, "no account key"))?;
                entries.push(AccountEntry {
                    key: place.key,
                    account: read(ACCOUNTS, key, value)?,
                });
            }
        }
    }

    /// Rebuilds the state at the tip: loads the accounts on disk, then executes every block above them again and holds
    /// the result against the stored header and receipts. After a state transfer the chain may have a gap
    /// below the accounts' height; it does not matter here.
    ///
    /// # Errors
    /// If the store fails, a record is missing or damaged, or a block does not give what it gave before.
    pub fn recover(&self) -> Result<Recovered, StoreError> {
        self.replay_above(self.load_state()?)
    }

    /// Executes the whole chain again from genesis, and holds the result against every stored header and receipt. The
    /// accounts on disk are not looked at.
    ///
    /// # Errors
    /// As for [`LedgerStore::recover`]; in particular if bodies were pruned.
    ///
    /// # Panics
    /// If `genesis` is not that of this ledger.
    pub fn replay_from_genesis(&self, genesis: &Genesis) -> Result<Recovered, StoreError> {
        assert!(
            genesis.chain_id() == self.chain,
            "a ledger is replayed from its own genesis"
        );
        let (state, header) = genesis.start();
        let stored = self.header(0)?.ok_or_else(|| missing(HEADERS, &height_key(0)))?;
        let snapshot = Snapshot::new(header, state).filter(|snapshot| *snapshot.header() == stored);
        self.replay_above(
            snapshot.ok_or_else(|| corrupt(HEADERS, &height_key(0), "it is not the genesis header"))?,
        )
    }

    fn replay_above(&self, mut snapshot: Snapshot) -> Result<Recovered, StoreError> {
        let top = self.tip()?.map_or(0, |header| header.height);
        let mut tip = snapshot.header().clone();
        let mut state = snapshot.state().clone();
        let mut touched = BTreeSet::new();
        let mut unwritten = false;
        for height in tip.height.saturating_add(1)..=top {
            let block = self
                .block(height)?
                .ok_or_else(|| missing(BODIES, &height_key(height)))?;
            let (next, checkpoint) = self.replay(&state, &tip, &block)?;
            if let Some(checkpoint) = checkpoint {
                touched.extend(checkpoint.touched);
                snapshot = checkpoint.snapshot;
                unwritten = true;
            }
            state = next;
            tip = block.header;
        }
        let unwritten = unwritten.then(|| Checkpoint {
            snapshot: snapshot.clone(),
            touched: touched.into_iter().collect(),
        });
        Ok(Recovered {
            tip,
            state,
            snapshot,
            unwritten,
        })
    }

    /// Executes a stored block again.
    fn replay(
        &self,
        state: &State,
        parent: &BlockHeader,
        block: &Block,
    ) -> Result<(State, Option<Checkpoint>), StoreError> {
        let height = block.header.height;
        let key = height_key(height);
        self.verify_block(parent, block)?;
        let context = ExecContext {
            chain: self.chain,
            parameters: &self.parameters,
        };
        let batch = Batch {
            height,
            digest: block.header.batch,
            time_ms: block.proposed_time_ms,
            requests: &block.requests,
            request_digests: &digests_of(&self.chain, &block.requests),
        };
        let executed = execute(state, &context, parent, &batch);
        if executed.receipts != *block.receipts {
            return Err(corrupt(
                BODIES,
                &key,
                "executing the block again gives other receipts",
            ));
        }
        if executed.header != block.header {
            return Err(corrupt(
                HEADERS,
                &key,
                "executing the block again gives another header",
            ));
        }
        Ok((executed.state, executed.checkpoint))
    }

    fn verify_block(&self, parent: &BlockHeader, block: &Block) -> Result<(), StoreError> {
        let key = height_key(block.header.height);
        verify_link(parent, &block.header, self.parameters.checkpoint_interval)
            .map_err(|error| corrupt(HEADERS, &key, error))?;
        block
            .verify_body(&self.chain, parent)
            .map_err(|error| corrupt(BODIES, &key, error))
    }

    /// Checks the stored chain from height `from` to height `to`, both included: every header follows the one below it, every
    /// body that was not pruned is its header's, and every block's certificate passes `check_certificate` (given
    /// header and certificate, it says what is wrong). The header of `from` itself is taken as given, unless it is 0.
    ///
    /// # Errors
    /// If the store fails, or the first record that is missing or does not check out.
    pub fn verify_chain(
        &self,
        from: u64,
        to: u64,
        mut check_certificate: impl FnMut(&BlockHeader, &[u8]) -> Result<(), String>,
    ) -> Result<(), StoreError> {
        let header_at = |height: u64| {
            self.header(height)?
                .ok_or_else(|| missing(HEADERS, &height_key(height)))
        };
        let mut parent = header_at(from)?;
        if from == 0 && parent.parent != self.chain {
            return Err(corrupt(
                HEADERS,
                &height_key(0),
                "header 0 belongs to another chain",
            ));
        }
        for height in from.saturating_add(1)..=to {
            let key = height_key(height);
            let header = header_at(height)?;
            match self.block(height)? {
                Some(block) => self.verify_block(&parent, &block)?,
                None => verify_link(&parent, &header, self.parameters.checkpoint_interval)
                    .map_err(|error| corrupt(HEADERS, &key, error))?,
            }
            let certificate = self
                .certificate(height)?
                .ok_or_else(|| missing(CERTIFICATES, &key))?;
            check_certificate(&header, &certificate).map_err(|why| corrupt(CERTIFICATES, &key, why))?;
            parent = header;
        }
        Ok(())
    }
}
