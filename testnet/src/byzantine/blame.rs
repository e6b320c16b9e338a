//! Whom the replicas of a network accuse, and whether they can prove it.

use std::collections::BTreeMap;

use tagma_node::cli::{HomeArgs, RecordedFault, recorded_faults};

use crate::error::Error;
use crate::network::Network;
use crate::observe::Metrics;

/// The provable faults in the stores of replicas that are down, by replica; each proof is checked again.
///
/// # Errors
/// If a replica is running, or its store cannot be read.
pub fn recorded(network: &Network, nodes: &[u16]) -> Result<BTreeMap<u16, Vec<RecordedFault>>, Error> {
    let mut all = BTreeMap::new();
    for node in nodes {
        let home = HomeArgs::of(network.layout().home(*node));
        all.insert(*node, recorded_faults(&home)?);
    }
    Ok(all)
}

/// How many provable faults a running replica counts of each other one since its start.
///
/// # Errors
/// If it does not answer.
pub fn counted(network: &Network, by: u16) -> Result<BTreeMap<u16, f64>, Error> {
    let metrics = Metrics::of(network.genesis(), by)?;
    let of = |node: u16| metrics.sum("tagma_equivocations_total", &[("peer", &node.to_string())]);
    Ok(network
        .nodes()
        .into_iter()
        .map(|node| (node, of(node)))
        .filter(|(_, count)| *count > 0.0)
        .collect())
}
