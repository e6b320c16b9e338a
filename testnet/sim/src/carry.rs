//! What a turn asks for is carried out as the real process does it: records to the disk, messages only after the sync they
//! wait for, blocks to the executor, checks beside the loop.

use std::sync::Arc;

use tagma_ledger::store::{Durability, Store, StoreError, WriteBatch};
use tagma_node::core::{ClientId, CoreInput, Serve, TransferEvent, TransferJob, records};
use tagma_pbft::{Event as Told, Execution, Message, Recipient, ReplicaId, Send};
use tagma_wire::client_protocol::ClientResponse;

use crate::byzantine::Forge;
use crate::check::{Checked, Checks, Violation};
use crate::host::Job;
use crate::network::Fate;
use crate::packet::Packet;
use crate::time::{MICRO, MILLI, SECOND};
use crate::world::{Event, ProcessEvent, World};

impl World {
    fn later(&mut self, index: usize, delay: u64, event: ProcessEvent) {
        let incarnation = self.host_mut(index).incarnation;
        self.schedule(
            delay,
            Event::Process {
                host: index,
                incarnation,
                event,
            },
        );
    }

    /// Everything the steps of the turn asked for.
    pub(crate) fn end_turn(&mut self, index: usize) -> Checked {
        let host = self.host_mut(index);
        let Some(process) = &mut host.process else {
            return Ok(());
        };
        process.turning = false;
        let out = std::mem::take(&mut process.out);
        let pbft = out.pbft;
        let (id, honest) = (host.id, host.is_honest());
        let disk = host.disk.store.clone();
        self.checks.persisted(id, honest, &pbft.persist)?;
        for execution in pbft.execute.iter().filter(|_| honest) {
            self.checks.dispatched(id, execution, &disk)?;
        }
        if !pbft.persist.is_empty() {
            if let Some(process) = &mut self.host_mut(index).process {
                process.groups.push_back((pbft.persist, pbft.ticket));
            }
            self.begin_sync(index);
            if self.host_mut(index).passes_boundary() {
                self.crash(index, "crash before sync");
                return Ok(());
            }
        }
        // Before its start is over a replica leaves no view.
        let has_begun = !pbft.events.iter().any(|told| matches!(told, Told::Started));
        for evidence in &pbft.evidence {
            self.judge(index, evidence)?;
            if has_begun {
                self.stays(index, evidence)?;
            }
        }
        for told in &pbft.events {
            self.told(index, told);
        }
        for send in &pbft.send {
            self.leave(index, send)?;
            if self.host_mut(index).passes_boundary() {
                self.crash(index, "crash between sends");
                return Ok(());
            }
        }
        let host = self.host_mut(index);
        if let Some(process) = &mut host.process {
            process.jobs.extend(pbft.execute.into_iter().map(Job::Execute));
            process
                .jobs
                .extend(pbft.stable.map(|certificate| Job::Stable(certificate.seq.get())));
            // After the executions: a transfer must not overtake the blocks handed out before it.
            process.jobs.extend(out.transfer.into_iter().map(Job::Transfer));
            let questions = out.serve_state.into_iter();
            process
                .jobs
                .extend(questions.map(|(to, seq, part)| Job::ServeState { to, seq, part }));
        }
        self.begin_work(index);
        for check in pbft.check {
            let delay = self.rng.between(50 * MICRO, 5 * MILLI);
            self.later(index, delay, ProcessEvent::Check(check));
        }
        for (peer, question) in out.serve {
            let delay = self.rng.between(50 * MICRO, 2 * MILLI);
            self.later(index, delay, ProcessEvent::Serve(peer, question));
        }
        for (client, response) in out.replies {
            self.respond(index, client, response);
        }
        self.arm_wake(index);
        Ok(())
    }

    fn told(&mut self, index: usize, told: &Told) {
        match told {
            Told::ViewChangeStarted { .. } => self.count("a view was left"),
            Told::ViewEntered { view } => {
                self.count("a view was entered");
                let honest = self.hosts.get(index).is_some_and(|host| host.is_honest());
                if honest && view.get() > self.highest_view {
                    self.highest_view = view.get();
                    self.view_changes += 1;
                }
            }
            Told::StableCheckpoint { .. } => self.count("a checkpoint became stable"),
            Told::Fault { .. } => self.count("evidence was recorded"),
            Told::Learner => self.count("a replica became a learner"),
            _ => {}
        }
        self.trace.line(self.now, || format!("h{index} {told:?}"));
    }

    fn judge(&mut self, index: usize, evidence: &tagma_pbft::evidence::Evidence) -> Checked {
        if self.hosts.get(index).is_some_and(|host| host.is_honest()) {
            let faulty = |id: ReplicaId| {
                let places = self.places.get(id.index());
                let hosts = places.into_iter().flatten();
                hosts
                    .filter_map(|host| self.hosts.get(*host))
                    .any(|host| !host.is_honest())
            };
            Checks::accused(&self.chain, index, evidence, faulty)?;
        }
        Ok(())
    }

    /// Whether a host that has just got this evidence draws the consequence.
    fn stays(&self, index: usize, evidence: &tagma_pbft::evidence::Evidence) -> Checked {
        let host = self
            .hosts
            .get(index)
            .filter(|host| host.is_honest() && host.is_voting());
        match host.and_then(|host| host.core()) {
            Some(core) => {
                let replica = core.replica();
                Checks::stays(replica.id(), evidence, replica.view(), replica.target())
            }
            None => Ok(()),
        }
    }

    fn begin_sync(&mut self, index: usize) {
        let mut rng = self.rng.clone();
        let host = self.host_mut(index);
        let time = host.disk.sync_time(&mut rng);
        let Some(process) = &mut host.process else { return };
        if process.syncing.is_some() || process.groups.is_empty() {
            return;
        }
        let mut batch = WriteBatch::new();
        let mut last = process.synced;
        for (records, ticket) in process.groups.drain(..) {
            records::add_writes(&records, &mut batch);
            last = last.max(ticket);
        }
        process.syncing = Some((batch, last));
        self.rng = rng;
        self.later(index, time, ProcessEvent::Synced);
    }

    /// The disk says that a group is on it.
    pub(crate) fn synced(&mut self, index: usize) -> Checked {
        let host = self.host_mut(index);
        if host.disk.fails {
            host.disk.fails = false;
            self.crash(index, "crash because a sync failed");
            return Ok(());
        }
        let Some((batch, ticket)) = host.process.as_mut().and_then(|process| process.syncing.take()) else {
            return Ok(());
        };
        if let Err(error) = host.disk.store.write(batch, Durability::Synced) {
            return self.store_failed(index, "sync", &error);
        }
        if host.passes_boundary() {
            self.crash(index, "crash after sync");
            return Ok(());
        }
        if let Some(process) = &mut host.process {
            process.synced = ticket;
        }
        self.begin_sync(index);
        self.step(index, CoreInput::Synced(ticket))
    }

    /// A store that fails ends the process: nothing leaves any more, and nothing is tried again.
    fn store_failed(&mut self, index: usize, what: &'static str, error: &StoreError) -> Checked {
        let store = &self.host_mut(index).disk.store;
        match error {
            StoreError::Io { .. } if store.is_full() => self.crash(index, "crash because the disk was full"),
            StoreError::Corrupt { .. } if store.is_damaged() => {
                self.crash(index, "crash over a damaged record");
                self.replace_disk(index);
            }
            _ => return Err(Violation::new(what, format!("host {index}: {error}"))),
        }
        Ok(())
    }

    /// Whoever runs the host gives it an empty disk in place of a damaged one: it is a learner from now on.
    fn replace_disk(&mut self, index: usize) {
        self.count("disk: a damaged store was replaced by an empty one");
        if let Some(host) = self.hosts.get_mut(index) {
            host.fault = Some(crate::host::Fault::Amnesiac);
            host.never_signs = true;
            host.wipe(&self.chain, false);
        }
    }

    fn begin_work(&mut self, index: usize) {
        let host = self.host_mut(index);
        let Some(process) = &mut host.process else { return };
        if process.executing || process.jobs.is_empty() {
            return;
        }
        process.executing = true;
        let delay = self.rng.between(50 * MICRO, 2 * MILLI);
        self.later(index, delay, ProcessEvent::Work);
    }

    /// The executor takes its next job.
    pub(crate) fn work(&mut self, index: usize) -> Checked {
        let host = self.host_mut(index);
        let Some(process) = &mut host.process else {
            return Ok(());
        };
        process.executing = false;
        let Some(job) = process.jobs.pop_front() else {
            return Ok(());
        };
        match job {
            Job::Execute(execution) => self.execute(index, &execution)?,
            Job::Stable(height) => process.executor.on_stable(height),
            Job::ServeState { to, seq, part } => {
                let data = process.executor.serve_state(seq, &part);
                let message = Arc::new(Message::StatePart { seq, part, data });
                self.transmit(index, to, &message);
            }
            Job::Transfer(job) => self.transfer(index, job)?,
        }
        self.begin_work(index);
        Ok(())
    }

    fn execute(&mut self, index: usize, execution: &Execution) -> Checked {
        let host = self.host_mut(index);
        let honest = host.is_honest();
        let Some(process) = &mut host.process else {
            return Ok(());
        };
        let done = match process.executor.execute(execution) {
            Ok(done) => done,
            Err(error) => return self.store_failed(index, "execution", &error),
        };
        let height = done.view.header.height;
        self.trace
            .event(self.now, "block", index, done.view.tip.as_bytes());
        self.trace.line(self.now, || {
            format!(
                "h{index} executes {height}, {} requests, batch {}",
                done.receipts.len(),
                done.view.header.batch
            )
        });
        if honest {
            self.checks.executed(index, execution.body.batch(), &done)?;
        }
        if done.checkpoint && self.host_mut(index).passes_boundary() {
            self.crash(index, "crash after a checkpoint's state was written");
            return Ok(());
        }
        self.later_told(index, CoreInput::Executed(done));
        Ok(())
    }

    fn transfer(&mut self, index: usize, job: TransferJob) -> Checked {
        self.trace.line(self.now, || {
            format!("h{index} transfer: {}", crate::describe::transfer(&job))
        });
        let host = self.host_mut(index);
        let honest = host.is_honest();
        let Some(process) = &mut host.process else {
            return Ok(());
        };
        let event = match process.executor.transfer(job) {
            Ok(event) => event,
            Err(error) => return self.store_failed(index, "transfer", &error),
        };
        if let Some(TransferEvent::Installed(view)) = &event {
            self.count("a state was installed");
            self.trace.line(self.now, || {
                format!("h{index} installs the state at {}", view.header.height)
            });
            if honest {
                self.checks.installed(index, view)?;
            }
        }
        if self.host_mut(index).passes_boundary() {
            self.crash(index, "crash after a transfer's write");
            return Ok(());
        }
        if let Some(event) = event {
            self.later_told(index, CoreInput::Transfer(event));
        }
        Ok(())
    }

    /// The executor's word reaches the core a little later, and in order.
    fn later_told(&mut self, index: usize, input: CoreInput) {
        let delay = self.rng.between(10 * MICRO, 40 * MICRO);
        self.later(index, delay, ProcessEvent::Told(Box::new(input)));
    }

    /// A peer's question is answered from the store.
    pub(crate) fn serve(&mut self, index: usize, peer: ReplicaId, question: Serve) -> Checked {
        let chain = self.chain.id;
        let host = self.host_mut(index);
        let Some(process) = &mut host.process else {
            return Ok(());
        };
        let answer = match question.answer(process.executor.ledger(), &chain) {
            Ok(answer) => answer,
            Err(error) => return self.store_failed(index, "serving", &error),
        };
        if let Some(message) = answer {
            self.transmit(index, peer, &Arc::new(message));
        }
        Ok(())
    }

    /// A message leaves the core.
    fn leave(&mut self, index: usize, send: &Send) -> Checked {
        let host = self.host_mut(index);
        let (id, honest) = (host.id, host.is_honest());
        let synced = host
            .process
            .as_ref()
            .map_or(tagma_pbft::Ticket(0), |process| process.synced);
        if send.after > synced {
            let detail = format!(
                "host {index}: {} left before its sync",
                send.message.kind().name()
            );
            return Err(Violation::new("sync before send", detail));
        }
        if self.host_mut(index).never_signs && crate::check::is_statement_of(id, &send.message) {
            let detail = format!(
                "host {index} lost its disk and sends a {}",
                send.message.kind().name()
            );
            return Err(Violation::new("learners sign nothing", detail));
        }
        if honest {
            let disk = self.host_mut(index).disk.store.clone();
            self.checks.sent(id, &send.message, &disk)?;
        }
        match send.to {
            Recipient::One(to) => self.transmit(index, to, &send.message),
            Recipient::Others => {
                let others: Vec<ReplicaId> = self
                    .chain
                    .ring
                    .quorum
                    .all()
                    .filter(|other| *other != id)
                    .collect();
                if honest {
                    let packet = Packet::of(&send.message);
                    for to in others {
                        self.put(index, to, &packet);
                    }
                } else {
                    for to in others {
                        self.transmit(index, to, &send.message);
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends to one replica what the core wants to be sent, or what the host's behaviours make of it.
    fn transmit(&mut self, index: usize, to: ReplicaId, message: &Arc<Message>) {
        let mut messages = vec![Arc::clone(message)];
        let mut behaviours = std::mem::take(&mut self.host_mut(index).behaviours);
        let mut rng = self.rng.clone();
        let id = self.host_mut(index).id;
        let mut acted = Vec::new();
        for behaviour in &mut behaviours {
            let mut forge = Forge {
                id,
                key: self.chain.vote_key(id),
                ring: &self.chain.ring,
                parameters: &self.chain.parameters,
                null: self.chain.null,
                rng: &mut rng,
            };
            let mut instead: Vec<Arc<Message>> = Vec::with_capacity(messages.len());
            for message in &messages {
                instead.extend(behaviour.send(&mut forge, to, message));
            }
            let same = messages.len() == instead.len()
                && messages.iter().zip(&instead).all(|(a, b)| Arc::ptr_eq(a, b));
            if !same {
                acted.push(behaviour.name());
            }
            messages = instead;
        }
        if !behaviours.is_empty() {
            self.rng = rng;
        }
        for name in acted {
            self.count(name);
        }
        self.host_mut(index).behaviours = behaviours;
        let honest = self.host_mut(index).is_honest();
        for message in messages {
            if !honest {
                self.checks.said(id, &message);
            }
            self.put(index, to, &Packet::of(&message));
        }
    }

    /// Puts a message on the links to all hosts of a replica.
    pub(crate) fn put(&mut self, from: usize, to: ReplicaId, packet: &Arc<Packet>) {
        let places = self.places.get(to.index()).cloned().unwrap_or_default();
        for place in places.into_iter().filter(|place| *place != from) {
            let incarnation = self.host_mut(place).incarnation;
            let fate = self.network.send(from, place, &mut self.rng);
            match fate {
                Fate::Arrives(_) => {}
                Fate::Twice(..) => self.count("message duplicated"),
                Fate::Lost(why) => self.count(why),
            }
            for delay in fate.delays() {
                if delay >= SECOND {
                    self.count("message late by a second or more");
                }
                if self.network.overtakes(from, place, self.now + delay) {
                    self.count("message overtook another");
                }
                let packet = Arc::clone(packet);
                self.schedule(
                    delay,
                    Event::Deliver {
                        from,
                        to: place,
                        incarnation,
                        packet,
                    },
                );
            }
        }
    }

    fn respond(&mut self, index: usize, client: ClientId, response: ClientResponse) {
        let weather = self.network.weather();
        if self.rng.permille(weather.loss_permille) {
            self.count("reply lost");
            return;
        }
        let delay = weather.delay(&mut self.rng);
        let from = self.host_mut(index).id;
        let client = usize::try_from(client.0).unwrap_or(usize::MAX);
        self.schedule(
            delay,
            Event::Respond {
                from,
                client,
                response,
            },
        );
    }

    /// A client does what it does next.
    pub(crate) fn act(&mut self, index: usize, generation: u64) {
        let height = self.checks.height();
        let others: Vec<_> = (0..self.chain.account_keys.len())
            .map(|number| self.chain.account(number))
            .collect();
        let Some(client) = self
            .clients
            .get_mut(index)
            .filter(|client| client.generation == generation)
        else {
            return;
        };
        client.generation += 1;
        let generation = client.generation;
        let checks = &mut self.checks;
        let submissions = client.act(&others, height, &mut self.rng, |request| checks.signed(request));
        let (view, manner, account) = (client.view, client.manner, client.account());
        let patience = client.patience(&mut self.rng);
        let idle = client.stopped && client.pending.is_none();
        if !submissions.is_empty() {
            self.count(manner.name());
        }
        for (request, target) in submissions {
            for host in self.targets(target, view) {
                self.submit(index, host, account, &request);
            }
        }
        if !idle {
            self.schedule(
                patience,
                Event::Client {
                    client: index,
                    generation,
                },
            );
        }
    }

    fn targets(&self, target: crate::clients::Target, view: u64) -> Vec<usize> {
        use crate::clients::Target;
        let replicas = self.chain.vote_keys.len() as u64;
        let chosen = |id: u64| match target {
            Target::All => true,
            Target::Primary => id == view % replicas,
            Target::Backup(place) => id == (view + 1 + place % (replicas - 1)) % replicas,
            Target::Even => id.is_multiple_of(2),
            Target::Odd => !id.is_multiple_of(2),
        };
        self.hosts
            .iter()
            .filter(|host| chosen(u64::from(host.id.get())))
            .map(|host| host.index)
            .collect()
    }

    fn submit(
        &mut self,
        index: usize,
        host: usize,
        account: tagma_crypto::PublicKey,
        request: &Arc<tagma_ledger::Request>,
    ) {
        let weather = self.network.weather();
        self.connect_client(index, account);
        if self.hosts.get(host).is_none_or(|host| host.process.is_none()) {
            return;
        }
        if self.rng.permille(weather.loss_permille) {
            self.count("submission lost");
            return;
        }
        let delay = weather.delay(&mut self.rng);
        let incarnation = self.host_mut(host).incarnation;
        let request = Arc::clone(request);
        self.schedule(
            delay,
            Event::Submit {
                host,
                incarnation,
                client: index,
                request,
            },
        );
    }

    /// A client keeps a connection to every process, and follows its account on each.
    fn connect_client(&mut self, index: usize, account: tagma_crypto::PublicKey) {
        for place in 0..self.hosts.len() {
            let host = self.host_mut(place);
            let incarnation = host.incarnation;
            if host.process.is_none() {
                continue;
            }
            let known = self
                .clients
                .get_mut(index)
                .and_then(|client| client.connected.insert(place, incarnation));
            if known != Some(incarnation) {
                let client = ClientId(index as u64);
                // Following cannot violate anything.
                let _ = self.step(place, CoreInput::Follow { client, account });
            }
        }
    }

    /// The power of a host fails.
    pub(crate) fn crash(&mut self, index: usize, why: &'static str) {
        let mut rng = self.rng.fork();
        let host = self.host_mut(index);
        let Some(process) = host.process.take() else {
            return;
        };
        host.incarnation += 1;
        let writing = process.syncing.map(|(batch, _)| batch);
        let loss = host.disk.crash(writing, &mut rng);
        let back = rng.between(20 * MILLI, 4_000 * MILLI);
        self.count(why);
        loss.names().for_each(|name| self.count(name));
        self.trace.event(self.now, why, index, &[]);
        self.trace.line(self.now, || format!("h{index} {why}"));
        self.schedule(back, Event::Restart(index));
    }

    /// A host's process starts.
    ///
    /// # Errors
    /// If what it wrote itself cannot be read back.
    pub fn start(&mut self, index: usize) -> Checked {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(index) else {
            return Ok(());
        };
        if let Err(error) = host.start(&self.chain, now) {
            return self.start_failed(index, &error);
        }
        self.trace.event(now, "start", index, &[]);
        self.trace.line(now, || format!("h{index} starts"));
        self.end_turn_soon(index);
        for other in 0..self.hosts.len() {
            self.connect(index, other);
        }
        Ok(())
    }

    /// A replica refuses to start on a damaged store, and cannot start on a full one.
    fn start_failed(&mut self, index: usize, error: &StoreError) -> Checked {
        let store = &self.host_mut(index).disk.store;
        match error {
            StoreError::Io { .. } if store.is_full() => self.count("disk: no start for want of room"),
            StoreError::Corrupt { .. } if store.is_damaged() => {
                self.count("disk: no start on a damaged store");
                self.replace_disk(index);
            }
            _ => return Err(Violation::new("recovery", format!("host {index}: {error}"))),
        }
        self.schedule(SECOND, Event::Restart(index));
        Ok(())
    }

    /// A connection between two hosts comes up, if both run and reach each other.
    pub(crate) fn connect(&mut self, a: usize, b: usize) {
        let up = |host: Option<&crate::host::Host>| host.is_some_and(|host| host.process.is_some());
        let open = self.network.is_open(a, b) && self.network.is_open(b, a);
        if a == b || !open || !up(self.hosts.get(a)) || !up(self.hosts.get(b)) {
            return;
        }
        for (me, peer) in [(a, b), (b, a)] {
            let id = self.host_mut(peer).id;
            if id != self.host_mut(me).id {
                let delay = self.rng.between(MILLI, 50 * MILLI);
                self.later(me, delay, ProcessEvent::Connected(id));
            }
        }
    }

    /// A host that does not behave sees a message: what its core is shown of it. What others relay of its own words, or tell of
    /// them, is kept from the core, which would stop over words it did not choose.
    pub(crate) fn observe(&mut self, index: usize, packet: Arc<Packet>) -> Option<Arc<Packet>> {
        if self.host_mut(index).fault == Some(crate::host::Fault::Amnesiac) {
            return Some(packet);
        }
        let bytes = packet.bytes();
        let Ok(mut message) = tagma_crypto::encode::decode::<Message>(bytes, bytes.len().max(1) * 4) else {
            return Some(packet);
        };
        let id = self.host_mut(index).id;
        let mut behaviours = std::mem::take(&mut self.host_mut(index).behaviours);
        let mut rng = self.rng.clone();
        for behaviour in &mut behaviours {
            let mut forge = Forge {
                id,
                key: self.chain.vote_key(id),
                ring: &self.chain.ring,
                parameters: &self.chain.parameters,
                null: self.chain.null,
                rng: &mut rng,
            };
            behaviour.observe(&mut forge, &message);
        }
        if !behaviours.is_empty() {
            self.rng = rng;
        }
        self.host_mut(index).behaviours = behaviours;
        let own = match &mut message {
            Message::PrePrepare { vote, .. } | Message::Vote(vote) => vote.sender == id,
            Message::ViewChange(change) => change.sender == id,
            Message::NewView(new) => self.chain.ring.quorum.primary(new.view) == id,
            Message::Status(status) => {
                if status.yours.is_some() {
                    status.yours = Some(Box::default());
                    return Some(Packet::of(&message));
                }
                false
            }
            _ => false,
        };
        (!own).then_some(packet)
    }

    /// A behaviour acts of itself.
    pub(crate) fn tick(&mut self, index: usize) {
        let id = self.host_mut(index).id;
        if self.host_mut(index).process.is_some() {
            let mut behaviours = std::mem::take(&mut self.host_mut(index).behaviours);
            let mut rng = self.rng.fork();
            let mut made = Vec::new();
            for behaviour in &mut behaviours {
                let mut forge = Forge {
                    id,
                    key: self.chain.vote_key(id),
                    ring: &self.chain.ring,
                    parameters: &self.chain.parameters,
                    null: self.chain.null,
                    rng: &mut rng,
                };
                let messages = behaviour.tick(&mut forge);
                made.extend(messages.into_iter().map(|message| (behaviour.name(), message)));
            }
            self.host_mut(index).behaviours = behaviours;
            for (name, (to, message)) in made {
                self.count(name);
                self.checks.said(id, &message);
                self.put(index, to, &Packet::of(&message));
            }
        }
        self.schedule(200 * MILLI, Event::Tick(index));
    }
}
