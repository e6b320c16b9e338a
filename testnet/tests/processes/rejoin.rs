//! A replica that was away for longer than the window comes back under load: by blocks where the others still have them,
//! else by the state of a checkpoint, every part of which it checks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tagma_client::{Client, Config, QueryError};
use tagma_crypto::encode::Blob;
use tagma_pbft::Message;
use tagma_testnet::load::{Load, Pace};
use tagma_testnet::observe::Observer;
use tagma_testnet::plan::{ACCOUNT_NAMES, INITIAL_BALANCE};
use tagma_wire::client_protocol::{Answer, Query};

use crate::relay::{Relay, Way};
use crate::support::{PATIENCE, Running, configure, log, until, until_acknowledged, words};

/// Kills a backup, waits until the others are more than a window and a checkpoint further, and starts it again, all under
/// load. Returns once it takes part in checkpoints above those it missed.
fn away_for_longer_than_the_window(net: &mut Running, away: u16) -> Load {
    let load = net.load(Pace::full(PATIENCE));
    until_acknowledged(&load, 0);
    net.kill(away);
    let executed = |net: &Running| {
        let statuses = net.statuses();
        let others = statuses.values().filter(|status| status.replica != away);
        others.map(|status| status.stable).min().unwrap_or_default()
    };
    let parameters = &net.network.genesis().parameters;
    let missed = executed(net) + parameters.window + 2 * parameters.checkpoint_interval;
    until("more blocks than the window holds", || executed(net) > missed);
    net.network.start(away).unwrap();
    let nodes = net.network.nodes();
    net.wait_ready(&nodes);
    let missed = executed(net);
    until("a checkpoint of its own beyond what it missed", || {
        let status = net.status(away);
        status.state_height > missed && status.stable > missed
    });
    load
}

#[test]
fn a_replica_away_for_longer_than_the_window_catches_up_by_blocks_under_load() {
    let mut net = Running::start(4);
    let away = (net.primary() + 1) % 4;
    let load = away_for_longer_than_the_window(&mut net, away);
    let paid = net.runtime.block_on(load.finish()).unwrap();
    let report = net.check();
    assert_eq!(report.executed, paid.len());

    let metrics = net.metrics(away);
    let blocks = metrics.sum("tagma_messages_received_total", &[("kind", "blocks")]);
    assert!(blocks > 0.0, "blocks came");
    let states = metrics.sum("tagma_states_installed_total", &[]);
    assert!(states.abs() < f64::EPSILON, "no state was needed");
}

/// What a liar did, as those in between saw it.
#[derive(Default)]
struct Seen {
    questions: AtomicUsize,
    lies: AtomicUsize,
}

/// Changes the last byte of every part of a state that `liar` gives.
fn lie_about_states(net: &tagma_testnet::Network, liar: u16) -> (Relay, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let counted = Arc::clone(&seen);
    let relay = Relay::start(net, liar, move |way, message| match (way, message) {
        (Way::In(_), question @ Message::FetchState { .. }) => {
            counted.questions.fetch_add(1, SeqCst);
            Some(question)
        }
        (
            Way::Out(_),
            Message::StatePart {
                seq,
                part,
                data: Some(data),
            },
        ) => {
            counted.lies.fetch_add(1, SeqCst);
            let mut bytes = data.to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            let data = Some(Blob::from(bytes));
            Some(Message::StatePart { seq, part, data })
        }
        (_, other) => Some(other),
    });
    (relay, seen)
}

#[test]
fn with_the_blocks_gone_it_takes_over_a_verified_state_and_drops_a_source_that_lies() {
    let (liar, away) = (2, 3);
    let (mut net, (_relay, seen)) = Running::prepared(4, |network| {
        for node in network.nodes() {
            configure(network.layout(), node, "[storage]\nkeep_blocks = 1");
        }
        lie_about_states(network, liar)
    });
    let load = away_for_longer_than_the_window(&mut net, away);
    let paid = net.runtime.block_on(load.finish()).unwrap();
    let nodes = net.network.nodes();
    let statuses = net.wait_equal(&nodes);

    let metrics = net.metrics(away);
    let states = metrics.sum("tagma_states_installed_total", &[]);
    assert!(states >= 1.0, "a state was taken over");
    // The liar was asked, its answer was found out, it was named, and asked no more: questions that were under way
    // already when the first lie came are as many as a transfer has at once.
    let lies = seen.lies.load(SeqCst);
    assert!(lies >= 1, "the liar was asked");
    let reason = [("kind", "state_part"), ("reason", "not_certified")];
    let found_out = metrics.sum("tagma_messages_rejected_total", &reason);
    assert!(found_out >= 1.0, "{lies} lies, none found out");
    let questions = seen.questions.load(SeqCst);
    assert!(questions <= 8, "it lied and was asked {questions} times");
    let log = log(net.network.layout(), away);
    let named: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("a part of a state does not check out"))
        .collect();
    assert!(!named.is_empty(), "the log says so");
    for line in named {
        assert!(line.contains(&format!("peer=n{liar}")), "{line}");
    }

    // Nothing was lost, nothing was executed twice, and all four agree; blocks to walk are not there any more.
    let roots: Vec<_> = statuses
        .values()
        .map(|status| (status.state_height, status.state_root))
        .collect();
    assert!(roots.windows(2).all(|pair| pair[0] == pair[1]), "{roots:?}");
    let genesis = net.network.genesis().clone();
    let mut shown = BTreeMap::new();
    net.runtime.block_on(async {
        let observer = Observer::new(&genesis).unwrap();
        for node in nodes {
            let mut accounts = Vec::new();
            for name in ACCOUNT_NAMES {
                let key = genesis.account_key(name).unwrap();
                accounts.push(observer.account(node, key).await.unwrap().1.unwrap());
            }
            shown.insert(node, accounts);
        }
    });
    // Whose block was dropped does not pass for a request that was never executed.
    let early = paid.iter().min_by_key(|paid| paid.paid.height).unwrap();
    for what in ["status", "receipt"] {
        let asked = net.tagma(&["tx", what, &early.paid.request.to_string(), "--timeout", "2s"]);
        assert_eq!(asked.status.code(), Some(4), "{}", words(&asked));
        let kept = "whose block is not kept here any more";
        assert!(words(&asked).contains(kept), "{}", words(&asked));
    }
    // Nor does what was executed in blocks that it never had, as far as it knows.
    let unknown = net.runtime.block_on(async {
        let network = tagma_client::Network::from_genesis(&genesis).unwrap();
        let client = Client::start(network, Config::default()).unwrap();
        let mut unknown = 0;
        for paid in paid.iter().step_by(16).map(|one| &one.paid) {
            match client
                .query(away, Query::Transaction(paid.request), PATIENCE)
                .await
            {
                Ok(Answer::Transaction { found, .. }) => {
                    let found = found.map(|found| (found.height, found.outcome));
                    assert_eq!(found, Some((paid.height, paid.outcome)));
                }
                Err(QueryError::Unavailable(why)) => {
                    unknown += usize::from(why.contains("took over the state"));
                }
                other => panic!("{other:?}"),
            }
        }
        unknown
    });
    assert!(unknown > 0, "nothing was executed while it was away");
    for (node, accounts) in &shown {
        assert_eq!(accounts, &shown[&0], "n{node} and n0");
        let nonces: u64 = accounts.iter().map(|account| account.next_nonce).sum();
        assert_eq!(nonces, paid.len() as u64, "n{node}: each request once");
        let sum: u64 = accounts.iter().map(|account| account.balance).sum();
        assert_eq!(sum, INITIAL_BALANCE * ACCOUNT_NAMES.len() as u64);
    }
}
