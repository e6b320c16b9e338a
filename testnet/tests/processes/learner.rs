//! A key without its data is a learner (protocol: amnesia is a Byzantine fault): it follows, serves reads, signs nothing.

use std::sync::{Arc, Mutex};

use tagma_pbft::{Kind, Message, ReplicaId};
use tagma_testnet::Error;
use tagma_testnet::check::{self, Verdict};
use tagma_testnet::load::Pace;
use tagma_testnet::observe::{Observer, http};
use tagma_testnet::plan::INITIAL_BALANCE;

use crate::relay::{Relay, Way};
use crate::support::{PATIENCE, Running, until, until_acknowledged, words};

/// Whose signature a message is worth anything by; none for those that are not signed.
fn signer(message: &Message, replicas: u64) -> Option<ReplicaId> {
    match message {
        Message::PrePrepare { vote, .. } | Message::Vote(vote) => Some(vote.sender),
        Message::Checkpoint(checkpoint) => Some(checkpoint.sender),
        Message::ViewChange(message) => Some(message.sender),
        Message::NewView(message) => {
            let primary = message.view.get() % replicas;
            Some(ReplicaId::new(u16::try_from(primary).unwrap()))
        }
        _ => None,
    }
}

#[test]
fn a_wiped_replica_comes_back_as_a_learner_that_follows_serves_reads_and_signs_nothing() {
    let wiped = 3;
    let signed: Arc<Mutex<Vec<Kind>>> = Arc::default();
    let (mut net, _relay) = Running::prepared(4, |network| {
        let signed = Arc::clone(&signed);
        Relay::start(network, wiped, move |way, message| {
            if matches!(way, Way::Out(_)) && signer(&message, 4) == Some(ReplicaId::new(wiped)) {
                signed.lock().unwrap().push(message.kind());
            }
            Some(message)
        })
    });
    net.pay("alice", "bob", 1);
    net.pay("alice", "bob", 2);
    until("votes of the replica that is to be wiped", || {
        let signed = signed.lock().unwrap();
        signed.contains(&Kind::Prepare) && signed.contains(&Kind::Commit)
    });

    let refused = net.testnet(&["wipe", "n3"]);
    assert_eq!(refused.status.code(), Some(2), "it runs: {}", words(&refused));
    net.kill(wiped);
    let output = net.testnet(&["wipe", "n3"]);
    assert!(output.status.success(), "{}", words(&output));
    // What was on its way when it was killed has arrived before it is back.
    net.pay("alice", "bob", 4);
    signed.lock().unwrap().clear();
    net.network.start(wiped).unwrap();
    let standing = |net: &Running| net.status(wiped).standing.to_string();
    until("an answer of the wiped replica", || {
        net.statuses().contains_key(&wiped)
    });
    let nodes = net.network.nodes();
    let ready = net
        .runtime
        .block_on(net.network.wait_node_ready(wiped, &nodes, PATIENCE));
    assert!(
        matches!(ready, Err(Error::NotVoting { node: 3, .. })),
        "{ready:?}"
    );
    assert_eq!(standing(&net), "learner");

    // Three voters go on, and the learner follows.
    let paid = net.pay("bob", "carol", 8);
    assert!(!paid.replicas.contains(&wiped), "a learner has no say: {paid:?}");
    net.wait_equal(&nodes);

    // It serves reads, to the client library and over HTTP, and says what it is.
    let bob = net.network.genesis().account_key("bob").unwrap();
    let expected = INITIAL_BALANCE + 7 - 8;
    let genesis = net.network.genesis().clone();
    let (height, account) = net.runtime.block_on(async {
        let observer = Observer::new(&genesis).unwrap();
        observer.account(wiped, bob).await.unwrap()
    });
    assert_eq!((height, account.unwrap().balance), (paid.height, expected));
    let (code, body) = http(&genesis, wiped, &format!("/v1/accounts/{bob}")).unwrap();
    assert_eq!(code, 200, "{body}");
    assert!(body.contains(&expected.to_string()), "{body}");
    assert_eq!(http(&genesis, wiped, "/readyz").unwrap().0, 503);
    let output = net.testnet(&["status"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with("n3"))
        .unwrap();
    assert!(line.contains("learner"), "{text}");

    // The primary dies. Two voters want another view and are too few; the learner could help, and must not.
    let (primary, view) = net.runtime.block_on(net.network.leader()).unwrap();
    assert_ne!(primary, wiped);
    let load = net.load(Pace::full(PATIENCE));
    until_acknowledged(&load, 0);
    net.kill(primary);
    until("VIEW-CHANGEs of both voters that are left", || {
        let statuses = net.statuses();
        let voters = statuses.values().filter(|status| status.replica != wiped);
        voters.filter(|status| status.target > view).count() == 2
    });
    net.network.start(primary).unwrap();
    until("the next view, at the learner as well", || {
        let statuses = net.statuses();
        statuses.len() == 4 && statuses.values().all(|status| status.view > view)
    });
    let acknowledged = net.runtime.block_on(load.finish()).unwrap();
    net.renew_payer();

    // Nor does it remember, when it starts again, that it could begin anew.
    net.kill(wiped);
    net.network.start(wiped).unwrap();
    until("an answer after another start", || {
        net.statuses().contains_key(&wiped)
    });
    assert_eq!(standing(&net), "learner");
    let last = net.pay("bob", "carol", 16);
    net.wait_equal(&nodes);

    assert_eq!(
        *signed.lock().unwrap(),
        Vec::<Kind>::new(),
        "messages signed with its key"
    );
    let report = net
        .runtime
        .block_on(check::check(&net.network, PATIENCE))
        .unwrap();
    assert_eq!(report.verdict(), Verdict::Degraded);
    assert_eq!(report.gaps, ["n3 is not voting: learner"]);
    assert_eq!(report.executed, acknowledged.len() + 5);

    // With one voter left it is asked for its word on what it has executed, and has none to give.
    let file = net.network.layout().root().join("receipt.json");
    let receipt = |net: &Running| {
        let (hash, out) = (last.request.to_string(), file.to_str().unwrap());
        net.tagma(&["tx", "receipt", &hash, "--out", out, "--timeout", "5s"])
    };
    let voters: Vec<u16> = nodes.iter().copied().filter(|node| *node != wiped).collect();
    for voter in &voters[1..] {
        net.kill(*voter);
    }
    let refused = receipt(&net);
    assert_eq!(refused.status.code(), Some(4), "{}", words(&refused));
    assert!(
        words(&refused).contains("it signs nothing"),
        "{}",
        words(&refused)
    );
    net.network.start(voters[1]).unwrap();
    until("two voters", || {
        let statuses = net.statuses();
        let voting = statuses.values().filter(|status| &*status.standing == "voting");
        voting.count() == 2
    });
    assert!(receipt(&net).status.success());
    let judged = net.tagma(&["verify", file.to_str().unwrap()]);
    assert!(words(&judged).contains("2 attestations"), "{}", words(&judged));
}
