//! How long the phases of a batch take here, told from the protocol's events.

use std::collections::BTreeMap;
use std::time::Instant;

use tagma_pbft::SeqNum;

use crate::metrics::{Metrics, Phase};

/// The point that each batch under way has reached. Bounded by the window: what is executed is forgotten, and nothing
/// above the window is prepared.
pub(super) struct Phases {
    reached: BTreeMap<SeqNum, (Phase, Instant)>,
    metrics: Metrics,
}

impl Phases {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            reached: BTreeMap::new(),
            metrics,
        }
    }

    /// Batch `seq` begins this phase, and so ends the one before.
    pub(super) fn begin(&mut self, seq: SeqNum, phase: Phase) {
        let now = Instant::now();
        if let Some((ended, since)) = self.reached.insert(seq, (phase, now)) {
            self.metrics.phase(ended, now.duration_since(since));
        }
    }

    /// Batch `seq` is executed, which is the end of all its phases.
    pub(super) fn end(&mut self, seq: SeqNum) {
        let rest = self.reached.split_off(&seq.next());
        let done = std::mem::replace(&mut self.reached, rest);
        if let Some((phase, since)) = done.get(&seq) {
            self.metrics.phase(*phase, since.elapsed());
        }
    }
}
