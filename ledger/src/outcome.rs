//! What became of a request: an outcome if it was executed, a no-op leaf if it was not.

use serde::{Deserialize, Serialize};
use tagma_crypto::encode::{Decode, Encode, encode};
use tagma_crypto::{Digest, PublicKey};

/// The result of an executed request. Only an execution has one, it has exactly one, and it consumed the nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The amount has moved (to itself, in a self-transfer).
    Transferred,
    /// Nothing moved: the account has less than the amount.
    InsufficientFunds {
        /// What the account had.
        balance: u64,
    },
    /// Nothing moved: the amount is zero.
    ZeroAmount,
    /// Nothing moved: the recipient's balance would pass 2^64 - 1.
    Overflow,
    /// Nothing moved: the recipient's key cannot own an account.
    BadRecipient,
    /// The account read, as it is right after the reader's nonce was consumed.
    Read {
        /// Its balance.
        balance: u64,
        /// The nonce of its next transaction.
        next_nonce: u64,
    },
    /// The account to be read does not exist.
    NoSuchAccount,
}

impl Outcome {
    /// Whether the request did what it asked for.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Transferred | Self::Read { .. })
    }
}

/// Why an occurrence of a request in a batch was not executed. It says nothing about the request's fate: the same
/// request may have been executed before, or may be later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
#[serde(rename_all = "snake_case")]
pub enum NoOpReason {
    /// The content is no transaction. Replicas refuse such a batch, so this is never agreed on.
    Malformed,
    /// The transaction is for another chain. Replicas refuse such a batch, so this is never agreed on.
    WrongChain,
    /// The account does not exist (yet).
    UnknownAccount,
    /// The nonce was consumed before, by this request or another.
    ConsumedNonce,
    /// A nonce before it is not consumed yet.
    FutureNonce,
    /// The height is past the request's expiry.
    Expired,
    /// The account has used up all nonces.
    NoncesExhausted,
}

/// That a request was executed, and with what outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct ExecutedReceipt {
    /// The request's digest.
    pub request: Digest,
    /// The account that acted.
    pub account: PublicKey,
    /// The nonce it consumed.
    pub nonce: u64,
    /// The result.
    pub outcome: Outcome,
}

/// That a request stood in a batch and was not executed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct NoOpReceipt {
    /// The request's digest.
    pub request: Digest,
    /// Why.
    pub reason: NoOpReason,
}

/// What became of one occurrence of a request in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
#[serde(rename_all = "snake_case")]
pub enum Receipt {
    /// It was executed.
    Executed(ExecutedReceipt),
    /// It left no trace but this.
    NoOp(NoOpReceipt),
}

impl Receipt {
    /// The digest of the request.
    #[must_use]
    pub fn request(&self) -> Digest {
        match self {
            Self::Executed(receipt) => receipt.request,
            Self::NoOp(receipt) => receipt.request,
        }
    }

    /// The receipt of an execution, if it is one.
    #[must_use]
    pub fn executed(&self) -> Option<&ExecutedReceipt> {
        match self {
            Self::Executed(receipt) => Some(receipt),
            Self::NoOp(_) => None,
        }
    }

    /// The receipt's leaf hash in the receipts tree. The two kinds are hashed under prefixes of their own, so that a
    /// no-op never verifies as an outcome (protocol.md §2).
    #[must_use]
    pub fn leaf(&self) -> Digest {
        match self {
            Self::Executed(receipt) => Digest::of("tagma/receipt/executed", &[&encode(receipt)]),
            Self::NoOp(receipt) => Digest::of("tagma/receipt/no-op", &[&encode(receipt)]),
        }
    }
}
