//! Twins, exhaustively (Bano et al.): every way to divide the hosts of four replicas, one of which runs twice, into two sides,
//! in every one of some rounds, for every choice of the twinned replica.

use tagma_pbft::ReplicaId;

use crate::schedule::{Disturbance, Plan};
use crate::time::{MILLI, SECOND};

/// Hosts of such a scenario.
const HOSTS: u32 = 5;
/// Ways to divide them into two sides; which side is called which is of no matter.
pub const DIVISIONS: u64 = 1 << (HOSTS - 1);
/// How long a round takes, nanoseconds: long enough that a primary without a quorum is left within it.
const ROUND: u64 = 1_600 * MILLI;

/// How many scenarios there are with so many rounds.
#[must_use]
pub fn count(rounds: u32) -> u64 {
    4 * DIVISIONS.pow(rounds)
}

/// One of the scenarios.
#[must_use]
pub fn plan(rounds: u32, number: u64) -> Plan {
    let mut plan = Plan::calm(number, 4);
    let twin = u16::try_from(number % 4).unwrap_or(0);
    plan.twins = vec![ReplicaId::new(twin)];
    plan.pause = (300 * MILLI, 400 * MILLI);
    plan.clients.truncate(2);
    let mut divisions = number / 4;
    for round in 0..u64::from(rounds) {
        let division = divisions % DIVISIONS;
        divisions /= DIVISIONS;
        let sides = (0..HOSTS)
            .map(|host| u8::try_from((division >> host) & 1).unwrap_or(0))
            .collect();
        plan.disturbances
            .push((400 * MILLI + round * ROUND, Disturbance::Partition(sides)));
    }
    plan.heal_at = 400 * MILLI + u64::from(rounds) * ROUND;
    plan.calm = SECOND;
    plan
}
