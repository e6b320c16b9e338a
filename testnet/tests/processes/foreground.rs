//! `tagma-testnet` as people use it: what is in front, what is left behind, what is refused.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tagma_testnet::Layout;
use tagma_testnet::process::{Activity, activity};

use crate::support::{testnet_program, turn, until, words};

fn testnet(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(testnet_program());
    command
        .args(arguments)
        .arg("--dir")
        .arg(directory)
        .stdin(Stdio::null());
    command
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    testnet(directory, arguments).output().unwrap()
}

/// A command in front, which is killed if its test fails.
struct Front(Child);

impl Drop for Front {
    fn drop(&mut self) {
        // It fails only if the command has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `up` in front, once it says that it is ready.
fn up(directory: &Path) -> Front {
    let child = testnet(directory, &["up", "--base-port", "auto"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut front = Front(child);
    let mut said = String::new();
    for line in BufReader::new(front.0.stdout.as_mut().unwrap()).lines() {
        said += &line.unwrap();
        said.push('\n');
        if said.contains("✔ ready") {
            return front;
        }
    }
    panic!("up ended without being ready: {:?}, after {said}", front.0.wait());
}

fn signal(front: &Front, what: Signal) {
    kill(Pid::from_raw(i32::try_from(front.0.id()).unwrap()), what).unwrap();
}

fn all_down(layout: &Layout) -> bool {
    (0..4).all(|node| activity(layout, node) == Activity::Down)
}

#[test]
fn ctrl_c_stops_every_process() {
    let _turn = turn();
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::new(directory.path().join("net"));
    let mut front = up(layout.root());
    assert!((0..4).all(|node| matches!(activity(&layout, node), Activity::Running { .. })));
    signal(&front, Signal::SIGINT);
    assert_eq!(front.0.wait().unwrap().code(), Some(130));
    assert!(all_down(&layout));
}

#[test]
fn no_process_outlives_a_killed_command() {
    let _turn = turn();
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::new(directory.path().join("net"));
    let mut front = up(layout.root());
    // A frozen node cannot end by itself.
    assert!(run(layout.root(), &["pause", "n1"]).status.success());
    assert!(matches!(activity(&layout, 1), Activity::Paused { .. }));
    signal(&front, Signal::SIGKILL);
    front.0.wait().unwrap();
    until("the end of all nodes", || all_down(&layout));
}

#[test]
fn a_detached_network_is_managed_by_later_commands() {
    let _turn = turn();
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::new(directory.path().join("net"));
    let root = layout.root();
    let expect = |code: i32, arguments: &[&str]| {
        let output = run(root, arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            words(&output)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // Whatever fails below, nothing stays behind.
    struct Down<'a>(&'a Path);
    impl Drop for Down<'_> {
        fn drop(&mut self) {
            drop(run(self.0, &["down"]));
        }
    }
    let _down = Down(root);

    let said = expect(0, &["up", "--detach", "--base-port", "auto", "--seed", "5"]);
    assert!(
        said.contains("n=4 f=1 quorum=3") && said.contains("one probe transfer committed"),
        "{said}"
    );
    assert!(said.contains("n0 PRIMARY"), "{said}");
    expect(2, &["up", "--detach"]);

    expect(0, &["check"]);
    expect(0, &["kill", "primary"]);
    expect(2, &["kill", "n0"]);
    // What answers agrees, but one does not answer.
    let said = expect(8, &["check", "--patience", "1s"]);
    assert!(said.contains("3/4 answer"), "{said}");
    expect(0, &["start", "n0"]);
    let said = expect(0, &["check", "--patience", "60s", "-o", "json"]);
    assert!(said.contains("\"verdict\": \"converged\""), "{said}");
    let said = expect(0, &["ps"]);
    assert_eq!(said.matches("running").count(), 4, "{said}");
    expect(0, &["restart", "2"]);
    expect(2, &["kill", "n4"]);

    expect(0, &["down"]);
    assert!(all_down(&layout));
    // The same chain goes on with the same data, but cannot be made differently.
    expect(2, &["up", "--detach", "-n", "7"]);
    expect(2, &["up", "--detach", "--seed", "6"]);
    let said = expect(0, &["up", "--detach"]);
    assert!(said.contains("✔ ready"), "{said}");
    let said = expect(0, &["check"]);
    assert!(said.contains("2 requests executed"), "{said}");
    expect(0, &["clean", "--yes"]);
    assert!(!root.exists() && all_down(&layout));
}

#[test]
fn sizes_that_bear_no_fault_more_and_busy_ports_are_refused() {
    let _turn = turn();
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("net");
    for size in ["3", "5", "6", "0"] {
        let output = run(&root, &["up", "--detach", "-n", size]);
        assert_eq!(output.status.code(), Some(2), "{}", words(&output));
        assert!(
            words(&output).contains("4 (f = 1), 7 (f = 2)"),
            "{}",
            words(&output)
        );
    }
    let lease = tagma_testnet::ports::Lease::find(4).unwrap();
    let taken = lease.base + 11;
    let _socket = UdpSocket::bind(("127.0.0.1", taken)).unwrap();
    let output = run(&root, &["up", "--detach", "--base-port", &lease.base.to_string()]);
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));
    let said = words(&output);
    assert!(
        said.contains(&format!("127.0.0.1:{taken} (n1, for clients)")),
        "{said}"
    );
    assert!(said.contains(&format!("pid {}", std::process::id())), "{said}");
}
