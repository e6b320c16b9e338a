//! Genesis: what is accepted, what is refused and why, and what the chain id covers (PS7, CR3).

use crate::common::{genesis, key, replica, small_order_key};
use std::path::Path;
use tagma_crypto::encode::{List, MAX_INPUT, decode, encode};
use tagma_ledger::{Genesis, GenesisAccount, GenesisError};

fn with_replicas(count: u16) -> Genesis {
    Genesis {
        replicas: (0..count).map(replica).collect(),
        ..genesis(&[1])
    }
}

fn change<T: Clone>(list: &mut List<T>, at: usize, change: impl FnOnce(&mut T)) {
    let mut items = list.to_vec();
    change(&mut items[at]);
    *list = items.into();
}

#[test]
fn every_3f_plus_1_is_a_size_and_no_other() {
    for count in 0..=101u16 {
        let verdict = with_replicas(count).validate();
        if count >= 4 && count % 3 == 1 && count <= 31 {
            assert_eq!(verdict, Ok(()), "{count} replicas");
        } else if count < 4 || count % 3 != 1 || count > 100 {
            assert!(
                matches!(verdict, Err(GenesisError::ReplicaCount { .. })),
                "{count} replicas: {verdict:?}"
            );
        }
    }
    let message = |count| with_replicas(count).validate().unwrap_err().to_string();
    assert_eq!(
        message(0),
        "0 replicas: N must be 3f + 1, the next valid sizes are 4"
    );
    assert_eq!(
        message(3),
        "3 replicas: N must be 3f + 1, the next valid sizes are 4"
    );
    assert_eq!(
        message(5),
        "5 replicas: N must be 3f + 1, the next valid sizes are 4 and 7"
    );
    assert_eq!(
        message(6),
        "6 replicas: N must be 3f + 1, the next valid sizes are 4 and 7"
    );
    assert_eq!(
        message(99),
        "99 replicas: N must be 3f + 1, the next valid sizes are 97 and 100"
    );
    assert_eq!(
        message(101),
        "101 replicas: N must be 3f + 1, the next valid sizes are 100"
    );
    assert_eq!(
        message(140),
        "140 replicas: N must be 3f + 1, the next valid sizes are 100"
    );
}

/// A change that makes a good genesis bad, and a part of what is said about it.
type Case = (&'static str, fn(&mut Genesis));

#[test]
fn what_is_wrong_is_refused_by_name() {
    let cases: &[Case] = &[
        ("chain_name \"\"", |g| g.chain_name = "".into()),
        ("chain_name \"a b\"", |g| g.chain_name = "a b".into()),
        ("chain_name \"xx", |g| g.chain_name = "x".repeat(65).into()),
        ("position 2 has id 3", |g| {
            change(&mut g.replicas, 2, |r| r.id = 3);
        }),
        ("replica 1 vote_key: key", |g| {
            change(&mut g.replicas, 1, |r| r.vote_key = small_order_key());
        }),
        ("is not acceptable", |g| {
            change(&mut g.replicas, 1, |r| r.network_key = small_order_key());
        }),
        ("replica 3 vote_key: key", |g| {
            change(&mut g.replicas, 3, |r| r.vote_key = key(1000));
        }),
        ("is used already", |g| {
            change(&mut g.replicas, 3, |r| r.vote_key = key(1000));
        }),
        ("replica 0 network_key: key", |g| {
            change(&mut g.replicas, 0, |r| r.network_key = r.vote_key);
        }),
        ("replica 2 network_key: key", |g| {
            change(&mut g.replicas, 2, |r| r.network_key = key(1001));
        }),
        ("replica 0: peer_address \"localhost:1\"", |g| {
            change(&mut g.replicas, 0, |r| r.peer_address = "localhost:1".into());
        }),
        ("replica 0: client_address \"127.0.0.1:0\"", |g| {
            change(&mut g.replicas, 0, |r| r.client_address = "127.0.0.1:0".into());
        }),
        ("replica 0: http_address \"[::01]:80\"", |g| {
            change(&mut g.replicas, 0, |r| r.http_address = "[::01]:80".into());
        }),
        ("replica 1: peer_address 127.0.0.1:7401 is used already", |g| {
            change(&mut g.replicas, 1, |r| r.peer_address = "127.0.0.1:7401".into());
        }),
        ("replica 1: http_address 127.0.0.1:7402 is used already", |g| {
            change(&mut g.replicas, 1, |r| r.http_address = "127.0.0.1:7402".into());
        }),
        ("at least one account", |g| g.accounts = List::new()),
        ("account at position 0: key", |g| {
            change(&mut g.accounts, 0, |a| a.key = small_order_key());
        }),
        ("account at position 1: key", |g| {
            change(&mut g.accounts, 1, |a| a.key = key(0));
        }),
        ("account name \"a/b\"", |g| {
            change(&mut g.accounts, 0, |a| a.name = Some("a/b".into()));
        }),
        ("account name \"twin\" is used already", |g| {
            change(&mut g.accounts, 0, |a| a.name = Some("twin".into()));
            change(&mut g.accounts, 1, |a| a.name = Some("twin".into()));
        }),
        ("sum of all balances", |g| {
            change(&mut g.accounts, 0, |a| a.balance = u64::MAX);
        }),
        ("parameter checkpoint_interval is 0", |g| {
            g.parameters.checkpoint_interval = 0;
        }),
        ("parameter window is 9, expected a multiple", |g| {
            g.parameters.window = 9;
        }),
        ("parameter window is 4, expected from 8", |g| {
            g.parameters.window = 4;
        }),
        ("parameter window is 131072, expected small enough", |g| {
            g.parameters.window = 1 << 17;
        }),
        ("parameter max_request_bytes is 100", |g| {
            g.parameters.max_request_bytes = 100;
        }),
        ("parameter max_batch_requests is 0", |g| {
            g.parameters.max_batch_requests = 0;
        }),
        ("parameter max_batch_bytes is 1024", |g| {
            g.parameters.max_batch_bytes = 1024;
        }),
        ("parameter max_batch_bytes is 33554432", |g| {
            g.parameters.max_batch_bytes = 32 << 20;
        }),
        ("parameter lookahead is 0", |g| g.parameters.lookahead = 0),
        ("parameter bucket_count is 12, expected a power of two", |g| {
            g.parameters.bucket_count = 12;
        }),
        ("parameter bucket_count is 0", |g| g.parameters.bucket_count = 0),
        ("parameter max_clock_drift_ms is 0", |g| {
            g.parameters.max_clock_drift_ms = 0;
        }),
    ];
    genesis(&[1, 2]).validate().unwrap();
    for (expected, spoil) in cases {
        let mut genesis = genesis(&[1, 2]);
        spoil(&mut genesis);
        let error = genesis.validate().expect_err(expected).to_string();
        assert!(error.contains(expected), "expected {expected:?} in {error:?}");
    }
}

#[test]
fn a_window_too_large_for_a_new_view_is_refused() {
    let mut genesis = with_replicas(31);
    genesis.parameters.checkpoint_interval = 128;
    genesis.parameters.window = 256;
    genesis.validate().unwrap();
    genesis.parameters.window = 512;
    assert!(
        genesis
            .validate()
            .unwrap_err()
            .to_string()
            .contains("NEW-VIEW of 31 replicas")
    );
}

#[test]
fn the_supply_may_be_as_large_as_a_balance() {
    genesis(&[u64::MAX]).validate().unwrap();
    genesis(&[u64::MAX - 1, 1]).validate().unwrap();
    assert_eq!(
        genesis(&[u64::MAX - 1, 2]).validate(),
        Err(GenesisError::SupplyOverflow)
    );
}

fn named() -> Genesis {
    let mut genesis = genesis(&[1_000_000, u64::MAX - 2_000_000]);
    change(&mut genesis.accounts, 0, |account| {
        account.name = Some("alice".into());
    });
    genesis
}

#[test]
fn files_and_encoding_round_trip() {
    let genesis = named();
    assert_eq!(Genesis::from_json(&genesis.to_json()).unwrap(), genesis);
    assert_eq!(Genesis::from_toml(&genesis.to_toml()).unwrap(), genesis);
    let bytes = encode(&genesis);
    assert_eq!(decode::<Genesis>(&bytes, MAX_INPUT).unwrap(), genesis);
    assert_eq!(genesis.account_key("alice"), Some(key(0)));
    assert_eq!(genesis.account_key("bob"), None);
    assert_eq!(genesis.account_name(&key(0)).unwrap().as_str(), "alice");
    assert_eq!(genesis.account_name(&key(1)), None);
}

#[test]
fn files_are_loaded_by_their_extension() {
    let genesis = named();
    let directory = std::env::temp_dir().join(format!("tagma-genesis-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    for (name, text) in [
        ("genesis.json", genesis.to_json()),
        ("genesis.toml", genesis.to_toml()),
    ] {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        assert_eq!(Genesis::load(&path).unwrap(), genesis);
    }
    std::fs::remove_dir_all(&directory).unwrap();
    let error = Genesis::load(Path::new("/nonexistent/genesis.json")).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/genesis.json"));
}

#[test]
fn amounts_are_numbers_or_text() {
    let json = named().to_json();
    assert!(
        json.contains("\"balance\": \"1000000\""),
        "amounts are written as text: {json}"
    );
    let number = json.replace("\"balance\": \"1000000\"", "\"balance\": 1000000");
    assert_eq!(Genesis::from_json(&number).unwrap(), named());
    let toml = named()
        .to_toml()
        .replace("balance = \"1000000\"", "balance = 1000000");
    assert_eq!(Genesis::from_toml(&toml).unwrap(), named());
    for bad in [
        "-1",
        "1.5",
        "\"\"",
        "\"+1\"",
        "\"0x10\"",
        "\"18446744073709551616\"",
        "null",
    ] {
        let text = json.replace("\"balance\": \"1000000\"", &format!("\"balance\": {bad}"));
        let error = Genesis::from_json(&text).unwrap_err();
        assert!(
            matches!(error, GenesisError::Parse { format: "JSON", .. }),
            "{bad}: {error}"
        );
    }
}

#[test]
fn unknown_keys_are_errors() {
    let json = named().to_json();
    for (place, name) in [
        ("\"chain_name\"", "chian"),
        ("\"lookahead\"", "look_ahead"),
        ("\"vote_key\"", "votekey"),
        ("\"balance\"", "sum"),
    ] {
        let text = json.replacen(place, &format!("\"{name}\": 1, {place}"), 1);
        let error = Genesis::from_json(&text).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    let toml = format!("surprise = 1\n{}", named().to_toml());
    assert!(
        Genesis::from_toml(&toml)
            .unwrap_err()
            .to_string()
            .contains("surprise")
    );
}

#[test]
fn parameters_left_out_take_their_defaults() {
    let mut genesis = named();
    genesis.parameters = tagma_ledger::Parameters {
        bucket_count: 16,
        ..Default::default()
    };
    let mut file: serde_json::Value = serde_json::from_str(&genesis.to_json()).unwrap();
    file["parameters"] = serde_json::json!({ "bucket_count": 16 });
    assert_eq!(Genesis::from_json(&file.to_string()).unwrap(), genesis);
    file.as_object_mut().unwrap().remove("parameters");
    genesis.parameters = tagma_ledger::Parameters::default();
    assert_eq!(Genesis::from_json(&file.to_string()).unwrap(), genesis);
}

#[test]
fn every_field_is_in_the_chain_id() {
    let mut ids = vec![named().chain_id()];
    let changes: [fn(&mut Genesis); 14] = [
        |g| g.chain_name = "test2".into(),
        |g| g.time_ms += 1,
        |g| change(&mut g.replicas, 0, |r| r.vote_key = key(5000)),
        |g| change(&mut g.replicas, 0, |r| r.network_key = key(5000)),
        |g| change(&mut g.replicas, 3, |r| r.peer_address = "127.0.0.1:9000".into()),
        |g| change(&mut g.replicas, 3, |r| r.client_address = "127.0.0.1:9000".into()),
        |g| change(&mut g.replicas, 3, |r| r.http_address = "127.0.0.1:9000".into()),
        |g| change(&mut g.accounts, 0, |a| a.name = None),
        |g| change(&mut g.accounts, 1, |a| a.balance += 1),
        |g| {
            let mut accounts = g.accounts.to_vec();
            accounts.push(GenesisAccount {
                name: None,
                key: key(9),
                balance: 0,
            });
            g.accounts = accounts.into();
        },
        |g| g.parameters.window = 16,
        |g| g.parameters.lookahead += 1,
        |g| g.parameters.bucket_count = 16,
        |g| g.parameters.max_clock_drift_ms += 1,
    ];
    for spoil in changes {
        let mut genesis = named();
        spoil(&mut genesis);
        genesis.validate().unwrap();
        ids.push(genesis.chain_id());
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn header_0_has_a_time_and_a_state_root() {
    let genesis = genesis(&[3, 4]);
    let (state, header) = genesis.start();
    assert_eq!((header.height, header.time_ms), (0, genesis.time_ms));
    assert_eq!(header.state_root, Some(state.root()));
    assert_eq!(header.parent, genesis.chain_id());
    assert_eq!(state.total_balance(), 7);
    assert_eq!(genesis.supply(), Some(7));
}
