//! A client that sends more than anybody wants, to every replica, for as long as it is let.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use tagma_client::{Client, Completion};
use tagma_crypto::{Digest, SecretKey};
use tagma_ledger::{Operation, SignedTransaction, Transaction};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::earning_flood::EarningFlood;
use crate::error::Error;
use crate::network::{Network, READY};
use crate::observe::connect;
use crate::payments::Payer;
use crate::plan::ACCOUNT_NAMES;

/// What it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flooding {
    /// Requests whose signature does not verify.
    BadSignatures,
    /// Requests whose signature verifies, with nonces so far ahead that they are refused.
    ValidSignatures,
    /// A few good requests, each repeated as often as may help, until a replica should let the client have as many unread as it lets
    /// anybody; then so many of the first kind at once.
    BadAfterGood,
}

/// Most requests without an answer; more is sent as soon as there are fewer.
const IN_FLIGHT: usize = 512;
/// The different requests: signing them costs the source nothing while it floods.
const REQUESTS: u64 = 4096;
/// How long one may stay without an answer before the next is sent in its place: nobody is waited for.
const ANSWER: Duration = Duration::from_millis(50);
/// Far beyond what an account may be ahead by.
const FAR: u64 = 1 << 32;
const EXPIRY: u64 = 1 << 40;

impl Flooding {
    pub const ALL: [Self; 3] = [Self::BadSignatures, Self::ValidSignatures, Self::BadAfterGood];

    /// How people choose it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BadSignatures => "bad-signatures",
            Self::ValidSignatures => "valid-signatures",
            Self::BadAfterGood => "bad-after-good",
        }
    }
}

/// The key of an account that does nothing else.
async fn own_account(network: &Network) -> Result<SecretKey, Error> {
    let [rich, ..] = ACCOUNT_NAMES;
    let key = SecretKey::generate();
    Payer::new(network)?.pay_to(rich, key.public(), 1, READY).await?;
    Ok(key)
}

/// A transfer of the account to itself.
pub(super) fn transfer(chain: Digest, key: &SecretKey, nonce: u64) -> Transaction {
    Transaction {
        chain,
        account: key.public(),
        nonce,
        operation: Operation::Transfer {
            to: key.public(),
            amount: 1,
        },
        expiry_height: EXPIRY,
    }
}

/// Different requests of the first account, with nonces too far ahead for any to be executed.
fn requests(network: &Network, good: bool) -> Result<Vec<SignedTransaction>, Error> {
    let [name, ..] = ACCOUNT_NAMES;
    let key = SecretKey::load(&network.layout().account_key(name))?;
    let chain = network.genesis().chain_id();
    let nonces = FAR..FAR + REQUESTS;
    Ok(nonces
        .map(|nonce| {
            let mut signed = transfer(chain, &key, nonce).sign(&key);
            if !good {
                // Signed is another one: a signature like any other, that does not verify.
                signed.transaction.nonce += REQUESTS;
            }
            signed
        })
        .collect())
}

/// What is to be sent, made before the load begins that it is to disturb.
pub(super) enum Stock {
    /// These, in turn.
    Requests(Vec<SignedTransaction>),
    /// Good ones of this key until the flood is trusted, then these.
    Earning(Box<SecretKey>, Vec<SignedTransaction>),
}

impl Stock {
    /// Signs it.
    ///
    /// # Errors
    /// If the network's keys cannot be read, or it makes no account.
    pub(super) async fn new(network: &Network, kind: Flooding) -> Result<Self, Error> {
        Ok(match kind {
            Flooding::BadSignatures => Self::Requests(requests(network, false)?),
            Flooding::ValidSignatures => Self::Requests(requests(network, true)?),
            Flooding::BadAfterGood => {
                Self::Earning(Box::new(own_account(network).await?), requests(network, false)?)
            }
        })
    }
}

/// A client that floods.
pub(super) struct ClientFlood {
    stopping: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl ClientFlood {
    /// Begins.
    ///
    /// # Errors
    /// If it has no socket.
    pub(super) fn start(network: &Network, stock: &Stock) -> Result<Self, Error> {
        let stopping = Arc::new(AtomicBool::new(false));
        let task = match stock {
            Stock::Requests(requests) => {
                let client = connect(network.genesis())?;
                tokio::spawn(flood(client, requests.clone(), stopping.clone()))
            }
            Stock::Earning(key, bad) => {
                tokio::spawn(EarningFlood::new(network, key, bad, stopping.clone())?.run())
            }
        };
        Ok(Self { stopping, task })
    }

    /// Ends it.
    pub(super) async fn stop(self) {
        self.stopping.store(true, SeqCst);
        // It only counts as ended; what it did is measured elsewhere.
        let _ = self.task.await;
    }
}

async fn flood(client: Client, requests: Vec<SignedTransaction>, stopping: Arc<AtomicBool>) {
    let (sender, mut completions) = mpsc::unbounded_channel::<Completion>();
    let mut in_flight = 0;
    for request in requests.iter().cycle() {
        if stopping.load(SeqCst) {
            break;
        }
        client.submit_to(request, ANSWER, &sender);
        in_flight += 1;
        while in_flight >= IN_FLIGHT && completions.recv().await.is_some() {
            in_flight -= 1;
        }
    }
    client.close().await;
}
