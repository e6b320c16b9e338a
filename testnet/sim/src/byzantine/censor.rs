//! As a primary leaves out the requests of one client, for ever, and keeps everybody else served (BP2). Where nothing else is
//! left of a batch it proposes an old one again, so that the chain goes on.

use std::collections::VecDeque;
use std::sync::Arc;

use tagma_crypto::encode::decode;
use tagma_crypto::{PublicKey, Request};
use tagma_ledger::Transaction;
use tagma_pbft::message::Phase;
use tagma_pbft::{Body, Message, ReplicaId};

use super::{Behaviour, Forge, unchanged};
use crate::chain::account_key;

#[derive(Debug)]
pub(super) struct Censor {
    victim: PublicKey,
    old: VecDeque<Request>,
}

impl Default for Censor {
    fn default() -> Self {
        Self {
            victim: account_key(0).public(),
            old: VecDeque::new(),
        }
    }
}

impl Behaviour for Censor {
    fn name(&self) -> &'static str {
        "byzantine: ignores one client"
    }

    fn send(&mut self, forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        let Message::PrePrepare {
            vote,
            batch: Some(batch),
        } = &**message
        else {
            return unchanged(message);
        };
        if vote.sender != forge.id || batch.requests.is_empty() {
            return unchanged(message);
        }
        let is_victims = |request: &Request| {
            let transaction = decode::<Transaction>(&request.content, request.content.len());
            transaction.is_ok_and(|transaction| transaction.account == self.victim)
        };
        let mut kept: Vec<Request> = batch
            .requests
            .iter()
            .filter(|request| !is_victims(request))
            .cloned()
            .collect();
        if kept.len() == batch.requests.len() {
            self.old.extend(kept.first().cloned());
            if self.old.len() > 4 {
                self.old.pop_front();
            }
            return unchanged(message);
        }
        if kept.is_empty() {
            kept.extend(self.old.front().cloned());
        }
        let mut censored = batch.clone();
        censored.requests = kept.into();
        let digest = Body::new(&forge.ring.chain, censored.clone()).digest();
        let vote = forge.vote(Phase::PrePrepare, vote.view, vote.seq, digest);
        vec![Arc::new(Message::PrePrepare {
            vote,
            batch: Some(censored),
        })]
    }
}
