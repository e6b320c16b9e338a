//! As a primary leaves out the requests of one client, for ever, and keeps everybody else served (BP2). Where nothing else is
//! left of a batch it proposes an old one again, so that the chain goes on.

use std::collections::BTreeMap;
use std::sync::Arc;

use tagma_crypto::encode::decode;
use tagma_crypto::{PublicKey, Request};
use tagma_ledger::Transaction;
use tagma_pbft::{Batch, Message, ReplicaId, SeqNum, View};

use super::about::{About, SAFE};
use super::{Behaviour, Forge, unchanged};
use crate::chain::account_key;

/// How people choose it.
pub(super) const ABOUT: About = About {
    name: "censor",
    does: "as a primary leaves out the requests of one account and serves all others; chosen as censor:ACCOUNT",
    safety: SAFE,
    liveness: "the account's oldest request runs into the timer of the backups, who replace the primary",
    caught: "nobody: a primary may have missed a request",
};

/// Most proposals remembered.
const MAX_KEPT: usize = 1000;

#[derive(Debug)]
pub(super) struct Censor {
    victim: PublicKey,
    /// A request of somebody else.
    old: Option<Request>,
    /// What it proposes, by view and number.
    instead: BTreeMap<(View, SeqNum), Option<Batch>>,
}

impl Default for Censor {
    fn default() -> Self {
        Self::new(account_key(0).public())
    }
}

impl Censor {
    pub(super) fn new(victim: PublicKey) -> Self {
        Self {
            victim,
            old: None,
            instead: BTreeMap::new(),
        }
    }
}

impl Censor {
    /// The batch without the victim's requests; none if it is to be left as it is.
    fn without(&mut self, batch: &Batch) -> Option<Batch> {
        let is_victims = |request: &Request| {
            let transaction = decode::<Transaction>(&request.content, request.content.len());
            transaction.is_ok_and(|transaction| transaction.account == self.victim)
        };
        let others = batch.requests.iter().filter(|request| !is_victims(request));
        let mut kept: Vec<Request> = others.cloned().collect();
        if kept.len() == batch.requests.len() {
            self.old = kept.first().cloned();
            return None;
        }
        if kept.is_empty() {
            kept.push(self.old.clone()?);
        }
        let mut censored = batch.clone();
        censored.requests = kept.into();
        Some(censored)
    }
}

impl Behaviour for Censor {
    fn name(&self) -> &'static str {
        "byzantine: ignores one client"
    }

    fn send(&mut self, forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        let Some((vote, batch)) = forge.own_proposal(message) else {
            return unchanged(message);
        };
        if batch.requests.is_empty() {
            return unchanged(message);
        }
        let key = (vote.view, vote.seq);
        if self.instead.len() > MAX_KEPT {
            self.instead.clear();
        }
        // The same to everybody: two different proposals would give it away.
        if !self.instead.contains_key(&key) {
            let without = self.without(batch);
            self.instead.insert(key, without);
        }
        let Some(Some(censored)) = self.instead.get(&key).cloned() else {
            return unchanged(message);
        };
        vec![Arc::new(forge.proposal(vote, censored))]
    }
}
