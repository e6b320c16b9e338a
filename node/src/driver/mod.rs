//! The process around the core: one loop that steps it, and threads beside the loop for all that takes time.
//!
//! ```text
//! peers ──▶ verification ┐                  ┌──▶ sync ─────▶ (Synced comes back)
//! clients ▶ admission ─┼──▶ the loop: step ─┼──▶ executor ─▶ (Executed comes back)
//! timers ──────────────┘                    ├──▶ checker ──▶ (Checked comes back)
//!                                           ├──▶ reader ───▶ answers from the store (admission asks another one for clients)
//!                                           ├──▶ evidence ─▶ files
//!                                           ├──▶ transcript, if one is kept
//!                                           └──▶ peers and clients
//! ```
//!
//! One thread reads and writes the sockets and runs the loop, because waking another one for every vote would cost more than
//! the vote; for the same reason it syncs and executes small blocks by itself while nothing else is to be done and the disk is quick.
//! What takes longer than that is done by threads beside: syncs and execution under load, large batches of signatures
//! (see [`gate`]), checks of view changes, answers from the store, HTTP.
//!
//! Nothing blocks the loop but its own input and, at low load, its own writes; a disk that turns out to be slow blocks it once. Nothing
//! but the loop changes the core. The channels between the threads
//! need no capacity of their own, because what goes through them is bounded where it comes from:
//!
//! - frames of peers and clients by the budget of their connection, whose permit travels with them until the loop is
//!   done with them;
//! - records to be synced and batches to be executed by the protocol's window, and by the blocks that one answer to this
//!   replica's own question may hold;
//! - checks by the protocol, which asks for one VIEW-CHANGE of each replica, one NEW-VIEW, and one proposal for each sequence number of
//!   the window and view, at a time;
//! - entries of the transcript by their own queue, above which they are dropped and counted;
//! - evidence by the protocol, which keeps a few of each kind and culprit;
//! - questions of peers by a fixed number for each, above which they are dropped and counted.

mod admission;
mod asked;
mod beside;
mod clients;
mod clock;
mod company;
mod evidence;
mod execution;
mod fatal;
mod gate;
mod interposer;
mod mesh;
mod node;
mod phases;
mod quota;
mod reader;
mod setup;
mod shared;
mod sync;
mod throttle;
mod transcript;
mod turn;
mod verification;
mod views;

pub use clock::Clock;
pub use interposer::{Interposer, Wire};
pub use node::Node;
pub use setup::{NodeSetup, check_chain, create_store, load_genesis, lock_failure, store_failure, tables};
pub use shared::{Published, Shared, stored_block};

use tagma_wire::FramePermit;

use crate::core::CoreInput;

/// What the loop is woken by.
#[allow(
    clippy::large_enum_variant,
    reason = "`Stop` comes once; a box would cost an allocation an input"
)]
enum Wake {
    /// Something for the core; the permit, if any, is given back when the core is done with it.
    Input(CoreInput, Option<FramePermit>),
    /// Several of them, in order. One at a time each would wake a loop that has just gone to sleep after the one before, and that costs
    /// more than to step through it.
    Inputs(Vec<(CoreInput, Option<FramePermit>)>),
    /// The process is to end: no more steps.
    Stop,
}

/// The way into the loop.
type Inbox = tokio::sync::mpsc::UnboundedSender<Wake>;
