//! The level that keeps bytes: tables of sorted keys, atomic batches, and two grades of durability.
//!
//! The ledger's own records ([`crate::ledger_store`]) and the protocol's records (kept by the node) go into the
//! same store, so that one [`WriteBatch`] can hold a block, its receipts, its commit certificate and the votes of
//! the same turn: they reach the disk together or not at all (protocol.md §2, §6).
//!
//! Whatever implements [`Store`] must pass [`contract`].

pub mod contract;
mod memory;

pub use memory::MemoryStore;

use std::fmt;

/// The name of a table (a column family where the store has them). Names are constants of the program, never data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub &'static str);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// One change inside a [`WriteBatch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets `key` to `value`, whatever it was before.
    Put {
        /// The table written to.
        table: Table,
        /// The key, compared as unsigned bytes.
        key: Vec<u8>,
        /// The new value; may be empty.
        value: Vec<u8>,
    },
    /// Removes `key`; removing what is not there is no error.
    Delete {
        /// The table written to.
        table: Table,
        /// The key to remove.
        key: Vec<u8>,
    },
    /// Removes every key `from <= key < to`; an empty or inverted range removes nothing.
    DeleteRange {
        /// The table written to.
        table: Table,
        /// The first key removed.
        from: Vec<u8>,
        /// The first key kept.
        to: Vec<u8>,
    },
}

/// Changes that become visible, and durable, all together and in their order: a later one wins over an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch(pub Vec<Write>);

impl WriteBatch {
    /// A batch that changes nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a [`Write::Put`].
    pub fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.0.push(Write::Put {
            table,
            key: key.into(),
            value: value.into(),
        });
    }

    /// Appends a [`Write::Delete`].
    pub fn delete(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.0.push(Write::Delete {
            table,
            key: key.into(),
        });
    }

    /// Appends a [`Write::DeleteRange`] of `from <= key < to`.
    pub fn delete_range(&mut self, table: Table, from: impl Into<Vec<u8>>, to: impl Into<Vec<u8>>) {
        self.0.push(Write::DeleteRange {
            table,
            from: from.into(),
            to: to.into(),
        });
    }

    /// Appends all changes of `other` behind those already here.
    pub fn append(&mut self, mut other: WriteBatch) {
        self.0.append(&mut other.0);
    }

    /// Whether the batch changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// What a returned [`Store::write`] promises about a power failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Visible to reads; on disk only once a later `Synced` write has returned. A power failure may undo it, but
    /// never without also undoing every later write.
    Buffered,
    /// On disk, together with everything written before it.
    Synced,
}

/// Why a store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The device or the library below failed. Fatal: a failed write or sync is never retried (protocol.md §6).
    #[error("{operation} failed: {cause}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// What the layer below said.
        cause: String,
    },
    /// A record is there but is not what was written.
    #[error("damaged record in {table} under key {}: {why}", hex_key(.key))]
    Corrupt {
        /// The table of the record.
        table: Table,
        /// Its key.
        key: Vec<u8>,
        /// What is wrong with it.
        why: String,
    },
    /// A record that must be there, by what other records say, is not.
    #[error("missing record in {table} under key {}", hex_key(.key))]
    Missing {
        /// The table of the record.
        table: Table,
        /// Its key.
        key: Vec<u8>,
    },
}

fn hex_key(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Pairs of key and value, in key order.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Sorted tables with atomic batches. Keys compare as unsigned bytes; reads see every write that has returned.
pub trait Store: Send + Sync {
    /// The value of `key`, or `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the layer below fails.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` pairs with `from <= key`, and `key < to` where there is a `to`; ascending, or descending
    /// from the greatest if `reverse`.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the layer below fails.
    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Pairs, StoreError>;

    /// Applies the batch atomically. With [`Durability::Synced`] it returns after the sync; an empty synced batch
    /// syncs what was buffered before.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the write or the sync fails; the caller must stop.
    fn write(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError>;
}

impl<S: Store + ?Sized> Store for std::sync::Arc<S> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).get(table, key)
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Pairs, StoreError> {
        (**self).range(table, from, to, limit, reverse)
    }

    fn write(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        (**self).write(batch, durability)
    }
}
