//! How the command is called, and how it says that it was called wrongly.

use std::fs;

use tagma_client::ExitCode;
use tempfile::TempDir;

use crate::support::{Fakes, soon};
use crate::{Ran, run, tagma};

#[tokio::test]
async fn the_exit_codes_stand_in_the_help() {
    let promised = [
        (0, "ok"),
        (1, "internal error"),
        (2, "usage"),
        (3, "configuration or genesis"),
        (4, "no quorum reachable"),
        (5, "timeout, outcome unknown"),
        (6, "rejected by the ledger"),
        (7, "verification failed"),
        (8, "degraded"),
        (9, "divergence or an unexpected verdict"),
        (10, "data directory locked or damaged"),
        (130, "interrupted"),
        (143, "terminated"),
    ];
    let all = ExitCode::ALL.map(|exit| (i32::from(exit.code()), exit.meaning()));
    assert_eq!(all, promised);
    let home = TempDir::new().unwrap();
    for args in [
        &["--help"][..],
        &["transfer", "--help"],
        &["tx", "--help"],
        &["status", "--help"],
    ] {
        let help = run(home.path(), args).await.exits(ExitCode::Ok).stdout;
        for (code, meaning) in promised {
            let line = format!("  {code:>3}  {meaning}");
            assert!(
                help.lines().any(|help| help == line),
                "{line:?} is not in {args:?}"
            );
        }
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_usage() {
    let home = TempDir::new().unwrap();
    for args in [
        &[][..],
        &["pay"],
        &["transfer", "alice", "bob"],
        &["transfer", "alice", "bob", "-1"],
        &["transfer", "alice", "bob", "18446744073709551616"],
        &["transfer", "alice", "bob", "1", "--timeout", "10"],
        &["tx", "status", "12ab"],
        &["-o", "xml", "status"],
        &["batch", "/nowhere", "--in-flight", "0"],
    ] {
        let ran = run(home.path(), args).await.exits(ExitCode::Usage);
        assert!(!ran.stderr.is_empty() && ran.stdout.is_empty(), "{args:?}");
    }
}

#[tokio::test]
async fn without_a_network_there_is_a_hint() {
    let home = TempDir::new().unwrap();
    run(home.path(), &["status"])
        .await
        .exits(ExitCode::Config)
        .warns("genesis.json")
        .warns("hint: ");
    fs::write(home.path().join("genesis.json"), "{}").unwrap();
    run(home.path(), &["status"])
        .await
        .exits(ExitCode::Config)
        .warns("genesis is not valid JSON")
        .warns("hint: ");
    let mut nowhere = tagma(home.path(), &["status"]);
    nowhere.env_remove("TAGMA_HOME").current_dir(home.path());
    let ran = Ran::of(soon("the command", nowhere.output()).await.unwrap());
    ran.exits(ExitCode::Config)
        .warns("no network found")
        .warns("hint: start one with `tagma-testnet up`");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_network_is_found_from_below_by_file_and_by_directory() {
    let fakes = Fakes::start(4);
    let place = TempDir::new().unwrap();
    let deep = place.path().join("some/where");
    fs::create_dir_all(&deep).unwrap();
    std::os::unix::fs::symlink(fakes.home(), place.path().join(".testnet")).unwrap();
    let genesis = fakes.home().join("genesis.json");
    let genesis = genesis.to_str().unwrap();
    let home = fakes.home().to_str().unwrap();
    for args in [
        &["balance", "bob"][..],
        &["--genesis", genesis, "balance", "bob"],
        &["balance", "bob", "--home", home],
    ] {
        let mut command = tagma(fakes.home(), args);
        command.env_remove("TAGMA_HOME").current_dir(&deep);
        let ran = Ran::of(soon("the command", command.output()).await.unwrap());
        ran.exits(ExitCode::Ok).says("1000  (");
    }
    // A flag wins against the environment.
    let mut command = tagma(place.path(), &["balance", "bob", "--home", home]);
    let ran = Ran::of(soon("the command", command.output()).await.unwrap());
    ran.exits(ExitCode::Ok);
}

#[tokio::test]
async fn shells_get_their_completions() {
    let home = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        run(home.path(), &["completions", shell])
            .await
            .exits(ExitCode::Ok)
            .says("transfer");
    }
}
