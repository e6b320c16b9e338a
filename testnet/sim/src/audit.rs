//! A run with an audit at its end: what all honest replicas were told and have stored together, judged by the rules of
//! [`tagma_evidence::forensics`]. Only culprits may be convicted, and whoever forks the chain must be.

use std::collections::BTreeSet;
use std::sync::Arc;

use tagma_evidence::Judge;
use tagma_evidence::forensics::{Audit, Statements, audit};
use tagma_ledger::LedgerStore;
use tagma_node::core::hear_store;
use tagma_pbft::ReplicaId;

use crate::run::{Outcome, build, play_out};
use crate::schedule::Plan;
use crate::time::SECOND;
use crate::world::World;

/// Most violations in what follows the first one.
const MAX_VIOLATIONS: u32 = 1000;

/// What came of a run, and of its audit.
#[derive(Debug)]
pub struct Audited {
    /// The run.
    pub outcome: Outcome,
    /// Forks, and who is convicted.
    pub audit: Audit,
    /// The replicas that really were faulty at some time.
    pub faulty: BTreeSet<ReplicaId>,
}

impl Audited {
    /// The convicted who were never faulty: there must be none.
    #[must_use]
    pub fn wronged(&self) -> BTreeSet<ReplicaId> {
        &self.audit.culprits() - &self.faulty
    }
}

/// Runs a plan to its end, and audits it.
///
/// # Panics
/// If the plan's genesis is not valid, or the disk of an honest host is damaged.
#[must_use]
pub fn run(plan: &Plan) -> Audited {
    let mut world = build(plan, false);
    let judge = Judge::new(&world.chain.genesis);
    assert!(judge.is_ok(), "a valid genesis has 3f + 1 replicas");
    world.heard = judge
        .ok()
        .map(|judge| Statements::remembering(&judge, Arc::clone(&world.chain.known)));
    let outcome = play_out(&mut world, plan);
    if outcome.failure.as_deref().is_some_and(is_early) {
        go_on(&mut world);
    }
    Audited {
        outcome,
        audit: judged(&mut world),
        faulty: faulty(&world),
    }
}

/// Whether this is about what a client was told, which may be before it is in any honest store.
fn is_early(failure: &str) -> bool {
    failure.contains("S6 acknowledged")
}

/// The world goes on a little, until honest stores show what is wrong.
fn go_on(world: &mut World) {
    let end = world.now + 2 * SECOND;
    for _ in 0..MAX_VIOLATIONS {
        match world.run_until(end) {
            Err(violation) if is_early(&violation.to_string()) => {}
            _ => return,
        }
    }
}

fn faulty(world: &World) -> BTreeSet<ReplicaId> {
    let hosts = world.hosts.iter().filter(|host| !host.is_honest());
    hosts.map(|host| host.id).collect()
}

fn judged(world: &mut World) -> Audit {
    let Some(mut heard) = world.heard.take() else {
        return Audit::default();
    };
    for host in world.hosts.iter().filter(|host| host.is_honest()) {
        let ledger = LedgerStore::new(host.disk.store.clone(), &world.chain.genesis);
        let read = hear_store(&ledger, &mut heard);
        assert!(read.is_ok(), "the disk of host {}: {read:?}", host.index);
    }
    audit(&heard)
}
