//! Every way in which what a peer sent can be wrong. Nothing here is ever a panic.

use crate::types::{ReplicaId, SeqNum, View};

/// Why a certificate proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificate {
    /// Too few or too many signers.
    #[error("{found} signers where exactly {needed} are needed")]
    Count {
        /// How many there are.
        found: usize,
        /// How many there must be.
        needed: usize,
    },
    /// A signer that is no replica.
    #[error("{0} is no replica of this chain")]
    UnknownSigner(ReplicaId),
    /// Signers repeated or not in ascending order.
    #[error("signer {0} is repeated or out of order")]
    NotAscending(ReplicaId),
    /// The primary's PREPARE counts for nothing.
    #[error("the primary {0} is among the PREPAREs")]
    PrimaryPrepared(ReplicaId),
    /// A signature does not verify.
    #[error("a signature does not verify")]
    Signature,
    /// A checkpoint at a height that is no multiple of the interval.
    #[error("{0} is no checkpoint height")]
    NoCheckpointHeight(SeqNum),
}

/// What makes a batch one that no correct primary proposes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchFault {
    /// No requests, and not a null batch chosen by a new view.
    #[error("the batch is empty")]
    Empty,
    /// More requests or bytes than genesis allows.
    #[error("the batch exceeds the caps of genesis")]
    TooLarge,
    /// The same request twice.
    #[error("the request at position {0} occurs twice")]
    Duplicate(usize),
    /// A request that is not statically valid.
    #[error("the request at position {position}: {reason}")]
    Request {
        /// Position in the batch.
        position: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Why a VIEW-CHANGE is void.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadViewChange {
    /// C proves nothing.
    #[error("the checkpoint certificate: {0}")]
    Stable(BadCertificate),
    /// An entry of P proves nothing.
    #[error("the prepared certificate for {0}: {1}")]
    Prepared(SeqNum, BadCertificate),
    /// P is not strictly ascending by n.
    #[error("P repeats {0} or is not sorted there")]
    NotAscending(SeqNum),
    /// An entry outside (h, h + L].
    #[error("P holds {0}, which is outside the sender's window")]
    OutsideWindow(SeqNum),
    /// An entry of a view that is not below the target.
    #[error("P holds a certificate of view {0}, not below the target")]
    FutureView(View),
    /// Some signature inside does not verify.
    #[error("a signature inside does not verify")]
    Signature,
}

/// Why a NEW-VIEW is void.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNewView {
    /// V is not exactly Q VIEW-CHANGEs of distinct senders in ascending order.
    #[error("V is not exactly Q VIEW-CHANGEs of distinct senders in ascending order")]
    Senders,
    /// A VIEW-CHANGE for another view.
    #[error("the VIEW-CHANGE of {0} is for another view")]
    OtherTarget(ReplicaId),
    /// A VIEW-CHANGE whose own signature does not verify, or that is void.
    #[error("the VIEW-CHANGE of {0} is void: {1}")]
    ViewChange(ReplicaId, BadViewChange),
    /// O is not what V gives.
    #[error("O does not follow from V")]
    Choice,
    /// A PRE-PREPARE signature of O does not verify.
    #[error("a signature of O does not verify")]
    Signature,
    /// V contradicts itself, which more than f faulty replicas are needed for.
    #[error(
        "V holds two certificates for {0} in view {1} with different digests: more than f replicas are faulty"
    )]
    Contradiction(SeqNum, View),
}

/// Why a message was not accepted. Each counts under its kind and [`Rejection::name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The claimed sender is no replica.
    #[error("the sender {0} is no replica of this chain")]
    UnknownSender(ReplicaId),
    /// The signature does not verify under the claimed sender's key.
    #[error("the signature does not verify")]
    Signature,
    /// A certificate inside proves nothing.
    #[error("certificate: {0}")]
    Certificate(#[from] BadCertificate),
    /// A count inside exceeds what the protocol can ever need.
    #[error("a list inside is longer than the protocol allows")]
    TooLong,
    /// A PRE-PREPARE or NEW-VIEW of one who is not the primary of its view.
    #[error("{0} is not the primary of view {1}")]
    NotPrimary(ReplicaId, View),
    /// A PREPARE of the primary, which counts for nothing.
    #[error("the primary {0} sent a PREPARE")]
    PrimaryPrepare(ReplicaId),
    /// Outside of what this replica keeps for.
    #[error("{0} is outside the window")]
    OutsideWindow(SeqNum),
    /// For a view that this replica keeps nothing for.
    #[error("view {0} is not one this replica keeps votes for")]
    OtherView(View),
    /// A body that hashes to another digest than the one it came for.
    #[error("the body does not hash to the digest it came for")]
    BodyMismatch,
    /// An answer nobody asked for.
    #[error("nobody asked for this")]
    Unsolicited,
    /// A second, different statement where only one can be honest; evidence is kept.
    #[error("a second, different statement by {0}")]
    Equivocation(ReplicaId),
}

impl Rejection {
    /// The name in metrics, snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::UnknownSender(_) => "unknown_sender",
            Self::Signature => "signature",
            Self::Certificate(_) => "certificate",
            Self::TooLong => "too_long",
            Self::NotPrimary(..) => "not_primary",
            Self::PrimaryPrepare(_) => "primary_prepare",
            Self::OutsideWindow(_) => "outside_window",
            Self::OtherView(_) => "other_view",
            Self::BodyMismatch => "body_mismatch",
            Self::Unsolicited => "unsolicited",
            Self::Equivocation(_) => "equivocation",
        }
    }
}
