//! Nothing that can be injected is left out of the random plans.
#![allow(clippy::panic, reason = "a failed expectation is a failed test")]

use std::collections::BTreeSet;

use tagma_sim::byzantine::Kind;
use tagma_sim::clients::Manner;
use tagma_sim::schedule::{Disturbance, Plan, Wishes};

#[test]
fn two_thousand_seeds_plan_every_fault_every_behaviour_and_every_manner() {
    let (mut faults, mut kinds, mut manners) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut twins = 0;
    for seed in 0..2000 {
        let plan = Plan::from_seed(seed, &Wishes::default());
        faults.extend(
            plan.disturbances
                .iter()
                .map(|(_, disturbance)| disturbance.name()),
        );
        kinds.extend(plan.byzantine.iter().flat_map(|(_, kinds)| kinds.iter().copied()));
        manners.extend(plan.clients.iter().copied());
        twins += plan.twins.len();
        assert!(
            plan.twins.len() + plan.byzantine.len() <= plan.faults(),
            "seed {seed}: never more than f"
        );
    }
    let named: BTreeSet<&str> = Disturbance::NAMES.into_iter().collect();
    assert_eq!(faults, named);
    assert_eq!(kinds.len(), Kind::ALL.len());
    assert_eq!(manners.len(), Manner::ALL.len());
    assert!(twins > 20);
}
