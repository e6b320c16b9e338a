//! The client: one connection for each replica, any number of requests in flight.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tagma_crypto::Digest;
use tagma_crypto::encode::encode;
use tagma_ledger::{Request, SignedTransaction};
use tagma_wire::client_protocol::{
    Answer, ClientRequest, ClientResponse, MAX_ANSWER_FRAME, MAX_CLIENT_FRAME, Query, Refusal, Reply,
};
use tagma_wire::{BindError, ClientConfig, ClientEndpoint};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::error::{QueryError, SubmitError};
use crate::link::{self, Link, LinkState};
use crate::network::Network;
use crate::query::Queries;
use crate::settled::{Contradiction, Standing};
use crate::tracker::{Accepted, Completion, Retry, Send, Submission, Tracker, Waiter};

/// A client's bounds and pauses.
#[derive(Clone, Debug)]
pub struct Config {
    /// When to send requests again.
    pub retry: Retry,
    /// Deadline of a connection attempt and, apart, of its hello.
    pub connect_timeout: Duration,
    /// First pause before connecting again; doubles up to `reconnect_max`.
    pub reconnect_min: Duration,
    /// Longest pause before connecting again.
    pub reconnect_max: Duration,
    /// Most requests in flight; further ones are refused.
    pub max_in_flight: usize,
    /// Most frames that wait to be sent to one replica. One that is dropped is sent again after T_c.
    pub queue_frames: usize,
    /// How many accepted requests late replies are held against.
    pub remembered: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            retry: Retry {
                first: Duration::from_millis(500),
                longest: Duration::from_secs(4),
            },
            connect_timeout: Duration::from_secs(2),
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(2),
            max_in_flight: 1 << 16,
            queue_frames: 8192,
            remembered: 8192,
        }
    }
}

/// How long replies that nobody needs any more are waited for before they are asked for, and replicas that are to hear
/// of the end.
const MOMENT: Duration = Duration::from_millis(50);

/// A client of one network. Clones share its connections, which are closed with the last of them.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    _tasks: Arc<JoinSet<()>>,
}

/// What the client's tasks work on.
pub(crate) struct Shared {
    pub(crate) network: Network,
    pub(crate) config: Config,
    pub(crate) endpoint: ClientEndpoint,
    pub(crate) links: Vec<Link>,
    pub(crate) queries: Queries,
    tracker: Mutex<Tracker>,
    /// The state of a connection has changed.
    pub(crate) link_changed: Notify,
    /// The first wakeup has moved forward.
    earlier: Notify,
    /// A late reply has come in.
    late: Notify,
}

impl Client {
    /// Binds a local socket and begins to connect to all replicas. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If no socket can be bound.
    pub fn start(network: Network, config: Config) -> Result<Self, BindError> {
        let mut wire = ClientConfig::new(local_address(&network));
        wire.max_request = MAX_CLIENT_FRAME;
        wire.max_reply = MAX_ANSWER_FRAME;
        wire.queue_frames = config.queue_frames;
        wire.connect_timeout = config.connect_timeout;
        let tracker = Tracker::new(&network, config.retry, config.max_in_flight, config.remembered);
        let shared = Arc::new(Shared {
            endpoint: ClientEndpoint::bind(wire)?,
            links: network.replicas().iter().map(|_| Link::default()).collect(),
            queries: Queries::default(),
            tracker: Mutex::new(tracker),
            link_changed: Notify::new(),
            earlier: Notify::new(),
            late: Notify::new(),
            network,
            config,
        });
        let mut tasks = JoinSet::new();
        for replica in shared.network.replicas() {
            tasks.spawn(link::run(shared.clone(), replica.clone()));
        }
        tasks.spawn(wake(shared.clone()));
        Ok(Self {
            shared,
            _tasks: Arc::new(tasks),
        })
    }

    /// The network this is a client of.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.shared.network
    }

    /// Waits until `count` replicas are connected, or no attempt is under way that could make it so, or `within` is
    /// over. Gives how many are connected.
    pub async fn connected(&self, count: usize, within: Duration) -> usize {
        let deadline = Instant::now() + within;
        loop {
            let changed = self.shared.link_changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let undecided = self.links().contains(&LinkState::Connecting);
            let enough = self.shared.connected() >= count;
            if enough || !undecided || timeout_at(deadline, changed).await.is_err() {
                break;
            }
        }
        self.shared.connected()
    }

    /// The state of the connection to each replica, in order of number.
    #[must_use]
    pub fn links(&self) -> Vec<LinkState> {
        self.shared.links.iter().map(Link::state).collect()
    }

    /// Submits a signed transaction and waits for its outcome: to the presumed primary first, after T_c or a refusal
    /// to all, until f + 1 replicas report the same or `within` is over.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub async fn submit(
        &self,
        transaction: &SignedTransaction,
        within: Duration,
    ) -> Result<Accepted, SubmitError> {
        let hash = transaction.transaction.digest();
        let (sender, receiver) = oneshot::channel();
        self.begin(transaction, within, Waiter::One(sender));
        receiver.await.unwrap_or(Err(SubmitError::Closed { hash }))
    }

    /// Submits a signed transaction and returns at once; what becomes of it arrives on `completions`, exactly once for
    /// each call. Costs no task, so that thousands can be in flight.
    pub fn submit_to(
        &self,
        transaction: &SignedTransaction,
        within: Duration,
        completions: &mpsc::UnboundedSender<Completion>,
    ) -> Digest {
        self.begin(transaction, within, Waiter::Many(completions.clone()))
    }

    fn begin(&self, transaction: &SignedTransaction, within: Duration, waiter: Waiter) -> Digest {
        let hash = transaction.transaction.digest();
        let frame = submit_frame(transaction.to_request());
        if frame.len() > MAX_CLIENT_FRAME {
            let (bytes, limit) = (frame.len(), MAX_CLIENT_FRAME);
            waiter.tell(hash, Err(SubmitError::TooLarge { bytes, limit }));
            return hash;
        }
        let now = Instant::now();
        let submission = Submission {
            hash,
            account: transaction.transaction.account,
            frame,
            deadline: now + within,
        };
        self.shared.track(|tracker, out| {
            let before = tracker.next_wakeup();
            tracker.submit(now, submission, waiter, out);
            if tracker.next_wakeup() != before {
                self.shared.earlier.notify_one();
            }
        });
        hash
    }

    /// Hands a signed transaction to all replicas and waits until f + 1 have certainly received it, so that a correct
    /// one has; it sees to the rest. Gives the replicas that have it, fewer than f + 1 if `within` is over.
    pub async fn hand_over(&self, transaction: &SignedTransaction, within: Duration) -> Vec<u16> {
        let frame = submit_frame(transaction.to_request());
        let deadline = Instant::now() + within;
        let mut asked = JoinSet::new();
        for replica in self.shared.network.replicas() {
            let (shared, frame, id) = (self.shared.clone(), frame.clone(), replica.id);
            asked.spawn(async move {
                shared.up(id, deadline).await.ok()?;
                shared.send(id, frame);
                // Frames arrive in order: who answers this has received the request before it.
                shared.query(id, Query::Status, deadline).await.ok()?;
                Some(id)
            });
        }
        let mut received = Vec::new();
        while received.len() < self.shared.network.weak_quorum()
            && let Some(finished) = asked.join_next().await
        {
            received.extend(finished.ok().flatten());
        }
        received.sort_unstable();
        received
    }

    /// Asks one replica, which may lie or lag. Waits for its connection if that is being made for the first time.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn query(&self, replica: u16, query: Query, within: Duration) -> Result<Answer, QueryError> {
        self.shared.query(replica, query, Instant::now() + within).await
    }

    /// Who has said what of an accepted request, late replies included. None once it is forgotten.
    #[must_use]
    pub fn standing(&self, request: &Digest) -> Option<Standing> {
        self.shared.tracker().settled().standing(request)
    }

    /// Waits until every connected replica has replied to an accepted request or `within` is over, and gives who said
    /// what. Who keeps silent for a moment is asked once more.
    pub async fn all_replies(&self, request: &Digest, within: Duration) -> Option<Standing> {
        let moment = (within / 2).min(MOMENT);
        let deadline = Instant::now() + within;
        if !self.heard_all(request, Instant::now() + moment).await {
            self.shared
                .track(|tracker, out| tracker.ask_missing(request, out));
            // What is known at the deadline is what there is.
            self.heard_all(request, deadline).await;
        }
        self.standing(request)
    }

    /// Waits until every connected replica has replied to an accepted request. False if the deadline comes first.
    async fn heard_all(&self, request: &Digest, deadline: Instant) -> bool {
        loop {
            let late = self.shared.late.notified();
            tokio::pin!(late);
            late.as_mut().enable();
            if self.shared.tracker().all_replied(request) {
                return true;
            }
            if timeout_at(deadline, late).await.is_err() {
                return false;
            }
        }
    }

    /// The replies that contradict accepted outcomes, since the last call: each convicts its replica. The oldest are
    /// dropped if nobody asks for long.
    #[must_use]
    pub fn take_contradictions(&self) -> Vec<Contradiction> {
        self.shared.tracker().settled().take_contradictions()
    }

    /// The view that is presumed: at least one correct replica has reached it.
    #[must_use]
    pub fn view(&self) -> u64 {
        self.shared.tracker().view()
    }

    /// The replica that requests are sent to first.
    #[must_use]
    pub fn presumed_primary(&self) -> u16 {
        self.shared.tracker().primary()
    }

    /// How many requests are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.tracker().in_flight()
    }

    /// Closes all connections, of all clones, and gives the replicas a moment to hear of it.
    pub async fn close(&self) {
        // The farewell leaves at once; only a replica that is gone would be waited for longer.
        drop(timeout(MOMENT, self.shared.endpoint.close("the client is done")).await);
    }
}

impl Shared {
    fn tracker(&self) -> MutexGuard<'_, Tracker> {
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the tracker, then sends what it wants sent.
    fn track<T>(&self, work: impl FnOnce(&mut Tracker, &mut Vec<Send>) -> T) -> T {
        let mut out = Vec::new();
        let result = work(&mut self.tracker(), &mut out);
        for Send { to, frame } in out {
            self.send(to, frame);
        }
        result
    }

    /// Queues a frame for a replica. A frame that is not taken is as good as lost on the way: it is sent again.
    fn send(&self, to: u16, frame: Bytes) {
        if let Some(link) = self.links.get(usize::from(to))
            && let Err(error) = link.send(frame)
        {
            tracing::debug!(replica = to, %error, "a request was not taken for sending");
        }
    }

    fn connected(&self) -> usize {
        self.links
            .iter()
            .filter(|link| link.state() == LinkState::Up)
            .count()
    }

    /// Waits for the first connection attempt to a replica.
    async fn up(&self, replica: u16, deadline: Instant) -> Result<(), QueryError> {
        let unknown = || QueryError::Unreachable("there is no such replica".into());
        let link = self.links.get(usize::from(replica)).ok_or_else(unknown)?;
        match timeout_at(deadline, link.attempted()).await {
            Ok(LinkState::Down(reason)) => Err(QueryError::Unreachable(reason)),
            Ok(_) => Ok(()),
            Err(_) => Err(QueryError::Unreachable("no connection in time".into())),
        }
    }

    pub(crate) async fn query(
        &self,
        replica: u16,
        query: Query,
        deadline: Instant,
    ) -> Result<Answer, QueryError> {
        self.up(replica, deadline).await?;
        let (id, answer) = self.queries.ask(replica);
        let link = self.links.get(usize::from(replica)).ok_or(QueryError::Lost)?;
        let frame = Bytes::from(encode(&ClientRequest::Query {
            id: id.number(),
            query,
        }));
        link.send(frame)
            .map_err(|error| QueryError::Unreachable(error.to_string()))?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(Answer::Unavailable(reason))) => Err(QueryError::Unavailable(reason.into_string())),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(QueryError::Lost),
            Err(_) => Err(QueryError::Timeout),
        }
    }

    /// A connection is there.
    pub(crate) fn link_up(&self, replica: u16) {
        self.track(|tracker, out| tracker.connected(replica, out));
    }

    /// A connection is gone.
    pub(crate) fn link_down(&self, replica: u16) {
        self.tracker().disconnected(replica);
        self.queries.lost(replica);
    }

    fn heard_replies(&self, replica: u16, replies: impl IntoIterator<Item = Reply>) {
        let now = Instant::now();
        let mut tracker = self.tracker();
        let mut late = false;
        for reply in replies {
            late |= tracker.reply(now, replica, &reply);
        }
        drop(tracker);
        if late {
            self.late.notify_waiters();
        }
    }

    /// What a replica says.
    pub(crate) fn heard(self: &Arc<Self>, replica: u16, response: ClientResponse) {
        match response {
            ClientResponse::Reply(reply) => self.heard_replies(replica, [reply]),
            ClientResponse::Replies(replies) => self.heard_replies(replica, replies.iter()),
            ClientResponse::Busy { request } => self.tracker().busy(replica, request),
            ClientResponse::Refused { request, reason } => {
                if self.track(|tracker, out| tracker.refused(replica, request, reason, out)) {
                    // At most one such task for each replica and request in flight.
                    tokio::spawn(look_up(self.clone(), replica, request, reason));
                }
            }
            ClientResponse::Answer { id, answer } => {
                if let Answer::Status(status) = &answer {
                    self.tracker().saw_view(replica, status.view);
                }
                self.queries.answered(replica, id, answer);
            }
        }
    }
}

/// Asks a replica that refused a request for its consumed nonce what it has executed of it.
async fn look_up(shared: Arc<Shared>, replica: u16, request: Digest, refusal: Refusal) {
    let deadline = Instant::now() + shared.config.retry.longest;
    let found = match shared.query(replica, Query::Transaction(request), deadline).await {
        Ok(Answer::Transaction { found, .. }) => Some(found),
        _ => None,
    };
    let news = shared
        .tracker()
        .looked_up(Instant::now(), replica, request, refusal, found);
    if news {
        shared.late.notify_waiters();
    }
}

/// Sends again and gives up in time.
async fn wake(shared: Arc<Shared>) {
    loop {
        let earlier = shared.earlier.notified();
        let next = shared.tracker().next_wakeup();
        match next {
            Some(at) => tokio::select! {
                () = sleep_until(at) => {}
                () = earlier => continue,
            },
            None => {
                earlier.await;
                continue;
            }
        }
        let jitter = || rand::random_range(0.75..1.25);
        shared.track(|tracker, out| tracker.timeout(Instant::now(), jitter, out));
    }
}

fn submit_frame(request: Request) -> Bytes {
    Bytes::from(encode(&ClientRequest::Submit(request)))
}

/// A local address of the replicas' kind: loopback if all of them are there, so that nothing else can reach it.
fn local_address(network: &Network) -> SocketAddr {
    let addresses = || network.replicas().iter().map(|replica| replica.address.ip());
    let ipv6 = addresses().any(|ip| ip.is_ipv6());
    let ip: IpAddr = match (ipv6, addresses().all(|ip| ip.is_loopback())) {
        (false, true) => Ipv4Addr::LOCALHOST.into(),
        (false, false) => Ipv4Addr::UNSPECIFIED.into(),
        (true, true) if addresses().all(|ip| ip.is_ipv6()) => Ipv6Addr::LOCALHOST.into(),
        (true, _) => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(ip, 0)
}
