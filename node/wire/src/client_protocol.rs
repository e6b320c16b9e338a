//! What clients and replicas say to each other: one frame is one canonically encoded [`ClientRequest`] or
//! [`ClientResponse`].
//!
//! A client connects to every replica, follows its accounts everywhere ([`ClientRequest::Follow`]), and submits to the
//! presumed primary; only if too few replies come does it submit to all.
//!
//! Replies need no signature of their own: they travel over a channel whose TLS key is the replica's (protocol: clients,
//! replies, receipts). A client believes an outcome at f + 1 identical replies, a single replica's [`Answer`] never.

use serde::{Deserialize, Serialize};
use tagma_crypto::encode::{Blob, Decode, Encode, List, Text};
use tagma_crypto::{Digest, PublicKey, Request, Signature};
use tagma_ledger::{BlockHeader, Outcome, Receipt, TransactionProof};

/// The most bytes of a client's frame: the largest request, with room around it.
pub const MAX_CLIENT_FRAME: usize = 64 << 10;
/// The most bytes of a replica's answer: a whole block.
pub const MAX_ANSWER_FRAME: usize = 16 << 20;
/// The most accounts that one connection may follow ([`ClientRequest::Follow`]).
pub const MAX_FOLLOWED: usize = 4096;

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub enum ClientRequest {
    /// Order and execute this. The replica replies once it has executed it, at once if it has already; sending the same
    /// request again is safe and never executes it twice.
    Submit(Request),
    /// From now on, and for as long as this connection lasts, reply to every executed request of this account as if it had
    /// been submitted here. A client sends its requests to the primary alone, and believes f + 1 replies: this is how the
    /// backups know where theirs go. It is sent once for each account and connection, before the first request. A replica
    /// ignores it above [`MAX_FOLLOWED`]; nothing but time is lost then, as the client resends its request to all.
    Follow(PublicKey),
    /// Answer from what this replica has now.
    Query {
        /// Comes back with the answer.
        id: u64,
        /// What to answer.
        query: Query,
    },
}

/// A question that one replica answers alone.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub enum Query {
    /// How is this replica?
    Status,
    /// What is in this account?
    Account(PublicKey),
    /// What is the block of this height?
    Block(u64),
    /// What became of the request with this digest?
    Transaction(Digest),
    /// As [`Query::Transaction`], in a form that convinces others as well, once f + 1 replicas have answered.
    Receipt(Digest),
}

/// What a replica sends.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub enum ClientResponse {
    /// A request of this client was executed.
    Reply(Reply),
    /// Several requests of this client were executed in one block: as many replies in one frame.
    Replies(Replies),
    /// A request was not admitted for now: a hint that counts as nothing.
    Busy {
        /// The request.
        request: Digest,
    },
    /// A request can never be executed as it is, as far as this replica can tell: a hint, unless f + 1 say so.
    Refused {
        /// The request.
        request: Digest,
        /// Why.
        reason: Refusal,
    },
    /// The answer to a query.
    Answer {
        /// The query's.
        id: u64,
        /// The answer.
        answer: Answer,
    },
}

/// The result of a request. The client accepts `(request, outcome, height)` at f + 1 identical ones; header and view
/// travel along and are not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct Reply {
    /// The digest of the request's unsigned content.
    pub request: Digest,
    /// What came of it.
    pub outcome: Outcome,
    /// The height of its block.
    pub height: u64,
    /// The hash of the block's header, if this replica still has it at hand.
    pub header: Option<Digest>,
    /// The view the replica is in: that is how a client learns the primary.
    pub view: u64,
}

/// The replies to several requests that were executed in one block.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct Replies {
    /// As in each [`Reply`].
    pub height: u64,
    /// As in each [`Reply`].
    pub header: Option<Digest>,
    /// As in each [`Reply`].
    pub view: u64,
    /// The digest of each request's unsigned content, and what came of it.
    pub results: List<(Digest, Outcome)>,
}

impl Replies {
    /// The replies one by one, in order.
    pub fn iter(&self) -> impl Iterator<Item = Reply> + '_ {
        let Self {
            height, header, view, ..
        } = *self;
        self.results.iter().map(move |(request, outcome)| Reply {
            request: *request,
            outcome: *outcome,
            height,
            header,
            view,
        })
    }
}

/// Puts replies into as few responses as their blocks allow, in their order.
#[must_use]
pub fn join_replies(replies: &[Reply]) -> Vec<ClientResponse> {
    let together = |one: &Reply, next: &Reply| {
        (one.height, one.header, one.view) == (next.height, next.header, next.view)
    };
    let joined = replies.chunk_by(together).filter_map(|chunk| match chunk {
        [] => None,
        [reply] => Some(ClientResponse::Reply(*reply)),
        [first, ..] => Some(ClientResponse::Replies(Replies {
            height: first.height,
            header: first.header,
            view: first.view,
            results: chunk.iter().map(|reply| (reply.request, reply.outcome)).collect(),
        })),
    });
    joined.collect()
}

/// Why a request is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It is not a valid request of this chain, whatever the state.
    Invalid(tagma_ledger::Rejection),
    /// The account does not exist.
    UnknownAccount,
    /// Its nonce was consumed, longer ago than the account remembers or by another request.
    NonceConsumed {
        /// The account's next nonce.
        next: u64,
    },
    /// Its nonce lies too far ahead.
    NonceTooFar {
        /// The account's next nonce.
        next: u64,
    },
    /// Its expiry height is past.
    Expired {
        /// The replica's height.
        height: u64,
    },
}

/// A replica's answer to a [`Query`]: its own word, possibly stale.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub enum Answer {
    /// To [`Query::Status`].
    Status(StatusReport),
    /// To [`Query::Account`].
    Account {
        /// The height the answer is of.
        height: u64,
        /// The account; none if it does not exist at that height.
        account: Option<AccountReport>,
    },
    /// To [`Query::Block`]; none if the replica does not have it.
    Block(Option<BlockReport>),
    /// To [`Query::Transaction`]; none if it was not executed up to that height. A replica that cannot tell is [`Answer::Unavailable`].
    Transaction {
        /// The height the answer is of.
        height: u64,
        /// Where and how it was executed.
        found: Option<TransactionReport>,
    },
    /// To [`Query::Receipt`]; none as for a transaction.
    Receipt {
        /// The height the answer is of.
        height: u64,
        /// What this replica adds to a receipt.
        found: Option<Box<ReceiptReport>>,
    },
    /// The replica cannot answer, for this reason.
    Unavailable(Text),
}

/// An account as a replica has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct AccountReport {
    /// Its balance.
    pub balance: u64,
    /// The nonce of its next transaction.
    pub next_nonce: u64,
}

/// A block as a replica has it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct BlockReport {
    /// Its header.
    pub header: BlockHeader,
    /// Its requests, in order.
    pub requests: List<Request>,
    /// What became of each.
    pub receipts: List<Receipt>,
}

/// Where a request was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct TransactionReport {
    /// The height of its block.
    pub height: u64,
    /// Its position there.
    pub position: u32,
    /// What came of it.
    pub outcome: Outcome,
}

/// A request with its outcome and their ways into a header, and who stands for that header.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct ReceiptReport {
    /// The header.
    pub header: BlockHeader,
    /// The request, its outcome, and their ways into the header.
    pub transaction: TransactionProof,
    /// The encoding of the commit certificate for the header's batch.
    pub certificate: Blob,
    /// This replica's attestation of the header; none if it signs nothing at present.
    pub attestation: Option<Signature>,
}

/// How a replica is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct StatusReport {
    /// The replica's number.
    pub replica: u16,
    /// The chain id.
    pub chain: Digest,
    /// The version of its program.
    pub version: Text,
    /// The view it is in.
    pub view: u64,
    /// The view it wants; equal to `view` unless it is changing views.
    pub target: u64,
    /// The primary of the view it wants.
    pub primary: u16,
    /// `starting`, `voting`, `learner` or `halted: …`.
    pub standing: Text,
    /// Its highest stable checkpoint.
    pub stable: u64,
    /// The last block it has executed.
    pub executed: u64,
    /// The hash of that block's header.
    pub tip: Digest,
    /// The state root of the last checkpoint it has executed.
    pub state_root: Digest,
    /// The height of that checkpoint.
    pub state_height: u64,
    /// Requests waiting to be ordered.
    pub pending: u64,
    /// Whether it is connected to each other replica, in order of number; true for itself.
    pub connected: List<bool>,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(number: u64, height: u64) -> Reply {
        Reply {
            request: Digest::of("test", &[&number.to_le_bytes()]),
            outcome: Outcome::Transferred,
            height,
            header: None,
            view: 3,
        }
    }

    #[test]
    fn replies_of_one_block_share_a_response_and_come_out_as_they_went_in() {
        let replies: Vec<Reply> = [(0, 1), (1, 1), (2, 1), (3, 2), (4, 3), (5, 3)]
            .map(|(number, height)| reply(number, height))
            .into();
        let joined = join_replies(&replies);
        assert_eq!(joined.len(), 3);
        assert!(
            matches!(joined.get(1), Some(ClientResponse::Reply(_))),
            "one alone stays a reply"
        );
        let out: Vec<Reply> = joined
            .iter()
            .flat_map(|response| match response {
                ClientResponse::Reply(reply) => vec![*reply],
                ClientResponse::Replies(replies) => replies.iter().collect(),
                _ => Vec::new(),
            })
            .collect();
        assert_eq!(out, replies);
        assert!(join_replies(&[]).is_empty());
    }
}
