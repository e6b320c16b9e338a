//! tagma-ledger
