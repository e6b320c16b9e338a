//! Every message that replicas exchange, and what their signatures cover.
//!
//! A signature covers `domain tag ‖ chain id ‖ the signed fields` in the canonical encoding; there is one domain a kind.

use std::sync::Arc;

use tagma_crypto::encode::{self, Blob, Decode, Encode, List};
use tagma_crypto::{Digest, Domain, SecretKey, Signature};

use crate::batch::{Batch, Request};
use crate::certificate::{CommitCertificate, PreparedCertificate, StableCertificate};
use crate::types::{ReplicaId, SeqNum, View};

/// The three phases of the normal case (OSDI '99 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub enum Phase {
    /// The primary assigns n to d in v.
    PrePrepare,
    /// A backup agrees.
    Prepare,
    /// The sender holds a prepared certificate.
    Commit,
}

impl Phase {
    /// The signature domain of votes of this phase.
    pub const fn domain(self) -> Domain {
        match self {
            Self::PrePrepare => Domain::new("tagma/pre-prepare"),
            Self::Prepare => Domain::new("tagma/prepare"),
            Self::Commit => Domain::new("tagma/commit"),
        }
    }
}

/// A signed (v, n, d) of one phase. As a PRE-PREPARE the batch travels beside it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct Vote {
    /// What the vote says about (v, n, d).
    pub phase: Phase,
    /// v
    pub view: View,
    /// n
    pub seq: SeqNum,
    /// d
    pub digest: Digest,
    /// Who signed.
    pub sender: ReplicaId,
    /// Over (v, n, d, sender) in the domain of the phase.
    pub signature: Signature,
}

impl Vote {
    /// The bytes a vote's signature covers, beside domain and chain id.
    pub fn content(view: View, seq: SeqNum, digest: &Digest, sender: ReplicaId) -> Vec<u8> {
        encode::encode(&(view, seq, *digest, sender))
    }

    /// Signs a vote. Ed25519 is deterministic: signing the same vote again gives the same bytes.
    pub fn sign(
        phase: Phase,
        view: View,
        seq: SeqNum,
        digest: Digest,
        sender: ReplicaId,
        chain: &Digest,
        key: &SecretKey,
    ) -> Self {
        let signature = key.sign(phase.domain(), chain, &Self::content(view, seq, &digest, sender));
        Self {
            phase,
            view,
            seq,
            digest,
            sender,
            signature,
        }
    }
}

/// `CHECKPOINT(n, header hash)` (OSDI '99 §4.3).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct Checkpoint {
    /// n, a multiple of the checkpoint interval.
    pub seq: SeqNum,
    /// Hash of the header of block n, which holds the state root.
    pub header: Digest,
    /// Who signed.
    pub sender: ReplicaId,
    /// Over (n, header, sender).
    pub signature: Signature,
}

impl Checkpoint {
    /// The signature domain of CHECKPOINTs.
    pub const DOMAIN: Domain = Domain::new("tagma/checkpoint");

    /// The bytes the signature covers, beside domain and chain id.
    pub fn content(seq: SeqNum, header: &Digest, sender: ReplicaId) -> Vec<u8> {
        encode::encode(&(seq, *header, sender))
    }

    /// Signs a CHECKPOINT.
    pub fn sign(seq: SeqNum, header: Digest, sender: ReplicaId, chain: &Digest, key: &SecretKey) -> Self {
        let signature = key.sign(Self::DOMAIN, chain, &Self::content(seq, &header, sender));
        Self {
            seq,
            header,
            sender,
            signature,
        }
    }
}

/// `VIEW-CHANGE(v', h, C, P)` (OSDI '99 §4.4).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct ViewChange {
    /// The view the sender wants to enter, v'.
    pub target: View,
    /// C: the proof of the sender's h; none for h = 0.
    pub stable: Option<StableCertificate>,
    /// P: for each n in (h, H] with one, the prepared certificate of the highest view; sorted by n, without bodies.
    pub prepared: List<PreparedCertificate>,
    /// Who signed.
    pub sender: ReplicaId,
    /// Over (target, digest of C and P, sender).
    pub signature: Signature,
}

impl ViewChange {
    /// The signature domain of VIEW-CHANGEs.
    pub const DOMAIN: Domain = Domain::new("tagma/view-change");

    /// h: the sender's highest stable checkpoint.
    pub fn stable_seq(&self) -> SeqNum {
        self.stable
            .as_ref()
            .map_or(SeqNum::ZERO, |certificate| certificate.seq)
    }

    /// The digest of C and P. Two VIEW-CHANGEs of one sender and target with different ones are a fault.
    pub fn content_digest(&self) -> Digest {
        Digest::of(
            "tagma/view-change-content",
            &[&encode::encode(&(&self.stable, &self.prepared))],
        )
    }

    /// The bytes the signature covers, beside domain and chain id: short, so that a target can be proved without C
    /// and P.
    pub fn content(target: View, content: &Digest, sender: ReplicaId) -> Vec<u8> {
        encode::encode(&(target, *content, sender))
    }

    /// Signs a VIEW-CHANGE.
    pub fn sign(
        target: View,
        stable: Option<StableCertificate>,
        prepared: Vec<PreparedCertificate>,
        sender: ReplicaId,
        chain: &Digest,
        key: &SecretKey,
    ) -> Self {
        let signature = Signature::from_bytes([0; 64]);
        let mut message = Self {
            target,
            stable,
            prepared: prepared.into(),
            sender,
            signature,
        };
        let content = Self::content(target, &message.content_digest(), sender);
        message.signature = key.sign(Self::DOMAIN, chain, &content);
        message
    }
}

/// One entry of a NEW-VIEW's O: the digest chosen for a sequence number and the new primary's PRE-PREPARE signature.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct Reproposal {
    /// The digest O chooses.
    pub digest: Digest,
    /// The signature of `PRE-PREPARE(v', n, digest)`.
    pub signature: Signature,
}

/// `NEW-VIEW(v', V, O)` (OSDI '99 §4.4).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct NewView {
    /// v'
    pub view: View,
    /// V: exactly Q VIEW-CHANGEs for v' of distinct senders, sorted by sender.
    pub view_changes: List<Arc<ViewChange>>,
    /// O: the entry for min_s + 1 first, without gaps up to max_s.
    pub proposals: List<Reproposal>,
    /// By primary(v'), over the digest of all of the above.
    pub signature: Signature,
}

impl NewView {
    /// The signature domain of NEW-VIEWs.
    pub const DOMAIN: Domain = Domain::new("tagma/new-view");

    /// The digest of the signed content.
    pub fn content_digest(&self) -> Digest {
        let content = encode::encode(&(self.view, &self.view_changes, &self.proposals));
        Digest::of("tagma/new-view-content", &[&content])
    }
}

/// Whether a replica takes part in its view or is trying to leave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub enum Mode {
    /// Agreement goes on in the view.
    Normal,
    /// A VIEW-CHANGE for the target was sent; nothing of a lower view is signed any more.
    ViewChange,
}

/// What the sender of a STATUS holds for one sequence number of its view.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct SlotStatus {
    /// n
    pub seq: SeqNum,
    /// Whether PRE-PREPARE and body are here.
    pub proposed: bool,
    /// Bit i: replica i's PREPARE is here.
    pub prepares: u128,
    /// Bit i: replica i's COMMIT is here.
    pub commits: u128,
}

/// Proof of the sender and target of a VIEW-CHANGE, without what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct SignedTarget {
    /// The target.
    pub target: View,
    /// The digest of C and P.
    pub content: Digest,
    /// The sender's signature.
    pub signature: Signature,
}

/// The highest statements a replica has seen signed by another one: proofs, so that nobody can talk a starting replica
/// into having forgotten something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct HighestSigned {
    /// A vote of the highest view.
    pub view: Option<Vote>,
    /// A vote for the highest sequence number.
    pub seq: Option<Vote>,
    /// The VIEW-CHANGE for the highest target.
    pub target: Option<SignedTarget>,
}

/// What a replica has, so that peers can send what it lacks. What it says of the sender needs no signature: a lie costs
/// only the liar.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct Status {
    /// The view the sender is in, or was in before it left for `target`.
    pub view: View,
    /// The view it wants to enter; equal to `view` in normal mode.
    pub target: View,
    /// Its mode.
    pub mode: Mode,
    /// Its highest stable checkpoint h.
    pub stable: SeqNum,
    /// The last sequence number it has executed.
    pub executed: SeqNum,
    /// What it holds above `executed`, for the votes of `view`; ascending, at most a window.
    pub slots: List<SlotStatus>,
    /// Whether the sender is starting and waits for STATUS of others.
    pub starting: bool,
    /// The highest statements the sender has seen signed by the receiver, for the amnesia check of its start; none in
    /// a STATUS that goes to all.
    pub yours: Option<Box<HighestSigned>>,
}

/// A block with the proof that it is final.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct CertifiedBatch {
    /// Q COMMITs.
    pub certificate: CommitCertificate,
    /// The batch that hashes to the certificate's digest.
    pub batch: Batch,
}

/// Anything a replica sends to a replica.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub enum Message {
    /// The primary's proposal; a relayed one may come without its body.
    PrePrepare {
        /// The signed (v, n, d).
        vote: Vote,
        /// The batch that hashes to d.
        batch: Option<Batch>,
    },
    /// A PREPARE or COMMIT.
    Vote(Vote),
    /// A CHECKPOINT.
    Checkpoint(Checkpoint),
    /// Proof of the sender's h, for one that is behind it.
    Stable(StableCertificate),
    /// A VIEW-CHANGE.
    ViewChange(Arc<ViewChange>),
    /// A NEW-VIEW.
    NewView(Arc<NewView>),
    /// What the sender has.
    Status(Status),
    /// Pending requests, forwarded to the primary.
    Forward(List<Request>),
    /// Asks for the batch with this digest, last certified for `seq`.
    FetchBody {
        /// Where the receiver may find it once it is a block.
        seq: SeqNum,
        /// The digest of the batch.
        digest: Digest,
    },
    /// Answers [`Message::FetchBody`]: hashes to what was asked for, or is worth nothing.
    Body(Batch),
    /// Asks for final batches from `from` on, ascending.
    FetchBlocks {
        /// The first one wanted.
        from: SeqNum,
        /// How many at most.
        count: u32,
    },
    /// Answers [`Message::FetchBlocks`]; empty if the first one wanted is not held any more.
    Blocks {
        /// The first one that was asked for.
        from: SeqNum,
        /// Consecutive from `from` on.
        blocks: List<CertifiedBatch>,
    },
    /// Asks for a part of the state at a checkpoint; the request's content belongs to the ledger.
    FetchState {
        /// The checkpoint.
        seq: SeqNum,
        /// Which part.
        part: Blob,
    },
    /// Answers [`Message::FetchState`]; the ledger checks it against the certified header before using it.
    StatePart {
        /// The checkpoint.
        seq: SeqNum,
        /// Which part was asked for.
        part: Blob,
        /// The part, or nothing if the sender does not have it.
        data: Option<Blob>,
    },
}

/// The kind of a message, for counters and rejections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "named like the messages")]
pub enum Kind {
    PrePrepare,
    Prepare,
    Commit,
    Checkpoint,
    Stable,
    ViewChange,
    NewView,
    Status,
    Forward,
    FetchBody,
    Body,
    FetchBlocks,
    Blocks,
    FetchState,
    StatePart,
}

impl Kind {
    /// Every kind, in the order of the protocol.
    pub const ALL: [Self; 15] = [
        Self::PrePrepare,
        Self::Prepare,
        Self::Commit,
        Self::Checkpoint,
        Self::Stable,
        Self::ViewChange,
        Self::NewView,
        Self::Status,
        Self::Forward,
        Self::FetchBody,
        Self::Body,
        Self::FetchBlocks,
        Self::Blocks,
        Self::FetchState,
        Self::StatePart,
    ];

    /// The name in metrics, snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PrePrepare => "pre_prepare",
            Self::Prepare => "prepare",
            Self::Commit => "commit",
            Self::Checkpoint => "checkpoint",
            Self::Stable => "stable",
            Self::ViewChange => "view_change",
            Self::NewView => "new_view",
            Self::Status => "status",
            Self::Forward => "forward",
            Self::FetchBody => "fetch_body",
            Self::Body => "body",
            Self::FetchBlocks => "fetch_blocks",
            Self::Blocks => "blocks",
            Self::FetchState => "fetch_state",
            Self::StatePart => "state_part",
        }
    }

    /// Whether messages of this kind can be large or come in answer to a request. They travel apart from votes, so
    /// that a vote never waits behind them.
    pub const fn is_bulk(self) -> bool {
        !matches!(
            self,
            Self::Prepare
                | Self::Commit
                | Self::Checkpoint
                | Self::Status
                | Self::FetchBody
                | Self::FetchBlocks
        )
    }

    /// Whether messages of this kind are first sent to all: to one alone they go because its STATUS shows that it lacks them.
    pub const fn is_first_sent_to_all(self) -> bool {
        matches!(
            self,
            Self::PrePrepare
                | Self::Prepare
                | Self::Commit
                | Self::Checkpoint
                | Self::Stable
                | Self::ViewChange
                | Self::NewView
        )
    }
}

impl Message {
    /// The kind of this message.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::PrePrepare { .. } => Kind::PrePrepare,
            Self::Vote(vote) => match vote.phase {
                Phase::PrePrepare => Kind::PrePrepare,
                Phase::Prepare => Kind::Prepare,
                Phase::Commit => Kind::Commit,
            },
            Self::Checkpoint(_) => Kind::Checkpoint,
            Self::Stable(_) => Kind::Stable,
            Self::ViewChange(_) => Kind::ViewChange,
            Self::NewView(_) => Kind::NewView,
            Self::Status(_) => Kind::Status,
            Self::Forward(_) => Kind::Forward,
            Self::FetchBody { .. } => Kind::FetchBody,
            Self::Body(_) => Kind::Body,
            Self::FetchBlocks { .. } => Kind::FetchBlocks,
            Self::Blocks { .. } => Kind::Blocks,
            Self::FetchState { .. } => Kind::FetchState,
            Self::StatePart { .. } => Kind::StatePart,
        }
    }
}
