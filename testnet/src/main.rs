//! The `tagma-testnet` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    tagma_testnet::cli::main()
}
