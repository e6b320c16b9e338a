//! S1: no two honest replicas execute different batches at one height (OSDI '99 §3, safety).

use std::collections::BTreeMap;

use tagma_crypto::Digest;

use super::{Checked, Violation};

#[derive(Default)]
pub(super) struct Agreement {
    batches: BTreeMap<u64, (usize, Digest)>,
}

impl Agreement {
    pub(super) fn executed(&mut self, host: usize, height: u64, batch: Digest) -> Checked {
        let (first, held) = *self.batches.entry(height).or_insert((host, batch));
        if held == batch {
            return Ok(());
        }
        let detail =
            format!("at height {height} host {first} executed batch {held}, host {host} batch {batch}");
        Err(Violation::new("S1 agreement", detail))
    }

    pub(super) fn height(&self) -> u64 {
        self.batches.last_key_value().map_or(0, |(height, _)| *height)
    }

    pub(super) fn batch(&self, height: u64) -> Option<Digest> {
        self.batches.get(&height).map(|(_, batch)| *batch)
    }
}
