//! The audit of simulated runs: whoever forks a chain is convicted, and nobody who is honest ever is, whatever happens to it
//! (OP3, PS6).
#![allow(clippy::panic, reason = "a failed expectation is a failed test")]

use tagma_pbft::ReplicaId;
use tagma_sim::audit::run;
use tagma_sim::schedule::{Disturbance, Plan, Wishes};
use tagma_sim::time::{MILLI, SECOND};

/// Power cuts, crashes at boundaries, cut links, loss: everything that happens to honest replicas.
fn unlucky(seed: u64, nodes: u16) -> Plan {
    let wishes = Wishes {
        nodes: Some(nodes),
        seconds: Some(6),
    };
    let mut plan = Plan::from_seed(seed, &wishes);
    plan.byzantine.clear();
    plan.twins.clear();
    plan.disturbances
        .retain(|(_, what)| !matches!(what, Disturbance::Wipe(..) | Disturbance::FlipBits(..)));
    // Hosts of twins are gone.
    let hosts = plan.hosts();
    for (_, what) in &mut plan.disturbances {
        if let Disturbance::Partition(sides) = what {
            sides.truncate(hosts);
        }
    }
    plan.clients.truncate(2);
    plan
}

#[test]
fn honest_runs_convict_nobody() {
    for (nodes, seeds) in [(4, 0..120), (7, 0..20)] {
        for seed in seeds {
            let mut plan = unlucky(seed, nodes);
            plan.disturbances
                .retain(|(_, what)| fits(what, usize::from(nodes)));
            let audited = run(&plan);
            assert_eq!(audited.outcome.failure, None, "seed {seed} of {nodes}");
            assert!(audited.faulty.is_empty());
            assert!(audited.audit.forks.is_empty(), "seed {seed} of {nodes}");
            let culprits = audited.audit.culprits();
            assert!(
                culprits.is_empty(),
                "seed {seed} of {nodes} accuses {culprits:?}: {:?}",
                audited.audit.convicted
            );
        }
    }
}

fn fits(what: &Disturbance, hosts: usize) -> bool {
    match what {
        Disturbance::Crash(host)
        | Disturbance::Arm(host, _)
        | Disturbance::SlowHost(host, _)
        | Disturbance::SlowDisk(host, _)
        | Disturbance::FailSync(host)
        | Disturbance::Skew(host, _)
        | Disturbance::Pause(host, _)
        | Disturbance::FullDisk(host)
        | Disturbance::FreeDisk(host) => *host < hosts,
        Disturbance::Cut(a, b) | Disturbance::Reconnect(a, b) => *a < hosts && *b < hosts,
        _ => true,
    }
}

#[test]
fn at_most_f_traitors_fork_nothing_and_only_they_are_convicted() {
    let mut convicted = 0;
    for (nodes, seeds) in [(4, 1000..1120), (7, 1000..1030)] {
        for seed in seeds {
            let wishes = Wishes {
                nodes: Some(nodes),
                seconds: Some(6),
            };
            let mut plan = Plan::from_seed(seed, &wishes);
            plan.clients.truncate(2);
            let audited = run(&plan);
            assert_eq!(audited.outcome.failure, None, "seed {seed} of {nodes}");
            assert!(audited.audit.forks.is_empty(), "seed {seed} of {nodes}");
            let wronged = audited.wronged();
            assert!(
                wronged.is_empty(),
                "seed {seed} of {nodes} wrongs {wronged:?}: {:?}",
                audited.audit.convicted
            );
            convicted += usize::from(!audited.audit.convicted.is_empty());
        }
    }
    assert!(convicted >= 20, "only {convicted} runs convict anybody");
}

/// So many replicas run twice, and the network is divided into two sides that each have one of each pair, and a quorum.
fn divided(seed: u64, nodes: u16, twins: u16) -> Plan {
    let mut plan = Plan::calm(seed, nodes);
    plan.twins = (0..twins).map(ReplicaId::new).collect();
    let f = (nodes - 1) / 3;
    // On the first side the twinned and as many others as make a quorum; on the second one the other twins and the rest.
    let first = (0..nodes).map(|id| u8::from(id > 2 * f));
    let sides: Vec<u8> = first.chain((0..twins).map(|_| 1)).collect();
    plan.disturbances = vec![(MILLI, Disturbance::Partition(sides))];
    plan.heal_at = 6 * SECOND;
    plan
}

/// How many runs forked in one view, and in different ones.
fn convicts_the_forkers(plans: impl Iterator<Item = (Plan, u16)>) -> (usize, usize) {
    let (mut same, mut different) = (0, 0);
    for (plan, twins) in plans {
        let (seed, nodes) = (plan.seed, plan.chain.replicas);
        let audited = run(&plan);
        assert!(
            audited.outcome.failure.is_some(),
            "seed {seed} of {nodes}: nothing is wrong"
        );
        let Some(fork) = audited.audit.forks.first() else {
            panic!("seed {seed} of {nodes}: the audit sees no fork")
        };
        if fork.first.view == fork.second.view {
            same += 1;
        } else {
            different += 1;
        }
        let weak = usize::from((nodes - 1) / 3 + 1);
        assert!(
            fork.culprits.len() >= weak,
            "seed {seed} of {nodes} with {twins} twins: {:?} blames {:?}",
            fork.explanation,
            fork.culprits
        );
        let culprits = audited.audit.culprits();
        assert!(fork.culprits.is_subset(&culprits));
        let wronged = audited.wronged();
        assert!(wronged.is_empty(), "seed {seed} of {nodes} wrongs {wronged:?}");
    }
    (same, different)
}

#[test]
fn whoever_forks_the_chain_is_convicted() {
    let four = (0..12).map(|seed| (divided(seed, 4, 2), 2));
    let seven = (0..4).flat_map(|seed| [3, 4].map(|twins| (divided(seed, 7, twins), twins)));
    let (same, _) = convicts_the_forkers(four.chain(seven));
    assert!(same > 0, "no run forks within a view");
}
