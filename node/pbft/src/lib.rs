//! tagma-pbft
