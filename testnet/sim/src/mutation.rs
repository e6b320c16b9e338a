//! Planted bugs and how many runs it takes to see them. Only in builds with the feature `mutants`.

use tagma_crypto::mutants::{Mutant, plant};

use crate::hunts;
use crate::run::{Outcome, run};

/// What became of one planted bug.
#[derive(Clone, Debug)]
pub struct Catch {
    /// The bug.
    pub mutant: Mutant,
    /// The run that saw it, and how many it took; none if it survived them all.
    pub caught: Option<(u64, Outcome)>,
}

/// Plants one bug and runs plans until one fails, at most `runs`.
#[must_use]
pub fn hunt(mutant: Mutant, first: u64, runs: u64) -> Catch {
    plant(Some(mutant));
    let caught = (first..first.saturating_add(runs)).find_map(|seed| {
        let outcome = run(&hunts::plan(seed), false);
        outcome.failure.is_some().then_some((seed - first + 1, outcome))
    });
    plant(None);
    Catch { mutant, caught }
}
