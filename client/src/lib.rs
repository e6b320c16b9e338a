//! The client of a Tagma network. It believes nobody alone: an outcome counts once f + 1 replicas report it.
//!
//! * [`Network`]: the replicas of a genesis. [`Client`]: one connection for each of them, any number of requests in flight.
//!   A request goes to the presumed primary; after T_c without f + 1 identical replies, or when refused, to all, with
//!   jittered and growing pauses until its deadline. Sending the same bytes again never executes them twice.
//! * [`Accepted`] names the replicas that support an outcome and those that lied; [`Client::take_contradictions`] those
//!   that lie late.
//! * [`read`]: accounts, blocks and requests as f + 1 replicas have them.
//! * [`receipt`]: what convinces others that a request was executed, as a file.
//! * [`Keystore`], [`Pending`], [`Home`]: keys, requests of unknown outcome, and where they are kept.
//! * [`evidence`]: the provable faults that replicas have stored.
//! * [`ExitCode`]: what Tagma's commands exit with.

#![forbid(unsafe_code)]

mod client;
pub mod error;
pub mod evidence;
mod exit;
mod home;
mod keystore;
mod link;
mod matching;
mod network;
mod pending;
mod query;
pub mod read;
pub mod receipt;
mod settled;
mod tracker;

pub use client::{Client, Config};
pub use error::{QueryError, ReadError, SubmitError, Unknown};
pub use exit::ExitCode;
pub use home::{Home, HomeError};
pub use keystore::{Keystore, KeystoreError};
pub use link::LinkState;
pub use matching::Verdict;
pub use network::{Network, NetworkError, ReplicaAddress};
pub use pending::{Pending, PendingError, PendingRequest};
pub use settled::{Contradiction, Standing};
pub use tracker::{Accepted, Completion, Retry};
