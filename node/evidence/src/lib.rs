//! What convinces somebody who trusts nothing but genesis: evidence of faults, and receipts of what was executed.
//!
//! - [`Judge`]: the keys and rules of a chain, as genesis has them.
//! - [`file`]: evidence as a file that travels, is verified offline, and names its culprit.
//! - [`receipt`]: that a request was executed and with which outcome, as a file that travels and is verified offline.
//! - [`transcript`]: what one replica has heard, kept for an audit.
//! - [`forensics`]: who is to blame, from what many replicas have heard.
//!
//! What is signed can be proved: votes, CHECKPOINTs, VIEW-CHANGEs, NEW-VIEWs, and the batches that PRE-PREPAREs are for. What
//! a client is told cannot: a reply is bound to its replica by the channel it came over, which convinces the client and
//! nobody else. Two replies that contradict each other therefore make a warning and never a file, and so does a wrong part of
//! a state or a wrong STATUS, which are checked against certificates or believed of their sender alone. Silence proves nothing
//! to anybody.
#![forbid(unsafe_code)]

mod document;
pub mod file;
pub mod forensics;
mod judge;
pub mod receipt;
pub mod transcript;

pub use document::Invalid;
pub use file::{Conviction, EvidenceFile};
pub use judge::{Judge, StaticRules, key_ring, protocol_parameters};
pub use receipt::PortableReceipt;
