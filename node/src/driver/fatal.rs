//! The end of a process that must not go on.

use tagma_ledger::store::StoreError;

/// A write, a sync or a read that everything depends on has failed. What is on disk is unknown from here on, so nothing
/// may be sent any more: the process ends at once, without giving any other thread another turn.
pub(super) fn storage(error: &StoreError) -> ! {
    tracing::error!(%error, "the storage failed: stopping at once");
    std::process::abort();
}
