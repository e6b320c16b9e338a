//! Replicas with different genesis files refuse each other, and say why.

use std::fs;

use tagma_ledger::Parameters;
use tagma_testnet::plan::{Extras, Plan};
use tagma_testnet::ports::Lease;
use tagma_testnet::process::Lifetime;
use tagma_testnet::{Layout, Network};

use crate::support::{programs, turn, until};

#[test]
fn replicas_of_different_genesis_refuse_each_other_and_name_both_chains() {
    let _turn = turn();
    let lease = Lease::find(4).unwrap();
    let directory = tempfile::tempdir().unwrap();
    // The same seed gives the same keys and the same ports; one number in genesis differs.
    let network = |name: &str, max_batch_requests| {
        let plan = Plan {
            replicas: 4,
            seed: Some(7),
            base_port: lease.base,
            parameters: Parameters {
                max_batch_requests,
                ..Parameters::default()
            },
            extras: Extras::default(),
        };
        let layout = Layout::new(directory.path().join(name));
        Network::create(layout, &plan, programs(), Lifetime::WithParent).unwrap()
    };
    let mut ours = network("ours", 100);
    let mut theirs = network("theirs", 101);
    let chains = [&ours, &theirs].map(|network| network.genesis().chain_id().to_string());
    assert_ne!(chains[0], chains[1]);

    ours.start(0).unwrap();
    theirs.start(1).unwrap();
    for (name, layout, node) in [("ours", ours.layout(), 0), ("theirs", theirs.layout(), 1)] {
        until(&format!("both chain ids in the log of n{node} ({name})"), || {
            let log = fs::read_to_string(layout.log(node)).unwrap_or_default();
            chains.iter().all(|chain| log.contains(chain.as_str()))
        });
    }
}
