//! tagma-wire
