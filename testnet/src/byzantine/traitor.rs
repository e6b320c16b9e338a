//! The process that lies: a real node, with its behaviour between it and everybody else.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tagma_crypto::{Digest, SecretKey};
use tagma_ledger::Genesis;
use tagma_node::cli::{HomeArgs, abort_on_panic, start_behind};
use tagma_node::core::{key_ring, protocol_parameters};
use tagma_node::driver::{Interposer, NodeSetup, Wire};
use tagma_node::exit::{Exit, Failure};
use tagma_node::home::Home;
use tagma_pbft::{Body, KeyRing, Message, Parameters, ReplicaId};
use tagma_sim::byzantine::{Behaviour, Forge, shown_to_core};
use tagma_sim::rng::SimRng;
use tagma_wire::ConnectionId;
use tagma_wire::client_protocol::ClientResponse;

use super::catalogue;
use super::order::{Order, When, write_whole};
use crate::disk;
use crate::error::Error;

/// Between two looks at the order, and two chances for a behaviour to act of itself.
const TICK: Duration = Duration::from_millis(100);

/// What a node is ordered to do.
#[must_use]
pub fn order_file(home: &Home) -> PathBuf {
    home.run().join("byzantine.toml")
}

/// What it does now: the same words, written once it does so.
#[must_use]
pub fn obeyed_file(home: &Home) -> PathBuf {
    home.run().join("byzantine.obeyed")
}

/// Runs the node of a home until SIGTERM or SIGINT, as `tagma-node start` does, but for what it is ordered to do.
///
/// # Errors
/// If the order makes no sense, or the node cannot start.
pub fn run(args: &HomeArgs) -> Result<(), Error> {
    abort_on_panic();
    Ok(start_behind(args, |setup| Ok(Arc::new(Traitor::new(setup)?)))?)
}

/// A node's behaviour, and all it works with.
struct Traitor(Arc<Inner>);

struct Inner {
    id: ReplicaId,
    key: SecretKey,
    ring: KeyRing,
    parameters: Parameters,
    request_timeout: Duration,
    null: Digest,
    genesis: Arc<Genesis>,
    home: Home,
    began: Instant,
    /// How much longer each sync takes, in microseconds.
    sync_delay: AtomicU64,
    state: Mutex<State>,
}

struct State {
    /// None is honest.
    behaviour: Option<Box<dyn Behaviour>>,
    when: When,
    /// The order as it was read last.
    order: String,
    rng: SimRng,
    /// The highest view this replica spoke of.
    view: u64,
    /// The highest sequence number it voted for.
    seq: u64,
}

impl Traitor {
    fn new(setup: &NodeSetup) -> Result<Self, Failure> {
        let ring = key_ring(&setup.genesis).map_err(Failure::with(Exit::Config))?;
        let window = setup.genesis.parameters.window;
        let inner = Inner {
            id: ReplicaId::new(setup.replica()?.id),
            key: setup.vote_key.clone(),
            parameters: protocol_parameters(&setup.genesis),
            request_timeout: setup.config.consensus.tuning(window).request_timeout,
            null: Body::null(&ring.chain).digest(),
            ring,
            genesis: Arc::clone(&setup.genesis),
            home: setup.home.clone(),
            began: Instant::now(),
            sync_delay: AtomicU64::new(0),
            state: Mutex::new(State {
                behaviour: None,
                when: When::Always,
                order: String::new(),
                rng: SimRng::new(rand::random()),
                view: 0,
                seq: 0,
            }),
        };
        inner.follow_orders().map_err(Failure::with(Exit::Config))?;
        Ok(Self(Arc::new(inner)))
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what the order says, if it has changed. Without an order the replica is honest.
    fn follow_orders(&self) -> Result<(), String> {
        let delay = disk::sync_delay(&self.home.run()).as_micros();
        self.sync_delay
            .store(u64::try_from(delay).unwrap_or(u64::MAX), Ordering::Relaxed);
        // A file that is gone, or is not text, orders nothing.
        let text = fs::read_to_string(order_file(&self.home)).unwrap_or_default();
        let mut state = self.state();
        if state.order == text {
            return Ok(());
        }
        state.order.clone_from(&text);
        let (behaviour, when) = if text.is_empty() {
            (None, When::Always)
        } else {
            let order = Order::parse(&text)?;
            let made = catalogue::make(&order.behaviour, &self.genesis);
            (Some(made.map_err(|error| error.to_string())?), order.when)
        };
        (state.behaviour, state.when) = (behaviour, when);
        tracing::warn!(
            order = text.trim().replace('\n', ", "),
            "does as it is ordered from here on"
        );
        // Still under the lock: one that crashes with its next message has said before that it obeys.
        write_whole(&obeyed_file(&self.home), &text)
            .map_err(|error| format!("cannot say that the order is obeyed: {error}"))
    }

    /// Has the behaviour decide, if this is the moment for it; `seq` is the sequence number it is about, if any.
    fn decide<T>(
        &self,
        state: &mut State,
        seq: Option<u64>,
        decide: impl FnOnce(&mut dyn Behaviour, &mut Forge<'_>) -> T,
    ) -> Option<T> {
        let State {
            behaviour,
            when,
            rng,
            view,
            seq: last,
            ..
        } = state;
        let behaviour = behaviour.as_deref_mut()?;
        let primary = view.checked_rem(self.ring.quorum.replicas().into()) == Some(self.id.get().into());
        if !when.applies(rng.below(1000), primary, seq.unwrap_or(*last)) {
            return None;
        }
        Some(decide(behaviour, &mut self.forge(rng)))
    }

    fn forge<'a>(&'a self, rng: &'a mut SimRng) -> Forge<'a> {
        Forge {
            id: self.id,
            key: &self.key,
            ring: &self.ring,
            parameters: &self.parameters,
            request_timeout: self.request_timeout,
            now: self.began.elapsed(),
            null: self.null,
            rng,
        }
    }

    /// Acts of itself, as long as the node lives.
    fn watch(&self, wire: &Wire) {
        loop {
            std::thread::sleep(TICK);
            if let Err(why) = self.follow_orders() {
                tracing::error!(why, "an order that makes no sense: nothing changes");
            }
            let (messages, noise) = {
                let mut state = self.state();
                let made = self.decide(&mut state, None, |behaviour, forge| {
                    (behaviour.tick(forge), behaviour.noise(forge))
                });
                made.unwrap_or_default()
            };
            for (to, message) in messages {
                wire.send(to, &message);
            }
            for (to, bytes) in noise {
                wire.send_bytes(to, bytes);
            }
        }
    }
}

impl Interposer for Traitor {
    fn started(&self, wire: Wire) {
        let inner = Arc::clone(&self.0);
        // It ends with the process.
        std::thread::spawn(move || inner.watch(&wire));
    }

    fn send(&self, wire: &Wire, to: ReplicaId, message: &Arc<Message>) {
        let instead = {
            let mut state = self.0.state();
            let (view, seq) = place(message);
            state.view = state.view.max(view.unwrap_or(0));
            state.seq = state.seq.max(seq.unwrap_or(0));
            self.0.decide(&mut state, seq, |behaviour, forge| {
                behaviour.send(forge, to, message)
            })
        };
        match instead {
            None => wire.send(to, message),
            Some(messages) => {
                for message in messages {
                    wire.send(to, &message);
                }
            }
        }
    }

    fn respond(&self, _to: ConnectionId, response: ClientResponse) -> Option<ClientResponse> {
        let mut state = self.0.state();
        let instead = self.0.decide(&mut state, None, |behaviour, forge| {
            behaviour.respond(forge, response.clone())
        });
        instead.unwrap_or(Some(response))
    }

    fn arrived(&self, _from: ReplicaId, message: Message) -> Option<Message> {
        let mut state = self.0.state();
        let State { behaviour, rng, .. } = &mut *state;
        if let Some(behaviour) = behaviour {
            behaviour.observe(&mut self.0.forge(rng), &message);
        }
        drop(state);
        shown_to_core(&self.0.ring, self.0.id, message)
    }

    fn syncing(&self) {
        std::thread::sleep(Duration::from_micros(self.0.sync_delay.load(Ordering::Relaxed)));
    }
}

/// The view and sequence number that a replica's own message tells of.
pub(super) fn place(message: &Message) -> (Option<u64>, Option<u64>) {
    match message {
        Message::PrePrepare { vote, .. } | Message::Vote(vote) => {
            (Some(vote.view.get()), Some(vote.seq.get()))
        }
        Message::Checkpoint(checkpoint) => (None, Some(checkpoint.seq.get())),
        Message::Status(status) => (Some(status.view.get()), None),
        Message::NewView(new) => (Some(new.view.get()), None),
        _ => (None, None),
    }
}
