//! What the scripted replicas share, and how each of them behaves.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tagma_crypto::encode::{decode, encode};
use tagma_crypto::{Digest, List, PublicKey, SecretKey, Text};
use tagma_evidence::receipt::attest;
use tagma_ledger::batch::digest_of;
use tagma_ledger::{
    Batch, Block, BlockHeader, ExecContext, Genesis, Outcome, Parameters, Receipt, Request,
    SignedTransaction, State, TransactionProof, execute,
};
use tagma_pbft::certificate::{CommitCertificate, Endorsement};
use tagma_pbft::message::{Phase, Vote};
use tagma_pbft::{ReplicaId, SeqNum, View};
use tagma_wire::client_protocol::{
    AccountReport, Answer, BlockReport, ClientRequest, ClientResponse, MAX_CLIENT_FRAME, Query,
    ReceiptReport, Refusal, Reply, StatusReport, TransactionReport,
};
use tagma_wire::{ClientEvent, ClientEvents, ClientListener, ConnectionId};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// The key that a replica signs votes and attestations with.
pub fn vote_key(id: u16) -> SecretKey {
    SecretKey::from_seed([u8::try_from(id).unwrap() + 1; 32])
}

/// How a replica behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// It orders as the primary, replies and answers.
    Honest,
    /// As an honest one, but its replies and answers are wrong.
    Liar,
    /// It is connected and says nothing.
    Silent,
    /// It answers queries; replies wait until the behaviour is another one.
    Late,
    /// It is busy for every submission.
    Busy,
    /// It refuses every submission.
    Refusing(Refusal),
    /// It answers a submission with what is no response.
    Garbage,
    /// As an honest one, but it says to be in this view.
    ClaimsView(u64),
    /// As an honest one, but it says not to vote.
    Learner,
}

struct Replica {
    behaviour: Behaviour,
    listener: Option<Arc<ClientListener>>,
    task: Option<AbortHandle>,
    followers: HashMap<PublicKey, HashSet<ConnectionId>>,
    waiting: HashMap<Digest, HashSet<ConnectionId>>,
    /// Replies that wait for the end of lateness.
    held: Vec<(ConnectionId, Digest)>,
    /// The digests of the submissions it has received, in order.
    received: Vec<Digest>,
    /// How many connections it has lost.
    lost: usize,
}

struct Inner {
    state: State,
    blocks: Vec<BlockReport>,
    transactions: HashMap<Digest, TransactionReport>,
    /// Requests whose nonce is not next yet.
    queued: BTreeMap<(PublicKey, u64), Request>,
    view: u64,
    replicas: Vec<Replica>,
}

/// The ledger and the replicas.
pub struct World {
    chain: Digest,
    parameters: Parameters,
    inner: Mutex<Inner>,
}

impl World {
    pub fn new(genesis: &Genesis) -> Arc<Self> {
        let (state, header) = genesis.start();
        let replica = |_| Replica {
            behaviour: Behaviour::Honest,
            listener: None,
            task: None,
            followers: HashMap::new(),
            waiting: HashMap::new(),
            held: Vec::new(),
            received: Vec::new(),
            lost: 0,
        };
        let inner = Inner {
            state,
            blocks: vec![BlockReport {
                header,
                requests: List::new(),
                receipts: List::new(),
            }],
            transactions: HashMap::new(),
            queued: BTreeMap::new(),
            view: 0,
            replicas: (0..genesis.replicas.len()).map(replica).collect(),
        };
        Arc::new(Self {
            chain: genesis.chain_id(),
            parameters: genesis.parameters.clone(),
            inner: Mutex::new(inner),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub fn chain(&self) -> Digest {
        self.chain
    }

    /// Takes requests on a socket from now on.
    pub fn serve(self: &Arc<Self>, id: u16, listener: ClientListener, mut events: ClientEvents) {
        let listener = Arc::new(listener);
        let world = self.clone();
        let task = Handle::current().spawn(async move {
            while let Some(event) = events.recv().await {
                match event {
                    ClientEvent::Frame {
                        connection, payload, ..
                    } => world.frame(id, connection, &payload),
                    ClientEvent::Disconnected { .. } => world.inner().replicas[usize::from(id)].lost += 1,
                    ClientEvent::Connected { .. } => {}
                }
            }
        });
        let replica = &mut self.inner().replicas[usize::from(id)];
        replica.listener = Some(listener);
        replica.task = Some(task.abort_handle());
    }

    /// Stops a replica's socket.
    pub fn stop(&self, id: u16) {
        let replica = &mut self.inner().replicas[usize::from(id)];
        replica.listener = None;
        replica.followers.clear();
        replica.waiting.clear();
        if let Some(task) = replica.task.take() {
            task.abort();
        }
    }

    pub fn stop_all(&self) {
        let n = self.inner().replicas.len();
        for id in 0..u16::try_from(n).unwrap() {
            self.stop(id);
        }
    }

    /// How many replicas listen.
    pub fn listening(&self) -> usize {
        self.inner()
            .replicas
            .iter()
            .filter(|replica| replica.listener.is_some())
            .count()
    }

    /// Gives a replica a behaviour; if it was late until now, its replies go out.
    pub fn set(&self, id: u16, behaviour: Behaviour) {
        let mut inner = self.inner();
        let replica = &mut inner.replicas[usize::from(id)];
        replica.behaviour = behaviour;
        if behaviour != Behaviour::Late {
            for (connection, hash) in std::mem::take(&mut replica.held) {
                inner.reply(id, connection, hash);
            }
        }
    }

    /// The replicas change to this view.
    pub fn set_view(&self, view: u64) {
        self.inner().view = view;
    }

    /// Which replicas have received a submission of this request, in order of number.
    pub fn receivers(&self, hash: &Digest) -> Vec<u16> {
        let inner = self.inner();
        let with = (0..)
            .zip(&inner.replicas)
            .filter(|(_, replica)| replica.received.contains(hash));
        with.map(|(id, _)| id).collect()
    }

    /// How many replicas have a client that follows this account.
    pub fn followed_by(&self, account: &PublicKey) -> usize {
        let inner = self.inner();
        inner
            .replicas
            .iter()
            .filter(|replica| replica.followers.contains_key(account))
            .count()
    }

    /// How many connections of clients a replica has lost.
    pub fn lost(&self, id: u16) -> usize {
        self.inner().replicas[usize::from(id)].lost
    }

    /// How many requests were executed.
    pub fn executed(&self) -> usize {
        self.inner().transactions.len()
    }

    pub fn height(&self) -> u64 {
        self.inner().tip().height
    }

    pub fn balance(&self, account: &PublicKey) -> u64 {
        self.inner()
            .state
            .account(account)
            .map_or(0, |account| account.balance)
    }

    /// Executes a request, as if somebody else had submitted it.
    pub fn order(&self, request: &Request) {
        self.inner().order(request.clone(), &self.chain, &self.parameters);
    }

    fn frame(&self, id: u16, from: ConnectionId, payload: &[u8]) {
        let request: ClientRequest = decode(payload, MAX_CLIENT_FRAME).unwrap();
        let mut inner = self.inner();
        let replica = &mut inner.replicas[usize::from(id)];
        if replica.behaviour == Behaviour::Silent {
            if let ClientRequest::Submit(request) = request {
                replica.received.push(request.digest(&self.chain));
            }
            return;
        }
        match request {
            ClientRequest::Follow(account) => {
                replica.followers.entry(account).or_default().insert(from);
            }
            ClientRequest::Query { id: number, query } => {
                let answer = inner.answer(id, &query, &self.chain);
                inner.send(id, from, &ClientResponse::Answer { id: number, answer });
            }
            ClientRequest::Submit(request) => {
                let hash = request.digest(&self.chain);
                replica.received.push(hash);
                let primary = inner.primary();
                match inner.replicas[usize::from(id)].behaviour {
                    Behaviour::Busy => inner.send(id, from, &ClientResponse::Busy { request: hash }),
                    Behaviour::Refusing(reason) => {
                        let refused = ClientResponse::Refused {
                            request: hash,
                            reason,
                        };
                        inner.send(id, from, &refused);
                    }
                    Behaviour::Garbage => inner.send_bytes(id, from, Bytes::from_static(b"\xff garbage")),
                    _ if inner.transactions.contains_key(&hash) => inner.reply(id, from, hash),
                    _ => {
                        let replica = &mut inner.replicas[usize::from(id)];
                        replica.waiting.entry(hash).or_default().insert(from);
                        // The others forward to the primary, which may be the one that does not work.
                        let works = !matches!(
                            inner.replicas[usize::from(primary)].behaviour,
                            Behaviour::Silent | Behaviour::Busy | Behaviour::Refusing(_) | Behaviour::Garbage
                        );
                        if works {
                            inner.order(request, &self.chain, &self.parameters);
                        }
                    }
                }
            }
        }
    }
}

impl Inner {
    fn tip(&self) -> &BlockHeader {
        &self.blocks.last().unwrap().header
    }

    fn primary(&self) -> u16 {
        u16::try_from(self.view % self.replicas.len() as u64).unwrap()
    }

    /// Executes a request as a block of its own, and those that waited for it.
    fn order(&mut self, request: Request, chain: &Digest, parameters: &Parameters) {
        let mut next = Some(request);
        while let Some(request) = next.take() {
            let transaction = SignedTransaction::from_request(&request).unwrap().transaction;
            let expected = self
                .state
                .account(&transaction.account)
                .map(|account| account.next_nonce);
            if expected != Some(transaction.nonce) {
                self.queued
                    .insert((transaction.account, transaction.nonce), request);
                return;
            }
            let height = self.tip().height + 1;
            let requests = std::slice::from_ref(&request);
            let batch = Batch {
                height,
                digest: digest_of(chain, 0, requests),
                time_ms: 0,
                requests,
                request_digests: &[request.digest(chain)],
            };
            let context = ExecContext {
                chain: *chain,
                parameters,
            };
            let executed = execute(&self.state, &context, self.tip(), &batch);
            let Receipt::Executed(receipt) = executed.receipts[0] else {
                panic!("the nonce was checked before: {:?}", executed.receipts[0]);
            };
            self.state = executed.state;
            let hash = receipt.request;
            let found = TransactionReport {
                height,
                position: 0,
                outcome: receipt.outcome,
            };
            self.transactions.insert(hash, found);
            self.blocks.push(BlockReport {
                header: executed.header,
                requests: List::from(vec![request]),
                receipts: List::from(executed.receipts),
            });
            for id in 0..u16::try_from(self.replicas.len()).unwrap() {
                let replica = &mut self.replicas[usize::from(id)];
                let mut to = replica.waiting.remove(&hash).unwrap_or_default();
                to.extend(replica.followers.get(&transaction.account).into_iter().flatten());
                for connection in to {
                    self.reply(id, connection, hash);
                }
            }
            next = self.queued.remove(&(transaction.account, transaction.nonce + 1));
        }
    }

    fn view_of(&self, id: u16) -> u64 {
        match self.replicas[usize::from(id)].behaviour {
            Behaviour::ClaimsView(view) => view,
            _ => self.view,
        }
    }

    fn reply(&mut self, id: u16, to: ConnectionId, hash: Digest) {
        let found = self.transactions[&hash];
        let outcome = match self.replicas[usize::from(id)].behaviour {
            Behaviour::Honest | Behaviour::ClaimsView(_) | Behaviour::Learner => found.outcome,
            Behaviour::Liar => Outcome::InsufficientFunds { balance: 666 },
            Behaviour::Late => {
                self.replicas[usize::from(id)].held.push((to, hash));
                return;
            }
            Behaviour::Silent | Behaviour::Busy | Behaviour::Refusing(_) | Behaviour::Garbage => return,
        };
        let reply = Reply {
            request: hash,
            outcome,
            height: found.height,
            header: None,
            view: self.view_of(id),
        };
        self.send(id, to, &ClientResponse::Reply(reply));
    }

    fn answer(&self, id: u16, query: &Query, chain: &Digest) -> Answer {
        let lies = self.replicas[usize::from(id)].behaviour == Behaviour::Liar;
        let height = self.tip().height;
        match query {
            Query::Status => Answer::Status(self.status(id, chain)),
            Query::Account(key) => Answer::Account {
                height,
                account: self.state.account(key).map(|account| AccountReport {
                    balance: if lies { 666 } else { account.balance },
                    next_nonce: account.next_nonce,
                }),
            },
            Query::Block(height) => {
                let mut block = self.blocks.get(usize::try_from(*height).unwrap()).cloned();
                if let Some(block) = block.as_mut().filter(|_| lies) {
                    block.receipts = List::new();
                }
                Answer::Block(block)
            }
            Query::Transaction(hash) => Answer::Transaction {
                height,
                found: self.transactions.get(hash).copied().filter(|_| !lies),
            },
            Query::Receipt(hash) => Answer::Receipt {
                height,
                found: self
                    .transactions
                    .get(hash)
                    .map(|found| Box::new(self.receipt(id, found, chain))),
            },
        }
    }

    /// What a replica adds to a receipt. A liar has another outcome in another header, and signs that.
    fn receipt(&self, id: u16, found: &TransactionReport, chain: &Digest) -> ReceiptReport {
        let behaviour = self.replicas[usize::from(id)].behaviour;
        let report = &self.blocks[usize::try_from(found.height).unwrap()];
        let mut block = Block {
            header: report.header.clone(),
            proposed_time_ms: 0,
            requests: report.requests.clone(),
            receipts: report.receipts.clone(),
        };
        if behaviour == Behaviour::Liar {
            let Receipt::Executed(mut receipt) = block.receipts[0] else {
                panic!("only what was executed is found");
            };
            receipt.outcome = Outcome::InsufficientFunds { balance: 666 };
            block.receipts = List::from(vec![Receipt::Executed(receipt)]);
            block.header.receipts_root = tagma_ledger::block::receipts_root(&block.receipts);
        }
        let transaction = TransactionProof::of(&block, 0, chain).unwrap();
        let attestation = attest(chain, &block.header, ReplicaId::new(id), &vote_key(id));
        ReceiptReport {
            transaction,
            certificate: encode(&self.certificate(&block.header, chain)).into(),
            attestation: (behaviour != Behaviour::Learner).then_some(attestation),
            header: block.header,
        }
    }

    /// That a quorum has committed to the batch of a header.
    fn certificate(&self, header: &BlockHeader, chain: &Digest) -> CommitCertificate {
        let (view, seq, digest) = (View::new(self.view), SeqNum::new(header.height), header.batch);
        let quorum = (self.replicas.len() - 1) / 3 * 2 + 1;
        let commit = |id: u16| Endorsement {
            sender: ReplicaId::new(id),
            signature: Vote::sign(
                Phase::Commit,
                view,
                seq,
                digest,
                ReplicaId::new(id),
                chain,
                &vote_key(id),
            )
            .signature,
        };
        CommitCertificate {
            view,
            seq,
            digest,
            commits: (0..u16::try_from(quorum).unwrap()).map(commit).collect(),
        }
    }

    fn status(&self, id: u16, chain: &Digest) -> StatusReport {
        let learner = self.replicas[usize::from(id)].behaviour == Behaviour::Learner;
        StatusReport {
            replica: id,
            chain: *chain,
            version: Text::from("test"),
            view: self.view_of(id),
            target: self.view_of(id),
            primary: self.primary(),
            standing: Text::from(if learner { "learner" } else { "voting" }),
            stable: 0,
            executed: self.tip().height,
            tip: self.tip().digest(),
            state_root: Digest::ZERO,
            state_height: 0,
            pending: 0,
            connected: self
                .replicas
                .iter()
                .map(|replica| replica.listener.is_some())
                .collect(),
            uptime_ms: 1,
        }
    }

    fn send(&self, id: u16, to: ConnectionId, response: &ClientResponse) {
        self.send_bytes(id, to, Bytes::from(encode(response)));
    }

    fn send_bytes(&self, id: u16, to: ConnectionId, bytes: Bytes) {
        if let Some(listener) = &self.replicas[usize::from(id)].listener {
            // The client may be gone.
            let _ = listener.reply(to, bytes);
        }
    }
}
