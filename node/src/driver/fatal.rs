//! The end of a process that must not go on.

use std::io::Write;

use tagma_ledger::store::StoreError;

use crate::exit::Exit;

/// A write, a sync or a read that everything depends on has failed. What is on disk is unknown from here on: the process
/// ends, and nothing is tried again. Whatever waits for this write cannot leave meanwhile, as the thread that would report
/// it done is the one that ends here.
pub(super) fn storage(error: &StoreError) -> ! {
    tracing::error!(%error, "the storage failed: stopping at once");
    // For people; the log may be off, or on the disk that failed.
    let _ = writeln!(
        std::io::stderr(),
        "error: the storage failed: {error}\nhint: mend the disk and start again; what was promised is in the data directory"
    );
    std::process::exit(i32::from(Exit::Data as u8));
}
