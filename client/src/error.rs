//! The errors of this library.

use tagma_crypto::Digest;
use tagma_wire::client_protocol::Refusal;

/// Why a submission brought no accepted outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Enough replicas refuse the request that at least one correct one is among them. For a reason of the moment
    /// ([`is_final`]) it may still be executed later if somebody submits it again.
    #[error("request {hash} is refused: {}", describe_refusal(refusal))]
    Rejected {
        /// The request's digest.
        hash: Digest,
        /// The reason, in the words of the last of them.
        refusal: Refusal,
        /// The replicas that say so.
        by: Vec<u16>,
    },
    /// The deadline passed before f + 1 replicas replied alike. The request may have been executed, or may be yet:
    /// submitting the same bytes again is safe and finds out.
    #[error("the outcome of request {} is unknown", .0.hash)]
    OutcomeUnknown(Box<Unknown>),
    /// No replica could be reached until the deadline; the request never left.
    #[error("request {hash} could not be sent: no replica is connected")]
    Unreachable {
        /// The request's digest.
        hash: Digest,
    },
    /// So many requests are in flight already; this one was not sent.
    #[error("{limit} requests are in flight already")]
    TooManyInFlight {
        /// The bound.
        limit: usize,
    },
    /// The request is longer than any frame may be; it was not sent.
    #[error("the request of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Its encoded length.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// The client was closed meanwhile.
    #[error("the client was closed before the outcome of request {hash} was known")]
    Closed {
        /// The request's digest.
        hash: Digest,
    },
}

/// What was heard of a request until its deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The request's digest.
    pub hash: Digest,
    /// The replicas of the largest set of identical replies.
    pub supporters: Vec<u16>,
    /// How many there would have had to be, f + 1.
    pub needed: usize,
    /// The replicas that were too busy for it.
    pub busy: Vec<u16>,
    /// The replicas that refused it, and why.
    pub refused: Vec<(u16, Refusal)>,
    /// The replicas without a connection at the deadline.
    pub unconnected: Vec<u16>,
}

/// Whether a refusal by a correct replica means that the request can never be executed. The others depend on the state of
/// the replica that says so, which may be behind.
#[must_use]
pub fn is_final(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Invalid(_) | Refusal::NonceConsumed { .. } | Refusal::Expired { .. } => true,
        Refusal::UnknownAccount | Refusal::NonceTooFar { .. } => false,
    }
}

/// A refusal in words.
#[must_use]
pub fn describe_refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Invalid(rejection) => rejection.to_string(),
        Refusal::UnknownAccount => "the account does not exist".into(),
        Refusal::NonceConsumed { next } => {
            format!("its nonce is consumed already, the account's next is {next}")
        }
        Refusal::NonceTooFar { next } => {
            format!("its nonce is too far ahead, the account's next is {next}")
        }
        Refusal::Expired { height } => format!("it has expired, the chain is at height {height}"),
    }
}

/// Why one replica gave no answer to a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// There is no connection to it.
    #[error("{0}")]
    Unreachable(String),
    /// It is connected and did not answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection was lost before the answer.
    #[error("the connection was lost before the answer")]
    Lost,
    /// It says that it cannot answer, and why.
    #[error("cannot answer: {0}")]
    Unavailable(String),
    /// It answered something else than what was asked.
    #[error("answered something else than what was asked")]
    Mismatched,
}

/// Why the replicas' answers to a query do not add up to one that can be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Fewer than f + 1 replicas answered.
    #[error("{answered} of {replicas} replicas answered, {needed} must agree")]
    TooFew {
        /// How many answered.
        answered: usize,
        /// N.
        replicas: usize,
        /// f + 1.
        needed: usize,
        /// What was wrong with each of the others.
        errors: Vec<(u16, QueryError)>,
    },
    /// No f + 1 answers were alike until the deadline: replicas lag or lie.
    #[error("no {needed} replicas gave the same answer: {}", answers.join("; "))]
    NoMatch {
        /// f + 1.
        needed: usize,
        /// What each replica said.
        answers: Vec<String>,
    },
    /// No f + 1 replicas have reached the height that was asked for.
    #[error("fewer than {needed} replicas have reached height {min_height}, the best are at {heights:?}")]
    BelowMinHeight {
        /// f + 1.
        needed: usize,
        /// The height asked for.
        min_height: u64,
        /// The heights that were answered, in descending order.
        heights: Vec<u64>,
    },
}
