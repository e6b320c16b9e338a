//! Practical Byzantine fault tolerance (Castro & Liskov, OSDI '99), without I/O.
#![forbid(unsafe_code)]

pub mod batch;
pub mod certificate;
mod checkpoint;
pub mod config;
mod entry;
pub mod error;
pub mod evidence;
mod fetch;
pub mod io;
mod log;
pub mod message;
pub mod new_view;
mod normal;
mod peer;
mod pool;
pub mod quorum;
pub mod record;
mod recovery;
pub mod replica;
mod status;
mod timer;
pub mod types;
pub mod verify;
mod view_change;

pub use batch::{Batch, Body, Request};
pub use certificate::KeyRing;
pub use config::{Config, Parameters, Tuning};
pub use io::{Event, Execution, Input, Outputs, Recipient, Send};
pub use message::{Kind, Message, Mode};
pub use quorum::Quorum;
pub use replica::{Replica, Standing};
pub use types::{Now, ReplicaId, SeqNum, Ticket, Time, View};
pub use verify::{Incoming, RequestRules, Verified, Verifier};
