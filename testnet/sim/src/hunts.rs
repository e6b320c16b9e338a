//! The plans that planted bugs are hunted with: random ones as everywhere, and some that are about one part of the protocol.
//! Every one of them must be clean without a planted bug.

use tagma_pbft::ReplicaId;

use crate::byzantine::Kind;
use crate::clients::Manner;
use crate::network::Weather;
use crate::rng::SimRng;
use crate::schedule::{Disturbance, Plan, Wishes};
use crate::time::{MILLI, SECOND};

/// How many kinds of plans there are; seeds take turns.
const FAMILIES: u64 = 24;

/// The plan of a seed.
#[must_use]
pub fn plan(seed: u64) -> Plan {
    let mut rng = SimRng::new(seed ^ 0x6875_6e74);
    let (nodes, seconds) = if seed.is_multiple_of(2 * FAMILIES) {
        (4, None)
    } else {
        (7, Some(12))
    };
    let wishes = Wishes {
        nodes: Some(nodes),
        seconds,
    };
    match seed % FAMILIES {
        // They are cheap, and there are many ways to lie.
        turn if turn % 3 == 2 => liars(seed, &mut rng),
        0 => Plan::from_seed(seed, &wishes),
        1 => quiet(seed),
        3 => split(seed, &mut rng),
        4 => power(seed, &mut rng),
        6 => narrow(seed, &mut rng),
        7 => wiped(seed, &mut rng),
        9 => thin(seed, &mut rng),
        10 => clocks(seed),
        12 => censored(seed),
        13 => left_behind(seed, &mut rng),
        15 => lossy(seed, &mut rng),
        16 => duel(seed, &mut rng),
        18 => failing_views(seed, &mut rng),
        21 => relied_on(seed),
        22 => missed(seed, &mut rng),
        _ => drifted(seed, &mut rng),
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
        Manner::Crafted,
    ];
    plan.still = true;
    plan
}

/// Clocks that are all an hour ahead, and then not any more, while batches are under way (VC18, NW5).
fn clocks(seed: u64) -> Plan {
    let mut plan = busy(seed);
    plan.pause = (10 * MILLI, 60 * MILLI);
    plan.heal_at = 6 * SECOND;
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

/// Everybody relies on everybody, f stand by and the others share out what is to be checked, when the primary begins to lie (BP4).
fn relied_on(seed: u64) -> Plan {
    let mut plan = busy(seed);
    plan.chain.standby = true;
    plan.clients = vec![Manner::Correct; 8];
    plan.byzantine = vec![(0, vec![Kind::BidesItsTime])];
    plan.heal_at = 6 * SECOND;
    plan
}

/// Everybody relies on everybody when a backup goes down: it is missed, and that is no reason to leave the view.
fn missed(seed: u64, rng: &mut SimRng) -> Plan {
    let mut plan = busy(seed);
    plan.chain.standby = true;
    let host = usize::try_from(rng.between(1, 3)).unwrap_or(1);
    let at = 3 * SECOND;
    plan.disturbances = vec![(at, Disturbance::Crash(host))];
    plan.stays_down = vec![host];
    plan.heal_at = at + 10 * MILLI;
    plan.calm = 6 * SECOND;
    plan.still = true;
    plan
}

/// The primary leaves out one client, and serves all others (BP2).
fn censored(seed: u64) -> Plan {
    let mut plan = Plan::calm(seed, 4);
    plan.byzantine = vec![(0, vec![Kind::Censor])];
    // Every batch is full, which excuses what is not in it: only the timer of the oldest request is left to judge the primary.
    plan.chain.max_batch_requests = 1;
    plan.pause = (20 * MILLI, 60 * MILLI);
    plan.heal_at = 4 * SECOND;
    plan.calm = 4 * SECOND;
    plan.fair = true;
    plan
}

/// Messages take so long that view after view fails, at these timeouts.
const SLOW: Weather = Weather {
    delay_min: 6 * SECOND,
    delay_max: 12 * SECOND,
    ..Weather::FAIR
};

/// View after view fails for minutes, and afterwards the primary that is next is dead (VC13). Messages are so slow that timeouts
/// without a cap grow to minutes before a view succeeds.
fn failing_views(seed: u64, rng: &mut SimRng) -> Plan {
    let mut plan = Plan::calm(seed, 4);
    let weather = Weather {
        delay_min: 30 * SECOND,
        delay_max: 60 * SECOND,
        ..Weather::FAIR
    };
    plan.disturbances = vec![(2 * SECOND, Disturbance::Weather(weather))];
    plan.heal_at = rng.between(500, 900) * SECOND;
    plan.pause = (500 * MILLI, SECOND);
    plan.next_primary_dies = true;
    plan.bound = 40 * SECOND;
    plan
}

/// Views fail, and two replicas fail so often that none of their timers expires and they hear of nothing; the others go on to higher
/// views. Then one of those dies, and what is left, no more than a quorum, wants different views (VC17).
fn drifted(seed: u64, rng: &mut SimRng) -> Plan {
    let mut plan = Plan::calm(seed, 4);
    plan.heal_at = rng.between(50, 70) * SECOND;
    plan.pause = (500 * MILLI, SECOND);
    plan.disturbances = vec![(2 * SECOND, Disturbance::Weather(SLOW))];
    let first = rng.index(4);
    let frozen = [(first + 1) % 4, (first + 2) % 4];
    let mut at = rng.between(16, 26) * SECOND;
    while at < plan.heal_at {
        let crashes = frozen.map(|host| (at, Disturbance::Crash(host)));
        plan.disturbances.extend(crashes);
        at += 5 * SECOND;
    }
    let last = plan.heal_at - 10 * MILLI;
    let crashes = frozen.map(|host| (last, Disturbance::Crash(host)));
    plan.disturbances.extend(crashes);
    plan.stays_down = vec![first];
    plan
}

/// A window of two batches, and no more replicas than a quorum: what one of them does not look at again holds up all (CP2).
/// Nothing gives a reason to leave the view.
fn narrow(seed: u64, rng: &mut SimRng) -> Plan {
    let mut plan = busy(seed);
    plan.chain.checkpoint_interval = rng.between(1, 2);
    plan.chain.window = 2 * plan.chain.checkpoint_interval;
    plan.chain.max_batch_requests = 1;
    let host = rng.between(1, 3);
    let host = usize::try_from(host).unwrap_or(1);
    plan.disturbances = vec![(MILLI, Disturbance::Crash(host))];
    plan.stays_down = vec![host];
    plan.weather = Weather {
        delay_max: rng.between(2, 12) * MILLI,
        ..Weather::FAIR
    };
    // What is down is down from the start.
    plan.heal_at = 400 * MILLI;
    plan.calm = 6 * SECOND;
    plan.still = true;
    plan
}

/// Everything that happens to links and power while all run; then no more replicas than a quorum are left (VC16).
fn thin(seed: u64, rng: &mut SimRng) -> Plan {
    let mut plan = split(seed, rng);
    plan.stays_down = vec![rng.index(4)];
    let at = plan.heal_at - rng.between(1, 400) * MILLI;
    for host in 0..4 {
        if rng.permille(400) {
            plan.disturbances.push((at, Disturbance::Crash(host)));
        }
    }
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

/// What one replica can do at once and still be heard.
const LIES: [Kind; 13] = [
    Kind::Equivocation,
    Kind::WrongVotes,
    Kind::ViewChangeSpam,
    Kind::FakeNewViews,
    Kind::ForgedCertificates,
    Kind::SplitViewChanges,
    Kind::BadCheckpoints,
    Kind::BadBatches,
    Kind::Repeats,
    Kind::WrongAnswers,
    Kind::Echo,
    Kind::SpoiledSignatures,
    Kind::WithholdBodies,
];

/// One replica of four lies in several ways at once, while views change often.
fn liars(seed: u64, rng: &mut SimRng) -> Plan {
    let mut plan = split(seed, rng);
    plan.weather = Weather {
        loss_permille: rng.below(150),
        ..Weather::FAIR
    };
    plan.chain.retain = rng.permille(300).then(|| rng.below(4));
    // The longer the interval, the more there is in P.
    plan.chain.checkpoint_interval = rng.pick(&[4, 4, 32]).copied().unwrap_or(4);
    plan.chain.window = 2 * plan.chain.checkpoint_interval;
    // Something happens to the primary again and again, for those who lie about views.
    if rng.permille(600) {
        plan.disturbances
            .push((SECOND, Disturbance::Churn(200 * MILLI, 1500 * MILLI)));
    }
    // The last one becomes primary too seldom.
    let host = rng.index(3);
    if rng.permille(100) {
        plan.twins = vec![ReplicaId::new(u16::try_from(host).unwrap_or(0))];
        for (_, disturbance) in &mut plan.disturbances {
            if let Disturbance::Partition(sides) = disturbance {
                sides.push(u8::from(rng.permille(500)));
            }
        }
        return plan;
    }
    let mut kinds: Vec<Kind> = LIES.into_iter().filter(|_| rng.permille(450)).collect();
    if kinds.is_empty() || rng.permille(150) {
        kinds = rng.pick(Kind::ALL).copied().into_iter().collect();
    }
    plan.byzantine = vec![(host, kinds)];
    plan
}

/// Batches are prepared at a single replica, which is then cut off; the others order other batches in the next view, and leave it
/// together with the one that is back. So V holds certificates of two views for one n, with different digests (VC4, VC5, PS10).
fn duel(seed: u64, rng: &mut SimRng) -> Plan {
    let mut plan = busy(seed);
    // No checkpoint may cover what is at stake before the second view is left.
    plan.chain.checkpoint_interval = 128;
    plan.chain.window = 256;
    plan.pause = (100 * MILLI, 200 * MILLI);
    // The primary is 0; 1 will be.
    let hears = usize::try_from(rng.between(2, 3)).unwrap_or(2);
    let pairs = (1..4).flat_map(|from| (0..4).map(move |to| (from, to)));
    let cuts = pairs.filter(|(from, to)| *to != hears && from != to);
    let at = rng.between(800, 1200) * MILLI;
    plan.disturbances = cuts.map(|(from, to)| (at, Disturbance::Cut(from, to))).collect();
    let alone = (0..4).map(|host| u8::from(host == hears)).collect();
    plan.disturbances.extend([
        // Everybody leaves the view before anything that was lost comes again.
        (at + 300 * MILLI, Disturbance::Heal),
        (at + 300 * MILLI, Disturbance::Partition(vec![0, 1, 2, 3])),
        (at + 3_000 * MILLI, Disturbance::Partition(alone)),
        (at + 5_000 * MILLI, Disturbance::Heal),
        (at + 5_200 * MILLI, Disturbance::PausePrimary(3 * SECOND)),
    ]);
    plan
}

/// One replica is cut off for longer than the window, twice, and one of those it then asks gives wrong answers (CP4, CP5, CP11).
fn left_behind(seed: u64, rng: &mut SimRng) -> Plan {
    let mut plan = busy(seed);
    plan.chain.checkpoint_interval = rng.between(2, 4);
    plan.chain.window = 2 * plan.chain.checkpoint_interval;
    plan.chain.retain = rng.permille(700).then(|| rng.below(3));
    let victim = rng.index(4);
    plan.byzantine = vec![((victim + 1 + rng.index(3)) % 4, vec![Kind::WrongAnswers])];
    let alone: Vec<u8> = (0..4).map(|host| u8::from(host == victim)).collect();
    for at in [SECOND, 6 * SECOND] {
        plan.disturbances
            .push((at, Disturbance::Partition(alone.clone())));
        let someone = Disturbance::Crash(rng.index(4));
        plan.disturbances.push((at + 2 * SECOND, someone));
        plan.disturbances.push((at + 4 * SECOND, Disturbance::Heal));
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
