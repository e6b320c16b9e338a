//! The normal case costs what the paper says.

use tagma_testnet::Network;
use tagma_testnet::bench::messages::{Counts, measure, model};

use crate::support::{programs, runtime, turn};

fn count(nodes: u16) -> Counts {
    let _turn = turn();
    runtime()
        .block_on(measure(Network::ephemeral(nodes, programs()).unwrap(), 20))
        .unwrap()
}

#[test]
fn a_batch_costs_2n_times_n_minus_1_messages() {
    for nodes in [4, 7] {
        let counts = count(nodes);
        let others = u64::from(nodes) - 1;
        assert_eq!(counts.batches, 20, "{counts:?}");
        assert_eq!(counts.pre_prepares, counts.batches * others, "{counts:?}");
        assert_eq!(counts.prepares, counts.batches * others * others, "{counts:?}");
        assert_eq!(
            counts.commits,
            counts.batches * (others + 1) * others,
            "{counts:?}"
        );
        assert!(counts.is_as_modelled());
        assert_eq!(counts.model, model(nodes));
    }
}
