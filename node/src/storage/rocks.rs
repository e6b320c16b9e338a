//! RocksDB as the ledger's [`Store`]: a column family a table, one write-ahead log for all of them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode,
    IteratorMode, Options, ReadOptions, WriteBatch as RocksBatch, properties,
};
use tagma_ledger::store::{Durability, Pairs, Store, StoreError, Table, Write, WriteBatch};

/// How much memory the database may take. Several replicas share a machine in tests, so the defaults are small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageConfig {
    /// Bytes of blocks kept in memory, for all tables together.
    pub block_cache: usize,
    /// Bytes of writes kept in memory before they go into sorted files, for all tables together.
    pub write_buffers: usize,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            block_cache: 32 << 20,
            write_buffers: 24 << 20,
        }
    }
}

/// Bytes of memory that a database holds, as it tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StorageMemory {
    /// Blocks of sorted files, their filters and indexes among them: [`StorageConfig::block_cache`] at most.
    pub block_cache: u64,
    /// Writes that are in no sorted file yet: about [`StorageConfig::write_buffers`] at most.
    pub memtables: u64,
    /// What readers of sorted files keep beside the cache.
    pub table_readers: u64,
}

/// The size from which the log forces old memtables to disk, so that recovery stays short.
const MAX_LOG_BYTES: u64 = 128 << 20;
/// Open files of sorted tables; each takes a file descriptor.
const MAX_OPEN_FILES: i32 = 256;

/// Sorted tables on disk.
///
/// Every write goes through the log in one atomic batch over all tables. After a write or sync has failed nothing is
/// known about what is on disk (the kernel may have dropped the pages), so every later write fails too.
pub struct RocksStore {
    db: DB,
    tables: Vec<Table>,
    failed: AtomicBool,
}

impl RocksStore {
    /// Opens the database at `path` with these tables, creating what is not there.
    ///
    /// Recovery tolerates a torn end of the log, which a crash leaves, and no other damage: a hole would undo synced
    /// writes and keep later ones.
    ///
    /// # Errors
    /// If the database is damaged, in use, or has tables that are not among `tables`.
    pub fn open(
        path: &Path,
        tables: impl IntoIterator<Item = Table>,
        config: &StorageConfig,
    ) -> Result<Self, StoreError> {
        let mut options = database_options(config);
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let tables: Vec<Table> = tables.into_iter().collect();
        let families = families(&tables, config);
        let db = DB::open_cf_descriptors(&options, path, families).map_err(failed("opening the database"))?;
        Ok(Self::over(db, tables))
    }

    /// Opens the database at `path` for reading only; nothing on disk changes. Writes will fail.
    ///
    /// # Errors
    /// If there is no database, or it is damaged.
    pub fn open_read_only(
        path: &Path,
        tables: impl IntoIterator<Item = Table>,
        config: &StorageConfig,
    ) -> Result<Self, StoreError> {
        let options = database_options(config);
        let tables: Vec<Table> = tables.into_iter().collect();
        let families = families(&tables, config);
        let db = DB::open_cf_descriptors_read_only(&options, path, families, false)
            .map_err(failed("opening the database"))?;
        Ok(Self::over(db, tables))
    }

    fn over(db: DB, tables: Vec<Table>) -> Self {
        Self {
            db,
            tables,
            failed: AtomicBool::new(false),
        }
    }

    /// How much memory the database holds now.
    ///
    /// # Errors
    /// If it does not tell.
    pub fn memory(&self) -> Result<StorageMemory, StoreError> {
        let told = |told: Result<Option<u64>, rocksdb::Error>| {
            Ok(told.map_err(failed("asking for its memory"))?.unwrap_or_default())
        };
        let mut memory = StorageMemory::default();
        for table in &self.tables {
            let family = self.family(*table)?;
            // One cache, which every table tells of.
            memory.block_cache = told(
                self.db
                    .property_int_value_cf(family, properties::BLOCK_CACHE_USAGE),
            )?;
            memory.memtables += told(
                self.db
                    .property_int_value_cf(family, properties::SIZE_ALL_MEM_TABLES),
            )?;
            memory.table_readers += told(
                self.db
                    .property_int_value_cf(family, properties::ESTIMATE_TABLE_READERS_MEM),
            )?;
        }
        Ok(memory)
    }

    fn family(&self, table: Table) -> Result<&ColumnFamily, StoreError> {
        self.db.cf_handle(table.0).ok_or_else(|| StoreError::Io {
            operation: "finding a table",
            cause: format!("the database was opened without {table}"),
        })
    }

    fn to_rocks(&self, batch: &WriteBatch) -> Result<RocksBatch, StoreError> {
        let mut writes = RocksBatch::default();
        for write in &batch.0 {
            match write {
                Write::Put { table, key, value } => writes.put_cf(self.family(*table)?, key, value),
                Write::Delete { table, key } => writes.delete_cf(self.family(*table)?, key),
                Write::DeleteRange { table, from, to } => {
                    // RocksDB calls an inverted range an error, the contract an empty one.
                    if from < to {
                        writes.delete_range_cf(self.family(*table)?, from, to);
                    }
                }
            }
        }
        Ok(writes)
    }
}

fn failed(operation: &'static str) -> impl Fn(rocksdb::Error) -> StoreError {
    move |error| StoreError::Io {
        operation,
        cause: error.into_string(),
    }
}

fn database_options(config: &StorageConfig) -> Options {
    let mut options = Options::default();
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_db_write_buffer_size(config.write_buffers);
    options.set_max_total_wal_size(MAX_LOG_BYTES);
    options.set_max_open_files(MAX_OPEN_FILES);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(4 << 20);
    options.set_stats_dump_period_sec(0);
    options
}

fn families(tables: &[Table], config: &StorageConfig) -> Vec<ColumnFamilyDescriptor> {
    // One cache for all: the bound is the process's, not a table's.
    let cache = Cache::new_lru_cache(config.block_cache);
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&cache);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_bloom_filter(10.0, false);
    let family = |name: &str| {
        let mut options = Options::default();
        options.set_block_based_table_factory(&blocks);
        // What is written lately is mostly hashes and signatures, and much of it is deleted or merged soon.
        options.set_compression_per_level(&[
            DBCompressionType::None,
            DBCompressionType::None,
            DBCompressionType::Lz4,
        ]);
        options.set_write_buffer_size(config.write_buffers / 4);
        options.set_max_write_buffer_number(2);
        ColumnFamilyDescriptor::new(name, options)
    };
    // RocksDB insists on the table it calls default; it stays empty.
    std::iter::once("default")
        .chain(tables.iter().map(|table| table.0))
        .map(family)
        .collect()
}

impl Store for RocksStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db
            .get_cf(self.family(table)?, key)
            .map_err(failed("reading a record"))
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Pairs, StoreError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        if let Some(to) = to {
            options.set_iterate_upper_bound(to);
        }
        let mode = if reverse {
            IteratorMode::End
        } else {
            IteratorMode::Start
        };
        self.db
            .iterator_cf_opt(self.family(table)?, options, mode)
            .take(limit)
            .map(|pair| pair.map(|(key, value)| (key.into_vec(), value.into_vec())))
            .collect::<Result<_, _>>()
            .map_err(failed("reading a range"))
    }

    fn write(&self, batch: WriteBatch, durability: Durability) -> Result<(), StoreError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(StoreError::Io {
                operation: "writing",
                cause: "an earlier write failed, and what is on disk is unknown since".to_owned(),
            });
        }
        let written = if batch.is_empty() {
            Ok(())
        } else {
            self.db.write(self.to_rocks(&batch)?)
        };
        // Not by the write itself, which would hold up those of other threads until the disk is done.
        let outcome = written.and_then(|()| match durability {
            Durability::Synced => self.db.flush_wal(true),
            Durability::Buffered => Ok(()),
        });
        outcome.map_err(|error| {
            self.failed.store(true, Ordering::Release);
            failed("writing")(error)
        })
    }
}
