//! Replicas that lie, as primary and as backup, under load: the others stay equal, go on, and blame nobody else.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use tagma_testnet::byzantine::control::{self, Switched};
use tagma_testnet::byzantine::{Order, When, blame, catalogue};
use tagma_testnet::load::Pace;
use tagma_testnet::network::GRACE;
use tagma_testnet::{Layout, process};

use crate::support::{PATIENCE, Running, programs, testnet_program, turn, until, words};

/// Acknowledgements that must come while a behaviour is on.
const ENOUGH: usize = 40;

fn order(behaviour: &str, when: When) -> Order {
    Order {
        behaviour: behaviour.to_owned(),
        when,
    }
}

/// `traitor`, the primary, begins with the first behaviour; by the time of the others it may be a backup. Gives the kinds of
/// fault that honest replicas can prove.
fn betray(net: &mut Running, traitor: u16, behaviours: &[&str]) -> BTreeSet<&'static str> {
    let honest: Vec<u16> = net
        .network
        .nodes()
        .into_iter()
        .filter(|node| *node != traitor)
        .collect();
    let mut load = None;
    let mut before = 0;
    for (place, behaviour) in behaviours.iter().enumerate() {
        let switched = control::set(&mut net.network, traitor, &order(behaviour, When::Always)).unwrap();
        let expected = if place == 0 {
            Switched::Restarted
        } else {
            Switched::Running
        };
        assert_eq!(switched, expected, "{behaviour}");
        let load = load.get_or_insert_with(|| {
            net.load(Pace {
                in_flight: 8,
                ..Pace::full(PATIENCE)
            })
        });
        until(&format!("{ENOUGH} transfers in spite of {behaviour}"), || {
            assert_eq!(load.failure(), None, "during {behaviour}");
            load.acknowledged() >= before + ENOUGH
        });
        before = load.acknowledged();
    }
    let acknowledged = net.runtime.block_on(load.unwrap().finish()).unwrap();
    assert!(
        acknowledged.iter().all(|one| one.paid.outcome.is_success()),
        "a lie was believed"
    );
    // Of the honest ones only: the traitor is not asked.
    let report = net.check();
    assert_eq!(report.answering, honest);
    for one in &acknowledged {
        let executed = report.outcomes.get(&one.paid.request);
        assert_eq!(executed, Some(&(one.paid.height, one.paid.outcome)));
    }

    let nodes = net.network.nodes();
    net.network.stop(&nodes, GRACE).unwrap();
    let recorded = blame::recorded(&net.network, &honest).unwrap();
    for (by, fault) in recorded
        .iter()
        .flat_map(|(by, faults)| faults.iter().map(move |fault| (by, fault)))
    {
        assert_eq!(fault.culprit.get(), traitor, "n{by} accuses an honest replica");
        assert!(fault.proved, "n{by} cannot prove {}", fault.name);
    }
    recorded.into_values().flatten().map(|fault| fault.name).collect()
}

#[test]
fn an_equivocating_primary_is_replaced_and_convicted_and_its_other_lies_do_not_matter() {
    let mut net = Running::start(4);
    let traitor = net.primary();
    let lies = [
        "equivocating-primary",
        "silent",
        "wrong-reply",
        "garbage",
        "withhold-commit",
        "corrupt-state-transfer",
    ];
    let proved = betray(&mut net, traitor, &lies);
    assert!(proved.contains("conflicting_pre_prepares"), "{proved:?}");
}

#[test]
fn a_primary_of_oversized_batches_is_convicted_and_its_floods_do_not_matter() {
    let mut net = Running::start(4);
    let traitor = net.primary();
    let lies = [
        "oversized-batch",
        "flood",
        "impersonate",
        "replay-old",
        "view-change-spam",
        "bad-signature",
        "selective-send",
    ];
    let proved = betray(&mut net, traitor, &lies);
    assert!(proved.contains("bad_batch"), "{proved:?}");
}

#[test]
fn a_slow_primary_that_crashes_in_the_end_harms_nobody() {
    let mut net = Running::start(4);
    let traitor = net.primary();
    let proved = betray(
        &mut net,
        traitor,
        &["slow-primary", "bad-checkpoint", "forged-certificate", "crash"],
    );
    // A forger of certificates is found out if it has to leave a view meanwhile, as it may on a busy machine.
    assert!(
        proved.iter().all(|name| *name == "bad_view_change"),
        "a slow primary signs nothing false: {proved:?}"
    );
}

/// What commands start outlives them, and is no child of the test: it is killed when this is dropped.
struct Ended(Layout);

impl Drop for Ended {
    fn drop(&mut self) {
        for node in 0..4 {
            drop(process::send(&self.0, node, Signal::SIGKILL));
        }
    }
}

fn byz(net: &Running, arguments: &[&str]) -> Output {
    Command::new(testnet_program())
        .arg("byz")
        .args(arguments)
        .env("TAGMA_HOME", net.network.layout().root())
        .output()
        .unwrap()
}

#[test]
fn a_running_node_is_made_to_lie_and_honest_again_by_command() {
    let mut net = Running::start(4);
    let _end = Ended(net.network.layout().clone());
    net.pay("alice", "bob", 1);

    for (arguments, code) in [
        (["set", "n2", "nonsense"].as_slice(), 2),
        (&["set", "n2", "censor"], 2),
        (&["set", "n2", "censor:nobody"], 2),
        (&["set", "n2", "silent:alice"], 2),
        (&["set", "n2", "silent", "--when", "never"], 2),
        (&["set", "n9", "silent"], 2),
    ] {
        let output = byz(&net, arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            words(&output)
        );
    }
    assert!(control::traitors(&net.network).unwrap().is_empty());

    let output = byz(&net, &["set", "n2", "silent"]);
    assert!(output.status.success(), "{}", words(&output));
    assert!(words(&output).contains("n2 was restarted"), "{}", words(&output));
    net.pay("alice", "bob", 1);
    let output = byz(&net, &["set", "n2", "withhold-commit", "--when", "p=0.5"]);
    assert!(
        words(&output).contains("n2 goes on with another behaviour"),
        "{}",
        words(&output)
    );
    net.pay("alice", "bob", 1);

    // f = 1 lies already.
    let output = byz(&net, &["set", "n1", "silent"]);
    assert_eq!(output.status.code(), Some(2), "{}", words(&output));
    assert!(words(&output).contains("--allow-beyond-f"), "{}", words(&output));

    let output = Command::new(testnet_program())
        .args(["ps", "-o", "json"])
        .env("TAGMA_HOME", net.network.layout().root())
        .output()
        .unwrap();
    assert!(
        words(&output).contains("\"withhold-commit\""),
        "{}",
        words(&output)
    );

    let output = byz(&net, &["clear"]);
    assert!(output.status.success(), "{}", words(&output));
    assert!(
        words(&output).contains("n2 was restarted as tagma-node: voting"),
        "what it kept to itself it has not forgotten: {}",
        words(&output)
    );
    assert!(control::traitors(&net.network).unwrap().is_empty());
    net.pay("alice", "bob", 1);
    let report = net.check();
    assert_eq!(report.answering, [0, 1, 2, 3]);
}

#[test]
fn the_production_program_contains_no_behaviour() {
    let programs = programs();
    let read = |path: &std::path::Path| std::fs::read(path).unwrap();
    let (production, testnet) = (read(&programs.node), read(&programs.testnet));
    let holds = |program: &[u8], text: &str| {
        let (first, text) = (text.as_bytes()[0], text.as_bytes());
        let starts = program.iter().enumerate().filter(|(_, byte)| **byte == first);
        starts.map(|(at, _)| at).any(|at| program[at..].starts_with(text))
    };
    for about in catalogue::all() {
        // Its whole description; its name alone only where that is no word that a replica has other uses for.
        assert!(
            holds(&testnet, about.does),
            "{} is looked for in vain everywhere",
            about.name
        );
        assert!(!holds(&production, about.does), "{}", about.name);
        assert!(
            !about.name.contains('-') || !holds(&production, about.name),
            "{}",
            about.name
        );
    }
}

#[test]
fn the_matrix_says_what_held_and_whom_the_evidence_names() {
    let _turn = turn();
    let output = Command::new(testnet_program())
        .args([
            "byz",
            "matrix",
            "--nodes",
            "4",
            "--roles",
            "primary",
            "--seconds",
            "1",
        ])
        .args(["--behaviours", "equivocating-primary,wrong-reply", "-o", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let table: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let cells = table["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 2);
    for cell in cells {
        assert_eq!(cell["expected"], true, "{cell}");
        assert_eq!(cell["traitors"], serde_json::json!([0]), "{cell}");
        assert!(cell["acknowledged"].as_u64().unwrap() > 0, "{cell}");
    }
    let convicted = cells[0]["convicted"]["0"].as_array().unwrap();
    assert!(
        convicted.contains(&"conflicting_pre_prepares".into()),
        "{convicted:?}"
    );
    assert_eq!(cells[1]["convicted"], serde_json::json!({}));
    assert_eq!(cells[1]["named_by_clients"], serde_json::json!([0]));
}

#[test]
fn more_traitors_than_the_replicas_bear_fork_the_chain_and_the_story_says_so() {
    let _turn = turn();
    let demo = |arguments: &[&str]| {
        Command::new(testnet_program())
            .args(["demo", "fork"])
            .args(arguments)
            .output()
            .unwrap()
    };
    let refused = demo(&[]);
    assert_eq!(refused.status.code(), Some(2), "{}", words(&refused));
    let told = demo(&["--allow-beyond-f"]);
    assert_eq!(told.status.code(), Some(9), "{}", words(&told));
    assert!(words(&told).contains("DIVERGED"), "{}", words(&told));
}
