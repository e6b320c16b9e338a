//! A synchronous harness over [`tagma_pbft::Replica`]: nothing happens unless a test says so.
//!
//! Messages lie in one queue a link until they are delivered, records wait until they are synced, blocks until they are
//! executed, checks until they are made. Signatures are real. [`Cluster::settle`] does all that is due without time
//! passing; [`Cluster::run`] lets time pass too.
#![allow(dead_code, reason = "each test crate uses its part of the harness")]

mod app;
pub(crate) mod craft;
mod disk;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tagma_crypto::{Claim, Digest, Domain, SecretKey, signature::signed_bytes};
use tagma_pbft::certificate::StableCertificate;
use tagma_pbft::error::Rejection;
use tagma_pbft::evidence::Evidence;
use tagma_pbft::io::{Check, Outputs};
use tagma_pbft::message::Message;
use tagma_pbft::record::Record;
use tagma_pbft::{
    Body, Config, Event, Execution, Incoming, Input, KeyRing, Now, Parameters, Quorum, Recipient, Replica,
    ReplicaId, Request, RequestRules, SeqNum, Standing, Ticket, Time, Tuning, Verifier, View,
};

pub(crate) use app::App;
pub(crate) use disk::Disk;

pub(crate) fn id(i: u16) -> ReplicaId {
    ReplicaId::new(i)
}
pub(crate) fn n(seq: u64) -> SeqNum {
    SeqNum::new(seq)
}
pub(crate) fn v(view: u64) -> View {
    View::new(view)
}

/// The rules of the requests of these tests: content that begins with "bad" is never valid; content that begins with
/// "signed" needs the test client's signature; anything else is valid as it is.
#[derive(Debug)]
pub(crate) struct Rules;

/// The signature domain of the test client.
const CLIENT: Domain = Domain::new("test/client");

fn client_key() -> SecretKey {
    SecretKey::from_seed([200; 32])
}

fn chain() -> Digest {
    Digest::of("test/chain", &[])
}

impl RequestRules for Rules {
    fn claim(&self, request: &Request, _: &Digest) -> Result<Option<Claim>, &'static str> {
        if request.content.starts_with(b"bad") {
            return Err("it is bad");
        }
        if !request.content.starts_with(b"signed") {
            return Ok(None);
        }
        Ok(Some(Claim {
            key: client_key().public(),
            message: signed_bytes(CLIENT, &chain(), &request.content),
            signature: request.signature,
        }))
    }
}

/// A request with this text as its content, signed by the test client.
pub(crate) fn request(text: &str) -> Request {
    Request {
        content: text.as_bytes().to_vec().into(),
        signature: client_key().sign(CLIENT, &chain(), text.as_bytes()),
    }
}

/// One replica, its disk, its application, and what they have not done yet.
pub(crate) struct Node {
    /// None while it is down.
    pub(crate) replica: Option<Replica>,
    pub(crate) disk: Disk,
    pub(crate) app: App,
    /// What of the application has reached the disk.
    app_on_disk: App,
    unsynced: Vec<(Ticket, Vec<Record>)>,
    synced: Ticket,
    handed_out: Ticket,
    executions: VecDeque<Execution>,
    checks: VecDeque<Check>,
    /// State transfer that was asked for.
    pub(crate) transfer: Option<StableCertificate>,
    /// All that left since a test last looked.
    pub(crate) sent: Vec<(Recipient, Message)>,
    pub(crate) events: Vec<Event>,
    pub(crate) evidence: Vec<Evidence>,
    /// Every n executed, in order, across restarts.
    pub(crate) executed: Vec<(SeqNum, Digest)>,
    /// Syncs, executions and checks happen in `settle` only if these hold.
    pub(crate) syncs: bool,
    pub(crate) executes: bool,
    pub(crate) state_is_durable: bool,
}

/// All replicas and the links between them.
pub(crate) struct Cluster {
    pub(crate) ring: Arc<KeyRing>,
    pub(crate) keys: Vec<SecretKey>,
    pub(crate) parameters: Parameters,
    pub(crate) tuning: Tuning,
    pub(crate) now: Now,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: BTreeMap<(u16, u16), VecDeque<Message>>,
    /// What is sent over these is lost.
    pub(crate) cut: BTreeSet<(u16, u16)>,
    /// What was seen of each digest, for people.
    pub(crate) names: BTreeMap<Digest, String>,
    /// Readable lines of what happened.
    pub(crate) trace: Vec<String>,
}

/// What every test starts with: checkpoints every 4, a window of 8.
pub(crate) fn parameters() -> Parameters {
    Parameters {
        checkpoint_interval: 4,
        window: 8,
        max_batch_requests: 4,
        max_batch_bytes: 4096,
        max_clock_drift_ms: 500,
    }
}

pub(crate) fn tuning() -> Tuning {
    Tuning {
        request_timeout: Duration::from_secs(2),
        view_change_timeout_max: Duration::from_secs(16),
        standby: false,
        ..Tuning::default()
    }
}

/// The wall clock at the start of every test, milliseconds.
pub(crate) const START_MS: u64 = 1_000_000;

impl Cluster {
    /// `size` replicas that have just started, have heard of each other and vote.
    pub(crate) fn new(size: u16) -> Self {
        Self::with(size, parameters(), tuning())
    }

    pub(crate) fn with(size: u16, parameters: Parameters, tuning: Tuning) -> Self {
        let mut cluster = Self::unstarted(size, parameters, tuning);
        for i in 0..size {
            cluster.restart(i);
        }
        cluster.settle();
        for i in 0..size {
            assert_eq!(cluster.replica(i).standing(), &Standing::Voting);
            cluster.take_sent(i);
            cluster.nodes[usize::from(i)].events.clear();
        }
        cluster.trace.clear();
        cluster
    }

    /// `size` replicas that are down, with stores that have never voted.
    pub(crate) fn unstarted(size: u16, parameters: Parameters, tuning: Tuning) -> Self {
        let keys: Vec<SecretKey> = (0..size)
            .map(|i| SecretKey::from_seed([u8::try_from(i).unwrap() + 1; 32]))
            .collect();
        let ring = Arc::new(KeyRing {
            chain: chain(),
            quorum: Quorum::new(usize::from(size)).unwrap(),
            keys: keys.iter().map(SecretKey::public).collect(),
        });
        let node = || Node {
            replica: None,
            disk: Disk::fresh(),
            app: App::genesis(),
            app_on_disk: App::genesis(),
            unsynced: Vec::new(),
            synced: Ticket(0),
            handed_out: Ticket(0),
            executions: VecDeque::new(),
            checks: VecDeque::new(),
            transfer: None,
            sent: Vec::new(),
            events: Vec::new(),
            evidence: Vec::new(),
            executed: Vec::new(),
            syncs: true,
            executes: true,
            state_is_durable: true,
        };
        let null = Body::null(&ring.chain).digest();
        Self {
            nodes: (0..size).map(|_| node()).collect(),
            names: [(null, "null".to_owned())].into(),
            ring,
            keys,
            parameters,
            tuning,
            now: Now {
                clock: Time::ZERO,
                wall_ms: START_MS,
            },
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            trace: Vec::new(),
        }
    }

    pub(crate) fn size(&self) -> u16 {
        self.ring.quorum.replicas()
    }
    pub(crate) fn replica(&self, i: u16) -> &Replica {
        self.nodes[usize::from(i)]
            .replica
            .as_ref()
            .expect("the replica is down")
    }
    pub(crate) fn node(&mut self, i: u16) -> &mut Node {
        &mut self.nodes[usize::from(i)]
    }
    pub(crate) fn is_up(&self, i: u16) -> bool {
        self.nodes[usize::from(i)].replica.is_some()
    }

    /// The name of a digest, for people.
    pub(crate) fn name(&self, digest: &Digest) -> String {
        self.names.get(digest).cloned().unwrap_or_else(|| digest.short())
    }

    pub(crate) fn learn_name(&mut self, body: &Body) {
        let text = |request: &Request| String::from_utf8_lossy(&request.content).into_owned();
        let texts: Vec<String> = body.batch().requests.iter().map(text).collect();
        self.names
            .entry(body.digest())
            .or_insert_with(|| format!("[{}]", texts.join(" ")));
    }

    /// Stops a replica as a power failure does: what was not synced is gone, and so is what was on its way to it.
    pub(crate) fn crash(&mut self, i: u16) {
        let node = self.node(i);
        node.replica = None;
        node.unsynced.clear();
        node.executions.clear();
        node.checks.clear();
        node.transfer = None;
        node.app = node.app_on_disk.clone();
        node.synced = Ticket(0);
        node.handed_out = Ticket(0);
        self.links.retain(|(_, to), _| *to != i);
    }

    /// Starts a replica from its disk.
    pub(crate) fn restart(&mut self, i: u16) {
        assert!(!self.is_up(i), "n{i} is up already");
        let config = Config {
            id: id(i),
            key: self.keys[usize::from(i)].clone(),
            ring: KeyRing::clone(&self.ring),
            parameters: self.parameters,
            tuning: self.tuning,
        };
        let mut out = Outputs::default();
        let recovered = self.nodes[usize::from(i)].disk.recover(&self.ring.chain);
        let executed = self.nodes[usize::from(i)].app.recovered();
        let replica = Replica::recover(config, recovered, &executed, self.now, &mut out);
        self.node(i).replica = Some(replica);
        self.carry_out(i, out);
    }

    /// One step of one replica; what it asks for is queued, and what may leave leaves.
    pub(crate) fn input(&mut self, i: u16, input: Input) {
        let now = self.now;
        let mut out = Outputs::default();
        let Some(replica) = self.node(i).replica.as_mut() else {
            return;
        };
        replica.step(now, input, &mut out);
        self.carry_out(i, out);
    }

    fn carry_out(&mut self, i: u16, out: Outputs) {
        for execution in &out.execute {
            self.learn_name(&execution.body);
        }
        let node = self.node(i);
        if !out.persist.is_empty() {
            assert!(out.ticket > node.handed_out, "a ticket was handed out twice");
            node.handed_out = out.ticket;
            node.unsynced.push((out.ticket, out.persist));
        }
        node.executions.extend(out.execute);
        node.checks.extend(out.check);
        if out.transfer.is_some() {
            node.transfer = out.transfer;
        }
        node.evidence.extend(out.evidence);
        for event in out.events {
            if let Some(line) = craft::describe_event(i, &event) {
                self.trace.push(line);
            }
            self.node(i).events.push(event);
        }
        for send in out.send {
            assert!(
                send.after <= self.node(i).synced,
                "a message leaves before what it waits for is on disk"
            );
            self.leave(i, send.to, Message::clone(&send.message));
        }
        for (to, seq, digest) in out.serve_body {
            if let Some(body) = self.node(i).app.body(seq, &digest) {
                self.leave(i, Recipient::One(to), Message::Body(body.batch().clone()));
            }
        }
    }

    /// A message of replica `i` leaves.
    fn leave(&mut self, i: u16, to: Recipient, message: Message) {
        if let Message::PrePrepare {
            batch: Some(batch), ..
        }
        | Message::Body(batch) = &message
        {
            let body = Body::new(&self.ring.chain, batch.clone());
            self.learn_name(&body);
        }
        let line = craft::describe(self, i, to, &message);
        self.trace.extend(line);
        self.node(i).sent.push((to, message.clone()));
        for j in 0..self.size() {
            let meant = match to {
                Recipient::Others => j != i,
                Recipient::One(one) => one == id(j),
            };
            if meant && !self.cut.contains(&(i, j)) && self.is_up(j) {
                self.links.entry((i, j)).or_default().push_back(message.clone());
            }
        }
    }

    /// What replica `i` has sent since the last look.
    pub(crate) fn take_sent(&mut self, i: u16) -> Vec<Message> {
        std::mem::take(&mut self.node(i).sent)
            .into_iter()
            .map(|(_, message)| message)
            .collect()
    }

    /// Hands a message to replica `i` as if it had come over the connection of `from`.
    pub(crate) fn feed(&mut self, i: u16, from: u16, message: Message) -> Result<(), Rejection> {
        let duty = self.replica(i).duty();
        let mut verdicts = self.verifier(i).verify_as(duty, vec![message]);
        let message = verdicts.remove(0)?;
        match message.get() {
            Incoming::Application(Message::FetchBlocks { from: first, count }) => {
                let blocks = self.node(i).app.blocks_from(*first, *count);
                let answer = Message::Blocks {
                    from: *first,
                    blocks: blocks.into(),
                };
                self.leave(i, Recipient::One(id(from)), answer);
            }
            Incoming::Forward(requests) => {
                for (request, digest) in requests.clone() {
                    self.admit(i, request, digest);
                }
            }
            _ => self.input(
                i,
                Input::Message {
                    from: id(from),
                    message,
                },
            ),
        }
        Ok(())
    }

    pub(crate) fn verifier(&self, i: u16) -> Verifier {
        Verifier::new(id(i), Arc::clone(&self.ring), self.parameters, Arc::new(Rules))
    }

    fn admit(&mut self, i: u16, request: Arc<Request>, digest: Digest) {
        if !self.node(i).app.has_executed(&digest) {
            self.input(
                i,
                Input::Request {
                    request,
                    digest,
                    timed: true,
                },
            );
        }
    }

    /// A client's request reaches replica `i`.
    pub(crate) fn submit(&mut self, i: u16, text: &str) {
        let request = request(text);
        let digest = request.digest(&self.ring.chain);
        self.admit(i, Arc::new(request), digest);
    }

    pub(crate) fn submit_to_all(&mut self, text: &str) {
        for i in 0..self.size() {
            self.submit(i, text);
        }
    }

    /// Everything that replica `i` has handed out reaches its disk.
    pub(crate) fn sync(&mut self, i: u16) -> bool {
        let node = self.node(i);
        let groups = std::mem::take(&mut node.unsynced);
        let Some((ticket, _)) = groups.last() else {
            return false;
        };
        node.synced = *ticket;
        let ticket = *ticket;
        for (_, records) in groups {
            node.disk.write(&records);
        }
        node.app_on_disk = node.app.clone();
        self.input(i, Input::Synced(ticket));
        true
    }

    /// Replica `i` executes the next block that it was told to.
    pub(crate) fn execute(&mut self, i: u16) -> bool {
        let interval = self.parameters.checkpoint_interval;
        let node = self.node(i);
        let Some(execution) = node.executions.pop_front() else {
            return false;
        };
        let (seq, digest) = (execution.seq, execution.body.digest());
        node.executed.push((seq, digest));
        let settled = execution.body.request_digests().to_vec();
        let header = node.app.execute(execution, interval);
        let line = format!("n{i} executes {seq:?} {}", self.name(&digest));
        self.trace.push(line);
        self.input(
            i,
            Input::Executed {
                seq,
                header,
                settled,
                ready: Vec::new(),
                retry: Vec::new(),
            },
        );
        if seq.get().is_multiple_of(interval) && self.node(i).state_is_durable {
            self.make_state_durable(i);
        }
        true
    }

    /// The state of the last checkpoint that replica `i` has executed reaches its disk.
    pub(crate) fn make_state_durable(&mut self, i: u16) {
        let (seq, header) = self.node(i).app.write_checkpoint();
        self.input(i, Input::StateDurable { seq, header });
    }

    /// Replica `i` makes one of the checks that it was asked for.
    pub(crate) fn check(&mut self, i: u16) -> bool {
        let Some(check) = self.node(i).checks.pop_front() else {
            return false;
        };
        let checked = self.verifier(i).check(check);
        self.input(i, Input::Checked(checked));
        true
    }

    /// Delivers the next message on a link.
    pub(crate) fn deliver(&mut self, from: u16, to: u16) -> bool {
        let Some(message) = self.links.get_mut(&(from, to)).and_then(VecDeque::pop_front) else {
            return false;
        };
        if self.is_up(to) {
            self.feed(to, from, message)
                .expect("an honest replica's message verifies");
        }
        true
    }

    /// Everything on its way is lost.
    pub(crate) fn drop_all(&mut self) {
        self.links.clear();
    }

    /// What is between `i` and everybody else is lost, in both directions, until [`Cluster::heal`].
    pub(crate) fn isolate(&mut self, i: u16) {
        for j in 0..self.size() {
            self.cut.extend([(i, j), (j, i)]);
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    /// Does what is due at replica `i` beside messages.
    pub(crate) fn work(&mut self, i: u16) -> bool {
        let (syncs, executes) = (self.node(i).syncs, self.node(i).executes);
        let mut worked = false;
        worked |= syncs && self.sync(i);
        worked |= self.check(i);
        worked |= executes && self.execute(i);
        worked
    }

    /// Does everything that is due until nothing is, without time passing.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100_000 {
            let mut busy = false;
            for i in 0..self.size() {
                while self.is_up(i) && self.work(i) {
                    busy = true;
                }
            }
            let waiting: Vec<(u16, u16)> = self
                .links
                .iter()
                .filter(|(_, queue)| !queue.is_empty())
                .map(|(link, _)| *link)
                .collect();
            for (from, to) in waiting {
                busy |= self.deliver(from, to);
            }
            if !busy {
                return;
            }
        }
        panic!("the cluster does not come to rest: messages beget messages");
    }

    /// The earliest moment at which some replica wants to be told the time.
    fn next_timeout(&self) -> Option<Time> {
        self.nodes
            .iter()
            .filter_map(|node| node.replica.as_ref()?.next_timeout())
            .min()
    }

    /// Lets time pass, doing all that is due meanwhile.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now.clock.plus(span);
        self.settle();
        while let Some(next) = self.next_timeout().filter(|next| *next <= end) {
            self.pass_until(next.max(self.now.clock));
            self.settle();
        }
        self.pass_until(end);
    }

    /// Lets time pass without anything else happening than the timers that are due at the end.
    pub(crate) fn pass(&mut self, span: Duration) {
        self.pass_until(self.now.clock.plus(span));
    }

    fn pass_until(&mut self, moment: Time) {
        self.now.clock = moment;
        self.now.wall_ms = START_MS + moment.as_nanos() / 1_000_000;
        for i in 0..self.size() {
            let due = self.nodes[usize::from(i)]
                .replica
                .as_ref()
                .and_then(Replica::next_timeout)
                .is_some_and(|at| at <= moment);
            if due {
                self.input(i, Input::Timeout);
            }
        }
    }

    /// Runs state transfer to what replica `i` has asked for, from the state that `source` keeps.
    pub(crate) fn transfer_state(&mut self, i: u16, source: u16) {
        let certificate = self.node(i).transfer.take().expect("no transfer was asked for");
        let app = self
            .node(source)
            .app
            .at_checkpoint(certificate.seq)
            .expect("the source has no such state");
        assert_eq!(
            app.header(),
            certificate.header,
            "the source's state is certified"
        );
        let settled = app.executed_requests();
        self.node(i).app = app.clone();
        self.node(i).app_on_disk = app;
        self.input(
            i,
            Input::StateInstalled {
                seq: certificate.seq,
                header: certificate.header,
                settled,
            },
        );
    }

    /// Every replica's evidence proves what it says, and accuses nobody but `culprits`.
    pub(crate) fn assert_evidence_is_sound(&self, culprits: &[u16]) {
        for node in &self.nodes {
            for evidence in &node.evidence {
                assert!(
                    evidence.proves(&self.ring, &self.parameters, &Rules),
                    "{} does not prove itself",
                    evidence.name()
                );
                let culprit = evidence.culprit(&self.ring);
                assert!(
                    culprits.iter().any(|i| id(*i) == culprit),
                    "{culprit} is accused of {}",
                    evidence.name()
                );
            }
        }
    }

    /// No two replicas have executed different batches at one height, and none skipped or repeated one.
    pub(crate) fn assert_agreement(&self) {
        let mut agreed: BTreeMap<SeqNum, Digest> = BTreeMap::new();
        for node in &self.nodes {
            for (seq, digest) in &node.executed {
                assert_eq!(
                    agreed.entry(*seq).or_insert(*digest),
                    digest,
                    "two batches at {seq:?}"
                );
            }
        }
    }

    /// What replica `i` executed at each height.
    pub(crate) fn chain_of(&self, i: u16) -> Vec<String> {
        let blocks = self.nodes[usize::from(i)].app.digests();
        blocks.iter().map(|digest| self.name(digest)).collect()
    }
}
