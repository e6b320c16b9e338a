//! A state on its way in: checked parts are put aside as they arrive, and switched in by one atomic write
//! (protocol.md §3). A crash in between loses at most the parts that were not synced; the accounts in use are those of
//! one height all the time.

use super::LedgerStore;
use super::tables::{
    ACCOUNTS, HEADERS, META, STAGING, STAGING_TARGET, STATE_HEIGHT, TAKEN_OVER, account_key, bucket_key,
    corrupt, height_key, part_key, read,
};
use crate::account::AccountEntry;
use crate::block::BlockHeader;
use crate::partition_tree::{BucketSummary, root_of};
use crate::snapshot::{BucketPart, PartError, Snapshot};
use crate::state::State;
use crate::store::{Store, StoreError, WriteBatch};
use std::collections::BTreeSet;
use tagma_crypto::encode::{Decode, Encode, List, encode};

/// The state that is being fetched.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct StagingTarget {
    /// Its header, which a stable certificate names.
    pub header: BlockHeader,
    /// The summaries of all buckets, in order.
    pub summaries: List<BucketSummary>,
}

impl StagingTarget {
    /// Joins a certified header with the summaries a source gave; `None` if they are not those of its state root: then the
    /// source is to blame.
    #[must_use]
    pub fn new(header: BlockHeader, summaries: Vec<BucketSummary>) -> Option<Self> {
        (header.state_root == Some(root_of(&summaries))).then(|| Self {
            header,
            summaries: summaries.into(),
        })
    }

    /// The number of buckets.
    #[must_use]
    pub fn buckets(&self) -> u32 {
        u32::try_from(self.summaries.len()).unwrap_or(u32::MAX)
    }

    /// Checks a part that a source gave.
    ///
    /// # Errors
    /// What does not fit; the source is to blame.
    pub fn check(&self, part: &BucketPart) -> Result<(), PartError> {
        let summary = self
            .summaries
            .get(part.bucket as usize)
            .ok_or(PartError::NoSuchPart { parts: 0 })?;
        part.verify(summary, self.buckets())
    }

    /// The buckets that differ from those of `base`, ascending, each with the summary it must have.
    pub fn differing(&self, base: &Snapshot) -> impl Iterator<Item = (u32, &BucketSummary)> {
        let buckets = base.tree().differing(&self.summaries);
        buckets
            .into_iter()
            .filter_map(|bucket| Some((bucket, self.summaries.get(bucket as usize)?)))
    }
}

impl<S: Store> LedgerStore<S> {
    /// What begins fetching `target`; parts of an earlier target are dropped.
    #[must_use]
    pub fn begin_staging(&self, target: &StagingTarget) -> WriteBatch {
        let mut batch = clear_staging();
        batch.put(META, STAGING_TARGET, encode(target));
        batch
    }

    /// What puts a part aside that [`StagingTarget::check`] has accepted.
    #[must_use]
    pub fn stage_part(&self, part: &BucketPart) -> WriteBatch {
        let mut batch = WriteBatch::new();
        batch.put(STAGING, part_key(part.bucket, part.part), encode(part));
        batch
    }

    /// The state being fetched, if there is one: a restart resumes it.
    ///
    /// # Errors
    /// If the store fails or the record is damaged.
    pub fn staging_target(&self) -> Result<Option<StagingTarget>, StoreError> {
        self.store
            .get(META, STAGING_TARGET)?
            .map(|value| read(META, STAGING_TARGET, &value))
            .transpose()
    }

    /// The parts (bucket, part) of `target` that are neither in `base` nor put aside, ascending.
    ///
    /// # Errors
    /// If the store fails.
    pub fn missing_parts(
        &self,
        target: &StagingTarget,
        base: &Snapshot,
    ) -> Result<Vec<(u32, u64)>, StoreError> {
        let mut missing = Vec::new();
        for (bucket, summary) in target.differing(base) {
            for part in 0..BucketPart::parts_of(summary) {
                if self.store.get(STAGING, &part_key(bucket, part))?.is_none() {
                    missing.push((bucket, part));
                }
            }
        }
        Ok(missing)
    }

    /// Assembles the state once no part is missing, and gives it together with the one write that switches it in: its header, the
    /// accounts of the differing buckets, the state's height ([`LedgerStore::taken_over`] from then on), and an empty staging area. `None`
    /// if parts are missing still.
    ///
    /// # Errors
    /// If the store fails, or a part that was put aside is damaged.
    pub fn finish_staging(
        &self,
        target: &StagingTarget,
        base: &Snapshot,
    ) -> Result<Option<(Snapshot, WriteBatch)>, StoreError> {
        let mut batch = clear_staging();
        let mut fetched: Vec<AccountEntry> = Vec::new();
        let mut differing = BTreeSet::new();
        for (bucket, summary) in target.differing(base) {
            differing.insert(bucket);
            batch.delete_range(ACCOUNTS, bucket_key(bucket), bucket_key(bucket.saturating_add(1)));
            for index in 0..BucketPart::parts_of(summary) {
                let key = part_key(bucket, index);
                let Some(value) = self.store.get(STAGING, &key)? else {
                    return Ok(None);
                };
                let part: BucketPart = read(STAGING, &key, &value)?;
                target
                    .check(&part)
                    .map_err(|error| corrupt(STAGING, &key, error))?;
                fetched.extend(part.entries);
            }
        }
        let buckets = target.buckets();
        let kept = (0..buckets).filter(|bucket| !differing.contains(bucket));
        let entries = kept
            .flat_map(|bucket| base.state().bucket(bucket))
            .chain(fetched.iter().cloned());
        let state = State::from_entries(entries, buckets);
        for entry in &fetched {
            batch.put(
                ACCOUNTS,
                account_key(&state.place(entry.key)),
                encode(&entry.account),
            );
        }
        batch.put(HEADERS, height_key(target.header.height), encode(&target.header));
        batch.put(META, STATE_HEIGHT, encode(&target.header.height));
        batch.put(META, TAKEN_OVER, encode(&target.header.height));
        let snapshot = Snapshot::new(target.header.clone(), state)
            .ok_or_else(|| corrupt(STAGING, &[], "the parts put aside do not give the state root"))?;
        Ok(Some((snapshot, batch)))
    }
}

fn clear_staging() -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.delete(META, STAGING_TARGET);
    // Bucket numbers are u32: no key of the table is above nine bytes of 0xff.
    batch.delete_range(STAGING, Vec::new(), vec![0xff; 16]);
    batch
}
