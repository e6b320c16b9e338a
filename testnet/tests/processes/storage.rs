//! A disk that takes no more: the replica ends at once and says why, the others go on, and it is back when there is room.

use std::process::{Child, Command, Stdio};

use tagma_testnet::load::Pace;

use crate::support::{PATIENCE, Running, programs, until, until_acknowledged};

/// The exit code for a data directory that cannot be used.
const DATA: i32 = 10;
/// No file may grow beyond so many blocks of 512 or 1024 bytes, as the shell counts; more than a start writes.
const MOST_BLOCKS: u32 = 2048;

/// A process that is killed if its test fails.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // It fails only if the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_replica_whose_disk_is_full_exits_with_10_and_comes_back_when_there_is_room() {
    let mut net = Running::start(4);
    let node = (net.primary() + 1) % 4;
    net.kill(node);
    let script = format!("ulimit -f {MOST_BLOCKS}; exec \"$0\" start --home \"$1\"");
    let mut limited = Guarded(
        Command::new("sh")
            .arg("-c")
            .arg(script)
            .arg(&programs().node)
            .arg(net.network.layout().home(node))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let load = net.load(Pace::full(PATIENCE));
    until("the end of the replica whose disk is full", || {
        limited.0.try_wait().unwrap().is_some()
    });
    let status = limited.0.wait().unwrap();
    let mut log = String::new();
    std::io::Read::read_to_string(limited.0.stderr.as_mut().unwrap(), &mut log).unwrap();
    assert_eq!(status.code(), Some(DATA), "{status}: {log}");
    assert!(log.contains("error: the storage failed"), "{log}");

    let before = load.acknowledged();
    until_acknowledged(&load, before);
    net.network.start(node).unwrap();
    let nodes = net.network.nodes();
    net.wait_ready(&nodes);
    let paid = net.runtime.block_on(load.finish()).unwrap();
    assert_eq!(net.check().executed, paid.len());
}
