//! What goes into a replica and what comes out of it. A replica does nothing else: no clock, no socket, no disk.

use std::sync::Arc;

use tagma_crypto::Digest;

use crate::batch::{Body, Request};
use crate::certificate::{CommitCertificate, StableCertificate};
use crate::error::Rejection;
use crate::evidence::Evidence;
use crate::message::{Kind, Message, NewView, ViewChange, Vote};
use crate::record::Record;
use crate::types::{ReplicaId, SeqNum, Ticket, View};
use crate::verify::{Checked, Incoming, Verified};

/// Something that happened to this replica.
#[derive(Debug)]
pub enum Input {
    /// A message of a peer, its signatures checked.
    Message {
        /// The connection it came over. Relaying is allowed: only signers count, never this.
        from: ReplicaId,
        /// The message.
        message: Verified<Incoming>,
    },
    /// What was handed out as [`Check`] comes back with its verdict.
    Checked(Verified<Checked>),
    /// A connection to a peer came up: what was sent to it before may be lost.
    Connected(ReplicaId),
    /// The application admits a request: it is to be proposed, in the order of admission. `timed` tells that it could
    /// execute now (its account's next nonce), so that a primary that ignores it is to be replaced.
    Request {
        /// The request.
        request: Arc<Request>,
        /// Its digest.
        digest: Digest,
        /// Whether it could execute now.
        timed: bool,
    },
    /// Every group of records up to this ticket is on disk.
    Synced(Ticket),
    /// Requests that can never execute, found so between two blocks.
    Dropped(Vec<Digest>),
    /// The application executed a block.
    Executed {
        /// Its height; exactly one above the one before.
        seq: SeqNum,
        /// The hash of its header.
        header: Digest,
        /// Requests that are executed now or can never execute any more.
        settled: Vec<Digest>,
        /// Requests that could execute now and could not before.
        ready: Vec<Digest>,
        /// Requests that stood in the block without effect and can still execute: they are to be proposed again.
        retry: Vec<Digest>,
    },
    /// The state at checkpoint `seq` is on disk.
    StateDurable {
        /// A multiple of the checkpoint interval.
        seq: SeqNum,
        /// The hash of its header.
        header: Digest,
    },
    /// State transfer has switched the application to the state at `seq`, and it is on disk.
    StateInstalled {
        /// A checkpoint.
        seq: SeqNum,
        /// The hash of its header, equal to the certificate's.
        header: Digest,
        /// Requests that are executed or can never execute any more.
        settled: Vec<Digest>,
    },
    /// A state transfer that execution was held for will not come: execution goes on.
    TransferAbandoned,
    /// Time has passed: [`crate::Replica::next_timeout`] was reached.
    Timeout,
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// Everybody else.
    Others,
    /// One replica.
    One(ReplicaId),
}

/// A message to be sent. It must not leave before the records of ticket `after` are on disk; the driver asserts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    /// Whom to.
    pub to: Recipient,
    /// What.
    pub message: Arc<Message>,
    /// The group of records that must be on disk first; [`Ticket`] 0 if none.
    pub after: Ticket,
}

/// A batch that is final and next in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Its height.
    pub seq: SeqNum,
    /// The batch.
    pub body: Arc<Body>,
    /// The proof that it is final, to be kept with the block.
    pub certificate: CommitCertificate,
}

/// Something whose many signatures are to be checked beside the loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// The certificates inside a VIEW-CHANGE whose own signature is good.
    ViewChange(Arc<ViewChange>),
    /// Everything inside a NEW-VIEW whose own signature is good.
    NewView(Arc<NewView>),
    /// The requests of a proposal whose own signature is good and whose body has the proposed digest.
    Proposal(Vote, Arc<Body>),
}

/// Why a view was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ViewChangeReason {
    /// The oldest pending request waited too long.
    RequestTimeout,
    /// No NEW-VIEW came in time.
    NewViewTimeout,
    /// The primary signed what no correct primary signs.
    FaultyPrimary,
    /// The primary held requests back, again and again, for longer than it has to.
    SlowPrimary,
    /// f + 1 replicas are ahead.
    Join,
    /// The NEW-VIEW did not follow from its V.
    BadNewView,
}

impl ViewChangeReason {
    /// The name in metrics, snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestTimeout => "request_timeout",
            Self::NewViewTimeout => "new_view_timeout",
            Self::FaultyPrimary => "faulty_primary",
            Self::SlowPrimary => "slow_primary",
            Self::Join => "join",
            Self::BadNewView => "bad_new_view",
        }
    }
}

/// Why a replica has stopped taking part for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HaltReason {
    /// A certificate proves another header than the one computed here.
    #[error("diverged at {seq}: own header {own}, certified header {certified}")]
    Diverged {
        /// Where.
        seq: SeqNum,
        /// What was computed here.
        own: Digest,
        /// What Q replicas certify.
        certified: Digest,
    },
    /// A certificate proves another batch at a height that was executed here.
    #[error("more than f replicas are faulty: two batches are certified at {seq}")]
    ConflictingCommit {
        /// Where.
        seq: SeqNum,
    },
    /// V of a valid NEW-VIEW contradicts itself.
    #[error("more than f replicas are faulty: {0}")]
    Contradiction(String),
    /// Somebody else signs with this replica's key.
    #[error(
        "a {what} signed with this replica's key that this replica did not sign: somebody else uses the key"
    )]
    ForeignVote {
        /// What kind of message.
        what: &'static str,
    },
}

/// Something worth telling people and counting. Events decide nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The amnesia check is over and this replica votes.
    Started,
    /// This replica proposed a batch.
    Proposed {
        /// n
        seq: SeqNum,
        /// Requests in it.
        requests: usize,
    },
    /// A phase of the normal case was completed here.
    Prepared {
        /// n
        seq: SeqNum,
    },
    /// Final here.
    Committed {
        /// n
        seq: SeqNum,
    },
    /// Those to whom this replica had left a proposal are late with it: it takes part in everything for a while.
    Late {
        /// n
        seq: SeqNum,
    },
    /// This replica wants another view.
    ViewChangeStarted {
        /// The view it wants.
        target: View,
        /// Why.
        reason: ViewChangeReason,
    },
    /// This replica entered a view by a NEW-VIEW.
    ViewEntered {
        /// The view.
        view: View,
    },
    /// h has moved.
    StableCheckpoint {
        /// The new h.
        seq: SeqNum,
    },
    /// A message was not accepted.
    Rejected {
        /// Who sent it.
        from: ReplicaId,
        /// Its kind.
        kind: Kind,
        /// Why.
        why: Rejection,
    },
    /// A provable fault was recorded.
    Fault {
        /// Whose.
        culprit: ReplicaId,
        /// [`Evidence::name`]
        name: &'static str,
    },
    /// This replica has lost what it knew: it follows and signs nothing.
    Learner,
    /// This replica has stopped.
    Halted(HaltReason),
}

/// What a step asks its driver to do.
#[derive(Debug, Default)]
pub struct Outputs {
    /// To be written as one atomic group and synced; then [`Input::Synced`] with `ticket` is due.
    pub persist: Vec<Record>,
    /// The ticket of `persist`; meaningless while that is empty.
    pub ticket: Ticket,
    /// What may leave, each no earlier than its own `after` says.
    pub send: Vec<Send>,
    /// To be executed in this order; [`Input::Executed`] is due for each.
    pub execute: Vec<Execution>,
    /// To be checked beside the loop; [`Input::Checked`] is due for each.
    pub check: Vec<Check>,
    /// Replicas that asked for a body that may be a block by now.
    pub serve_body: Vec<(ReplicaId, SeqNum, Digest)>,
    /// State transfer to this checkpoint is needed: the blocks cannot be had.
    pub transfer: Option<StableCertificate>,
    /// h has moved to this checkpoint: its state is to be kept readable, older ones need not be.
    pub stable: Option<StableCertificate>,
    /// Provable faults, also among `persist`.
    pub evidence: Vec<Evidence>,
    /// For people and counters.
    pub events: Vec<Event>,
}

impl Outputs {
    /// Whether the step asked for nothing.
    pub fn is_empty(&self) -> bool {
        self.persist.is_empty()
            && self.send.is_empty()
            && self.execute.is_empty()
            && self.check.is_empty()
            && self.serve_body.is_empty()
            && self.transfer.is_none()
            && self.stable.is_none()
            && self.evidence.is_empty()
            && self.events.is_empty()
    }
}
