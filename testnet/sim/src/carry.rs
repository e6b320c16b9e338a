//! What a turn asks for is carried out as the real process does it: records to the disk, messages only after the sync they
//! wait for, blocks to the executor, checks beside the loop.

use std::sync::Arc;

use tagma_ledger::store::{Durability, Store, WriteBatch};
use tagma_node::core::{CoreInput, Serve, TransferEvent, TransferJob, records};
use tagma_pbft::{Event as Told, Execution, Message, ReplicaId};

use crate::check::{Checked, Checks};
use crate::host::Job;
use crate::time::{MICRO, MILLI};
use crate::world::{Event, ProcessEvent, World};

impl World {
    pub(crate) fn later(&mut self, index: usize, delay: u64, event: ProcessEvent) {
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
            Told::Late { .. } => self.count("a proposal left to others was late"),
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
            let culprit = evidence.culprit(&self.chain.ring);
            self.accused.entry(culprit).or_default().insert(evidence.name());
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
}
