//! S4: the sum of all balances is the supply of genesis, at every height.

use tagma_ledger::Genesis;
use tagma_node::core::LedgerView;

use super::{Checked, Violation};

pub(super) struct Supply(u128);

impl Supply {
    pub(super) fn new(genesis: &Genesis) -> Self {
        Self(
            genesis
                .accounts
                .iter()
                .map(|account| u128::from(account.balance))
                .sum(),
        )
    }

    pub(super) fn executed(&self, host: usize, view: &LedgerView) -> Checked {
        let sum: u128 = view
            .state
            .iter()
            .map(|(_, account)| u128::from(account.balance))
            .sum();
        if sum == self.0 {
            return Ok(());
        }
        let detail = format!(
            "host {host} at {}: {sum} instead of {}",
            view.header.height, self.0
        );
        Err(Violation::new("S4 supply", detail))
    }
}
