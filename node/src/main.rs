//! The `tagma-node` command: one replica.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    tagma_node::cli::main().into()
}
