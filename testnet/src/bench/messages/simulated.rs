//! Counting in the simulator: the same replica core and the same messages, for networks that no single machine has room for.

use tagma_sim::check::Violation;
use tagma_sim::clients::Manner;
use tagma_sim::schedule::Plan;
use tagma_sim::script::Script;
use tagma_sim::time::{MILLI, SECOND};
use tagma_sim::world::Event;

use super::counts::{Counts, Place, Span, Tally};
use super::real::parameters;
use crate::error::Error;

/// Simulated time that requests may take, all together.
const LIMIT: u64 = 600 * SECOND;
/// Looks at the world are so far apart, simulated.
const STEP: u64 = 20 * MILLI;
/// After so long without a request nothing of one is under way any more, simulated.
const REST: u64 = SECOND;

fn violated(violation: Violation) -> Error {
    Error::Verdict(violation.to_string())
}

/// Simulates a calm network of one client with one request at a time, and counts over so many.
///
/// # Errors
/// [`Error::Verdict`] if an invariant does not hold, [`Error::NothingMeasured`] if nothing was committed.
pub fn measure(nodes: u16, batches: u32, seed: u64) -> Result<Counts, Error> {
    let mut plan = Plan::calm(seed, nodes);
    let parameters = parameters(nodes);
    plan.chain.checkpoint_interval = parameters.checkpoint_interval;
    plan.chain.window = parameters.window;
    plan.chain.standby = false;
    plan.clients = vec![Manner::Correct];
    plan.pause = (MILLI, 5 * MILLI);
    let mut script = Script::begin(&plan, false).map_err(violated)?;
    let before = Snapshot::after(&mut script, 1)?;
    let goal = script.accepted() + u64::from(batches);
    let after = Snapshot::after(&mut script, goal)?;
    let span = Span {
        nodes,
        batches: after.height.saturating_sub(before.height),
        transfers: after.accepted.saturating_sub(before.accepted),
        view_changes: after.views.saturating_sub(before.views),
    };
    Counts::new(Place::Simulator, span, &after.sent.since(&before.sent), None)
}

/// The world's counters at rest.
struct Snapshot {
    height: u64,
    accepted: u64,
    views: u64,
    sent: Tally,
}

impl Snapshot {
    /// Lets the client go on until so many of its requests were accepted, and waits for rest.
    fn after(script: &mut Script, accepted: u64) -> Result<Self, Error> {
        resume(script);
        let end = script.world().now.saturating_add(LIMIT);
        while script.accepted() < accepted {
            if script.world().now >= end {
                return Err(Error::NothingMeasured(format!(
                    "{} of {accepted} requests were accepted within {} simulated seconds",
                    script.accepted(),
                    LIMIT / SECOND
                )));
            }
            script.pass(STEP).map_err(violated)?;
        }
        for client in &mut script.world_mut().clients {
            client.stopped = true;
        }
        while script
            .world()
            .clients
            .iter()
            .any(|client| client.pending.is_some())
            && script.world().now < end
        {
            script.pass(STEP).map_err(violated)?;
        }
        script.pass(REST).map_err(violated)?;
        let world = script.world();
        Ok(Self {
            height: world.checks.height(),
            accepted: script.accepted(),
            views: world.view_changes,
            sent: Tally::of_simulation(&world.sent),
        })
    }
}

/// Has clients that were stopped act again.
fn resume(script: &mut Script) {
    let world = script.world_mut();
    let mut stopped = Vec::new();
    for client in world.clients.iter_mut().filter(|client| client.stopped) {
        client.stopped = false;
        stopped.push((client.index, client.generation));
    }
    for (client, generation) in stopped {
        world.schedule(0, Event::Client { client, generation });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panic")]

    use super::*;

    #[test]
    fn a_simulated_network_sends_what_the_model_says() {
        for nodes in [4, 10] {
            let counts = measure(nodes, 5, 7).unwrap();
            assert!(
                counts.batches >= 5 && counts.batches == counts.transfers,
                "{counts:?}"
            );
            assert_eq!(counts.view_changes, 0, "{counts:?}");
            assert!(counts.is_as_modelled(), "{counts:?}");
        }
    }
}
