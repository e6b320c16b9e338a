//! The `tagma-node` command as a process: its life, its refusals and its exit codes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{network_key, vote_key};
use tagma_ledger::{Genesis, Parameters};

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagma-node"));
    command.env_clear();
    command
}

fn run(args: &[&str]) -> Output {
    command().args(args).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A directory with a genesis file and the keys of replica 0.
struct Files {
    root: tempfile::TempDir,
    genesis: Genesis,
}

impl Files {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let genesis = support::genesis(4, Parameters::default());
        std::fs::write(root.path().join("genesis.json"), genesis.to_json()).unwrap();
        vote_key(0).save(&root.path().join("vote.key")).unwrap();
        network_key(0).save(&root.path().join("network.key")).unwrap();
        Self { root, genesis }
    }

    fn path(&self, name: &str) -> String {
        self.root.path().join(name).display().to_string()
    }

    fn init(&self, id: &str) -> Output {
        let (genesis, home) = (self.path("genesis.json"), self.path("home"));
        let (vote, network) = (self.path("vote.key"), self.path("network.key"));
        run(&[
            "init",
            "--genesis",
            &genesis,
            "--id",
            id,
            "--home",
            &home,
            "--vote-key",
            &vote,
            "--network-key",
            &network,
        ])
    }
}

/// A running replica; killed if the test fails before it is stopped.
struct Running(Child, BufReader<std::process::ChildStdout>);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or it ends now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(home: &str) -> Self {
        let mut child = command()
            .args(["start", "--home", home])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.starts_with("ready replica=0 chain="), "{line:?}");
        Self(child, stdout)
    }

    fn stop(mut self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
        let mut rest = String::new();
        self.1.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "stdout has one line");
    }
}

#[test]
fn a_replica_starts_answers_and_stops() {
    let files = Files::new();
    assert_eq!(files.init("0").status.code(), Some(0));
    let home = files.path("home");
    let keys = Path::new(&home).join("keys");
    for name in ["replica.key", "network.key"] {
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&keys.join(name).metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(
        run(&["status", "--home", &home]).status.code(),
        Some(4),
        "nobody answers yet"
    );

    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let running = Running::start(&home);
        let status = run(&["status", "--home", &home, "-o", "json"]);
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        assert_eq!(status["schema"], "status/v1");
        assert_eq!(status["chain"], files.genesis.chain_id().to_string());
        assert_eq!(status["executed"], "0", "integers that may pass 2^53 are text");
        assert_eq!(status["standing"], "starting", "alone it hears from nobody");

        // The data belongs to the running process, whose id is named.
        for args in [
            vec!["start", "--home", &home],
            vec!["inspect", "vote", "--home", &home],
        ] {
            let refused = run(&args);
            assert_eq!(refused.status.code(), Some(10), "{args:?}");
            let holder = format!("process {}", running.0.id());
            assert!(stderr(&refused).contains(&holder), "{}", stderr(&refused));
        }
        running.stop(signal);
    }

    let vote = run(&["inspect", "vote", "--home", &home]);
    assert!(
        String::from_utf8_lossy(&vote.stdout).starts_with("voter"),
        "{vote:?}"
    );
    let block = run(&["inspect", "block", "0", "--home", &home]);
    let block: serde_json::Value = serde_json::from_slice(&block.stdout).unwrap();
    assert_eq!(block["height"], "0");
    assert_eq!(
        run(&["inspect", "block", "1", "--home", &home]).status.code(),
        Some(7)
    );
    let evidence = run(&["inspect", "evidence", "--home", &home]);
    assert_eq!(String::from_utf8_lossy(&evidence.stdout), "no evidence\n");
    let verify = run(&["verify", "--home", &home]);
    assert!(
        String::from_utf8_lossy(&verify.stdout).starts_with("valid height=0"),
        "{verify:?}"
    );
    assert_eq!(run(&["config", "check", "--home", &home]).status.code(), Some(0));
}

#[test]
fn http_answers_for_people_and_monitors() {
    let files = Files::new();
    assert_eq!(files.init("0").status.code(), Some(0));
    let running = Running::start(&files.path("home"));
    let address = files.genesis.replica(0).unwrap().http_address.to_string();
    let get = |path: &str| {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let code = answer.split_whitespace().nth(1).unwrap().parse::<u16>().unwrap();
        (code, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    };
    assert_eq!(get("/livez"), (200, "ok\n".to_owned()));
    let (code, ready) = get("/readyz?verbose");
    assert_eq!(code, 503);
    assert!(ready.contains("[-] connected: 1 of 4, quorum 3"), "{ready}");
    assert_eq!(get("/readyz"), (503, "not ready\n".to_owned()));
    let (_, metrics) = get("/metrics");
    for line in [
        "tagma_build_info{version=",
        "tagma_view 0",
        "tagma_executed_sequence 0",
        "tagma_replica_status{standing=\"starting\"} 1",
        "tagma_peer_connected{peer=\"1\"} 0",
        "tagma_storage_memory_bytes{part=\"memtables\"}",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    let account = files.genesis.accounts[0].key;
    let (code, body) = get(&format!("/v1/accounts/{account}"));
    assert_eq!(code, 200);
    assert!(body.contains("\"balance\":\"1000000\""), "{body}");
    assert_eq!(get("/v1/accounts/xyz").0, 400);
    assert_eq!(get(&format!("/v1/accounts/{}", "00".repeat(32))).0, 404);
    assert_eq!(get("/v1/blocks/0").0, 200);
    assert_eq!(get("/v1/blocks/1").0, 404);
    assert_eq!(get("/v1/blocks/x").0, 400);
    assert_eq!(get("/elsewhere").0, 404);
    running.stop(Signal::SIGTERM);
}

#[test]
fn init_never_overwrites_and_checks_what_it_is_given() {
    let files = Files::new();
    let wrong = files.init("1");
    assert_eq!(wrong.status.code(), Some(3), "the keys are replica 0's");
    assert!(
        stderr(&wrong).contains("not that of replica 1"),
        "{}",
        stderr(&wrong)
    );
    assert_eq!(files.init("9").status.code(), Some(3), "there is no replica 9");
    assert_eq!(files.init("0").status.code(), Some(0));
    let again = files.init("0");
    assert_eq!(again.status.code(), Some(3));
    assert!(stderr(&again).contains("exists already"), "{}", stderr(&again));
}

#[test]
fn keys_come_from_stdin_or_are_made_in_the_home() {
    let files = Files::new();
    let (genesis, home) = (files.path("genesis.json"), files.path("home"));
    let mut child = command()
        .args([
            "init",
            "--genesis",
            &genesis,
            "--id",
            "0",
            "--home",
            &home,
            "--keys-from-stdin",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for name in ["vote.key", "network.key"] {
        stdin
            .write_all(&std::fs::read(files.path(name)).unwrap())
            .unwrap();
    }
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let shown = run(&["keys", "show", "--home", &home, "-o", "json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["vote_key"], vote_key(0).public().to_string());
    assert_eq!(shown["network_key"], network_key(0).public().to_string());

    let other = files.path("other");
    assert_eq!(
        run(&["keys", "generate", "--home", &other]).status.code(),
        Some(0)
    );
    assert_eq!(
        run(&["keys", "generate", "--home", &other]).status.code(),
        Some(3),
        "keys are never overwritten"
    );
}

#[test]
fn another_genesis_is_refused_with_both_ids() {
    let files = Files::new();
    assert_eq!(files.init("0").status.code(), Some(0));
    let home = files.path("home");
    let other = Genesis {
        time_ms: files.genesis.time_ms + 1,
        ..files.genesis.clone()
    };
    std::fs::write(PathBuf::from(&home).join("genesis.json"), other.to_json()).unwrap();
    for command in ["start", "verify"] {
        let refused = run(&[command, "--home", &home]);
        assert_eq!(refused.status.code(), Some(3), "{command}");
        let text = stderr(&refused);
        assert!(text.contains(&files.genesis.chain_id().to_string()), "{text}");
        assert!(text.contains(&other.chain_id().to_string()), "{text}");
        assert!(text.contains("hint:"), "{text}");
    }
}

#[test]
fn mistakes_have_their_exit_codes() {
    assert_eq!(run(&[]).status.code(), Some(2));
    assert_eq!(run(&["fly"]).status.code(), Some(2));
    assert_eq!(run(&["start"]).status.code(), Some(2), "no home");
    assert_eq!(run(&["start", "--home", "/nonexistent"]).status.code(), Some(3));
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("10 data directory locked or damaged"));

    let files = Files::new();
    assert_eq!(files.init("0").status.code(), Some(0));
    let home = files.path("home");
    let unknown = run(&[
        "config",
        "show",
        "--home",
        &home,
        "--set",
        "consensus.request_timout=1s",
    ]);
    assert_eq!(unknown.status.code(), Some(3));
    assert!(
        stderr(&unknown).contains("did you mean `consensus.request_timeout`?"),
        "{}",
        stderr(&unknown)
    );
    let shown = run(&[
        "config",
        "show",
        "--home",
        &home,
        "--origin",
        "--set",
        "log.filter=warn",
    ]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("log.filter = \"warn\"  # --set"), "{shown}");
}
