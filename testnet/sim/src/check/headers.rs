//! S2: equal header and equal state at every height. The state is compared whole, account by account, not by the root that
//! replicas compute at checkpoints.

use std::collections::BTreeMap;

use tagma_crypto::encode::encode;
use tagma_crypto::{Digest, Hasher};
use tagma_ledger::State;
use tagma_node::core::LedgerView;

use super::{Checked, Violation};

#[derive(Default)]
pub(super) struct Headers {
    heights: BTreeMap<u64, (usize, Digest, Digest)>,
    /// The height that was executed for the first time by the last block.
    first: u64,
}

fn fingerprint(state: &State) -> Digest {
    let mut hasher = Hasher::new("tagma/sim-state");
    let accounts: BTreeMap<_, _> = state.iter().collect();
    for (key, account) in accounts {
        hasher.part(key.as_bytes());
        hasher.part(&encode(account));
    }
    hasher.finish()
}

impl Headers {
    pub(super) fn executed(&mut self, host: usize, view: &LedgerView) -> Checked {
        let height = view.header.height;
        let state = fingerprint(&view.state);
        let Some((first, tip, held)) = self.heights.get(&height).copied() else {
            self.heights.insert(height, (host, view.tip, state));
            self.first = height;
            return Ok(());
        };
        self.first = 0;
        if tip != view.tip {
            let detail = format!(
                "height {height}: host {first} has header {tip}, host {host} header {}",
                view.tip
            );
            return Err(Violation::new("S2 equal headers", detail));
        }
        if held != state {
            let detail = format!("height {height}: hosts {first} and {host} differ in state");
            return Err(Violation::new("S2 equal states", detail));
        }
        Ok(())
    }

    /// The hash of the header that honest hosts have at a height.
    pub(super) fn tip(&self, height: u64) -> Option<Digest> {
        self.heights.get(&height).map(|(_, tip, _)| *tip)
    }

    /// Whether the last block was the first execution of this height.
    pub(super) fn is_first(&self, height: u64) -> bool {
        self.first == height
    }
}
