//! S6: what f + 1 replicas told a client is so, for ever. That the block stays is S1's to see, which never forgets one: a
//! replica that executes another batch there after a power failure is caught.

use std::collections::BTreeMap;

use tagma_crypto::Digest;
use tagma_ledger::{Outcome, Receipt};

use super::{Checked, Violation, executions};

#[derive(Default)]
pub(super) struct Survival {
    outcomes: BTreeMap<Digest, (u64, Outcome)>,
}

impl Survival {
    pub(super) fn executed(&mut self, height: u64, receipts: &[Receipt]) {
        for receipt in executions(receipts) {
            self.outcomes.insert(receipt.request, (height, receipt.outcome));
        }
    }

    pub(super) fn acknowledged(&self, request: Digest, outcome: Outcome, height: u64) -> Checked {
        if self.outcomes.get(&request) == Some(&(height, outcome)) {
            return Ok(());
        }
        let detail =
            format!("request {request} was acknowledged at {height}, which no honest replica executed so");
        Err(Violation::new("S6 acknowledged", detail))
    }
}
