//! State transfer (TOCS '02 §5.3.2; protocol: checkpoints and state transfer): the state of a certified checkpoint, in
//! parts that are each checked before they are used.
//!
//! The header comes first and is checked against the certificate; then the summaries of all buckets, against the
//! header's state root; then the parts of the buckets that differ from what is here. A wrong, stale or missing part
//! costs its source its turn. Parts are put aside on disk and switched in by one atomic write, so a crash resumes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tagma_crypto::encode::{Blob, Decode, Encode, List, decode, encode};
use tagma_ledger::ledger_store::StagingTarget;
use tagma_ledger::partition_tree::BucketSummary;
use tagma_ledger::snapshot::BucketPart;
use tagma_ledger::{BlockHeader, Snapshot};
use tagma_pbft::certificate::StableCertificate;
use tagma_pbft::{Message, ReplicaId, SeqNum, Time};

/// Parts asked for at once.
const IN_FLIGHT: usize = 8;
/// How long a source has to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is asked of the state at a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub enum StateQuestion {
    /// The header.
    Header,
    /// The summaries of all buckets.
    Summaries,
    /// One part of one bucket.
    Part {
        /// The bucket.
        bucket: u32,
        /// Which part, from 0.
        part: u64,
    },
}

impl StateQuestion {
    /// Reads a question of a peer; none if it is not one.
    pub fn read(bytes: &Blob) -> Option<Self> {
        decode(bytes, bytes.len()).ok()
    }

    /// The answer from a checkpoint's state; none if there is no such part.
    pub fn answer(self, snapshot: &Snapshot) -> Option<Blob> {
        let bytes = match self {
            Self::Header => encode(snapshot.header()),
            Self::Summaries => encode(&List::from(snapshot.tree().summaries())),
            Self::Part { bucket, part } => encode(&snapshot.bucket_part(bucket, part)?),
        };
        Some(Blob::from(bytes))
    }
}

/// What a transfer has to have done beside the loop, where the store is.
#[derive(Clone, Debug)]
pub enum TransferJob {
    /// Make room for this state, unless it is the one that is there, and say which parts are missing.
    Begin(Arc<StagingTarget>),
    /// Put a checked part aside.
    Stage(BucketPart),
    /// Switch to the state.
    Finish(Arc<StagingTarget>),
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum TransferEvent {
    /// These parts are missing.
    Missing(Vec<(u32, u64)>),
    /// The ledger is at the checkpoint now, and it is on disk.
    Installed(Box<super::LedgerView>),
    /// Parts that were put aside are missing or damaged: begin again.
    Failed,
}

#[derive(Debug)]
enum Stage {
    Header,
    Summaries(BlockHeader),
    /// Waiting for the store to say which parts are missing.
    Comparing(Arc<StagingTarget>),
    Parts(Arc<StagingTarget>, BTreeSet<(u32, u64)>),
    Finishing,
}

/// A transfer under way.
#[derive(Debug)]
pub(crate) struct Transfer {
    certificate: StableCertificate,
    stage: Stage,
    sources: Vec<ReplicaId>,
    /// Those who gave something that did not check out, in this transfer or an earlier one, or had nothing to give.
    distrusted: BTreeSet<ReplicaId>,
    turn: usize,
    asked: BTreeMap<StateQuestion, (ReplicaId, Time)>,
}

/// What a transfer asks for.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    pub(crate) questions: Vec<(ReplicaId, Message)>,
    pub(crate) jobs: Vec<TransferJob>,
    /// A source whose answer did not check out.
    pub(crate) liar: Option<ReplicaId>,
    /// Everything is here: the state can be switched to.
    pub(crate) complete: Option<Arc<StagingTarget>>,
}

impl Transfer {
    /// A transfer from `sources`; those that lied in an earlier one, `liars`, come last.
    pub(crate) fn new(
        certificate: StableCertificate,
        sources: Vec<ReplicaId>,
        liars: BTreeSet<ReplicaId>,
    ) -> Self {
        let stage = Stage::Header;
        // Different replicas that are behind begin with different sources.
        let turn = usize::try_from(certificate.seq.get() % 127).unwrap_or(0);
        Self {
            certificate,
            stage,
            sources,
            distrusted: liars,
            turn,
            asked: BTreeMap::new(),
        }
    }

    pub(crate) fn seq(&self) -> SeqNum {
        self.certificate.seq
    }

    /// When a source has had its time.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.asked.values().map(|(_, at)| at.plus(PATIENCE)).min()
    }

    fn next_source(&mut self) -> Option<ReplicaId> {
        if self.distrusted.len() >= self.sources.len() {
            // All have failed once; with at most f liars that was loss or pruning, so everybody gets another turn.
            self.distrusted.clear();
        }
        let candidates: Vec<ReplicaId> = self
            .sources
            .iter()
            .copied()
            .filter(|source| !self.distrusted.contains(source))
            .collect();
        self.turn = self.turn.wrapping_add(1);
        candidates.get(self.turn.checked_rem(candidates.len())?).copied()
    }

    /// Asks for whatever is wanted and not asked for, of whoever is next.
    pub(crate) fn ask(&mut self, now: Time, asks: &mut Asks) {
        self.asked.retain(|_, (_, at)| now.since(*at) < PATIENCE);
        let wanted: Vec<StateQuestion> = match &self.stage {
            Stage::Header => vec![StateQuestion::Header],
            Stage::Summaries(_) => vec![StateQuestion::Summaries],
            Stage::Parts(_, missing) => missing
                .iter()
                .map(|(bucket, part)| StateQuestion::Part {
                    bucket: *bucket,
                    part: *part,
                })
                .collect(),
            Stage::Comparing(_) | Stage::Finishing => Vec::new(),
        };
        let room = IN_FLIGHT.saturating_sub(self.asked.len());
        let fresh: Vec<StateQuestion> = wanted
            .into_iter()
            .filter(|question| !self.asked.contains_key(question))
            .take(room)
            .collect();
        for question in fresh {
            let Some(source) = self.next_source() else { return };
            self.asked.insert(question, (source, now));
            let part = Blob::from(encode(&question));
            asks.questions.push((
                source,
                Message::FetchState {
                    seq: self.certificate.seq,
                    part,
                },
            ));
        }
    }

    /// A source's answer. What does not check out, or is not what was asked of it, is dropped.
    pub(crate) fn on_answer(
        &mut self,
        now: Time,
        from: ReplicaId,
        question: StateQuestion,
        data: Option<&Blob>,
        asks: &mut Asks,
    ) {
        if self
            .asked
            .get(&question)
            .is_none_or(|(source, _)| *source != from)
        {
            return;
        }
        self.asked.remove(&question);
        match data {
            // It does not have the state (any more): that is no lie, but it need not be asked again.
            None => {
                self.distrusted.insert(from);
            }
            Some(data) => {
                if self.take(question, data, asks).is_none() {
                    self.distrusted.insert(from);
                    asks.liar = Some(from);
                }
            }
        }
        self.ask(now, asks);
    }

    /// Uses an answer; none if it does not check out.
    fn take(&mut self, question: StateQuestion, data: &Blob, asks: &mut Asks) -> Option<()> {
        match (&mut self.stage, question) {
            (Stage::Header, StateQuestion::Header) => {
                let header: BlockHeader = decode(data, data.len()).ok()?;
                if header.digest() != self.certificate.header {
                    return None;
                }
                self.stage = Stage::Summaries(header);
            }
            (Stage::Summaries(header), StateQuestion::Summaries) => {
                let summaries: List<BucketSummary> = decode(data, data.len()).ok()?;
                let target = Arc::new(StagingTarget::new(header.clone(), summaries.into_vec())?);
                asks.jobs.push(TransferJob::Begin(Arc::clone(&target)));
                self.stage = Stage::Comparing(target);
            }
            (Stage::Parts(target, missing), StateQuestion::Part { bucket, part }) => {
                let data: BucketPart = decode(data, data.len()).ok()?;
                let checks_out = target.check(&data).is_ok() || tagma_crypto::mutant!(TrustsStateParts);
                if (data.bucket, data.part) != (bucket, part) || !checks_out {
                    return None;
                }
                missing.remove(&(bucket, part));
                asks.jobs.push(TransferJob::Stage(data));
                self.complete_if_done(asks);
            }
            // An answer to a question of an earlier stage: true, and of no use.
            _ => {}
        }
        Some(())
    }

    fn complete_if_done(&mut self, asks: &mut Asks) {
        if let Stage::Parts(target, missing) = &self.stage
            && missing.is_empty()
        {
            asks.complete = Some(Arc::clone(target));
            self.stage = Stage::Finishing;
        }
    }

    /// The store has said what is missing.
    pub(crate) fn on_missing(&mut self, now: Time, missing: Vec<(u32, u64)>, asks: &mut Asks) {
        if let Stage::Comparing(target) = &self.stage {
            self.stage = Stage::Parts(Arc::clone(target), missing.into_iter().collect());
            self.complete_if_done(asks);
            self.ask(now, asks);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test may fail by panicking")]
    use tagma_crypto::Digest;

    use super::*;

    fn certificate(seq: u64) -> StableCertificate {
        StableCertificate {
            seq: SeqNum::new(seq),
            header: Digest::of("test/header", &[&seq.to_le_bytes()]),
            checkpoints: List::new(),
        }
    }

    fn sources() -> Vec<ReplicaId> {
        [0, 1, 2].map(ReplicaId::new).into()
    }

    /// Whom it asks next.
    fn asked(transfer: &mut Transfer, now: Time) -> ReplicaId {
        let mut asks = Asks::default();
        transfer.ask(now, &mut asks);
        let [(source, _)] = asks.questions.as_slice() else {
            panic!("one question at a time: {asks:?}")
        };
        *source
    }

    /// Each new checkpoint under load begins a new transfer: who lied in one would otherwise get a turn in each.
    #[test]
    fn a_source_that_lied_is_named_and_not_asked_again_by_later_transfers_either() {
        let now = Time::from_nanos(0);
        let mut first = Transfer::new(certificate(128), sources(), BTreeSet::new());
        let liar = asked(&mut first, now);
        let mut asks = Asks::default();
        let lie = Blob::from(vec![1, 2, 3]);
        first.on_answer(now, liar, StateQuestion::Header, Some(&lie), &mut asks);
        assert_eq!(asks.liar, Some(liar));
        let next: Vec<ReplicaId> = asks.questions.iter().map(|(source, _)| *source).collect();
        assert!(
            next.len() == 1 && !next.contains(&liar),
            "{next:?} instead of {liar}"
        );

        for seq in 129..140 {
            let mut later = Transfer::new(certificate(seq), sources(), BTreeSet::from([liar]));
            let mut now = now;
            // As often as there are others: those who do not answer in time are not distrusted, but their turn is over.
            for _ in 0..4 {
                assert_ne!(asked(&mut later, now), liar, "by the transfer of {seq}");
                now = now.plus(PATIENCE);
            }
        }
    }

    #[test]
    fn when_nobody_else_is_left_a_source_that_lied_gets_another_turn() {
        let now = Time::from_nanos(0);
        let liars = BTreeSet::from([ReplicaId::new(1)]);
        let mut transfer = Transfer::new(certificate(128), sources(), liars);
        let mut asks = Asks::default();
        transfer.ask(now, &mut asks);
        let mut turns = BTreeSet::new();
        for _ in 0..3 {
            let Some((source, _)) = asks.questions.pop() else {
                panic!("somebody is asked")
            };
            turns.insert(source);
            transfer.on_answer(now, source, StateQuestion::Header, None, &mut asks);
        }
        assert_eq!(turns, sources().into_iter().collect());
    }
}
