//! Replicas that lie: real processes with real keys and stores, whose words are another's choice.
//!
//! The behaviours that the simulator can express are its own ([`tagma_sim::byzantine`]), one small file each, and run here
//! unchanged; those that only a real process can show stand beside this file. A node that is ordered to lie runs as
//! `tagma-testnet traitor` instead of `tagma-node start`: the same library, home, output and signals, with a [`traitor`]
//! between the replica and its sockets. The production program holds none of this.
//!
//! - [`order`]: which behaviour, and when; a small file in the node's `run` directory.
//! - [`catalogue`]: the behaviours by name.
//! - [`conditional`]: a behaviour that is there only sometimes, in the simulator.
//! - [`control`]: makes nodes of a network lie, and honest again.
//! - [`blame`]: whom the others accuse.

pub mod blame;
pub mod catalogue;
mod collude;
pub mod conditional;
pub mod control;
mod crash;
mod flood;
pub(crate) mod forged_transfer;
pub mod order;
pub mod traitor;

pub use order::{Order, When};
