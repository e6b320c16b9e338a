//! The transcript for audits: what this replica has said and heard of signed statements, written beside the loop.
//!
//! It never holds anything up: what does not fit its queue is left out and counted, and a disk that refuses ends it.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use tagma_evidence::transcript::{Entry, Statement, TranscriptWriter};
use tagma_pbft::{Incoming, Message, ReplicaId};

use crate::metrics::Metrics;

/// Most entries that wait to be written.
const QUEUE: usize = 1 << 12;

/// The way to the transcript. Clones share it; nothing happens where none is kept.
#[derive(Clone)]
pub(super) struct Transcript {
    entries: Option<SyncSender<Entry>>,
    metrics: Metrics,
}

impl Transcript {
    /// No transcript.
    pub(super) fn none(metrics: Metrics) -> Self {
        Self {
            entries: None,
            metrics,
        }
    }

    /// A transcript, and what its thread takes from.
    pub(super) fn new(metrics: Metrics) -> (Self, Receiver<Entry>) {
        let (entries, waiting) = sync_channel(QUEUE);
        let transcript = Self {
            entries: Some(entries),
            metrics,
        };
        (transcript, waiting)
    }

    /// A verified message of a peer.
    pub(super) fn heard(&self, from: ReplicaId, message: &Incoming) {
        if self.entries.is_some() {
            self.keep(Some(from), Statement::of_incoming(message));
        }
    }

    /// A message of this replica.
    pub(super) fn said(&self, message: &Message) {
        if self.entries.is_some() {
            self.keep(None, Statement::of_message(message));
        }
    }

    fn keep(&self, from: Option<ReplicaId>, statements: Vec<Statement>) {
        let Some(entries) = &self.entries else { return };
        for statement in statements {
            if entries.try_send(Entry { from, statement }).is_err() {
                self.metrics.unrecorded.inc();
            }
        }
    }
}

/// Writes entries until nobody has any more.
pub(super) fn run(directory: &Path, max_bytes: u64, entries: &Receiver<Entry>) {
    let ended = |error: std::io::Error| {
        tracing::warn!(directory = %directory.display(), %error, "the transcript has ended: cannot write it");
    };
    let mut writer = match TranscriptWriter::open(directory, max_bytes) {
        Ok(writer) => writer,
        Err(error) => return ended(error),
    };
    loop {
        let next = match entries.try_recv() {
            Ok(entry) => Some(entry),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                // Nothing to do for now: a good time to let go of what a killed process would lose.
                if let Err(error) = writer.flush() {
                    return ended(error);
                }
                entries.recv().ok()
            }
        };
        let Some(entry) = next else { break };
        if let Err(error) = writer.append(&entry) {
            return ended(error);
        }
    }
    if let Err(error) = writer.flush() {
        ended(error);
    }
}
