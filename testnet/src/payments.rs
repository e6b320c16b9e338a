//! Transfers between the accounts of a network, through the client library.

use std::collections::BTreeMap;
use std::time::Duration;

use tagma_client::{Accepted, Client, SubmitError};
use tagma_crypto::{Digest, PublicKey, SecretKey};
use tagma_ledger::{Operation, Outcome, SignedTransaction, Transaction};

use crate::error::Error;
use crate::network::Network;
use crate::observe::connect;
use crate::plan::ACCOUNT_NAMES;

/// How long reading an account may take.
const READING: Duration = Duration::from_secs(30);
/// A payment that is not executed within so many blocks never will be.
const EXPIRY: u64 = 1_000_000;

/// A transfer that f + 1 replicas report alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paid {
    /// The request's digest.
    pub request: Digest,
    /// What came of it.
    pub outcome: Outcome,
    /// The height of its block.
    pub height: u64,
    /// The replicas that reported it.
    pub replicas: Vec<u16>,
    /// The replicas that reported something else.
    pub liars: Vec<u16>,
    /// From the submission to the reply that decided.
    pub took: Duration,
}

impl From<Accepted> for Paid {
    fn from(accepted: Accepted) -> Self {
        Self {
            request: accepted.hash,
            outcome: accepted.outcome,
            height: accepted.height,
            replicas: accepted.supporters,
            liars: accepted.liars,
            took: accepted.latency,
        }
    }
}

/// Holds the keys of a network's accounts, and pays.
pub struct Payer {
    client: Client,
    keys: BTreeMap<&'static str, SecretKey>,
    nonces: BTreeMap<PublicKey, u64>,
}

impl Payer {
    /// A payer with its own connections. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the keys cannot be read or no socket can be had.
    pub fn new(network: &Network) -> Result<Self, Error> {
        let mut keys = BTreeMap::new();
        for name in ACCOUNT_NAMES {
            keys.insert(name, SecretKey::load(&network.layout().account_key(name))?);
        }
        Ok(Self {
            client: connect(network.genesis())?,
            keys,
            nonces: BTreeMap::new(),
        })
    }

    /// The client it pays through.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A signed transfer with the account's next nonce, which it thereby uses up.
    ///
    /// # Errors
    /// If there is no such account, or its nonce is not known yet and cannot be read.
    pub async fn sign(&mut self, from: &str, to: &str, amount: u64) -> Result<SignedTransaction, Error> {
        let to = self.key(to)?.public();
        self.sign_to(from, to, amount).await
    }

    /// As [`Payer::sign`], to any key, whether it has an account yet or not.
    ///
    /// # Errors
    /// As [`Payer::sign`].
    pub async fn sign_to(
        &mut self,
        from: &str,
        to: PublicKey,
        amount: u64,
    ) -> Result<SignedTransaction, Error> {
        let key = self.key(from)?.clone();
        let account = key.public();
        let nonce = match self.nonces.get(&account) {
            Some(nonce) => *nonce,
            None => self.read_nonce(account).await?,
        };
        self.nonces.insert(account, nonce + 1);
        let transaction = Transaction {
            chain: self.client.network().chain(),
            account,
            nonce,
            operation: Operation::Transfer { to, amount },
            expiry_height: EXPIRY,
        };
        Ok(transaction.sign(&key))
    }

    /// Transfers `amount` and waits until f + 1 replicas report it done.
    ///
    /// # Errors
    /// [`Error::Client`] with the client's exit code if the outcome is unknown, or the ledger refuses.
    pub async fn pay(&mut self, from: &str, to: &str, amount: u64, within: Duration) -> Result<Paid, Error> {
        let to = self.key(to)?.public();
        self.pay_to(from, to, amount, within).await
    }

    /// As [`Payer::pay`], to any key, whether it has an account yet or not.
    ///
    /// # Errors
    /// As [`Payer::pay`].
    pub async fn pay_to(
        &mut self,
        from: &str,
        to: PublicKey,
        amount: u64,
        within: Duration,
    ) -> Result<Paid, Error> {
        let transaction = self.sign_to(from, to, amount).await?;
        let accepted = self
            .client
            .submit(&transaction, within)
            .await
            .map_err(|error| refused(&error))?;
        if accepted.outcome.is_success() {
            return Ok(accepted.into());
        }
        Err(Error::Client {
            message: format!("request {} was executed as {:?}", accepted.hash, accepted.outcome),
            code: tagma_client::ExitCode::Rejected.code(),
        })
    }

    fn key(&self, name: &str) -> Result<&SecretKey, Error> {
        self.keys.get(name).ok_or_else(|| {
            Error::usage(
                format!("there is no account {name:?}"),
                format!("there are {}", ACCOUNT_NAMES.join(", ")),
            )
        })
    }

    async fn read_nonce(&self, account: PublicKey) -> Result<u64, Error> {
        let read = self
            .client
            .next_nonce(account, READING)
            .await
            .map_err(|error| Error::Client {
                message: error.to_string(),
                code: tagma_client::ExitCode::NoQuorum.code(),
            })?;
        // The accounts of a network exist from genesis on.
        Ok(read
            .and_then(|read| read.account)
            .map_or(0, |account| account.next_nonce))
    }
}

pub(crate) fn refused(error: &SubmitError) -> Error {
    use tagma_client::ExitCode;
    let code = match error {
        SubmitError::OutcomeUnknown(_) | SubmitError::Closed { .. } => ExitCode::OutcomeUnknown,
        SubmitError::Rejected { .. } => ExitCode::Rejected,
        SubmitError::Unreachable { .. } => ExitCode::NoQuorum,
        SubmitError::TooManyInFlight { .. } | SubmitError::TooLarge { .. } => ExitCode::Internal,
    };
    Error::Client {
        message: error.to_string(),
        code: code.code(),
    }
}
