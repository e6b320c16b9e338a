//! Liveness: when the network is whole again and nobody lies any more, all that is pending executes within f + 1 more views.

use std::collections::HashSet;

use super::hear_each_other;
use super::locals::{Facts, Happening, LocalId, Locals};
use crate::check::{Checked, Violation};

/// Most ticks until all is executed: more than f + 2 views take of which each runs into the longest timeout.
const MAX_TICKS: usize = 64;

/// States from which everything is known to get done.
#[derive(Default)]
pub(super) struct Healing {
    live: HashSet<Vec<LocalId>>,
}

impl Healing {
    /// Demands progress from this state on: of all hosts in it that are not the culprit's.
    ///
    /// # Errors
    /// If something is not executed in time, or any other invariant does not hold on the way.
    pub(super) fn demand_progress(&mut self, locals: &mut Locals, hosts: &[LocalId]) -> Checked {
        let mark = locals.mark();
        let outcome = self.wait(locals, hosts.to_vec());
        locals.forget_since(mark, |_| false);
        outcome
    }

    fn wait(&mut self, locals: &mut Locals, mut state: Vec<LocalId>) -> Checked {
        let faults = u64::from(locals.world.instance.ring.quorum.faults());
        let bound = honest(locals, &state).map(|facts| facts.target.get()).max();
        let bound = bound.unwrap_or(0) + faults + 1;
        let mut way = Vec::new();
        for _ in 0..MAX_TICKS {
            if self.live.contains(&state) || is_done(locals, &state) {
                self.live.extend(way);
                return Ok(());
            }
            way.push(state.clone());
            hear_each_other(locals, &mut state)?;
            for local in &mut state {
                *local = locals.step(*local, Happening::Tick)?;
            }
            let correct: Vec<LocalId> = state
                .iter()
                .copied()
                .filter(|local| locals.facts(*local).id != locals.world.culprit)
                .collect();
            locals.agreement(&correct)?;
            if honest(locals, &state).any(|facts| facts.target.get() > bound) {
                return Err(stuck(locals, &state, &format!("by the end of view {bound}")));
            }
        }
        Err(stuck(locals, &state, &format!("after {MAX_TICKS} ticks")))
    }
}

fn honest<'a>(locals: &'a Locals, state: &'a [LocalId]) -> impl Iterator<Item = &'a Facts> {
    let culprit = locals.world.culprit;
    state
        .iter()
        .map(|local| locals.facts(*local))
        .filter(move |facts| facts.id != culprit)
}

fn is_done(locals: &Locals, state: &[LocalId]) -> bool {
    let chain = honest(locals, state).next().map(|facts| facts.chain);
    honest(locals, state).all(|facts| facts.is_done && Some(facts.chain) == chain)
}

fn stuck(locals: &Locals, state: &[LocalId], when: &str) -> Violation {
    let hosts: Vec<String> = honest(locals, state)
        .map(|facts| {
            let (id, view, target) = (facts.id, facts.view, facts.target);
            let done = if facts.is_done {
                "has executed all"
            } else {
                "has not executed all"
            };
            format!("{id} in view {view}, target {target}, {done}")
        })
        .collect();
    Violation::new(
        "progress after healing",
        format!("not everything is executed {when}: {}", hosts.join("; ")),
    )
}
