//! The replica core: protocol, ledger and admission joined, still without I/O. The process drives it with sockets and a
//! disk, the simulator with simulated ones; both run exactly this.

mod admission;
mod clients;
mod executor;
mod heard;
pub mod records;
mod rules;
mod serve;
mod transfer;

use std::collections::BTreeSet;
use std::sync::Arc;

use tagma_crypto::{Blob, Digest, PublicKey, SecretKey};
use tagma_ledger::{Genesis, Receipt, SettledRequest};
use tagma_pbft::certificate::StableCertificate;
use tagma_pbft::quorum::BadReplicaCount;
use tagma_pbft::record::Recovered;
use tagma_pbft::verify::Checked;
use tagma_pbft::{
    Config, Incoming, Input, Message, Now, Outputs, Recipient, Replica, ReplicaId, Send, SeqNum, Standing,
    Ticket, Time, Tuning, Verified,
};
use tagma_wire::client_protocol::{ClientResponse, Refusal, Reply};

pub use clients::ClientId;
pub use executor::{BlockDone, Executor, ExecutorStart, LedgerView};
pub use heard::hear_store;
pub use rules::{Admissible, LedgerRules, ValidRequest};
pub(crate) use serve::MAX_ANSWER_BLOCKS;
pub use serve::Serve;
pub use tagma_evidence::{key_ring, protocol_parameters};
pub use transfer::{StateQuestion, TransferEvent, TransferJob};

use admission::{Admission, Admitted, Release};
use clients::Clients;
use transfer::{Asks, Transfer};

/// What a core is told at start.
pub struct CoreSetup {
    /// This replica's number.
    pub id: ReplicaId,
    /// Its vote key.
    pub key: SecretKey,
    /// The chain.
    pub genesis: Arc<Genesis>,
    /// How fast things move.
    pub tuning: Tuning,
    /// The rules that checked what comes in.
    pub rules: Arc<LedgerRules>,
}

/// Something that happened to this replica.
#[derive(Debug)]
pub enum CoreInput {
    /// A message of a peer, verified.
    Peer {
        /// The connection it came over.
        from: ReplicaId,
        /// The message.
        message: Verified<Incoming>,
    },
    /// A check that the protocol asked for is done.
    Checked(Verified<Checked>),
    /// A connection to a peer came up.
    Connected(ReplicaId),
    /// Records up to this ticket are on disk.
    Synced(Ticket),
    /// A client submits a request that is statically valid.
    Submit {
        /// Its connection.
        client: ClientId,
        /// The request.
        request: ValidRequest,
    },
    /// A client wants the replies to all requests of an account.
    Follow {
        /// Its connection.
        client: ClientId,
        /// The account.
        account: PublicKey,
    },
    /// A client's connection is gone.
    ClientGone(ClientId),
    /// The executor has executed a block.
    Executed(BlockDone),
    /// The executor has done a transfer's work.
    Transfer(TransferEvent),
    /// Time has passed.
    Timeout,
}

/// What a step asks its driver to do.
#[derive(Debug, Default)]
pub struct CoreOutputs {
    /// What the protocol asks for.
    pub pbft: Outputs,
    /// What clients are told.
    pub replies: Vec<(ClientId, ClientResponse)>,
    /// What peers ask for from the store.
    pub serve: Vec<(ReplicaId, Serve)>,
    /// Peers' questions for parts of a state, answered by the executor with a [`Message::StatePart`].
    pub serve_state: Vec<(ReplicaId, SeqNum, Blob)>,
    /// A transfer's work on the store, for the executor, in this order and after all executions handed out before.
    pub transfer: Vec<TransferJob>,
    /// Sources of state whose answers did not check out.
    pub liars: Vec<ReplicaId>,
    /// Requests that were not admitted, by the name of the reason.
    pub refused: Vec<&'static str>,
}

/// One replica without I/O.
pub struct Core {
    replica: Replica,
    admission: Admission,
    clients: Clients,
    rules: Arc<LedgerRules>,
    view: LedgerView,
    transfer: Option<Transfer>,
    /// Who gave parts of a state that did not check out.
    liars: BTreeSet<ReplicaId>,
    peers: Vec<ReplicaId>,
}

impl Core {
    /// A core as it was when it last synced.
    ///
    /// # Errors
    /// If the number of replicas in genesis is not 3f + 1.
    pub fn recover(
        setup: CoreSetup,
        recovered: Recovered,
        start: ExecutorStart,
        now: Now,
        out: &mut CoreOutputs,
    ) -> Result<Self, BadReplicaCount> {
        let CoreSetup {
            id,
            key,
            genesis,
            tuning,
            rules,
        } = setup;
        let config = Config {
            id,
            key,
            ring: key_ring(&genesis)?,
            parameters: protocol_parameters(&genesis),
            tuning,
        };
        let peers = config.ring.quorum.all().filter(|peer| *peer != id).collect();
        let admission = Admission::new(genesis.parameters.lookahead, tuning.forward_room);
        let replica = Replica::recover(config, recovered, &start.executed, now, &mut out.pbft);
        let clients = Clients::default();
        Ok(Self {
            replica,
            admission,
            clients,
            rules,
            view: start.view,
            transfer: None,
            liars: BTreeSet::new(),
            peers,
        })
    }

    /// The protocol's part.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// The ledger as of the last block executed.
    pub fn view(&self) -> &LedgerView {
        &self.view
    }

    /// Requests waiting here.
    pub fn waiting(&self) -> usize {
        self.admission.len()
    }

    /// When [`CoreInput::Timeout`] is due, if nothing else happens before.
    pub fn next_timeout(&self) -> Option<Time> {
        let transfer = self.transfer.as_ref().and_then(Transfer::deadline);
        self.replica.next_timeout().into_iter().chain(transfer).min()
    }

    /// Handles one input; `out` may hold outputs of earlier steps of the same turn.
    pub fn step(&mut self, now: Now, input: CoreInput, out: &mut CoreOutputs) {
        match input {
            CoreInput::Peer { from, message } => self.on_peer(now, from, message, out),
            CoreInput::Checked(checked) => self.replica.step(now, Input::Checked(checked), &mut out.pbft),
            CoreInput::Connected(peer) => self.replica.step(now, Input::Connected(peer), &mut out.pbft),
            CoreInput::Synced(ticket) => self.replica.step(now, Input::Synced(ticket), &mut out.pbft),
            CoreInput::Submit { client, request } => self.on_submit(now, client, request, out),
            CoreInput::Follow { client, account } => {
                if !self.clients.follow(client, account) {
                    out.refused.push("too_many_followers");
                }
            }
            CoreInput::ClientGone(client) => self.clients.forget(client),
            CoreInput::Executed(done) => self.on_executed(now, done, out),
            CoreInput::Transfer(event) => self.on_transfer(now, event, out),
            CoreInput::Timeout => self.replica.step(now, Input::Timeout, &mut out.pbft),
        }
        if let Some(certificate) = out.pbft.transfer.take() {
            self.start_transfer(certificate);
        }
        self.ask_for_state(now, out);
        for (peer, seq, digest) in std::mem::take(&mut out.pbft.serve_body) {
            out.serve.push((peer, Serve::Body { seq, digest }));
        }
    }

    fn on_peer(&mut self, now: Now, from: ReplicaId, message: Verified<Incoming>, out: &mut CoreOutputs) {
        match message.get() {
            Incoming::Forward(requests) => {
                for (request, digest) in requests {
                    if let Ok(transaction) = self.rules.read(request) {
                        let valid = ValidRequest::of(Arc::clone(request), *digest, &transaction);
                        self.admit(now, valid, Some(from), out);
                    }
                }
            }
            Incoming::Application(Message::FetchBlocks { from: first, count }) => {
                out.serve.push((
                    from,
                    Serve::Blocks {
                        from: *first,
                        count: *count,
                    },
                ));
            }
            Incoming::Application(Message::FetchState { seq, part }) => {
                out.serve_state.push((from, *seq, part.clone()));
            }
            Incoming::Application(Message::StatePart { seq, part, data }) => {
                let transfer = self.transfer.as_mut().filter(|transfer| transfer.seq() == *seq);
                if let (Some(transfer), Some(question)) = (transfer, StateQuestion::read(part)) {
                    let mut asks = Asks::default();
                    transfer.on_answer(now.clock, from, question, data.as_ref(), &mut asks);
                    self.carry_out(now, asks, out);
                }
            }
            _ => self
                .replica
                .step(now, Input::Message { from, message }, &mut out.pbft),
        }
    }

    /// The protocol needs the state of this checkpoint. A transfer of an earlier one is given up: its sources will not
    /// keep that state for long.
    fn start_transfer(&mut self, certificate: StableCertificate) {
        if self
            .transfer
            .as_ref()
            .is_none_or(|transfer| transfer.seq() < certificate.seq)
        {
            self.transfer = Some(Transfer::new(certificate, self.peers.clone(), self.liars.clone()));
        }
    }

    fn ask_for_state(&mut self, now: Now, out: &mut CoreOutputs) {
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        if transfer.seq() <= self.replica.executed() {
            // The blocks came after all.
            self.transfer = None;
            return;
        }
        let mut asks = Asks::default();
        transfer.ask(now.clock, &mut asks);
        self.carry_out(now, asks, out);
    }

    fn carry_out(&mut self, now: Now, asks: Asks, out: &mut CoreOutputs) {
        for (peer, message) in asks.questions {
            let (to, message) = (Recipient::One(peer), Arc::new(message));
            out.pbft.send.push(Send {
                to,
                message,
                after: Ticket::default(),
            });
        }
        out.transfer.extend(asks.jobs);
        self.liars.extend(asks.liar);
        out.liars.extend(asks.liar);
        if let Some(target) = asks.complete {
            if self.replica.hold_execution() {
                out.transfer.push(TransferJob::Finish(target));
            } else {
                // Blocks are on their way to execution: the protocol asks again if they do not suffice.
                self.transfer = None;
                self.replica.step(now, Input::TransferAbandoned, &mut out.pbft);
            }
        }
    }

    fn on_transfer(&mut self, now: Now, event: TransferEvent, out: &mut CoreOutputs) {
        match event {
            TransferEvent::Missing(missing) => {
                if let Some(transfer) = &mut self.transfer {
                    let mut asks = Asks::default();
                    transfer.on_missing(now.clock, missing, &mut asks);
                    self.carry_out(now, asks, out);
                }
            }
            TransferEvent::Failed => {
                self.transfer = None;
                self.replica.step(now, Input::TransferAbandoned, &mut out.pbft);
            }
            TransferEvent::Installed(view) => {
                self.transfer = None;
                let height = view.header.height;
                let settlement = self.admission.rebase(&view.state, height);
                let (seq, header) = (SeqNum::new(height), view.tip);
                self.view = *view;
                let settled = settlement.settled;
                self.replica
                    .step(now, Input::StateInstalled { seq, header, settled }, &mut out.pbft);
                self.hand_out(now, &settlement.releases, out);
            }
        }
    }

    fn admit(
        &mut self,
        now: Now,
        request: ValidRequest,
        source: Option<ReplicaId>,
        out: &mut CoreOutputs,
    ) -> Admitted {
        let admitted = self
            .admission
            .admit(request, source, &self.view.state, self.view.header.height);
        if let Admitted::Queued(releases) = &admitted {
            self.hand_out(now, releases, out);
        }
        admitted
    }

    /// Gives requests to the protocol, in this order.
    fn hand_out(&mut self, now: Now, releases: &[Release], out: &mut CoreOutputs) {
        for release in releases {
            let request = Arc::clone(&release.request.request);
            let input = Input::Request {
                request,
                digest: release.request.digest,
                timed: release.timed,
            };
            self.replica.step(now, input, &mut out.pbft);
        }
    }

    fn on_submit(&mut self, now: Now, client: ClientId, request: ValidRequest, out: &mut CoreOutputs) {
        // A learner or a halted replica has no say: it must not be among the f + 1.
        if !matches!(self.replica.standing(), Standing::Starting | Standing::Voting) {
            return;
        }
        let digest = request.digest;
        let response = match self.admit(now, request, None, out) {
            Admitted::Queued(_) | Admitted::Known => {
                if self.clients.wait(client, digest) {
                    return;
                }
                out.refused.push("busy");
                ClientResponse::Busy { request: digest }
            }
            Admitted::Settled(settled) => ClientResponse::Reply(self.reply(&settled, None)),
            Admitted::Busy => {
                out.refused.push("busy");
                ClientResponse::Busy { request: digest }
            }
            Admitted::Refused(reason) => {
                out.refused.push(refusal_name(&reason));
                ClientResponse::Refused {
                    request: digest,
                    reason,
                }
            }
        };
        out.replies.push((client, response));
    }

    fn reply(&self, settled: &SettledRequest, header: Option<Digest>) -> Reply {
        Reply {
            request: settled.request,
            outcome: settled.outcome,
            height: settled.height,
            header,
            view: self.replica.target().get(),
        }
    }

    fn on_executed(&mut self, now: Now, done: BlockDone, out: &mut CoreOutputs) {
        let BlockDone {
            view,
            receipts,
            checkpoint,
        } = done;
        let height = view.header.height;
        let settlement = self.admission.settle(&receipts, &view.state, height);
        let (seq, header) = (SeqNum::new(height), view.tip);
        self.view = *view;
        let (settled, ready, retry) = (settlement.settled, settlement.ready, settlement.retry);
        self.replica.step(
            now,
            Input::Executed {
                seq,
                header,
                settled,
                ready,
                retry,
            },
            &mut out.pbft,
        );
        self.hand_out(now, &settlement.releases, out);
        if checkpoint {
            self.replica
                .step(now, Input::StateDurable { seq, header }, &mut out.pbft);
        }
        if !matches!(self.replica.standing(), Standing::Starting | Standing::Voting) {
            return;
        }
        for receipt in &receipts {
            let Receipt::Executed(executed) = receipt else {
                continue;
            };
            let settled = SettledRequest {
                nonce: executed.nonce,
                request: executed.request,
                height,
                outcome: executed.outcome,
            };
            let reply = self.reply(&settled, Some(header));
            for client in self.clients.take(&executed.request, Some(&executed.account)) {
                out.replies.push((client, ClientResponse::Reply(reply)));
            }
        }
        for request in settlement.expired {
            for client in self.clients.take(&request, None) {
                let reason = Refusal::Expired { height };
                out.replies
                    .push((client, ClientResponse::Refused { request, reason }));
            }
        }
    }
}

fn refusal_name(reason: &Refusal) -> &'static str {
    match reason {
        Refusal::Invalid(_) => "invalid",
        Refusal::UnknownAccount => "unknown_account",
        Refusal::NonceConsumed { .. } => "nonce_consumed",
        Refusal::NonceTooFar { .. } => "nonce_too_far",
        Refusal::Expired { .. } => "expired",
    }
}
