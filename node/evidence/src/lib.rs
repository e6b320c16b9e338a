//! What convicts a faulty replica before somebody who trusts nothing but genesis.
//!
//! - [`Judge`]: the keys and rules of a chain, as genesis has them.
//! - [`file`]: evidence as a file that travels, is verified offline, and names its culprit.
//! - [`transcript`]: what one replica has heard, kept for an audit.
//! - [`forensics`]: who is to blame, from what many replicas have heard.
//!
//! What is signed can be proved: votes, CHECKPOINTs, VIEW-CHANGEs, NEW-VIEWs, and the batches that PRE-PREPAREs are for. What
//! a client is told cannot: a reply is bound to its replica by the channel it came over, which convinces the client and
//! nobody else. Two replies that contradict each other therefore make a warning and never a file, and so does a wrong part of
//! a state or a wrong STATUS, which are checked against certificates or believed of their sender alone. Silence proves nothing
//! to anybody.
#![forbid(unsafe_code)]

pub mod file;
pub mod forensics;
mod judge;
pub mod transcript;

pub use file::{Conviction, EvidenceFile, Invalid};
pub use judge::{Judge, StaticRules, key_ring, protocol_parameters};
