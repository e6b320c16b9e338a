//! One run: faults, in which only safety is demanded; then healing, and convergence within a bound.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tagma_crypto::Digest;

use crate::chain::Chain;
use crate::check::{Checked, Violation};
use crate::host::Fault;
use crate::schedule::Plan;
use crate::time::{MILLI, SECOND};
use crate::world::{Event, World};

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What went wrong, if anything did, and when.
    pub failure: Option<String>,
    /// The hash over everything that happened.
    pub hash: Digest,
    /// Things that happened.
    pub events: u64,
    /// Simulated time, nanoseconds.
    pub simulated: u64,
    /// The highest block.
    pub height: u64,
    /// The highest view of any replica.
    pub view: u64,
    /// Views that honest replicas have entered, each counted once.
    pub view_changes: u64,
    /// Requests executed.
    pub executions: u64,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// The readable trace, if it was asked for.
    pub lines: Vec<String>,
}

/// Builds the world of a plan, with everything that will happen to it.
#[must_use]
pub fn build(plan: &Plan, readable: bool) -> World {
    let chain = Chain::new(&plan.chain);
    let mut world = World::new(plan.seed, chain, &plan.twins, plan.weather, readable);
    for host in &mut world.hosts {
        if plan.twins.contains(&host.id) {
            host.fault = Some(Fault::Twin);
        }
        host.stays_down = false;
    }
    for _ in &plan.twins {
        world.count("fault: twins");
    }
    for (index, kinds) in &plan.byzantine {
        let behaviours = kinds.iter().map(|kind| kind.make()).collect();
        if let Some(host) = world.hosts.get_mut(*index) {
            host.fault = Some(Fault::Byzantine);
            host.behaviours = behaviours;
        }
        world.schedule(200 * MILLI, Event::Tick(*index));
    }
    world.beyond_f = plan.twins.len() + plan.byzantine.len() > plan.faults();
    for (index, manner) in plan.clients.iter().enumerate() {
        let key = crate::chain::account_key(u16::try_from(index).unwrap_or(0));
        let key = key.remembering(std::sync::Arc::clone(&world.chain.known));
        let client = crate::clients::Client::new(index, *manner, key, world.chain.id, plan.pause);
        world.clients.push(client);
        let first = world.rng.between(10 * MILLI, 500 * MILLI);
        world.schedule(
            first,
            Event::Client {
                client: index,
                generation: 0,
            },
        );
    }
    for (at, disturbance) in &plan.disturbances {
        world.schedule(*at, Event::Disturb(disturbance.clone()));
    }
    world
}

/// Starts all hosts, in an order and with pauses of the seed's choosing.
///
/// # Errors
/// The first invariant violated.
pub fn start_all(world: &mut World) -> Checked {
    for index in 0..world.hosts.len() {
        let delay = world.rng.between(0, 300 * MILLI);
        world.schedule(delay, Event::Restart(index));
    }
    Ok(())
}

/// How often what nobody needs any more is forgotten, nanoseconds.
const TIDY_EVERY: u64 = 60 * SECOND;

/// The phase of faults: until `heal_at`, or until enough views were entered.
fn disturbed(world: &mut World, plan: &Plan) -> Checked {
    let (every, blocks) = plan.progress.unwrap_or((u64::MAX, 0));
    let mut look = every;
    let mut height = 0;
    let mut tidy = TIDY_EVERY;
    while world.now < plan.heal_at && plan.views.is_none_or(|views| world.view_changes < views) {
        world.run_until((world.now + SECOND).min(plan.heal_at))?;
        if world.now >= tidy {
            world.forget_the_past();
            tidy += TIDY_EVERY;
        }
        if world.now >= look {
            let reached = world.checks.height();
            if reached - height < blocks {
                let detail = format!(
                    "{} blocks within {} s, not {blocks}\n{}",
                    reached - height,
                    every / SECOND,
                    states(world)
                );
                return Err(Violation::new("L1 progress", detail));
            }
            height = reached;
            look += every;
        }
    }
    match plan.views {
        Some(views) if world.view_changes < views => Err(Violation::new(
            "L1 view changes",
            format!(
                "{} views entered, not {views}\n{}",
                world.view_changes,
                states(world)
            ),
        )),
        _ => Ok(()),
    }
}

fn play(world: &mut World, plan: &Plan) -> Checked {
    start_all(world)?;
    disturbed(world, plan)?;
    for index in &plan.stays_down {
        world.host_mut(*index).stays_down = true;
    }
    if plan.next_primary_dies {
        let highest = world.hosts.iter().filter_map(|host| host.core());
        let highest = highest.max_by_key(|core| core.replica().target());
        let primary = highest.map(|core| core.replica().primary());
        for host in world.hosts.iter_mut().filter(|host| Some(host.id) == primary) {
            host.stays_down = true;
        }
    }
    world.heal()?;
    if plan.fair {
        let healed = world.now;
        world.run_until(healed + plan.calm)?;
        let mut correct = world.clients.iter().filter(|client| client.manner.is_correct());
        if let Some(starved) = correct.find(|client| client.accepted_at < healed) {
            let detail = format!("client {} got nothing while others were served", starved.index);
            return Err(Violation::new("L3 every client is served", detail));
        }
    }
    converge(world, plan.calm, plan.bound)?;
    let left = world.counts.get("a view was left").copied().unwrap_or(0);
    if plan.still && left > 0 {
        return Err(Violation::new(
            "L2 no needless view change",
            format!("{left} times a view was left"),
        ));
    }
    Ok(())
}

/// Lets clients go on for `calm`, then demands that within `bound` everything asked for is executed everywhere.
///
/// # Errors
/// If it is not, or an invariant is violated.
pub fn converge(world: &mut World, calm: u64, bound: u64) -> Checked {
    let healed = world.now;
    world.run_until(healed + calm)?;
    for client in &mut world.clients {
        client.stopped = true;
    }
    let end = world.now + bound;
    loop {
        let missing = missing(world, healed);
        let Some(missing) = missing else { return Ok(()) };
        if world.now >= end {
            return Err(Violation::new("L1 convergence", missing));
        }
        world.run_until((world.now + SECOND / 4).min(end))?;
    }
}

/// What is still missing for convergence.
fn missing(world: &World, healed: u64) -> Option<String> {
    for client in world.clients.iter().filter(|client| client.manner.is_correct()) {
        if client.pending.is_some() {
            return Some(format!(
                "client {} waits for its request {}\n{}",
                client.index,
                client.accepted,
                states(world)
            ));
        }
        if client.accepted == 0 || client.accepted_at < healed {
            return Some(format!(
                "client {} got nothing since healing\n{}",
                client.index,
                states(world)
            ));
        }
    }
    let height = world.checks.height();
    if let Some(late) = late_for_view(world) {
        return Some(format!("{late}\n{}", states(world)));
    }
    let behind = world.hosts.iter().find(|host| {
        let expected = host.is_honest() || host.fault == Some(Fault::Amnesiac);
        expected && host.process.is_some() && host.height() != Some(height)
    });
    behind.map(|host| {
        format!(
            "host {} is at {:?} of {height}\n{}",
            host.index,
            host.height(),
            states(world)
        )
    })
}

/// Who wants no higher view than one that another honest replica is in, and is not there.
fn late_for_view(world: &World) -> Option<String> {
    let voting = || {
        world
            .hosts
            .iter()
            .filter(|host| host.is_honest() && host.is_voting())
    };
    let replicas = || voting().filter_map(|host| Some((host.index, host.core()?.replica())));
    let normal = |replica: &tagma_pbft::Replica| replica.target() == replica.view();
    let highest = replicas().filter(|(_, replica)| normal(replica));
    let highest = highest.map(|(_, replica)| replica.view()).max()?;
    replicas()
        .find(|(_, replica)| replica.view() < highest && replica.target() <= highest)
        .map(|(index, _)| format!("host {index} has not entered {highest:?}"))
}

/// Where every replica is, for people.
fn states(world: &World) -> String {
    let lines: Vec<String> = world
        .hosts
        .iter()
        .map(|host| {
            let what = host.core().map(tagma_node::core::Core::replica).map_or_else(
                || "down".to_owned(),
                |replica| {
                    format!(
                        "{:?} {:?} target {:?} executed {:?} h {:?} pending {}",
                        replica.standing(),
                        replica.view(),
                        replica.target(),
                        replica.executed(),
                        replica.stable_seq(),
                        replica.pending()
                    )
                },
            );
            format!("  host {} ({}, {:?}): {what}", host.index, host.id, host.fault)
        })
        .collect();
    lines.join("\n")
}

/// Runs a plan to its end.
#[must_use]
pub fn run(plan: &Plan, readable: bool) -> Outcome {
    play_out(&mut build(plan, readable), plan)
}

/// Plays a plan in the world that was built for it.
pub(crate) fn play_out(world: &mut World, plan: &Plan) -> Outcome {
    // A replica that panics is a failure of the run like any other.
    let played = catch_unwind(AssertUnwindSafe(|| play(world, plan)));
    let failure = match played {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some(world.report(&violation)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("a panic");
            Some(world.report(&Violation::new("no panics", text)))
        }
    };
    finish(world, plan.seed, failure)
}

/// What came of a world.
#[must_use]
pub fn finish(world: &World, seed: u64, failure: Option<String>) -> Outcome {
    let views = world
        .hosts
        .iter()
        .filter_map(|host| host.core().map(|core| core.replica().view().get()));
    Outcome {
        seed,
        failure,
        hash: world.trace.hash(),
        events: world.trace.events(),
        simulated: world.now,
        height: world.checks.height(),
        view: views.max().unwrap_or(0),
        view_changes: world.view_changes,
        executions: world.checks.executions() as u64,
        counts: world.counts.clone(),
        lines: world.trace.lines().map(str::to_owned).collect(),
    }
}
