//! tagma-node
