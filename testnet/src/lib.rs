//! Networks of real replicas on one machine, and everything that tries them.
//!
//! - [`layout`], [`plan`]: the directory of a network, and what is put there before its first start.
//! - [`interrupt`]: Ctrl-C and its like.
//! - [`ports`]: free ports, and who holds those that are not.
//! - [`process`]: one replica's process: started, signalled, recognised again later, never mistaken for another.
//! - [`network`]: all of them: started until really ready, stopped until really gone.
//! - [`net`]: links between replicas that lose, delay, double and reorder packets, or carry nothing at all.
//! - [`disk`]: disks without room, and slow ones.
//! - [`observe`]: what replicas say of themselves, over the client port and over HTTP.
//! - [`check`]: whether all of them hold the same chain and the same money.
//! - [`payments`]: transfers between the accounts of a network, through the client library.
//! - [`load`]: transfers without end, and what was acknowledged of them.
//! - [`byzantine`]: replicas that lie, made of real ones.
//! - [`matrix`]: every behaviour in every role, and whether what must hold held.
//! - [`torture`]: the primary killed again and again under load.
//! - [`scenario`]: what happens to a network and what must hold, on processes and in the simulator.
//! - [`demo`]: stories told step by step, with a verdict. [`bench`](mod@bench): measurements.
//! - [`cli`]: the `tagma-testnet` command.

#![forbid(unsafe_code)]

pub mod audit;
pub mod bench;
pub mod byzantine;
pub mod check;
pub mod cli;
pub mod demo;
pub mod disk;
pub mod error;
pub mod interrupt;
pub mod layout;
pub mod load;
pub mod matrix;
pub mod net;
pub mod network;
pub mod observe;
pub mod payments;
pub mod plan;
pub mod ports;
pub mod process;
pub mod scenario;
pub mod torture;

pub use error::Error;
pub use layout::Layout;
pub use network::Network;
