//! One host: a replica of the real core, and all that belongs to it.
//!
//! Syncs, checks and executions happen at once after every step: what goes wrong between them is the simulator's matter.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tagma_crypto::Digest;
use tagma_pbft::evidence::Evidence;
use tagma_pbft::io::Outputs;
use tagma_pbft::{
    Execution, Incoming, Input, Message, Now, Recipient, Replica, ReplicaId, Request, Standing, Time,
};

use super::app::App;
use super::instance::{Instance, TICK};
use super::messages::{MessageId, Messages};
use super::said::Said;
use crate::check::{Checked, Violation};

/// What everything happens in: the instance, its messages, and who is faulty.
pub(super) struct World {
    pub(super) instance: Instance,
    pub(super) messages: Messages,
    /// The one replica that may be accused. A host that runs under its name may also halt: it meets its twin's votes.
    pub(super) culprit: ReplicaId,
}

/// A state of one host.
#[derive(Clone)]
pub(super) struct Local {
    pub(super) replica: Replica,
    pub(super) app: App,
    now: Now,
    /// What it has sent since it last listened.
    pub(super) outbox: Vec<(Recipient, MessageId)>,
    pub(super) said: Said,
}

/// Most inputs that follow from one: an input begets a sync, which begets votes that count, and so on.
const MAX_INPUTS: usize = 10_000;

impl Local {
    /// A replica that has never run.
    pub(super) fn new(world: &mut World, id: ReplicaId) -> Result<Self, Violation> {
        let mut out = Outputs::default();
        let app = App::genesis();
        let replica = world.instance.replica(id, &app, &mut out);
        let mut local = Self {
            replica,
            app,
            now: Instance::now(Duration::ZERO),
            outbox: Vec::new(),
            said: Said::default(),
        };
        let mut inputs = VecDeque::new();
        local.carry_out(world, out, &mut inputs)?;
        Ok(local)
    }

    /// Two that give the same digest behave alike for ever: they print alike, have executed the same, and have signed and
    /// sent the same. Which quorum's COMMITs are kept with a block is of no matter: any of them proves it.
    pub(super) fn fingerprint(&self) -> Digest {
        let mut text = String::with_capacity(16 << 10);
        let written = write!(text, "{:?}{:?}", self.replica, self.outbox);
        assert!(written.is_ok(), "a string takes everything");
        let text = without_the_forgotten(&text, self.now.clock);
        let (header, said) = (self.app.header(), self.said.fingerprint());
        Digest::of(
            "model/local",
            &[text.as_bytes(), header.as_bytes(), said.as_bytes()],
        )
    }

    /// These arrive in this order; what was in the outbox is gone.
    pub(super) fn hears(&mut self, world: &mut World, list: &[(ReplicaId, MessageId)]) -> Checked {
        self.outbox.clear();
        let me = self.replica.id();
        for (from, message) in list {
            if let Some(message) = world.messages.verified(&world.instance, me, *message) {
                match message.get() {
                    Incoming::Application(Message::FetchBlocks { from: first, count }) => {
                        let blocks = self.app.certified_from(*first, *count);
                        let answer = Message::Blocks {
                            from: *first,
                            blocks: blocks.into(),
                        };
                        self.send(world, Recipient::One(*from), &answer)?;
                    }
                    Incoming::Application(_) => {}
                    Incoming::Forward(requests) => {
                        for (request, digest) in requests.clone() {
                            self.admit(world, request, digest)?;
                        }
                    }
                    _ => self.feed(world, Input::Message { from: *from, message })?,
                }
            }
        }
        Ok(())
    }

    /// A client's request comes.
    pub(super) fn is_asked(&mut self, world: &mut World, text: &str) -> Checked {
        let digest = world.instance.request_digest(text);
        self.admit(world, Arc::new(Instance::request(text)), digest)
    }

    fn admit(&mut self, world: &mut World, request: Arc<Request>, digest: Digest) -> Checked {
        if self.app.has_executed(&digest) {
            return Ok(());
        }
        let timed = true;
        self.feed(
            world,
            Input::Request {
                request,
                digest,
                timed,
            },
        )
    }

    /// Time passes, and nothing comes meanwhile. What is in the outbox stays there.
    pub(super) fn waits(&mut self, world: &mut World, span: Duration) -> Checked {
        self.now.clock = self.now.clock.plus(span);
        let due = self.replica.next_timeout().is_some_and(|at| at <= self.now.clock);
        if due {
            self.feed(world, Input::Timeout)?;
        }
        Ok(())
    }

    /// One input, and all that follows from it.
    fn feed(&mut self, world: &mut World, input: Input) -> Checked {
        let mut inputs = VecDeque::from([input]);
        let mut count = 0;
        while let Some(input) = inputs.pop_front() {
            count += 1;
            if count > MAX_INPUTS {
                let detail = format!("{} does not come to rest", self.replica.id());
                return Err(Violation::new("bounded work", detail));
            }
            let mut out = Outputs::default();
            self.replica.step(self.now, input, &mut out);
            self.carry_out(world, out, &mut inputs)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, world: &mut World, out: Outputs, inputs: &mut VecDeque<Input>) -> Checked {
        let me = self.replica.id();
        if !out.persist.is_empty() {
            inputs.push_back(Input::Synced(out.ticket));
        }
        for send in &out.send {
            self.send(world, send.to, &send.message)?;
        }
        for (to, seq, digest) in out.serve_body {
            if let Some(body) = self.app.body(seq, &digest) {
                let answer = Message::Body(body.batch().clone());
                self.send(world, Recipient::One(to), &answer)?;
            }
        }
        for check in out.check {
            let checked = world.messages.checked(&world.instance, me, check);
            inputs.push_back(Input::Checked(checked));
        }
        for execution in out.execute {
            self.execute(world, execution, inputs)?;
        }
        for evidence in &out.evidence {
            judge(world, me, evidence)?;
        }
        match self.replica.standing() {
            Standing::Starting | Standing::Voting => Ok(()),
            Standing::Halted(_) if me == world.culprit => Ok(()),
            standing => Err(Violation::new(
                "honest replicas vote",
                format!("{me} is {standing:?}"),
            )),
        }
    }

    fn execute(&mut self, world: &World, execution: Execution, inputs: &mut VecDeque<Input>) -> Checked {
        let seq = execution.seq;
        let settled = execution.body.request_digests().to_vec();
        self.app.execute(execution)?;
        let header = self.app.header();
        inputs.push_back(Input::Executed {
            seq,
            header,
            settled,
            ready: Vec::new(),
            retry: Vec::new(),
        });
        if world.instance.parameters.is_checkpoint(seq) {
            inputs.push_back(Input::StateDurable { seq, header });
        }
        Ok(())
    }

    fn send(&mut self, world: &mut World, to: Recipient, message: &Message) -> Checked {
        self.said.says(self.replica.id(), message)?;
        let sent = (to, world.messages.id(message));
        if !self.outbox.contains(&sent) {
            self.outbox.push(sent);
        }
        Ok(())
    }
}

/// Evidence accuses nobody but the culprit, and proves what it says.
fn judge(world: &World, by: ReplicaId, evidence: &Evidence) -> Checked {
    let instance = &world.instance;
    let accused = evidence.culprit(&instance.ring);
    let name = evidence.name();
    if accused != world.culprit {
        let detail = format!("{by} accuses the honest {accused} of {name}: {evidence:?}");
        return Err(Violation::new("evidence names only culprits", detail));
    }
    if !evidence.proves(&instance.ring, &instance.parameters, &*instance.rules) {
        let detail = format!("{by} accuses {accused} of {name} without proof: {evidence:?}");
        return Err(Violation::new("evidence proves", detail));
    }
    Ok(())
}

/// A replica remembers when it last answered or reminded a peer, and asks that memory nothing but whether it was just now.
/// Longer ago is as good as never, so that states that differ in nothing else are one state.
fn without_the_forgotten(text: &str, now: Time) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("ed: Some(Time(") {
        let (before, found) = rest.split_at(at);
        let (digits, after) = found
            .split_once("Time(")
            .and_then(|(_, moment)| moment.split_once(')'))
            .unwrap_or((found, ""));
        let long_ago = digits
            .parse()
            .is_ok_and(|nanos| now.since(Time::from_nanos(nanos)) >= TICK);
        if long_ago && (before.ends_with("answer") || before.ends_with("remind")) {
            kept.push_str(before);
            kept.push_str("ed: None");
            rest = after.strip_prefix(')').unwrap_or(after);
        } else {
            let until = rest.len() - after.len();
            kept.push_str(&rest[..until]);
            rest = after;
        }
    }
    kept.push_str(rest);
    kept
}
