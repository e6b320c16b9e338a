//! tagma-testnet
