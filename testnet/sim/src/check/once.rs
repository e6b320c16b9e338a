//! S3: a request is executed at most once, and an account's requests in the order of their nonces without gaps.

use std::collections::BTreeMap;

use tagma_crypto::{Digest, PublicKey};
use tagma_ledger::Receipt;

use super::{Checked, Violation, executions};

#[derive(Default)]
pub(super) struct Once {
    requests: BTreeMap<Digest, u64>,
    nonces: BTreeMap<PublicKey, u64>,
}

impl Once {
    pub(super) fn executed(&mut self, height: u64, receipts: &[Receipt]) -> Checked {
        for receipt in executions(receipts) {
            if let Some(before) = self.requests.insert(receipt.request, height) {
                let detail = format!(
                    "request {} was executed at {before} and at {height}",
                    receipt.request
                );
                return Err(Violation::new("S3 exactly once", detail));
            }
            let next = self.nonces.entry(receipt.account).or_default();
            if *next != receipt.nonce {
                let detail = format!(
                    "account {} executed nonce {} at {height}, its next was {next}",
                    receipt.account, receipt.nonce
                );
                return Err(Violation::new("S3 nonces in order", detail));
            }
            *next += 1;
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }
}
