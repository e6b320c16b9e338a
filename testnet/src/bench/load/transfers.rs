//! Tagma as the target of a load: signed transfers through the client library.

use std::collections::HashMap;
use std::time::Instant;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tagma_client::{Client, Completion, SubmitError};
use tagma_crypto::Digest;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::accounts::Accounts;
use super::generator::PATIENCE;
use super::target::{Ended, Target};

struct Sent {
    account: usize,
    at: Instant,
}

/// Signs transfers between accounts and submits them through one client.
pub(super) struct Transfers {
    client: Client,
    accounts: Accounts,
    rng: ChaCha8Rng,
    sender: UnboundedSender<Completion>,
    completions: UnboundedReceiver<Completion>,
    in_flight: HashMap<Digest, Sent>,
}

impl Transfers {
    /// Transfers between `accounts`, chosen by chance from `seed`.
    #[must_use]
    pub(super) fn new(client: Client, accounts: Accounts, seed: u64) -> Self {
        let (sender, completions) = unbounded_channel();
        Self {
            client,
            accounts,
            rng: ChaCha8Rng::seed_from_u64(seed),
            sender,
            completions,
            in_flight: HashMap::new(),
        }
    }

    /// Reads the next nonce of every account in doubt, so that it can pay again. An account that cannot be read stays out.
    pub(super) async fn settle(&mut self) {
        for (index, key) in self.accounts.doubtful() {
            if let Ok(Some(read)) = self.client.next_nonce(key, PATIENCE).await
                && let Some(account) = read.account
            {
                self.accounts.settle(index, account.next_nonce);
            }
        }
    }

    fn completed(&mut self, completion: &Completion) -> Option<Ended<Digest>> {
        let Sent { account, at } = self.in_flight.remove(&completion.hash)?;
        self.accounts.ended(account, completion.result.is_ok());
        let ended = |at, result| {
            Some(Ended {
                id: completion.hash,
                at,
                result,
            })
        };
        let failure = match &completion.result {
            // The library saw the deciding reply at this moment, however late this thread comes to hear of it.
            Ok(accepted) if accepted.outcome.is_success() => return ended(at + accepted.latency, Ok(())),
            Ok(_) => "executed without success",
            Err(SubmitError::OutcomeUnknown(_)) => "outcome unknown in time",
            Err(SubmitError::Rejected { .. }) => "rejected",
            Err(SubmitError::Unreachable { .. }) => "no replica reachable",
            Err(SubmitError::TooManyInFlight { .. }) => "too many in flight",
            Err(SubmitError::TooLarge { .. }) => "too large",
            Err(SubmitError::Closed { .. }) => "client closed",
        };
        ended(Instant::now(), Err(failure))
    }
}

impl Target for Transfers {
    type Id = Digest;

    fn begin(&mut self) -> Option<Digest> {
        let chain = self.client.network().chain();
        let (account, transaction) = self.accounts.sign(chain, &mut self.rng)?;
        let at = Instant::now();
        let hash = self.client.submit_to(&transaction, PATIENCE, &self.sender);
        self.in_flight.insert(hash, Sent { account, at });
        Some(hash)
    }

    fn ended(&mut self) -> Option<Ended<Digest>> {
        while let Ok(completion) = self.completions.try_recv() {
            if let Some(ended) = self.completed(&completion) {
                return Some(ended);
            }
        }
        None
    }

    async fn next_ended(&mut self) -> Option<Ended<Digest>> {
        loop {
            let completion = self.completions.recv().await?;
            if let Some(ended) = self.completed(&completion) {
                return Some(ended);
            }
        }
    }
}
