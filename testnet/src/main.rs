//! The `tagma-testnet` command.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// What one thread allocates another frees: blocks, states, frames. This one is made for that.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    tagma_testnet::cli::main()
}
