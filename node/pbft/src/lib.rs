//! Practical Byzantine fault tolerance (Castro & Liskov, OSDI '99, the variant with signatures), without I/O.
//!
//! This is the specification of the protocol, in the paper's order and under the paper's names; each section names the
//! modules that carry it out. Read from here to the end of `view_change`, and you have read PBFT.
//!
//! A [`Replica`] is a state and one function. It is told what happened ([`Input`]) and says what is to be done
//! ([`Outputs`]); it has no clock, no socket, no disk, no thread and no randomness, and its manifest and lints keep it
//! that way. What a peer sent comes in as [`Verified`] only, and only [`verify`] makes that: nothing unverified can be
//! counted, and nothing a peer sends can panic.
//!
//! ```
//! use tagma_pbft::{Quorum, View};
//!
//! let quorum = Quorum::new(4)?; // N = 3f + 1 with f = 1
//! assert_eq!((quorum.quorum(), quorum.weak(), quorum.prepares()), (3, 2, 2)); // 2f + 1, f + 1, 2f
//! assert_eq!(quorum.primary(View::new(6)).get(), 2); // v mod N
//! # Ok::<(), tagma_pbft::quorum::BadReplicaCount>(())
//! ```
//!
//! # §3 Quorums and certificates
//!
//! N = 3f + 1 replicas order requests although f of them may do anything. Any two quorums of 2f + 1 share a correct
//! replica; any f + 1 hold one ([`quorum`]). A *certificate* is distinct signers × one identical statement; it has one
//! normal form ([`certificate`]):
//!
//! | certificate | statements | proves |
//! | --- | --- | --- |
//! | [prepared](certificate::PreparedCertificate) | PRE-PREPARE of the primary, 2f PREPAREs of others | no other digest is prepared at (v, n) |
//! | [commit](certificate::CommitCertificate) | 2f + 1 COMMITs | d is final at n, in every view |
//! | [stable](certificate::StableCertificate) | 2f + 1 CHECKPOINTs | f + 1 correct replicas have this state |
//!
//! Every signature covers a domain tag, the chain id and the signed fields ([`message`]), so none serves two purposes.
//! The claimed sender is the verifying key; who hands a message on does not matter.
//!
//! # §4.2 Normal case (`normal`, `log`, `pool`)
//!
//! The primary of view v (v mod N) closes a [`Batch`], assigns it the next sequence number n and sends
//! `PRE-PREPARE(v, n, d)` with the body. A backup accepts it if it is in v, h < n ≤ H, no other digest is recorded for
//! (v, n), the whole body is here and only holds valid requests, a NEW-VIEW that covers n chose d, and the proposed time
//! is not ahead of its clock (or f + 1 others found that it is not). It records (v, n) → d with the body, and sends
//! PREPARE once that is on disk.
//!
//! - `prepared(v, n, d)`: body, PRE-PREPARE, and 2f matching PREPAREs of distinct backups. Certificate and body go to
//!   disk; then COMMIT is sent. The primary's PREPARE counts for nothing, and a primary sends none.
//! - `committed-local(v, n, d)`: 2f + 1 matching COMMITs. Batches execute strictly in order of n, without gaps.
//! - The first vote of a sender for (kind, v, n) counts. A second one with another digest is [`evidence`].
//! - The own vote counts, towards whatever, once the sync that it waits for has returned.
//! - While all goes well f of the backups, in turns, leave a batch to the other 2f + 1 replicas and execute it by their COMMITs (`standby`);
//!   and of the 2f that take part each checks half of the requests, so that f + 1 replicas check each (`sharing`). [`Tuning::standby`]
//!   turns both off; then everything is as in the paper.
//!
//! # §4.3 Checkpoints and water marks (`checkpoint`)
//!
//! After executing n ≡ 0 mod K, and with the state on disk, a replica sends `CHECKPOINT(n, header hash)`. 2f + 1 equal ones
//! are a stable certificate, and h moves to n; the window is (h, H] with H = h + L. What h *and* the own state on disk have
//! passed is forgotten, and nothing else: see [`record`] for what has to be on disk before what leaves.
//!
//! # §4.4 View changes (`view_change`, [`new_view`], `entry`)
//!
//! A replica leaves its view when the request timer expires, when the primary is provably faulty or slow, or to join f + 1
//! others. It writes down the target v' first. From then on it signs nothing of a lower view; it sends
//! `VIEW-CHANGE(v', h, C, P)`, the identical bytes again and again: C proves h, and P holds for every n in (h, H] the
//! prepared certificate of the highest view, null batches included. An entry leaves P only by a stable checkpoint or by a
//! higher view's certificate for the same n.
//!
//! primary(v') takes exactly 2f + 1 valid VIEW-CHANGEs for exactly v', which are V. From V alone follows O
//! ([`new_view::decide`]): min_s is the highest h in V, max_s the highest n in any P; each n between gets the digest of its
//! highest-view certificate, or the null batch. What is committed anywhere is prepared at f + 1 correct replicas, one of
//! them is in every V, and no later view can have certified anything else for its n: so what is committed stays.
//! `NEW-VIEW(v', V, O)` goes out; every backup computes O again, and believes nothing else.
//!
//! A void VIEW-CHANGE affects no other, and is evidence. A NEW-VIEW below the own target, installed already, or signed by another than
//! primary(v') is dropped; a bad one is evidence, and sends on to v' + 1 those who waited for exactly v'.
//!
//! # §4.5.2 Timers (`timer`, `view_change`, `turnaround`)
//!
//! - *Request timer*, in normal mode: T·2^k for whatever is pending longest, a request that could execute or a
//!   sequence number that is prepared or chosen. Progress of others does not reset it. With nothing pending none runs.
//! - *Join*: when f + 1 replicas have targets above the own one, move to the (f + 1)-th highest of them. Fewer move nobody.
//! - *View-change timer*: T·2^k from when 2f + 1 replicas have targets of at least the own one; then the next view.
//! - k grows with each view that fails, T·2^k up to a cap; k is 0 again once what was oldest at entry has executed.
//! - *Turnaround*: a backup also leaves a primary that is too slow again and again with what was forwarded to it, long before
//!   T; how slow is too slow is learned, and load excuses (`turnaround`).
//!
//! # Catching up (`fetch`, `status`, `peer`)
//!
//! A commit certificate and the body prove n final whatever the own view and mode: who is behind executes from blocks that
//! come with theirs, or, if nobody has those any more, asks for the state at the stable checkpoint ([`Outputs::transfer`]).
//! STATUS tells what one has, when a connection comes up and while something does not progress; whoever gets it sends what is
//! lacking. So no message that was lost is needed for ever.
//!
//! # Starting again ([`record`], `recovery`)
//!
//! View, mode, votes and P come back as they were, and leave again unchanged. Before its first new signature a replica
//! hears from 2f others what they know it to have signed. If its log holds less, or is not there at all, it is a *learner*: it
//! follows, and never signs again, not even a VIEW-CHANGE. A statement under its own key that it never made halts it.
//!
//! # Where we depart from the paper
//!
//! - N is exactly 3f + 1, so that a quorum is 2f + 1 everywhere.
//! - A sequence number is a block's height, and a CHECKPOINT is for the hash of that block's header.
//! - Requests come in batches with a proposed time; the digest binds neither view nor number, so a batch keeps it
//!   across views, and NEW-VIEW needs no bodies: who lacks one asks a backup that signed its certificate.
//! - An own vote counts only once it is on disk; the paper's replicas have no disk.
//! - h follows the highest stable certificate held, with or without the own state; what is forgotten follows both.
//! - A commit certificate counts in every view and mode. The paper's replicas wait for a NEW-VIEW or a checkpoint instead.
//! - 2f + 1 replicas agree and f stand by, in turns, until something is late.
//! - A primary is held to its turnaround, not only to T, so that one that is slow on purpose does not set the pace.
//! - The view-change timer counts targets *at or above* the own one, and doubling has a cap.
//! - V holds exactly 2f + 1 messages, sorted by sender, and certificates are sorted too: equal content is equal bytes.
//! - Faults that can be proved are kept as [`evidence`]; a primary's also ends its view. Since certificates travel with
//!   VIEW-CHANGEs, whoever hides one after its COMMIT can be convicted as well, by whoever sees both statements.
//! - Replies go by channels that the client authenticates; there is no tentative execution and no read-only shortcut.
//! - Amnesia is treated as the Byzantine fault that it is.
#![forbid(unsafe_code)]

#[macro_use(mutant)]
extern crate tagma_crypto;

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
mod sharing;
mod standby;
mod status;
mod timer;
mod turnaround;
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
pub use sharing::Duty;
pub use types::{Now, ReplicaId, SeqNum, Ticket, Time, View};
pub use verify::{Incoming, RequestRules, Verified, Verifier};
