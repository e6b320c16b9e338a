//! The data of a replica that is not running, opened for reading.

use std::sync::Arc;

use tagma_ledger::{Genesis, LedgerStore};

use super::HomeArgs;
use crate::driver::{check_chain, load_genesis, lock_failure, store_failure, tables};
use crate::exit::{Exit, Failure};
use crate::home::Home;
use crate::storage::{DirectoryLock, RocksStore};

/// A home's genesis and data, held against a replica that would start meanwhile.
pub(super) struct Offline {
    pub(super) genesis: Genesis,
    pub(super) store: Arc<RocksStore>,
    pub(super) ledger: LedgerStore<Arc<RocksStore>>,
    _lock: DirectoryLock,
}

impl Offline {
    /// Opens a home's data; nothing in the database changes.
    pub(super) fn open(args: &HomeArgs) -> Result<Self, Failure> {
        let home: Home = args.home();
        let genesis = load_genesis(&home)?;
        if !home.database().exists() {
            return Err(Failure::new(
                Exit::Data,
                format!("there is no database {}", home.database().display()),
            ));
        }
        let lock = DirectoryLock::take(&home.lock()).map_err(lock_failure)?;
        let config = args.config()?.database();
        let store = RocksStore::open_read_only(&home.database(), tables(), &config).map_err(store_failure)?;
        let store = Arc::new(store);
        let ledger = LedgerStore::new(Arc::clone(&store), &genesis);
        let stored = ledger.chain().map_err(store_failure)?.ok_or_else(|| {
            Failure::new(
                Exit::Data,
                format!("{} holds no ledger", home.database().display()),
            )
        })?;
        check_chain(&stored, &genesis)?;
        Ok(Self {
            genesis,
            store,
            ledger,
            _lock: lock,
        })
    }
}
