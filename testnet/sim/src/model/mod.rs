//! Small instances, exhaustively: four replicas of the real core, two requests, and every run within given limits.
//!
//! - [`exhaustive`]: one Byzantine replica, three views, messages lost on any link in any round: a
//!   bounded number of deviations at any places.
//! - [`twins`]: one replica runs twice, and each round divides the network, in every way.
//!
//! | search | limits | states | CPU |
//! | --- | --- | --- | --- |
//! | `tagma-sim twins` | 4 rounds: all 262,144 scenarios | 81,750 | 64 s |
//! | `tagma-sim exhaustive` | 2 deviations of every kind | 654,805 | 32 s |
//! | `tagma-sim exhaustive --deviations losses --depth 3` | 3 lost links, a colluding replica | 55,217 | 7 s |
//!
//! In both, what a host does is computed by the same [`tagma_pbft::Replica::step`] that real nodes run. Neither has chance
//! in it: the same limits give the same numbers. What they leave to the random simulator: crashes, disks, messages that
//! come late or twice, batches of more than one request, and the real ledger.
#![allow(
    clippy::indexing_slicing,
    reason = "the numbers of states, messages and lists are handed out by the tables that they index"
)]

mod app;
mod byzantine;
pub mod exhaustive;
mod heal;
mod instance;
mod local;
mod locals;
mod messages;
mod report;
mod said;
mod story;
pub mod twins;

use tagma_pbft::{ReplicaId, Standing};

use self::instance::Instance;
use self::local::{Local, World};
use self::locals::{Happening, LocalId, Locals};
use self::messages::{Messages, NOTHING};
use crate::check::{Checked, Violation};

/// What clients want. As a batch holds one request here, these are two sequence numbers.
const REQUESTS: [&str; 2] = ["a", "b"];
/// Most times that messages beget messages before all is quiet.
const MAX_WAVES: usize = 1_000;

/// Hosts that have started, heard of each other, and got the requests; `swapped` says on which they came in the other
/// order.
fn start(
    culprit: ReplicaId,
    hosts: &[ReplicaId],
    swapped: impl Fn(usize) -> bool,
) -> Result<(Locals, Vec<LocalId>), Violation> {
    let mut world = World {
        instance: Instance::new(),
        messages: Messages::new(),
        culprit,
    };
    let started: Vec<Local> = hosts
        .iter()
        .map(|id| Local::new(&mut world, *id))
        .collect::<Result<_, _>>()?;
    let mut locals = Locals::new(world);
    let mut state: Vec<LocalId> = started.into_iter().map(|host| locals.begin(host)).collect();
    hear_each_other(&mut locals, &mut state)?;
    for (host, id) in state.iter_mut().enumerate() {
        let mut local = Local::clone(&*locals.get(*id)?);
        assert_eq!(
            *local.replica.standing(),
            Standing::Voting,
            "all have heard of all"
        );
        let mut requests = REQUESTS;
        if swapped(host) {
            requests.reverse();
        }
        for request in requests {
            local.is_asked(&mut locals.world, request)?;
        }
        *id = locals.begin(local);
    }
    Ok((locals, state))
}

/// Everybody hears all that everybody else says, until nothing is under way. Hosts of one name do not hear each other.
fn hear_each_other(locals: &mut Locals, state: &mut [LocalId]) -> Checked {
    for _ in 0..MAX_WAVES {
        if state.iter().all(|local| locals.facts(*local).is_quiet) {
            return Ok(());
        }
        let mut lists = Vec::with_capacity(state.len());
        for to in state.iter() {
            let me = locals.facts(*to).id;
            let mut list = NOTHING;
            for from in state.iter() {
                let post = locals.post(*from, me, true)?;
                list = locals.world.messages.joined(list, post);
            }
            lists.push(list);
        }
        for (local, list) in state.iter_mut().zip(lists) {
            *local = locals.step(*local, Happening::Hears(list))?;
        }
    }
    Err(Violation::new(
        "bounded work",
        "messages beget messages without end",
    ))
}
