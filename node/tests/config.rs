//! Settings: strict, layered, and checked against genesis.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tagma_ledger::Parameters;
use tagma_node::config::{Config, ConfigError, Layered, Layers, Origin};

/// The layers of a file with this text, these variables and these flags.
fn load(text: &str, environment: &[(&str, &str)], flags: &[&str]) -> Result<Layered, ConfigError> {
    let root = tempfile::tempdir().unwrap();
    let file: PathBuf = root.path().join("config.toml");
    std::fs::write(&file, text).unwrap();
    let variable = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let environment: BTreeMap<_, _> = environment.iter().map(variable).collect();
    let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    Layers {
        file: Some(file),
        environment,
        flags,
    }
    .load()
}

#[test]
fn an_empty_file_gives_the_defaults() {
    assert_eq!(load("", &[], &[]).unwrap().config, Config::default());
    let layers = Layers {
        file: Some(PathBuf::from("/nonexistent/config.toml")),
        ..Layers::default()
    };
    assert_eq!(layers.load().unwrap().config, Config::default());
}

#[test]
fn flags_win_over_environment_over_file_over_default() {
    let file = "[consensus]\nrequest_timeout = \"3s\"\nfetch_timeout = \"3s\"\nstatus_interval = \"3s\"\n";
    let environment = [
        ("TAGMA_CONSENSUS_REQUEST_TIMEOUT", "4s"),
        ("TAGMA_CONSENSUS_FETCH_TIMEOUT", "4s"),
    ];
    let layered = load(file, &environment, &["consensus.request_timeout=5s"]).unwrap();
    let consensus = &layered.config.consensus;
    assert_eq!(consensus.request_timeout.0, Duration::from_secs(5));
    assert_eq!(consensus.fetch_timeout.0, Duration::from_secs(4));
    assert_eq!(consensus.status_interval.0, Duration::from_secs(3));
    let origin = |wanted: &str| {
        let found = layered.values().find(|(key, _, _)| *key == wanted);
        found.map(|(_, _, origin)| origin.clone()).unwrap()
    };
    assert_eq!(origin("consensus.request_timeout"), Origin::Flag);
    let variable = "TAGMA_CONSENSUS_FETCH_TIMEOUT".to_owned();
    assert_eq!(origin("consensus.fetch_timeout"), Origin::Environment(variable));
    assert!(matches!(origin("consensus.status_interval"), Origin::File(_)));
    assert_eq!(origin("log.filter"), Origin::Default);
}

#[test]
fn unknown_keys_are_errors_with_a_suggestion() {
    let suggestion = |text: &str, flags: &[&str]| match load(text, &[], flags).unwrap_err() {
        ConfigError::UnknownKey { suggestion, .. } => suggestion,
        other => panic!("{other}"),
    };
    let slip = suggestion("[consensus]\nrequest_timout = \"3s\"\n", &[]);
    assert_eq!(slip.as_deref(), Some("consensus.request_timeout"));
    let misplaced = suggestion("block_cache = \"3MiB\"\n", &[]);
    assert_eq!(misplaced.as_deref(), Some("storage.block_cache"));
    assert_eq!(
        suggestion("", &["log.fliter=debug"]).as_deref(),
        Some("log.filter")
    );
    assert_eq!(suggestion("[nonsense]\nwhatever = 1\n", &[]), None);
}

#[test]
fn values_that_do_not_fit_are_named_with_their_origin() {
    let error = load("[consensus]\nrequest_timeout = \"soon\"\n", &[], &[])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("consensus.request_timeout") && error.contains("config.toml"),
        "{error}"
    );
    let error = load("", &[("TAGMA_CONSENSUS_MAX_IN_FLIGHT", "-1")], &[])
        .unwrap_err()
        .to_string();
    assert!(error.contains("TAGMA_CONSENSUS_MAX_IN_FLIGHT"), "{error}");
    assert_eq!(
        load("", &[], &["log.filter"]).unwrap_err(),
        ConfigError::Flag("log.filter".to_owned())
    );
    assert!(matches!(
        load("no toml", &[], &[]),
        Err(ConfigError::Parse { .. })
    ));
}

#[test]
fn settings_must_fit_genesis() {
    let genesis = support::genesis(4, Parameters::default());
    let check = |flag: &str| load("", &[], &[flag]).unwrap().config.check(&genesis);
    assert_eq!(Config::default().check(&genesis), Ok(()));
    for flag in [
        "consensus.request_timeout=0s",
        "consensus.view_change_timeout_max=1s",
        "consensus.max_in_flight=0",
        "consensus.forward_room=0",
        "storage.block_cache=1KiB",
        "network.peer_addresses.4=127.0.0.1:1",
    ] {
        assert!(check(flag).is_err(), "{flag}");
    }
    assert_eq!(Config::default().consensus.tuning(8).max_in_flight, 8);
    let config = load("", &[], &["network.peer_addresses.2=127.0.0.1:9"])
        .unwrap()
        .config;
    config.check(&genesis).unwrap();
    let infos = config.peer_infos(&genesis).unwrap();
    let addresses: Vec<String> = infos.iter().map(|info| info.address.to_string()).collect();
    let expected = |id: u16| genesis.replica(id).unwrap().peer_address.to_string();
    assert_eq!(
        addresses,
        [expected(0), expected(1), "127.0.0.1:9".to_owned(), expected(3)]
    );
    let listen = load("", &[], &["network.peer_listen=127.0.0.1:8"])
        .unwrap()
        .config;
    let me = genesis.replica(0).unwrap();
    assert_eq!(
        listen.peers(&genesis, me).unwrap().listen.to_string(),
        "127.0.0.1:8"
    );
    assert_eq!(listen.http(me).unwrap().to_string(), me.http_address.to_string());
    assert!(Config::default().http(me).is_ok());
    let bad = load("", &[], &["network.peer_listen=nowhere"]).unwrap().config;
    assert!(bad.peers(&genesis, me).is_err());
}
