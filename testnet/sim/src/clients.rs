//! Clients: they sign, submit, wait for f + 1 equal replies, and submit again. Some of them do not play by the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tagma_crypto::encode::encode;
use tagma_crypto::{Digest, PublicKey, SecretKey, Signature};
use tagma_ledger::transaction::TRANSACTION_DOMAIN;
use tagma_ledger::{Operation, Outcome, Request, Transaction};
use tagma_pbft::ReplicaId;
use tagma_wire::client_protocol::Reply;

use crate::rng::SimRng;
use crate::time::{MILLI, SECOND};

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Manner {
    /// By the rules.
    Correct,
    /// By the rules, but it submits to one replica at a time, which is never the primary.
    OneBackup,
    /// Signs two operations for each nonce, and tells one half of the replicas the one, the other half the other.
    TwoOperations,
    /// Its signatures do not verify.
    BadSignature,
    /// Sends everything it ever sent again and again.
    Replay,
    /// Its requests expire at once, or soon.
    Expiring,
    /// Begins with nonces that are not its next.
    SkipsAhead,
    /// By the rules, but its signatures are at the edge of what is good.
    Crafted,
}

impl Manner {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Correct,
        Self::OneBackup,
        Self::TwoOperations,
        Self::BadSignature,
        Self::Replay,
        Self::Expiring,
        Self::SkipsAhead,
        Self::Crafted,
    ];

    /// Whether every request of such a client must be executed.
    #[must_use]
    pub fn is_correct(self) -> bool {
        matches!(self, Self::Correct | Self::OneBackup | Self::Crafted)
    }

    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Correct => "client: correct",
            Self::OneBackup => "client: one backup only",
            Self::TwoOperations => "client: two operations, one nonce",
            Self::BadSignature => "client: bad signature",
            Self::Replay => "client: replay",
            Self::Expiring => "client: expiring",
            Self::SkipsAhead => "client: skips nonces",
            Self::Crafted => "client: crafted signatures",
        }
    }
}

/// A request whose outcome is not known.
pub struct Pending {
    /// The request.
    pub request: Arc<Request>,
    /// Its digest.
    pub digest: Digest,
    /// Who told which outcome and height.
    replies: BTreeMap<(Vec<u8>, u64), BTreeSet<ReplicaId>>,
    attempts: u32,
}

/// A client with one account.
pub struct Client {
    /// Its place among clients.
    pub index: usize,
    /// How it behaves.
    pub manner: Manner,
    key: SecretKey,
    account: PublicKey,
    chain: Digest,
    nonce: u64,
    /// What it waits for.
    pub pending: Option<Pending>,
    /// The view that replies named last.
    pub view: u64,
    /// The hosts' processes it has a connection to.
    pub connected: BTreeMap<usize, u64>,
    /// Shortest pause between two requests, nanoseconds.
    pub pause_min: u64,
    /// Longest pause, nanoseconds.
    pub pause_max: u64,
    /// It begins nothing new.
    pub stopped: bool,
    /// Requests accepted.
    pub accepted: u64,
    /// When the last one was.
    pub accepted_at: u64,
    /// Ticks of an earlier schedule are nobody's.
    pub generation: u64,
    old: Vec<Arc<Request>>,
}

/// Where a client sends a request.
pub type Submission = (Arc<Request>, Target);

/// Which replicas a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The presumed primary.
    Primary,
    /// Everybody.
    All,
    /// One that follows the presumed primary, the so manieth, so surely a backup.
    Backup(u64),
    /// Replicas with even numbers.
    Even,
    /// Replicas with odd numbers.
    Odd,
}

impl Client {
    /// A client that owns `key`.
    #[must_use]
    pub fn new(index: usize, manner: Manner, key: SecretKey, chain: Digest, pause: (u64, u64)) -> Self {
        Self {
            index,
            manner,
            account: key.public(),
            key,
            chain,
            nonce: 0,
            pending: None,
            view: 0,
            connected: BTreeMap::new(),
            pause_min: pause.0,
            pause_max: pause.1,
            stopped: false,
            accepted: 0,
            accepted_at: 0,
            generation: 0,
            old: Vec::new(),
        }
    }

    /// Whose account it is.
    #[must_use]
    pub fn account(&self) -> PublicKey {
        self.account
    }

    fn sign(&self, nonce: u64, operation: Operation, expiry_height: u64) -> Request {
        let transaction = Transaction {
            chain: self.chain,
            account: self.account,
            nonce,
            operation,
            expiry_height,
        };
        let mut request = transaction.sign(&self.key).to_request();
        if self.manner == Manner::Crafted {
            let seed = crate::chain::account_seed(u16::try_from(self.index).unwrap_or(0));
            request.signature =
                crate::crafted::sign(&seed, TRANSACTION_DOMAIN, &self.chain, &request.content);
        }
        request
    }

    fn operation(&self, others: &[PublicKey], rng: &mut SimRng) -> Operation {
        let to = rng.pick(others).copied().unwrap_or(self.account);
        match rng.below(20) {
            0 => Operation::Read { account: to },
            1 => Operation::Transfer {
                to: self.account,
                amount: 1,
            },
            2 => Operation::Transfer {
                to,
                amount: u64::MAX - rng.below(3),
            },
            3 => Operation::Transfer { to, amount: 0 },
            _ => Operation::Transfer {
                to,
                amount: rng.between(1, 20),
            },
        }
    }

    /// How long it waits before it looks again.
    pub fn patience(&self, rng: &mut SimRng) -> u64 {
        match &self.pending {
            Some(pending) => {
                let factor = 1 << pending.attempts.min(3);
                rng.between(300 * MILLI, 500 * MILLI) * factor
            }
            None => rng.between(self.pause_min, self.pause_max),
        }
    }

    /// Its next move: a new request if it waits for none, or the old one again. Everything it signs is told to `signed`.
    pub fn act(
        &mut self,
        others: &[PublicKey],
        height: u64,
        rng: &mut SimRng,
        mut signed: impl FnMut(&Request),
    ) -> Vec<Submission> {
        if let Some(pending) = &mut self.pending {
            pending.attempts += 1;
            let backup = self.manner == Manner::OneBackup;
            let target = if backup {
                Target::Backup(u64::from(pending.attempts))
            } else {
                Target::All
            };
            let mut submissions = vec![(Arc::clone(&pending.request), target)];
            if self.manner == Manner::TwoOperations || self.manner == Manner::Expiring {
                // It waits for nothing in particular: the other request may have been executed.
                if pending.attempts > 3 {
                    self.give_up();
                }
            } else if self.manner == Manner::Replay {
                submissions.extend(self.old.iter().map(|old| (Arc::clone(old), Target::All)));
            }
            return submissions;
        }
        if self.stopped {
            return Vec::new();
        }
        let operation = self.operation(others, rng);
        let expiry = match self.manner {
            Manner::Expiring => height + rng.below(4),
            _ => u64::MAX,
        };
        let mut request = self.sign(self.nonce, operation, expiry);
        let mut submissions = Vec::new();
        match self.manner {
            Manner::BadSignature => {
                let mut bytes = *request.signature.as_bytes();
                if let Some(byte) = bytes.get_mut(rng.index(64)) {
                    *byte ^= 1 << rng.below(8);
                }
                request.signature = Signature::from_bytes(bytes);
                return vec![(Arc::new(request), Target::All)];
            }
            Manner::TwoOperations => {
                let other = self.sign(self.nonce, self.operation(others, rng), u64::MAX);
                signed(&other);
                submissions.push((Arc::new(other), Target::Odd));
            }
            Manner::SkipsAhead => {
                for ahead in [1, 2, 50] {
                    let early = self.sign(self.nonce + ahead, self.operation(others, rng), u64::MAX);
                    signed(&early);
                    submissions.push((Arc::new(early), Target::All));
                }
            }
            _ => {}
        }
        signed(&request);
        let digest = request.digest(&self.chain);
        let request = Arc::new(request);
        if self.manner == Manner::Replay && self.old.len() < 8 {
            self.old.push(Arc::clone(&request));
        }
        let target = match self.manner {
            Manner::OneBackup => Target::Backup(0),
            Manner::TwoOperations => Target::Even,
            Manner::Replay => Target::All,
            _ => Target::Primary,
        };
        submissions.push((Arc::clone(&request), target));
        self.pending = Some(Pending {
            request,
            digest,
            replies: BTreeMap::new(),
            attempts: 0,
        });
        submissions
    }

    /// It does not wait any more; its next nonce is whatever somebody tells it.
    fn give_up(&mut self) {
        self.pending = None;
    }

    /// A replica names the account's next nonce. Only clients that do not keep count themselves listen.
    pub fn next_nonce(&mut self, next: u64) {
        if !self.manner.is_correct() && next > self.nonce {
            self.nonce = next;
            self.pending = None;
        }
    }

    /// A reply; gives what is accepted by it: at f + 1 identical ones of distinct replicas.
    pub fn reply(
        &mut self,
        from: ReplicaId,
        reply: &Reply,
        weak: usize,
        at: u64,
    ) -> Option<(Digest, Outcome, u64)> {
        self.view = self.view.max(reply.view);
        let pending = self
            .pending
            .as_mut()
            .filter(|pending| pending.digest == reply.request)?;
        let voters = pending
            .replies
            .entry((encode(&reply.outcome), reply.height))
            .or_default();
        voters.insert(from);
        if voters.len() < weak {
            return None;
        }
        self.pending = None;
        self.nonce += 1;
        self.accepted += 1;
        self.accepted_at = at;
        self.generation += 1;
        Some((reply.request, reply.outcome, reply.height))
    }

    /// When it is to act again after a request was accepted, nanoseconds from now.
    pub fn pause(&self, rng: &mut SimRng) -> u64 {
        rng.between(self.pause_min, self.pause_max).min(30 * SECOND)
    }
}
