//! What a client asks for and signs, and the checks on it that need no state.

use crate::batch::Request;
use crate::genesis::Parameters;
use serde::{Deserialize, Serialize};
use tagma_crypto::encode::{Blob, Decode, Encode, decode, encode};
use tagma_crypto::request;
use tagma_crypto::signature::signed_bytes;
use tagma_crypto::{Claim, Digest, Domain, PublicKey, SecretKey, Signature, verify};

/// The domain of a client's signature over a transaction.
pub const TRANSACTION_DOMAIN: Domain = Domain::new("tagma/transaction");

/// A transaction without its signature. Its canonical encoding is the content of a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
#[serde(deny_unknown_fields)]
pub struct Transaction {
    /// The id of the only chain it is meant for.
    pub chain: Digest,
    /// The account that acts, and whose key signs.
    pub account: PublicKey,
    /// The account's next nonce: an account's transactions are executed in the order of their nonces, without gaps.
    pub nonce: u64,
    /// What to do.
    pub operation: Operation,
    /// The last height at which it may be executed.
    pub expiry_height: u64,
}

/// What a transaction does.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Moves `amount` from the acting account to another, which comes into being if it does not exist.
    Transfer {
        /// The account that receives.
        to: PublicKey,
        /// How much; zero fails.
        amount: u64,
    },
    /// Reads an account at this place in the order: an *ordered*, linearizable read (protocol.md §7). It consumes a
    /// nonce of the acting account and changes nothing else.
    Read {
        /// The account read.
        account: PublicKey,
    },
}

/// Why a request is not valid in any state. All replicas agree on it for ever, so a batch that holds such a request
/// convicts the primary that signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize, thiserror::Error)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// The content is longer than the chain allows.
    #[error("request content of {bytes} bytes exceeds the chain's limit of {max}")]
    TooLarge {
        /// The content's length.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The content is not the canonical encoding of a transaction.
    #[error("request content is not the canonical encoding of a transaction")]
    Malformed,
    /// The transaction is meant for another chain.
    #[error("transaction is for chain {chain}")]
    WrongChain {
        /// The chain it names.
        chain: Digest,
    },
    /// No signature can be good under the account's key.
    #[error("account key is no acceptable key")]
    UnacceptableKey,
    /// The signature is not the account's over this content.
    #[error("signature does not verify")]
    BadSignature,
}

impl Transaction {
    /// The canonical encoding, which is what is signed and hashed.
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        encode(self)
    }

    /// The transaction's identity: the digest of its unsigned content, equal to its [`Request::digest`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        request::digest(&self.chain, &self.content())
    }

    /// Signs the transaction for its chain. The key should be that of `account`, or nobody will accept it.
    #[must_use]
    pub fn sign(self, key: &SecretKey) -> SignedTransaction {
        let signature = key.sign(TRANSACTION_DOMAIN, &self.chain, &self.content());
        SignedTransaction {
            transaction: self,
            signature,
        }
    }
}

/// A transaction with its account's signature.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
#[serde(deny_unknown_fields)]
pub struct SignedTransaction {
    /// What is signed.
    pub transaction: Transaction,
    /// The signature, not necessarily a good one.
    pub signature: Signature,
}

impl SignedTransaction {
    /// Reads a request back. Checks its form only: see [`StaticChecks::check_static`] for the rest.
    ///
    /// # Errors
    /// [`Rejection::Malformed`] if the content is not the canonical encoding of a transaction.
    pub fn from_request(request: &Request) -> Result<Self, Rejection> {
        Ok(Self {
            transaction: decode_content(&request.content)?,
            signature: request.signature,
        })
    }

    /// The request as it travels.
    #[must_use]
    pub fn to_request(&self) -> Request {
        Request {
            content: Blob::from(self.transaction.content()),
            signature: self.signature,
        }
    }
}

fn decode_content(content: &[u8]) -> Result<Transaction, Rejection> {
    decode(content, content.len()).map_err(|_| Rejection::Malformed)
}

/// The static checks of a request: what can be said of it without any state, and what all replicas say alike for ever.
pub trait StaticChecks {
    /// The static checks but for the signature: size, canonical form, chain. The signature is left to the caller, who
    /// can verify the [`StaticChecks::claim`]s of many requests together.
    ///
    /// # Errors
    /// The first check that fails.
    fn check_form(&self, chain: &Digest, parameters: &Parameters) -> Result<Transaction, Rejection>;

    /// The claim that `transaction`, which this request decodes to, is signed by its account.
    #[must_use]
    fn claim(&self, transaction: &Transaction) -> Claim;

    /// All static checks: what a request must pass to be proposed, and to get a PREPARE (protocol.md §1).
    ///
    /// # Errors
    /// The first check that fails.
    fn check_static(&self, chain: &Digest, parameters: &Parameters) -> Result<Transaction, Rejection>;
}

impl StaticChecks for Request {
    fn check_form(&self, chain: &Digest, parameters: &Parameters) -> Result<Transaction, Rejection> {
        let bytes = self.content.len() as u64;
        if bytes > parameters.max_request_bytes {
            return Err(Rejection::TooLarge {
                bytes,
                max: parameters.max_request_bytes,
            });
        }
        let transaction = decode_content(&self.content)?;
        if transaction.chain != *chain {
            return Err(Rejection::WrongChain {
                chain: transaction.chain,
            });
        }
        Ok(transaction)
    }

    fn claim(&self, transaction: &Transaction) -> Claim {
        Claim {
            key: transaction.account,
            message: signed_bytes(TRANSACTION_DOMAIN, &transaction.chain, &self.content),
            signature: self.signature,
        }
    }

    fn check_static(&self, chain: &Digest, parameters: &Parameters) -> Result<Transaction, Rejection> {
        let transaction = self.check_form(chain, parameters)?;
        let claim = self.claim(&transaction);
        if verify(&claim.key, &claim.message, &claim.signature) {
            Ok(transaction)
        } else {
            Err(signature_rejection(&transaction.account))
        }
    }
}

/// Why a signature did not verify under `key`. Verification itself refuses every key that is not acceptable, so that
/// asking costs good requests nothing.
#[must_use]
pub fn signature_rejection(key: &PublicKey) -> Rejection {
    if key.is_acceptable() {
        Rejection::BadSignature
    } else {
        Rejection::UnacceptableKey
    }
}
