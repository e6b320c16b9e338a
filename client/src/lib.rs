//! tagma-client
