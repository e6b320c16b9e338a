//! The protocol's records in the ledger's store.

use tagma_crypto::Digest;
use tagma_crypto::encode::{MAX_INPUT, decode};
use tagma_ledger::store::{Store, StoreError, Table, WriteBatch};
use tagma_pbft::evidence::Evidence;
use tagma_pbft::record::{Change, EVIDENCE, Record, Recovered, TABLES};

/// How many keys are read at a time.
const SCAN: usize = 1024;

/// The tables the protocol keeps beside the ledger's.
pub fn tables() -> impl Iterator<Item = Table> {
    TABLES.into_iter().map(Table)
}

/// Adds what stores these records.
pub fn add_writes(records: &[Record], batch: &mut WriteBatch) {
    for change in records.iter().flat_map(Record::changes) {
        match change {
            Change::Put(table, key, value) => batch.put(Table(table), key, value),
            Change::Delete(table, key) => batch.delete(Table(table), key),
            Change::DeleteBelow(table, key) => batch.delete_range(Table(table), Vec::new(), key),
        }
    }
}

/// Reads back what the protocol stored.
///
/// # Errors
/// If the store fails or holds what this program did not write.
pub fn load<S: Store>(store: &S, chain: &Digest) -> Result<Recovered, StoreError> {
    let mut recovered = Recovered::default();
    for table in tables() {
        let mut from = Vec::new();
        loop {
            let pairs = store.range(table, &from, None, SCAN, false)?;
            for (key, value) in &pairs {
                recovered
                    .load(chain, table.0, key, value)
                    .map_err(|damage| StoreError::Corrupt {
                        table,
                        key: key.clone(),
                        why: damage.why,
                    })?;
            }
            let Some((last, _)) = pairs.last().filter(|_| pairs.len() == SCAN) else {
                break;
            };
            from.clone_from(last);
            from.push(0);
        }
    }
    Ok(recovered)
}

/// The evidence that a store holds, by culprit and kind; bounded by what the protocol keeps of each.
///
/// # Errors
/// If the store fails or holds what this program did not write.
pub fn evidence<S: Store>(store: &S) -> Result<Vec<Evidence>, StoreError> {
    let table = Table(EVIDENCE);
    let pairs = store.range(table, &[], None, usize::MAX, false)?;
    let decoded = pairs.into_iter().map(|(key, value)| {
        decode(&value, MAX_INPUT).map_err(|error| StoreError::Corrupt {
            table,
            key,
            why: error.to_string(),
        })
    });
    decoded.collect()
}
