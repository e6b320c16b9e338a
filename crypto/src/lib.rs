//! tagma-crypto
