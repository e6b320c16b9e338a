//! Paying.

use std::process::Stdio;

use tagma_client::ExitCode;
use tagma_wire::client_protocol::Refusal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::support::world::Behaviour::{Honest, Liar, Refusing, Silent};
use crate::support::{Fakes, account_key, soon};
use crate::{Ran, run, tagma};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_says_its_hash_first_and_then_who_agrees() {
    let fakes = Fakes::start(4);
    let ran = run(fakes.home(), &["transfer", "alice", "bob", "25"])
        .await
        .exits(ExitCode::Ok);
    assert_eq!(ran.hash().len(), 64);
    let result = ran.stdout.lines().nth(1).unwrap();
    assert!(result.starts_with("✔ committed at height 1 · "), "{result}");
    assert!(
        result.contains("matching replies (f+1 = 2): n") && result.ends_with(" ms"),
        "{result}"
    );
    assert_eq!(fakes.world.balance(&account_key("bob").public()), 1025);
    assert!(fakes.pending().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_is_one_document_with_large_numbers_as_text() {
    let fakes = Fakes::start(4);
    let ran = run(fakes.home(), &["-o", "json", "transfer", "alice", "bob", "25"])
        .await
        .exits(ExitCode::Ok);
    let json = ran.json("transfer/v1");
    assert_eq!(json["state"], "committed");
    assert_eq!(json["outcome"]["kind"], "transferred");
    assert_eq!(
        (&json["height"], &json["amount"], &json["nonce"]),
        (&"1".into(), &"25".into(), &"0".into())
    );
    assert_eq!(json["to"], account_key("bob").public().to_string());
    assert!(json["supporters"].as_array().unwrap().len() >= 2);
    assert!(json["latency_ms"].is_number());
    let hash = json["hash"].as_str().unwrap();
    ran.warns(&format!("tx {hash}"));
}

/// Pays until the lies of n2 come in time to be named, which they need not do at once. In no run may it pass as a
/// supporter.
async fn pay_until_n2_is_named(fakes: &Fakes) {
    for _ in 0..30 {
        let args = ["-o", "json", "transfer", "alice", "bob", "1"];
        let ran = run(fakes.home(), &args).await.exits(ExitCode::Ok);
        let json = ran.json("transfer/v1");
        assert_eq!(json["state"], "committed");
        assert!(!json["supporters"].as_array().unwrap().contains(&2.into()));
        if json["liars"] == serde_json::json!([2]) {
            ran.warns("warning: n2 replied something else than f + 1 others");
            return;
        }
        assert_eq!(json["liars"], serde_json::json!([]));
    }
    panic!("n2 was never named");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_is_outvoted_and_named() {
    let fakes = Fakes::behaving(&[Honest, Honest, Liar, Honest]);
    pay_until_n2_is_named(&fakes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_is_named_beside_a_silent_primary() {
    let fakes = Fakes::behaving(&[Silent, Honest, Liar, Honest]);
    fakes.world.set_view(1);
    pay_until_n2_is_named(&fakes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_executed_without_effect_says_so() {
    let fakes = Fakes::start(4);
    let args = ["transfer", "alice", "bob", "1001"];
    run(fakes.home(), &args)
        .await
        .exits(ExitCode::Rejected)
        .says("executed at height 1 without effect: insufficient funds, the account has 1000");
    let args = ["-o", "json", "transfer", "alice", "bob", "0"];
    let ran = run(fakes.home(), &args).await.exits(ExitCode::Rejected);
    let json = ran.json("transfer/v1");
    assert_eq!(
        (&json["state"], &json["outcome"]["kind"]),
        (&"failed".into(), &"zero_amount".into())
    );
    assert!(fakes.pending().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f_plus_1_refusals_reject() {
    let refusing = Refusing(Refusal::Expired { height: 7 });
    let fakes = Fakes::behaving(&[refusing, refusing, Silent, refusing]);
    let args = ["transfer", "alice", "bob", "1"];
    run(fakes.home(), &args)
        .await
        .exits(ExitCode::Rejected)
        .says("✘ rejected: it has expired");
    assert!(fakes.pending().is_empty(), "it can never be executed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nonce_that_this_very_request_consumed_is_no_rejection() {
    let fakes = Fakes::start(4);
    let hash = run(fakes.home(), &["transfer", "alice", "bob", "25"])
        .await
        .exits(ExitCode::Ok)
        .hash();
    // The same bytes again, to replicas that have forgotten what consumed the nonce.
    let pending = tagma_client::Pending::new(fakes.home().join("pending"));
    let mut signed = fakes.transfer("alice", account_key("bob").public(), 25, 0);
    signed.transaction.expiry_height = 100_000;
    let signed = signed.transaction.sign(&account_key("alice"));
    assert_eq!(signed.transaction.digest().to_string(), hash);
    pending.save(&signed).unwrap();
    for id in 0..4 {
        fakes.world.set(id, Refusing(Refusal::NonceConsumed { next: 1 }));
    }
    run(fakes.home(), &["tx", "wait", &hash])
        .await
        .exits(ExitCode::Ok)
        .says("✔ committed at height 1");
    assert!(fakes.pending().is_empty());

    // Another request with that nonce is rejected.
    let other = ["transfer", "alice", "bob", "26", "--nonce", "0"];
    run(fakes.home(), &other)
        .await
        .exits(ExitCode::Rejected)
        .says("its nonce is consumed already");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_outcome_is_found_out_later_and_paid_once() {
    let busy = crate::support::world::Behaviour::Busy;
    let fakes = Fakes::behaving(&[busy; 4]);
    let args = ["--timeout", "3s", "transfer", "alice", "bob", "25"];
    let ran = run(fakes.home(), &args).await.exits(ExitCode::OutcomeUnknown);
    let hash = ran.hash();
    assert!(
        !ran.stdout.contains("fail") && !ran.stderr.contains("fail"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    ran.says("outcome unknown")
        .warns(&format!("the outcome of tx {hash} is unknown"))
        .warns("busy: n0 n1 n2 n3")
        .warns(&format!(
            "hint: it may have been executed or may be yet; `tagma tx wait {hash}`"
        ));
    assert_eq!(fakes.pending().len(), 1);
    let wait = ["--timeout", "2s", "-o", "json", "tx", "wait", &hash];
    let json = run(fakes.home(), &wait)
        .await
        .exits(ExitCode::OutcomeUnknown)
        .json("tx/v1");
    assert_eq!(json["state"], "unknown");

    for id in 0..4 {
        fakes.world.set(id, Honest);
    }
    let json = run(fakes.home(), &["-o", "json", "tx", "wait", &hash])
        .await
        .exits(ExitCode::Ok)
        .json("tx/v1");
    assert_eq!(
        (&json["state"], &json["height"]),
        (&"committed".into(), &"1".into())
    );
    assert!(fakes.pending().is_empty());
    run(fakes.home(), &["tx", "wait", &hash])
        .await
        .exits(ExitCode::Ok)
        .says("committed at height 1");
    assert_eq!(fakes.world.executed(), 1);
    assert_eq!(fakes.world.balance(&account_key("bob").public()), 1025);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_request_with_the_nonce_of_an_unknown_one_says_so() {
    let busy = crate::support::world::Behaviour::Busy;
    let fakes = Fakes::behaving(&[busy; 4]);
    let args = |amount| ["--timeout", "2s", "transfer", "alice", "bob", amount];
    let first = run(fakes.home(), &args("25"))
        .await
        .exits(ExitCode::OutcomeUnknown)
        .hash();
    run(fakes.home(), &args("26"))
        .await
        .exits(ExitCode::OutcomeUnknown)
        .warns(&format!(
            "warning: an earlier request with this nonce has an unknown outcome: {first}"
        ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_f_plus_1_replicas_nothing_is_sent() {
    let fakes = Fakes::start(4);
    for id in 1..4 {
        fakes.world.stop(id);
    }
    let ran = run(fakes.home(), &["transfer", "alice", "bob", "25"])
        .await
        .exits(ExitCode::NoQuorum);
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    let ran = ran.warns("1 of 4 replicas answered, 2 must agree").warns("hint:");
    for id in 1..4 {
        assert!(ran.stderr.contains(&format!("n{id}: ")), "{}", ran.stderr);
    }
    assert!(fakes.pending().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handed_over_means_received_by_f_plus_1() {
    let fakes = Fakes::behaving(&[Honest, Silent, Honest, Honest]);
    let args = ["-o", "json", "transfer", "alice", "bob", "25", "--wait", "none"];
    let json = run(fakes.home(), &args)
        .await
        .exits(ExitCode::Ok)
        .json("transfer/v1");
    assert_eq!(json["state"], "sent");
    assert!(json["received"].as_array().unwrap().len() >= 2);
    assert_eq!(fakes.pending().len(), 1, "its outcome is not known yet");
    run(fakes.home(), &["tx", "wait", json["hash"].as_str().unwrap()])
        .await
        .exits(ExitCode::Ok);
    assert!(fakes.pending().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_wait_leaves_the_hash_and_the_request() {
    let busy = crate::support::world::Behaviour::Busy;
    for (signal, exit) in [("INT", ExitCode::Interrupted), ("TERM", ExitCode::Terminated)] {
        let fakes = Fakes::behaving(&[busy; 4]);
        let mut command = tagma(
            fakes.home(),
            &["--timeout", "5m", "transfer", "alice", "bob", "25"],
        );
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = soon("the hash", lines.next_line()).await.unwrap().unwrap();
        assert!(line.starts_with("tx "), "{line}");
        let pid = child.id().unwrap().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-s", signal, &pid])
            .status();
        assert!(sent.unwrap().success());
        let output = soon("it stops", child.wait_with_output()).await.unwrap();
        Ran::of(output)
            .exits(exit)
            .warns("hint: the outcome of what was sent is unknown");
        assert_eq!(fakes.pending().len(), 1);
    }
}

async fn batch(fakes: &Fakes, options: &[&str], input: &str) -> Ran {
    let args = [options, &["batch", "-"]].concat();
    let mut command = tagma(fakes.home(), &args);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    Ran::of(soon("the batch", child.wait_with_output()).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_pays_every_line_once() {
    let fakes = Fakes::start(4);
    let mut input = String::from("# who whom how much\n\n");
    for _ in 0..50 {
        input.push_str("alice bob 3 # twice\nbob carol 2\ncarol alice 1\n");
    }
    let ran = batch(&fakes, &[], &input).await.exits(ExitCode::Ok);
    ran.says("150 of 150 committed in ");
    let balance = |name| fakes.world.balance(&account_key(name).public());
    assert_eq!(
        (balance("alice"), balance("bob"), balance("carol")),
        (900, 1050, 1050)
    );
    assert!(fakes.pending().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_tells_what_came_of_each_line() {
    let fakes = Fakes::start(4);
    let input = "alice bob 1000\nalice bob 1\nbob carol 5\n";
    let ran = batch(&fakes, &["-o", "json"], input)
        .await
        .exits(ExitCode::Rejected);
    let json = ran.json("batch/v1");
    assert_eq!((&json["committed"], &json["failed"]), (&2.into(), &1.into()));
    let states: Vec<&str> = json["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["committed", "failed", "committed"]);
    ran.warns("line 2: tx ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_stops_an_account_at_the_first_gap() {
    let fakes = Fakes::behaving(&[crate::support::world::Behaviour::Busy; 4]);
    let input = "alice bob 1\n".repeat(20);
    let ran = batch(&fakes, &["-o", "json", "--timeout", "2s"], &input)
        .await
        .exits(ExitCode::OutcomeUnknown);
    let json = ran.json("batch/v1");
    // Half of what the replicas look ahead was on its way.
    assert_eq!((&json["unknown"], &json["unsent"]), (&16.into(), &4.into()));
    assert_eq!(fakes.pending().len(), 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_with_a_wrong_line_sends_nothing() {
    let fakes = Fakes::start(4);
    for (line, exit, says) in [
        ("alice bob", ExitCode::Usage, "line 2: 2 fields"),
        ("alice bob -5", ExitCode::Usage, "line 2: \"-5\" is no amount"),
        (
            "alice nobody 5",
            ExitCode::Config,
            "\"nobody\" is neither an account's name nor",
        ),
        (
            "nobody alice 5",
            ExitCode::Config,
            "there is no key for account \"nobody\"",
        ),
    ] {
        let ran = batch(&fakes, &[], &format!("alice bob 1\n{line}\n")).await;
        ran.exits(exit).warns(says).warns("hint: ");
    }
    assert_eq!(fakes.world.executed(), 0);
}
