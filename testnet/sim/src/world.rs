//! The world of a run: hosts, clients, links and one queue of what is due, on one thread. Nothing in it depends on anything but
//! the seed: no clock, no threads, no iteration in an order that is not fixed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tagma_evidence::forensics::Statements;
use tagma_evidence::transcript::Statement;
use tagma_ledger::Request;
use tagma_node::core::{ClientId, CoreInput, Serve};
use tagma_pbft::io::Check;
use tagma_pbft::{Duty, Incoming, ReplicaId};
use tagma_wire::client_protocol::ClientResponse;

use crate::chain::Chain;
use crate::check::{Checked, Checks, Violation};
use crate::clients::Client;
use crate::host::Host;
use crate::network::{Network, Weather};
use crate::packet::Packet;
use crate::queue::Queue;
use crate::rng::SimRng;
use crate::schedule::Disturbance;
use crate::sent::Sent;
use crate::time::show;
use crate::trace::Trace;
use crate::verify::Gate;

/// How far below every host's height invariants look back.
const PAST: u64 = 1000;

/// Something that is due.
#[derive(Debug)]
pub enum Event {
    /// A message arrives.
    Deliver {
        /// From which host.
        from: usize,
        /// To which host.
        to: usize,
        /// The process that its connection was made with.
        incarnation: u64,
        /// The encoded message.
        packet: Arc<Packet>,
    },
    /// Something for a process of a host; void if that process is gone.
    Process {
        /// The host.
        host: usize,
        /// The process.
        incarnation: u64,
        /// What.
        event: ProcessEvent,
    },
    /// A client's submission arrives.
    Submit {
        /// The host.
        host: usize,
        /// The process.
        incarnation: u64,
        /// The client.
        client: usize,
        /// The request.
        request: Arc<Request>,
    },
    /// A response to a client arrives.
    Respond {
        /// Who responds.
        from: ReplicaId,
        /// The client.
        client: usize,
        /// The response.
        response: ClientResponse,
    },
    /// A client looks what there is to do.
    Client {
        /// The client.
        client: usize,
        /// Void if the client has acted since.
        generation: u64,
    },
    /// A crashed host starts again.
    Restart(usize),
    /// A behaviour acts of itself.
    Tick(usize),
    /// Something happens to the world.
    Disturb(Disturbance),
    /// Something happens to the primary, and again after a pause between these two.
    Churn(u64, u64),
}

/// Something that is due within a process.
#[derive(Debug)]
pub enum ProcessEvent {
    /// The turn ends: what its steps asked for is carried out.
    Turn,
    /// A timer may be due.
    Wake,
    /// The sync is done.
    Synced,
    /// The executor takes its next job.
    Work,
    /// The executor tells the core what it has done.
    Told(Box<CoreInput>),
    /// A check is done.
    Check(Check),
    /// The question of a peer is answered.
    Serve(ReplicaId, Serve),
    /// A connection came up.
    Connected(ReplicaId),
}

impl ProcessEvent {
    fn name(&self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Wake => "wake",
            Self::Synced => "synced",
            Self::Work => "work",
            Self::Told(_) => "told",
            Self::Check(_) => "check",
            Self::Serve(..) => "serve",
            Self::Connected(_) => "connected",
        }
    }
}

/// Everything there is.
pub struct World {
    /// Nanoseconds since the start.
    pub now: u64,
    queue: Queue<Event>,
    /// Chance.
    pub rng: SimRng,
    /// The chain.
    pub chain: Chain,
    /// The machines.
    pub hosts: Vec<Host>,
    /// The hosts of each replica.
    pub places: Vec<Vec<usize>>,
    /// The links.
    pub network: Network,
    /// The clients.
    pub clients: Vec<Client>,
    /// The invariants.
    pub checks: Checks,
    /// What happened.
    pub trace: Trace,
    /// How often what was injected or happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// What replicas have sent each other, counted as the replicas of real networks count it.
    pub sent: Sent,
    pub(crate) gate: Gate,
    /// Whom honest hosts have accused, and of what.
    pub(crate) accused: BTreeMap<ReplicaId, BTreeSet<&'static str>>,
    /// Whether more than f may be faulty: then honest replicas may halt.
    pub beyond_f: bool,
    /// How many views honest replicas have entered, each counted once.
    pub view_changes: u64,
    /// The highest of them.
    pub(crate) highest_view: u64,
    /// Whether primaries are disturbed again and again.
    pub(crate) churning: bool,
    /// What all honest hosts were told, if somebody wants to audit the run.
    pub(crate) heard: Option<Statements>,
}

impl World {
    /// A world with one host for each replica, and another one for each of `twins`; nothing runs yet.
    #[must_use]
    pub fn new(seed: u64, chain: Chain, twins: &[ReplicaId], weather: Weather, readable: bool) -> Self {
        let ids: Vec<ReplicaId> = chain.ring.quorum.all().chain(twins.iter().copied()).collect();
        let hosts: Vec<Host> = ids
            .iter()
            .enumerate()
            .map(|(index, id)| Host::new(index, *id, &chain))
            .collect();
        let mut places = vec![Vec::new(); chain.vote_keys.len()];
        for host in &hosts {
            places
                .get_mut(host.id.index())
                .into_iter()
                .for_each(|place: &mut Vec<usize>| place.push(host.index));
        }
        Self {
            now: 0,
            queue: Queue::default(),
            rng: SimRng::new(seed),
            network: Network::new(hosts.len(), weather),
            checks: Checks::new(&chain),
            gate: Gate::new(&chain),
            hosts,
            places,
            clients: Vec::new(),
            trace: Trace::new(readable),
            counts: BTreeMap::new(),
            sent: Sent::default(),
            accused: BTreeMap::new(),
            beyond_f: false,
            view_changes: 0,
            highest_view: 0,
            churning: false,
            heard: None,
            chain,
        }
    }

    /// Has `event` happen in `delay` nanoseconds.
    pub fn schedule(&mut self, delay: u64, event: Event) {
        self.queue.push(self.now.saturating_add(delay), event);
    }

    /// Counts something.
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(crate) fn host_mut(&mut self, index: usize) -> &mut Host {
        let host = self.hosts.get_mut(index);
        assert!(host.is_some(), "there is no host {index}");
        host.unwrap_or_else(|| unreachable!("asserted above"))
    }

    /// Lets everything happen that is due before `end`.
    ///
    /// # Errors
    /// The first invariant violated.
    pub fn run_until(&mut self, end: u64) -> Checked {
        while let Some((at, event)) = self.queue.pop_until(end) {
            self.now = at;
            self.happen(event)?;
        }
        self.now = end;
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Checked {
        match event {
            Event::Deliver {
                from,
                to,
                incarnation,
                packet,
            } => {
                if self.is_paused(to) {
                    self.postpone(
                        to,
                        Event::Deliver {
                            from,
                            to,
                            incarnation,
                            packet,
                        },
                    );
                    return Ok(());
                }
                self.network.arrived(from, to);
                self.deliver(from, to, incarnation, packet)
            }
            Event::Process {
                host,
                incarnation,
                event,
            } => {
                if self
                    .hosts
                    .get(host)
                    .is_none_or(|host| host.incarnation != incarnation)
                {
                    return Ok(());
                }
                if self.is_paused(host) {
                    self.postpone(
                        host,
                        Event::Process {
                            host,
                            incarnation,
                            event,
                        },
                    );
                    return Ok(());
                }
                self.trace.event(self.now, event.name(), host, &[]);
                self.process(host, event)
            }
            Event::Submit {
                host,
                incarnation,
                client,
                request,
            } => {
                if self
                    .hosts
                    .get(host)
                    .is_none_or(|host| host.incarnation != incarnation)
                {
                    return Ok(());
                }
                self.trace.event(self.now, "submit", host, &request.content);
                self.submitted(host, client, &request)
            }
            Event::Respond {
                from,
                client,
                response,
            } => self.responded(from, client, &response),
            Event::Client { client, generation } => {
                self.act(client, generation);
                Ok(())
            }
            Event::Restart(host) => {
                let down = self
                    .hosts
                    .get(host)
                    .is_some_and(|host| host.process.is_none() && !host.stays_down);
                if down { self.start(host) } else { Ok(()) }
            }
            Event::Tick(host) => {
                self.tick(host);
                Ok(())
            }
            Event::Disturb(disturbance) => self.disturb(disturbance),
            Event::Churn(shortest, longest) => self.churn(shortest, longest),
        }
    }

    fn is_paused(&self, host: usize) -> bool {
        self.hosts
            .get(host)
            .is_some_and(|host| host.paused_until > self.now)
    }

    fn postpone(&mut self, host: usize, event: Event) {
        let until = self.hosts.get(host).map_or(0, |host| host.paused_until);
        self.schedule(until.saturating_sub(self.now), event);
    }

    /// Gives a host's core an input, and has the turn end soon.
    pub(crate) fn step(&mut self, index: usize, input: CoreInput) -> Checked {
        let now = self.now;
        let host = self.host_mut(index);
        let time = host.now(now);
        let Some(process) = &mut host.process else {
            return Ok(());
        };
        process.core.step(time, input, &mut process.out);
        self.end_turn_soon(index);
        self.check_standing(index)
    }

    /// The replicas of a turn's steps share one sync, as in the real loop.
    pub(crate) fn end_turn_soon(&mut self, index: usize) {
        let delay = self.rng.below(50_000);
        let host = self.host_mut(index);
        let incarnation = host.incarnation;
        let Some(process) = &mut host.process else { return };
        if !process.turning {
            process.turning = true;
            self.schedule(
                delay,
                Event::Process {
                    host: index,
                    incarnation,
                    event: ProcessEvent::Turn,
                },
            );
        }
    }

    /// With at most f faulty replicas no honest one ever has a reason to stop, nor to think that it forgot anything.
    fn check_standing(&self, index: usize) -> Checked {
        let Some(host) = self.hosts.get(index) else {
            return Ok(());
        };
        let standing = host.core().map(|core| core.replica().standing());
        match standing {
            Some(tagma_pbft::Standing::Halted(reason)) if host.is_honest() && !self.beyond_f => {
                let detail = format!("host {index} halted: {reason}");
                Err(Violation::new("honest replicas do not halt", detail))
            }
            Some(tagma_pbft::Standing::Learner) if host.is_honest() => {
                let detail = format!("host {index} takes itself for an amnesiac");
                Err(Violation::new("honest replicas remember", detail))
            }
            _ => Ok(()),
        }
    }

    fn process(&mut self, index: usize, event: ProcessEvent) -> Checked {
        match event {
            ProcessEvent::Turn => self.end_turn(index),
            ProcessEvent::Wake => self.wake(index),
            ProcessEvent::Synced => self.synced(index),
            ProcessEvent::Work => self.work(index),
            ProcessEvent::Told(input) => self.step(index, *input),
            ProcessEvent::Check(check) => {
                let id = self.host_mut(index).id;
                match self.gate.check(id, check) {
                    Some(checked) => self.step(index, CoreInput::Checked(checked)),
                    None => Ok(()),
                }
            }
            ProcessEvent::Serve(peer, question) => self.serve(index, peer, question),
            ProcessEvent::Connected(peer) => self.step(index, CoreInput::Connected(peer)),
        }
    }

    fn wake(&mut self, index: usize) -> Checked {
        let now = self.now;
        let host = self.host_mut(index);
        let Some(process) = &mut host.process else {
            return Ok(());
        };
        process.wake = None;
        match process.core.next_timeout().map(tagma_pbft::Time::as_nanos) {
            Some(at) if at <= now => self.step(index, CoreInput::Timeout),
            Some(_) => {
                self.arm_wake(index);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Has the process woken at its next deadline.
    pub(crate) fn arm_wake(&mut self, index: usize) {
        let now = self.now;
        let host = self.host_mut(index);
        let incarnation = host.incarnation;
        let Some(process) = &mut host.process else { return };
        let Some(at) = process.core.next_timeout().map(tagma_pbft::Time::as_nanos) else {
            return;
        };
        if process.wake.is_none_or(|wake| at < wake) {
            process.wake = Some(at);
            let event = Event::Process {
                host: index,
                incarnation,
                event: ProcessEvent::Wake,
            };
            self.schedule(at.saturating_sub(now), event);
        }
    }

    fn deliver(&mut self, from: usize, to: usize, incarnation: u64, packet: Arc<Packet>) -> Checked {
        let (Some(sender), Some(receiver)) = (self.hosts.get(from), self.hosts.get(to)) else {
            return Ok(());
        };
        if receiver.incarnation != incarnation || receiver.process.is_none() {
            return Ok(());
        }
        let (from_id, me) = (sender.id, receiver.id);
        let honest = receiver.is_honest();
        let process = receiver.process.as_ref();
        let duty = process.map_or(Duty::All, |process| process.core.replica().duty());
        self.trace
            .event(self.now, "deliver", to, packet.digest().as_bytes());
        let shown = if honest {
            Some(packet)
        } else {
            self.observe(to, packet)
        };
        let Some(packet) = shown else { return Ok(()) };
        match self.gate.message(me, &packet, duty) {
            Ok(message) => {
                match message.get() {
                    Incoming::Unchecked(..) => self.count("a proposal was left to others"),
                    Incoming::Shared(..) => self.count("a part of a proposal was left to others"),
                    _ => {}
                }
                if let Some(heard) = self.heard.as_mut().filter(|_| honest) {
                    for statement in Statement::of_incoming(message.get()) {
                        heard.hear(&statement);
                    }
                }
                if self.trace.is_readable() {
                    let text = crate::describe::incoming(message.get());
                    self.trace.line(self.now, || format!("h{to} <- h{from} {text}"));
                }
                self.step(
                    to,
                    CoreInput::Peer {
                        from: from_id,
                        message,
                    },
                )
            }
            Err(why) => {
                self.count("message refused at the gate");
                self.trace
                    .line(self.now, || format!("h{to} <- h{from} refused: {why}"));
                if self.hosts.get(from).is_some_and(Host::is_honest) {
                    let detail = format!("host {to} refuses a message of the honest host {from}: {why}");
                    return Err(Violation::new("honest messages verify", detail));
                }
                Ok(())
            }
        }
    }

    fn submitted(&mut self, index: usize, client: usize, request: &Arc<Request>) -> Checked {
        let checked = self.chain.rules.check_all(vec![Request::clone(request)]).pop();
        match checked {
            Some(Ok(checked)) => {
                let (client, request) = (ClientId(client as u64), checked.valid);
                self.step(index, CoreInput::Submit { client, request })
            }
            _ => {
                self.count("submission refused at the gate");
                Ok(())
            }
        }
    }

    fn responded(&mut self, from: ReplicaId, index: usize, response: &ClientResponse) -> Checked {
        let (weak, now) = (self.chain.weak(), self.now);
        let Some(client) = self.clients.get_mut(index) else {
            return Ok(());
        };
        match response {
            ClientResponse::Replies(replies) => {
                for reply in replies.iter() {
                    self.responded(from, index, &ClientResponse::Reply(reply))?;
                }
            }
            ClientResponse::Reply(reply) => {
                let Some((request, outcome, height)) = client.reply(from, reply, weak, now) else {
                    return Ok(());
                };
                self.trace.event(now, "accepted", index, request.as_bytes());
                self.trace
                    .line(now, || format!("client {index} accepts {outcome:?} at {height}"));
                self.checks.acknowledged(request, outcome, height)?;
                let generation = self.clients.get(index).map_or(0, |client| client.generation);
                let pause = self
                    .clients
                    .get(index)
                    .map_or(0, |client| client.pause(&mut self.rng));
                self.schedule(
                    pause,
                    Event::Client {
                        client: index,
                        generation,
                    },
                );
            }
            ClientResponse::Refused { reason, .. } => {
                use tagma_wire::client_protocol::Refusal;
                if let Refusal::NonceConsumed { next } | Refusal::NonceTooFar { next } = reason {
                    client.next_nonce(*next);
                }
            }
            ClientResponse::Busy { .. } | ClientResponse::Answer { .. } => {}
        }
        Ok(())
    }

    /// Invariants forget what lies far below every host's height. While one is down nobody knows what it will say.
    pub fn forget_the_past(&mut self) {
        let heights: Option<Vec<u64>> = self.hosts.iter().map(Host::height).collect();
        let lowest = heights.and_then(|heights| heights.into_iter().min());
        if let Some(below) = lowest.and_then(|lowest| lowest.checked_sub(PAST)) {
            self.checks.forget_below(below);
        }
    }

    /// A violation with the time it was seen at.
    #[must_use]
    pub fn report(&self, violation: &Violation) -> String {
        format!("{} s: {violation}", show(self.now))
    }
}
