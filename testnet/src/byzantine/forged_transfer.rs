//! Steals, or tries to: a transfer that its owner never signed, pushed by every way that a replica has.

use std::collections::BTreeMap;
use std::sync::Arc;

use tagma_crypto::{Digest, PublicKey, Request, SecretKey};
use tagma_ledger::{Operation, Outcome, SignedTransaction, Transaction};
use tagma_pbft::{Batch, Body, Message, ReplicaId, SeqNum, View};
use tagma_sim::byzantine::{About, Behaviour, Forge};
use tagma_wire::client_protocol::ClientResponse;

pub(super) const ABOUT: About = About {
    name: "forged-transfer",
    does: "pushes 1000 from an account to mallory, signed by mallory alone: in its own proposals, in the requests it forwards, in \
           the digests it votes for, and in what it tells clients; chosen as forged-transfer:ACCOUNT",
    safety: "one chain, equal states, and nothing moves that its owner did not sign",
    liveness: "nobody prepares its proposals, and as a primary it is replaced at once",
    caught: "itself: as a primary by the batch it signed, as a backup by two votes for one sequence number",
};

/// What it wants.
pub(crate) const AMOUNT: u64 = 1000;
/// Most proposals remembered.
const MAX_KEPT: usize = 1024;

/// The thief's key, which owns no account.
pub(crate) fn mallory() -> SecretKey {
    SecretKey::from_seed([b'm'; 32])
}

/// A transfer from `victim` to mallory, signed by mallory.
pub(crate) fn forged(chain: Digest, victim: PublicKey, nonce: u64) -> SignedTransaction {
    let thief = mallory();
    let transaction = Transaction {
        chain,
        account: victim,
        nonce,
        operation: Operation::Transfer {
            to: thief.public(),
            amount: AMOUNT,
        },
        expiry_height: u64::MAX,
    };
    transaction.sign(&thief)
}

/// Pushes the forged transfer.
#[derive(Debug)]
pub(super) struct ForgedTransfer {
    victim: PublicKey,
    /// The digest of each proposal it saw, had the forged transfer been in it.
    wanted: BTreeMap<(View, SeqNum), Digest>,
}

impl ForgedTransfer {
    pub(super) fn new(victim: PublicKey) -> Self {
        Self {
            victim,
            wanted: BTreeMap::new(),
        }
    }

    fn request(&self, chain: Digest) -> Request {
        forged(chain, self.victim, 0).to_request()
    }

    /// The batch with the forged transfer in front.
    fn improved(&self, chain: Digest, batch: &Batch) -> Batch {
        let mut batch = batch.clone();
        let requests = std::iter::once(self.request(chain)).chain(batch.requests.iter().cloned());
        batch.requests = requests.collect::<Vec<_>>().into();
        batch
    }
}

impl Behaviour for ForgedTransfer {
    fn name(&self) -> &'static str {
        "byzantine: forged transfer"
    }

    fn send(&mut self, forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        let chain = forge.ring.chain;
        if let Some((vote, batch)) = forge.own_proposal(message)
            && !batch.requests.is_empty()
        {
            return vec![Arc::new(forge.proposal(vote, self.improved(chain, batch)))];
        }
        match &**message {
            Message::Vote(vote) if vote.sender == forge.id => {
                let wanted = self.wanted.get(&(vote.view, vote.seq));
                let altered = wanted.map(|digest| forge.vote(vote.phase, vote.view, vote.seq, *digest));
                altered
                    .map(|vote| Arc::new(Message::Vote(vote)))
                    .into_iter()
                    .chain([Arc::clone(message)])
                    .collect()
            }
            Message::Forward(requests) => {
                let requests = std::iter::once(self.request(chain)).chain(requests.iter().cloned());
                vec![Arc::new(Message::Forward(requests.collect::<Vec<_>>().into()))]
            }
            _ => vec![Arc::clone(message)],
        }
    }

    fn observe(&mut self, forge: &mut Forge<'_>, message: &Message) {
        if let Message::PrePrepare {
            vote,
            batch: Some(batch),
        } = message
        {
            let improved = Body::new(&forge.ring.chain, self.improved(forge.ring.chain, batch));
            self.wanted.insert((vote.view, vote.seq), improved.digest());
            if self.wanted.len() > MAX_KEPT {
                self.wanted.pop_first();
            }
        }
    }

    fn respond(&mut self, _forge: &mut Forge<'_>, response: ClientResponse) -> Option<ClientResponse> {
        Some(match response {
            ClientResponse::Reply(mut reply) => {
                reply.outcome = Outcome::InsufficientFunds { balance: 0 };
                ClientResponse::Reply(reply)
            }
            other => other,
        })
    }
}
