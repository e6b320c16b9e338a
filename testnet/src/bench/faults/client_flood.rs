//! A client that sends more than anybody wants, to every replica, for as long as it is let.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use tagma_client::{Client, Completion};
use tagma_crypto::SecretKey;
use tagma_ledger::{Operation, SignedTransaction, Transaction};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::network::Network;
use crate::observe::connect;
use crate::plan::ACCOUNT_NAMES;

/// What it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flooding {
    /// Requests whose signature does not verify.
    BadSignatures,
    /// Requests whose signature verifies, with nonces so far ahead that they are refused.
    ValidSignatures,
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
    pub const ALL: [Self; 2] = [Self::BadSignatures, Self::ValidSignatures];

    /// How people choose it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BadSignatures => "bad-signatures",
            Self::ValidSignatures => "valid-signatures",
        }
    }

    fn requests(self, network: &Network) -> Result<Vec<SignedTransaction>, Error> {
        let mut requests = Vec::new();
        let Some(name) = ACCOUNT_NAMES.first() else {
            return Ok(requests);
        };
        let key = SecretKey::load(&network.layout().account_key(name))?;
        for number in 0..REQUESTS {
            let mut transaction = Transaction {
                chain: network.genesis().chain_id(),
                account: key.public(),
                nonce: FAR + number,
                operation: Operation::Transfer {
                    to: key.public(),
                    amount: 1,
                },
                expiry_height: EXPIRY,
            };
            let mut signed = transaction.clone().sign(&key);
            if self == Self::BadSignatures {
                // Signed is another one: a signature like any other, that does not verify.
                transaction.nonce += REQUESTS;
                signed.transaction = transaction;
            }
            requests.push(signed);
        }
        Ok(requests)
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
    /// If it has no key or no socket.
    pub(super) fn start(network: &Network, kind: Flooding) -> Result<Self, Error> {
        let requests = kind.requests(network)?;
        let client = connect(network.genesis())?;
        let stopping = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(flood(client, requests, stopping.clone()));
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
