//! Who is to blame, from what several replicas have seen together (Sheng, Wang, Nayak, Kannan, Viswanath, *BFT Protocol
//! Forensics*, CCS 2021; the protocol here is their PBFT-PK: certificates travel whole with VIEW-CHANGEs).
//!
//! A replica alone records what it sees contradict itself ([`Evidence`]). [`Statements`] joins what many have seen, so
//! that what a liar told one contradicts what it told another; [`audit`] finds every contradiction, and explains every
//! fork, two commit certificates for one n and different batches:
//!
//! - *Same view.* Any two quorums share f + 1 replicas. Each of them has sent both COMMITs.
//! - *Views v < v'.* Until a batch other than d is proposed for n, NEW-VIEWs between v and v' choose d, for 2f + 1 replicas
//!   have sent COMMITs for (v, n, d) and f + 1 of them are in any V. So look at the NEW-VIEWs in (v, v'], lowest first, for the
//!   first that does not choose d. Either its O does not follow from its V: its primary is at fault. Or it does follow: then at
//!   least f + 1 senders of V have committed d in v, and hide the certificate in the VIEW-CHANGE that stands in V.
//!
//! Every accusation is [`Evidence`] that convicts by signatures alone, so no correct replica is ever accused, whoever holds
//! the transcripts and however many of the statements were made up. With more than 2f faulty replicas a fork may be made with
//! COMMITs alone, of views that no correct replica has entered: then the NEW-VIEW is missing, and the fork is reported as not
//! explained, with those who signed both sides as suspects.

mod audit;
mod statements;

pub use audit::{Audit, Explanation, Fork, audit};
pub use statements::Statements;

#[cfg(doc)]
use tagma_pbft::evidence::Evidence;
