//! The normal case costs what the paper says.

use tagma_testnet::bench::messages::{Counts, measure, model, network, parameters, standby_model};

use crate::support::{programs, runtime, turn};

/// Measurements of one size before giving up on one without a view change.
const ATTEMPTS: usize = 5;

/// Counts over 20 batches of the normal case: on a machine that is too busy a primary may seem dead, and then the count is
/// of something else.
fn count(nodes: u16, standby: bool) -> Counts {
    let _turn = turn();
    let measure = |_| {
        let network = network(nodes, programs(), parameters(nodes), standby).unwrap();
        runtime().block_on(measure(network, 20)).unwrap()
    };
    let mut attempts = (0..ATTEMPTS).map(measure);
    attempts
        .find(|counts| counts.view_changes == 0)
        .expect("a measurement without a view change")
}

#[test]
fn a_batch_costs_2n_times_n_minus_1_messages() {
    for nodes in [4, 7] {
        let counts = count(nodes, false);
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

#[test]
fn with_f_standing_by_only_a_quorum_votes() {
    let counts = count(4, true);
    let votes = (counts.pre_prepares, counts.prepares, counts.commits);
    assert_eq!(counts.batches, 20, "{counts:?}");
    assert_eq!(votes, (20 * 3, 20 * 2 * 3, 20 * 3 * 3), "{counts:?}");
    assert_eq!(votes.0 + votes.1 + votes.2, 20 * standby_model(4));
}
