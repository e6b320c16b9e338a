//! How many messages replicas send each other, by kind: the counters of a real replica, over all of them.

use std::collections::BTreeMap;

use tagma_pbft::Kind;

/// Messages of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many, one for each receiver.
    pub messages: u64,
    /// Their encoded length.
    pub bytes: u64,
}

/// What was sent so far: first sends, and apart what was sent again in answer to a STATUS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent(BTreeMap<(&'static str, bool), Traffic>);

impl Sent {
    pub(crate) fn add(&mut self, kind: Kind, resend: bool, bytes: usize) {
        let traffic = self.0.entry((kind.name(), resend)).or_default();
        traffic.messages += 1;
        traffic.bytes += bytes as u64;
    }

    /// Each kind that was sent, by its name in metrics, and whether it was sent again.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, bool, Traffic)> {
        self.0
            .iter()
            .map(|((kind, resend), traffic)| (*kind, *resend, *traffic))
    }
}
