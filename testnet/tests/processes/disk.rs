//! A disk that loses its room under a running replica, and gets it back.

use tagma_testnet::disk;
use tagma_testnet::load::Pace;
use tagma_testnet::process::Activity;

use crate::support::{PATIENCE, Running, log, until};

#[test]
fn a_running_replica_ends_when_its_disk_is_full_and_cannot_start_until_there_is_room() {
    let mut net = Running::start(4);
    let node = 2;
    let load = net.load(Pace::full(PATIENCE));
    until("the first acknowledgement", || load.acknowledged() > 0);
    disk::set_full(&mut net.network, node, true).unwrap();
    until("the end of the replica without room", || {
        net.network.activity(node) == Activity::Down
    });
    assert!(log(net.network.layout(), node).contains("error: the storage failed"));
    let before = load.acknowledged();
    until("the others go on", || load.acknowledged() > before + 20);

    net.network.start(node).unwrap();
    until("the end of the replica that finds no room", || {
        net.network.activity(node) == Activity::Down
    });
    disk::set_full(&mut net.network, node, false).unwrap();
    net.network.start(node).unwrap();
    let nodes = net.network.nodes();
    net.wait_ready(&nodes);
    let paid = net.runtime.block_on(load.finish()).unwrap();
    assert_eq!(net.check().executed, paid.len());
}
