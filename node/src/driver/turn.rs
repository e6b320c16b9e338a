//! The loop: inputs in, one step each, and then what the steps ask for.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tagma_crypto::Digest;
use tagma_ledger::BlockHeader;
use tagma_pbft::evidence::Evidence;
use tagma_pbft::io::Check;
use tagma_pbft::{Event, Execution, Outputs, SeqNum, Ticket};
use tagma_wire::ConnectionId;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::clients::Clients;
use super::execution::{Executing, Job as ExecutorJob};
use super::mesh::Mesh;
use super::phases::Phases;
use super::reader::{PeerQuestion, Questions};
use super::sync::{Disk, Group};
use super::transcript::Transcript;
use super::views::SyncedViews;
use super::{Clock, Published, Shared, Wake};
use crate::core::{ClientId, Core, CoreInput, CoreOutputs, TransferEvent};
use crate::metrics::{Metrics, Phase};
use crate::storage::RocksStore;

/// From so many inputs on a turn takes no more: they share a sync, and what they ask for does not wait longer than this takes.
const MAX_INPUTS: usize = 512;
/// With so few requests waiting, other replicas are waited for, not the processor.
const FEW: usize = 4;
/// How long the loop sleeps when no timer runs.
const IDLE: Duration = Duration::from_secs(1);

/// Owns the core. Everything it sends to is a queue, so carrying out never waits.
pub(super) struct Loop {
    pub(super) core: Core,
    pub(super) clock: Clock,
    pub(super) mesh: Mesh,
    pub(super) clients: Clients,
    pub(super) disk: Arc<Disk<Arc<RocksStore>>>,
    pub(super) sync: Sender<Group>,
    pub(super) executor: Executing<Arc<RocksStore>>,
    pub(super) checker: Sender<Check>,
    pub(super) reader: Sender<PeerQuestion>,
    pub(super) evidence: Sender<Evidence>,
    pub(super) transcript: Transcript,
    pub(super) questions: Questions,
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: Metrics,
    pub(super) phases: Phases,
    /// Everything up to this ticket is on disk.
    pub(super) synced: Ticket,
    /// Everything up to this ticket has been handed to the disk.
    pub(super) issued: Ticket,
    pub(super) views: SyncedViews,
    /// Height and state root of the last checkpoint executed or taken over; a turn may go past it to later blocks.
    pub(super) checkpoint: (u64, Digest),
}

impl Loop {
    /// Runs on what comes through `inbox` until told to stop; `out` is what the start asked for.
    pub(super) async fn run(mut self, mut inbox: UnboundedReceiver<Wake>, mut out: CoreOutputs) {
        loop {
            let here = self.may_sync(&out, &inbox);
            match self.persist(&mut out.pbft) {
                Some(group) if here => {
                    self.carry_out(&mut out);
                    let ticket = self.disk.write([group]);
                    self.step(CoreInput::Synced(ticket), &mut out);
                    continue;
                }
                // The other threads end after this one, so none of their queues is gone.
                Some(group) => drop(self.sync.send(group)),
                None => {}
            }
            let small = self.may_execute(&mut out, &inbox);
            self.carry_out(&mut out);
            if let Some(done) = small.and_then(|execution| self.executor.execute(execution)) {
                self.step(CoreInput::Executed(done), &mut out);
                continue;
            }
            self.publish();
            if !self.turn(&mut inbox, &mut out).await {
                return;
            }
        }
    }

    /// Waits for inputs and steps through those that are here. False if the loop is to end: what the steps of this
    /// turn asked for is then not done, as if the process had ended before them.
    async fn turn(&mut self, inbox: &mut UnboundedReceiver<Wake>, out: &mut CoreOutputs) -> bool {
        let wait = self
            .core
            .next_timeout()
            .map_or(IDLE, |deadline| self.clock.until(deadline).min(IDLE));
        let first = match timeout(wait, inbox.recv()).await {
            Ok(Some(wake)) => wake,
            Ok(None) => return false,
            Err(_) => Wake::Input(CoreInput::Timeout, None),
        };
        if !hand_on(first, inbox, |input| self.step(input, out)) {
            return false;
        }
        // Inputs that do not reach the protocol must not keep its timers from it.
        if self
            .core
            .next_timeout()
            .is_some_and(|deadline| self.clock.until(deadline).is_zero())
        {
            self.step(CoreInput::Timeout, out);
        }
        true
    }

    fn step(&mut self, input: CoreInput, out: &mut CoreOutputs) {
        if let CoreInput::Synced(ticket) = &input {
            self.synced = self.synced.max(*ticket);
        }
        if let CoreInput::Executed(done) = &input {
            let executed = done
                .receipts
                .iter()
                .filter(|receipt| receipt.executed().is_some());
            self.metrics.executed_requests.inc_by(executed.count() as u64);
            self.phases.end(SeqNum::new(done.view.header.height));
            self.note_checkpoint(&done.view.header);
        }
        if let CoreInput::Transfer(TransferEvent::Installed(view)) = &input {
            self.metrics.states_installed.inc();
            self.note_checkpoint(&view.header);
            tracing::info!(
                height = view.header.height,
                "took over the state of a checkpoint from peers"
            );
        }
        self.core.step(self.clock.now(), input, out);
    }

    /// Whether this thread may as well sync by itself what is to be persisted: little is to be done, nothing leaves that the socket
    /// would not see before the sync, and nothing that comes in would have to wait for it.
    fn may_sync(&self, out: &CoreOutputs, inbox: &UnboundedReceiver<Wake>) -> bool {
        self.issued == self.synced
            && self.disk.is_quick()
            && self.core.waiting() <= FEW
            && out.pbft.send.is_empty()
            && out.replies.is_empty()
            && inbox.is_empty()
    }

    /// The block to be executed, if nothing else is to be done and nothing waits that this would hold up.
    fn may_execute(&self, out: &mut CoreOutputs, inbox: &UnboundedReceiver<Wake>) -> Option<Execution> {
        // The inbox last: it must not hold the block before this one.
        let alone = out.pbft.execute.len() == 1
            && out.transfer.is_empty()
            && self.executor.is_idle()
            && inbox.is_empty();
        if alone { out.pbft.execute.pop() } else { None }
    }

    /// What is to be on disk before anything that depends on it leaves.
    fn persist(&mut self, out: &mut Outputs) -> Option<Group> {
        let records = std::mem::take(&mut out.persist);
        if records.is_empty() {
            return None;
        }
        self.issued = self.issued.max(out.ticket);
        let ticket = out.ticket;
        Some(Group { records, ticket })
    }

    fn carry_out(&mut self, out: &mut CoreOutputs) {
        let pbft = &mut out.pbft;
        for send in pbft.send.drain(..) {
            assert!(
                send.after <= self.synced,
                "a {} was about to leave before what it promises is on disk",
                send.message.kind().name()
            );
            self.transcript.said(&send.message);
            self.mesh.send(send.to, &send.message);
        }
        for execution in pbft.execute.drain(..) {
            self.executor.hand(ExecutorJob::Execute(execution));
        }
        // As above, none of these queues is gone.
        for check in pbft.check.drain(..) {
            let _ = self.checker.send(check);
        }
        if let Some(certificate) = pbft.stable.take() {
            self.executor.hand(ExecutorJob::Stable(certificate.seq.get()));
        }
        // After the executions: a transfer must not overtake the blocks handed out before it.
        for job in out.transfer.drain(..) {
            self.executor.hand(ExecutorJob::Transfer(job));
        }
        // Also among the records, which is where they are kept.
        for evidence in pbft.evidence.drain(..) {
            let _ = self.evidence.send(evidence);
        }
        for event in pbft.events.drain(..) {
            tell(&self.metrics, &mut self.phases, event);
        }
        let replies = out.replies.drain(..);
        self.clients.respond_all(
            replies.map(|(ClientId(number), response)| (ConnectionId::from_number(number), response)),
        );
        self.pass_questions_on(out);
        for source in out.liars.drain(..) {
            self.metrics.rejected("state_part", "not_certified");
            tracing::warn!(peer = %source, "a part of a state does not check out: asking another");
        }
        for reason in out.refused.drain(..) {
            self.metrics.not_admitted(reason);
        }
    }

    fn pass_questions_on(&mut self, out: &mut CoreOutputs) {
        for (to, question) in out.serve.drain(..) {
            match self.questions.place(to) {
                Some(place) => {
                    let question = self.questions.limit(to, question, Instant::now());
                    let _ = self.reader.send(PeerQuestion {
                        from: to,
                        question,
                        _place: place,
                    });
                }
                None => {
                    self.metrics.unserved.inc();
                }
            }
        }
        for (to, seq, part) in out.serve_state.drain(..) {
            match self.questions.place(to) {
                Some(place) => {
                    let job = ExecutorJob::ServeState {
                        to,
                        seq,
                        part,
                        _place: place,
                    };
                    self.executor.hand(job);
                }
                None => {
                    self.metrics.unserved.inc();
                }
            }
        }
    }

    fn note_checkpoint(&mut self, header: &BlockHeader) {
        if let Some(root) = header.state_root {
            self.checkpoint = (header.height, root);
        }
    }

    fn publish(&mut self) {
        let mut published = Published::of(&self.core, self.checkpoint);
        let views = (published.view, published.target, published.primary);
        (published.view, published.target, published.primary) =
            self.views.show(views, self.issued, self.synced);
        published.count(&self.metrics);
        self.shared.publish(published);
    }
}

/// Hands on `first` and what else is here, in order, until it is [`MAX_INPUTS`] or more; what is left stays in the inbox. False if told
/// to stop.
fn hand_on(first: Wake, inbox: &mut UnboundedReceiver<Wake>, mut step: impl FnMut(CoreInput)) -> bool {
    let mut stepped = 0;
    let mut next = Some(first);
    while let Some(wake) = next {
        match wake {
            Wake::Stop => return false,
            Wake::Input(input, permit) => {
                step(input);
                drop(permit);
                stepped += 1;
            }
            Wake::Inputs(inputs) => {
                stepped += inputs.len();
                for (input, permit) in inputs {
                    step(input);
                    drop(permit);
                }
            }
        }
        next = if stepped < MAX_INPUTS {
            inbox.try_recv().ok()
        } else {
            None
        };
    }
    true
}

/// Counts an event and tells people; the level says whose fault it is.
fn tell(metrics: &Metrics, phases: &mut Phases, event: Event) {
    match event {
        Event::Started => tracing::info!("the log is complete as far as 2f others know: voting"),
        Event::Proposed { seq, requests } => {
            let requests = u32::try_from(requests).unwrap_or(u32::MAX);
            metrics.batch_requests.observe(f64::from(requests));
            phases.begin(seq, Phase::Prepare);
            tracing::debug!(%seq, requests, "proposed");
        }
        Event::Prepared { seq } => {
            phases.begin(seq, Phase::Commit);
            tracing::trace!(%seq, "prepared");
        }
        Event::Committed { seq } => {
            metrics.committed_batches.inc();
            phases.begin(seq, Phase::Execute);
            tracing::debug!(%seq, "committed");
        }
        Event::Late { seq } => {
            metrics.late_proposals.inc();
            tracing::info!(%seq, "others are late with a proposal that was left to them: taking part in everything for a while");
        }
        Event::ViewChangeStarted { target, reason } => {
            metrics.view_change(reason.name());
            tracing::warn!(%target, reason = reason.name(), "leaving the view");
        }
        Event::ViewEntered { view } => tracing::info!(%view, "entered a view"),
        Event::StableCheckpoint { seq } => tracing::info!(%seq, "stable checkpoint"),
        Event::Rejected { from, kind, why } => {
            metrics.rejected(kind.name(), why.name());
            tracing::debug!(peer = %from, kind = kind.name(), %why, "a message was not accepted");
        }
        Event::Fault { culprit, name } => {
            metrics.fault(culprit);
            tracing::warn!(%culprit, fault = name, "a provable fault was recorded");
        }
        Event::Learner => tracing::error!(
            "this replica's log does not hold all that its key has signed: it follows and never votes; the way back is a new key"
        ),
        Event::Halted(reason) => tracing::error!(%reason, "stopped taking part, the data is kept"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    /// An input that was lost between two turns left requests waiting for good, and ended the process if it was a block's.
    #[test]
    fn turns_lose_no_input_however_many_there_are() {
        let (sender, mut inbox) = unbounded_channel();
        let count = u64::try_from(3 * MAX_INPUTS + 7).unwrap();
        let input = |number| CoreInput::Synced(Ticket(number));
        // Every ninth alone, the others together.
        for number in (0..count).step_by(9) {
            sender.send(Wake::Input(input(number), None)).unwrap();
            let together = (number + 1..count.min(number + 9)).map(|number| (input(number), None));
            sender.send(Wake::Inputs(together.collect())).unwrap();
        }
        let mut stepped = Vec::new();
        while let Ok(first) = inbox.try_recv() {
            let before = stepped.len();
            assert!(hand_on(first, &mut inbox, |input| match input {
                CoreInput::Synced(Ticket(number)) => stepped.push(number),
                other => unreachable!("{other:?}"),
            }));
            assert!(stepped.len() - before < MAX_INPUTS + 9);
        }
        assert_eq!(stepped, (0..count).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_handed_on_after_the_stop() {
        let (sender, mut inbox) = unbounded_channel();
        sender.send(Wake::Stop).unwrap();
        sender.send(Wake::Input(CoreInput::Timeout, None)).unwrap();
        let mut stepped = 0;
        let first = Wake::Input(CoreInput::Timeout, None);
        assert!(!hand_on(first, &mut inbox, |_| stepped += 1));
        assert_eq!(stepped, 1);
    }
}
