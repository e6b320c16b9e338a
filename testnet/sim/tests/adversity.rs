//! Rows of the fault list that one plan of their own covers better than chance does.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test"
)]

use tagma_sim::byzantine::Kind;
use tagma_sim::run::{build, converge, run, start_all};
use tagma_sim::schedule::{Disturbance, Plan};
use tagma_sim::time::{MILLI, SECOND};
use tagma_sim::world::World;

/// NW4: two of four stand still for half an hour, and nothing is lost or left over when they go on.
#[test]
fn two_of_four_stand_still_for_half_an_hour() {
    let mut plan = Plan::calm(1, 4);
    let span = 1800 * SECOND;
    plan.disturbances = [1, 2]
        .map(|host| (2 * SECOND, Disturbance::Pause(host, span)))
        .to_vec();
    plan.heal_at = 2 * SECOND + span;
    plan.pause = (SECOND, 2 * SECOND);
    let outcome = run(&plan, false);
    assert_eq!(outcome.failure, None);
    assert!(outcome.executions > 0);
}

/// VC14: a scheduler that knows the primary delays whatever it sends, in every view anew. Nothing is promised while it does
/// but safety; once it stops, everything that was asked for is executed.
#[test]
fn whoever_is_primary_is_slow() {
    let plan = Plan {
        pause: (100 * MILLI, 300 * MILLI),
        ..Plan::calm(2, 4)
    };
    let mut world = build(&plan, false);
    start_all(&mut world).unwrap();
    world.run_until(2 * SECOND).unwrap();
    // The view that a quorum is in or on its way to: one replica alone may be ahead, and slowing the primary that it waits for
    // would leave the others in peace.
    let common = |world: &World| {
        let hosts = world.hosts.iter().filter_map(|host| host.core());
        let mut targets: Vec<u64> = hosts.map(|core| core.replica().target().get()).collect();
        targets.sort_unstable();
        targets[1]
    };
    while world.now < 120 * SECOND {
        let primary = usize::try_from(common(&world) % 4).unwrap();
        world.network.heal();
        world.network.set_slow(primary, 20 * SECOND);
        let next = world.now + 50 * MILLI;
        world.run_until(next).unwrap();
    }
    let view = common(&world);
    assert!(view > 3, "the primaries were not left: view {view}");
    world.heal().unwrap();
    converge(&mut world, plan.calm, plan.bound).unwrap();
}

/// PS8: a primary proposes what was executed before again and again. It is agreed on and has no effect.
#[test]
fn executed_batches_proposed_again_have_no_effect() {
    let mut plan = Plan::calm(3, 4);
    plan.byzantine = vec![(0, vec![Kind::Repeats])];
    plan.pause = (20 * MILLI, 60 * MILLI);
    let outcome = run(&plan, false);
    assert_eq!(outcome.failure, None);
    let repeated = outcome
        .counts
        .get("byzantine: repeats batches")
        .copied()
        .unwrap_or(0);
    assert!(repeated > 10, "{repeated} proposals were repeated");
}
