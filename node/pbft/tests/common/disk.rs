//! A disk that holds what was synced: tables of keys and values, as any store keeps them.

use std::collections::BTreeMap;

use tagma_crypto::Digest;
use tagma_pbft::Replica;
use tagma_pbft::record::{Change, Record, Recovered};

/// The tables of one replica.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    tables: BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Disk {
    /// A store that has never voted and says so.
    pub(crate) fn fresh() -> Self {
        let mut disk = Self::default();
        disk.write(&Replica::genesis_records());
        disk
    }

    /// A store that was lost.
    pub(crate) fn wiped() -> Self {
        Self::default()
    }

    pub(crate) fn write(&mut self, records: &[Record]) {
        for change in records.iter().flat_map(Record::changes) {
            match change {
                Change::Put(table, key, value) => {
                    self.tables.entry(table).or_default().insert(key, value);
                }
                Change::Delete(table, key) => {
                    self.tables.entry(table).or_default().remove(&key);
                }
                Change::DeleteBelow(table, key) => {
                    let table = self.tables.entry(table).or_default();
                    *table = table.split_off(&key);
                }
            }
        }
    }

    pub(crate) fn recover(&self, chain: &Digest) -> Recovered {
        let mut recovered = Recovered::default();
        for (table, entries) in &self.tables {
            for (key, value) in entries {
                recovered.load(chain, table, key, value).unwrap();
            }
        }
        recovered
    }
}
