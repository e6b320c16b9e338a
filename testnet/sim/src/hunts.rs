//! The plans that planted bugs are hunted with: random ones as everywhere, and some that are about one part of the protocol.
//! Every one of them must be clean without a planted bug.

use tagma_pbft::ReplicaId;

use crate::byzantine::Kind;
use crate::clients::Manner;
use crate::network::Weather;
use crate::rng::SimRng;
use crate::schedule::{Disturbance, Plan, Wishes};
use crate::time::{MILLI, SECOND};

/// The plan of a seed.
#[must_use]
pub fn plan(seed: u64) -> Plan {
    let mut rng = SimRng::new(seed ^ 0x6875_6e74);
    match seed % 12 {
        0 | 1 => Plan::from_seed(
            seed,
            &Wishes {
                nodes: Some(4),
                seconds: None,
            },
        ),
        2 => Plan::from_seed(
            seed,
            &Wishes {
                nodes: Some(7),
                seconds: Some(12),
            },
        ),
        3 => quiet(seed),
        4 => clocks(seed),
        5 => power(seed, &mut rng),
        6 => censored(seed),
        7 => failing_views(seed, &mut rng),
        8 => split(seed, &mut rng),
        9 => liars(seed, &mut rng),
        10 => lossy(seed, &mut rng),
        _ => wiped(seed, &mut rng),
    }
}

fn busy(seed: u64) -> Plan {
    let mut plan = Plan::calm(seed, 4);
    plan.pause = (5 * MILLI, 30 * MILLI);
    plan.calm = 2 * SECOND;
    plan
}

/// Nothing is wrong but for clients that are slow, late or of one backup only: no view is ever left (L2).
fn quiet(seed: u64) -> Plan {
    let mut plan = Plan::calm(seed, 4);
    plan.clients = vec![
        Manner::Correct,
        Manner::OneBackup,
        Manner::Expiring,
        Manner::Replay,
    ];
    plan.still = true;
    plan
}

/// Clocks that are all an hour ahead, and then not any more, while batches are under way (VC18, NW5).
fn clocks(seed: u64) -> Plan {
    let mut plan = busy(seed);
    let ahead = (0..4).map(|host| (MILLI, Disturbance::Skew(host, 3_600_000)));
    let back = (0..4).map(|host| (4 * SECOND, Disturbance::Skew(host, 0)));
    plan.disturbances = ahead.chain(back).collect();
    plan.disturbances
        .push((3 * SECOND, Disturbance::Partition(vec![0, 0, 1, 1])));
    plan.disturbances.push((5 * SECOND, Disturbance::Heal));
    plan.disturbances.sort_by_key(|(at, _)| *at);
    plan
}

/// The power of all fails again and again, or of one at a boundary (CD1, CD2, CD3).
fn power(seed: u64, rng: &mut SimRng) -> Plan {
    let mut plan = busy(seed);
    let mut at = SECOND;
    while at < plan.heal_at {
        let host = rng.index(4);
        plan.disturbances
            .push((at, Disturbance::SlowDisk(host, rng.between(1, 60))));
        plan.disturbances
            .push((at, Disturbance::Arm(rng.index(4), rng.between(1, 30))));
        at += rng.between(100, 1500) * MILLI;
        if rng.permille(400) {
            plan.disturbances.push((at, Disturbance::PowerCut));
            at += 3 * SECOND;
        }
    }
    plan.weather = Weather {
        delay_max: rng.between(2, 60) * MILLI,
        ..Weather::FAIR
    };
    plan
}

/// The primary leaves out one client, and serves all others (BP2).
fn censored(seed: u64) -> Plan {
    let mut plan = Plan::calm(seed, 4);
    plan.byzantine = vec![(0, vec![Kind::Censor])];
    plan.pause = (20 * MILLI, 60 * MILLI);
    plan
}

/// Messages take so long that view after view fails, for minutes; afterwards one replica is dead (VC13).
fn failing_views(seed: u64, rng: &mut SimRng) -> Plan {
    let mut plan = Plan::calm(seed, 4);
    plan.disturbances = vec![(
        2 * SECOND,
        Disturbance::Weather(Weather {
            delay_min: 6 * SECOND,
            delay_max: 12 * SECOND,
            ..Weather::FAIR
        }),
    )];
    plan.stays_down = vec![rng.index(4)];
    plan.heal_at = rng.between(200, 400) * SECOND;
    plan.pause = (500 * MILLI, SECOND);
    plan
}

/// Partitions that change while batches are under way, and views that are left in the middle of them (NW1, VC4, VC5, PS10).
fn split(seed: u64, rng: &mut SimRng) -> Plan {
    let mut plan = busy(seed);
    let mut at = SECOND;
    while at < plan.heal_at {
        let alone = rng.index(4);
        let disturbance = match rng.below(5) {
            0 => Disturbance::Partition((0..4).map(|host| u8::from(host == alone)).collect()),
            1 => Disturbance::Partition((0..4).map(|_| u8::from(rng.permille(500))).collect()),
            2 => Disturbance::Crash(alone),
            3 => Disturbance::Weather(Weather {
                loss_permille: rng.between(100, 500),
                ..Weather::FAIR
            }),
            _ => Disturbance::Cut(alone, rng.index(4)),
        };
        plan.disturbances.push((at, disturbance));
        at += rng.between(100, 1600) * MILLI;
        if rng.permille(500) {
            plan.disturbances.push((at, Disturbance::Heal));
            at += rng.between(50, 500) * MILLI;
        }
    }
    plan.heal_at = 14 * SECOND;
    plan
}

/// One replica of four does everything that a behaviour does, while views change often.
fn liars(seed: u64, rng: &mut SimRng) -> Plan {
    let mut plan = split(seed, rng);
    plan.weather = Weather {
        loss_permille: rng.below(150),
        ..Weather::FAIR
    };
    let host = rng.index(4);
    let kinds = (0..2).filter_map(|_| rng.pick(Kind::ALL).copied()).collect();
    plan.byzantine = vec![(host, kinds)];
    if rng.permille(200) {
        plan.byzantine.clear();
        plan.twins = vec![ReplicaId::new(u16::try_from(host).unwrap_or(0))];
        for (_, disturbance) in &mut plan.disturbances {
            if let Disturbance::Partition(sides) = disturbance {
                sides.push(u8::from(rng.permille(500)));
            }
        }
    }
    plan
}

/// Half of everything is lost, all the time (NW2).
fn lossy(seed: u64, rng: &mut SimRng) -> Plan {
    let mut plan = Plan::calm(seed, 4);
    plan.weather = Weather {
        loss_permille: rng.between(300, 600),
        duplicate_permille: 50,
        delay_max: rng.between(2, 100) * MILLI,
        ..Weather::FAIR
    };
    plan.chain.window = plan.chain.checkpoint_interval * 2;
    plan.disturbances = vec![(4 * SECOND, Disturbance::Crash(rng.index(4)))];
    plan
}

/// One replica loses its disk, and another one is cut off for longer than the window (CD4, CP4).
fn wiped(seed: u64, rng: &mut SimRng) -> Plan {
    let mut plan = busy(seed);
    plan.chain.retain = rng.permille(500).then(|| rng.below(4));
    let host = rng.index(4);
    let other = (host + 1) % 4;
    let mut sides = vec![0; 4];
    if let Some(side) = sides.get_mut(other) {
        *side = 1;
    }
    plan.disturbances = vec![
        (2 * SECOND, Disturbance::Wipe(host, rng.permille(300))),
        (6 * SECOND, Disturbance::Partition(sides)),
        (8 * SECOND, Disturbance::Crash(other)),
    ];
    plan
}
