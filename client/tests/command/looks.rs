//! Looking at balances, blocks, requests and replicas.

use serde_json::json;
use tagma_client::ExitCode;

use crate::run;
use crate::support::world::Behaviour::{self, Honest, Learner, Liar};
use crate::support::{Fakes, account_key};

fn paid(behaviours: &[Behaviour]) -> (Fakes, String) {
    let fakes = Fakes::behaving(behaviours);
    let transfer = fakes.transfer("alice", account_key("bob").public(), 25, 0);
    fakes.world.order(&transfer.to_request());
    (fakes, transfer.transaction.digest().to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balance_says_of_which_height_it_is() {
    let (fakes, _) = paid(&[Honest, Liar, Honest, Honest]);
    let ran = run(
        fakes.home(),
        &["-o", "json", "balance", "bob", "--min-height", "1"],
    )
    .await;
    let json = ran.exits(ExitCode::Ok).json("balance/v1");
    assert_eq!(
        (&json["balance"], &json["height"], &json["read"]),
        (&"1025".into(), &"1".into(), &"latest".into())
    );
    assert!(!json["supporters"].as_array().unwrap().contains(&json!(1)));
    let key = account_key("bob").public().to_string();
    run(fakes.home(), &["balance", &key])
        .await
        .exits(ExitCode::Ok)
        .says("1025  (next nonce 0, at height 1");
    let late = ["--timeout", "2s", "balance", "bob", "--min-height", "2"];
    run(fakes.home(), &late)
        .await
        .exits(ExitCode::OutcomeUnknown)
        .warns("reached height 2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordered_balance_goes_through_the_agreement() {
    let (fakes, _) = paid(&[Honest; 4]);
    let own = ["-o", "json", "balance", "bob", "--read", "ordered"];
    let json = run(fakes.home(), &own)
        .await
        .exits(ExitCode::Ok)
        .json("balance/v1");
    assert_eq!(
        (&json["balance"], &json["next_nonce"]),
        (&"1025".into(), &"1".into())
    );
    assert_eq!((&json["height"], fakes.world.height()), (&"2".into(), 2));
    let by_another = ["balance", "bob", "--read", "ordered", "--signer", "carol"];
    run(fakes.home(), &by_another)
        .await
        .exits(ExitCode::Ok)
        .says("1025  (next nonce 1, at height 3, ordered read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_does_not_exist_is_no_zero() {
    let (fakes, _) = paid(&[Honest; 4]);
    let nobody = account_key("nobody").public().to_string();
    let args = ["-o", "json", "balance", &nobody];
    let json = run(fakes.home(), &args)
        .await
        .exits(ExitCode::Rejected)
        .json("balance/v1");
    assert_eq!(
        (&json["exists"], &json["balance"]),
        (&false.into(), &serde_json::Value::Null)
    );
    let args = ["balance", &nobody, "--read", "ordered", "--signer", "carol"];
    run(fakes.home(), &args)
        .await
        .exits(ExitCode::Rejected)
        .says("does not exist at height 2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_shows_its_requests_and_what_became_of_them() {
    let (fakes, hash) = paid(&[Honest; 4]);
    let json = run(fakes.home(), &["-o", "json", "block", "1"])
        .await
        .exits(ExitCode::Ok)
        .json("block/v1");
    assert_eq!(
        (&json["height"], &json["requests"][0]["hash"]),
        (&"1".into(), &hash.as_str().into())
    );
    let operation = json!({ "kind": "transfer", "to": account_key("bob").public(), "amount": "25" });
    assert_eq!(json["requests"][0]["operation"], operation);
    assert_eq!(json["requests"][0]["receipt"]["outcome"]["kind"], "transferred");
    run(fakes.home(), &["block", "1"])
        .await
        .exits(ExitCode::Ok)
        .says("25 to bob")
        .says(&hash[..8]);
    let genesis = run(fakes.home(), &["-o", "json", "block", "0"])
        .await
        .exits(ExitCode::Ok)
        .json("block/v1");
    assert_eq!(
        (&genesis["parent"], &genesis["hash"]),
        (&json!(fakes.world.chain()), &json["parent"])
    );
    run(fakes.home(), &["block", "2"])
        .await
        .exits(ExitCode::Rejected)
        .warns("f + 1 replicas do not have block 2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_looked_up_by_its_hash() {
    let (fakes, hash) = paid(&[Honest, Honest, Liar, Honest]);
    let json = run(fakes.home(), &["-o", "json", "tx", "status", &hash])
        .await
        .exits(ExitCode::Ok)
        .json("tx/v1");
    assert_eq!(
        (&json["state"], &json["height"], &json["position"]),
        (&"committed".into(), &"1".into(), &0.into())
    );
    // Who denies it is named, whenever its answer is among those that came in time.
    let mut named = false;
    for _ in 0..100 {
        let ran = run(fakes.home(), &["-o", "json", "tx", "status", &hash]).await;
        named = ran
            .stderr
            .contains("n2 replied something else than f + 1 others: faulty");
        let expected = if named {
            serde_json::json!([2])
        } else {
            serde_json::json!([])
        };
        assert_eq!(ran.json("tx/v1")["liars"], expected);
        if named {
            break;
        }
    }
    assert!(named);
    let other = "0".repeat(64);
    let json = run(fakes.home(), &["-o", "json", "tx", "status", &other])
        .await
        .exits(ExitCode::Ok)
        .json("tx/v1");
    assert_eq!(
        (&json["state"], &json["kept"]),
        (&"not_executed".into(), &false.into())
    );
    let wait = ["--timeout", "2s", "tx", "wait", &other];
    run(fakes.home(), &wait)
        .await
        .exits(ExitCode::OutcomeUnknown)
        .warns("hint: ");
    run(fakes.home(), &["tx", "wait", &hash])
        .await
        .exits(ExitCode::Ok)
        .says("✔ committed at height 1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_stands_in_the_status_with_its_error() {
    let (fakes, _) = paid(&[Honest; 4]);
    fakes.world.stop(2);
    let json = run(fakes.home(), &["-o", "json", "status"])
        .await
        .exits(ExitCode::Ok)
        .json("status/v1");
    let replicas = json["replicas"].as_array().unwrap();
    assert_eq!(replicas.len(), 4);
    assert_eq!(
        (&replicas[0]["executed"], &replicas[0]["standing"]),
        (&"1".into(), &"voting".into())
    );
    assert_eq!(
        (&replicas[2]["reachable"], &replicas[2]["id"]),
        (&false.into(), &2.into())
    );
    assert!(!replicas[2]["error"].as_str().unwrap().is_empty());
    let table = run(fakes.home(), &["status"]).await.exits(ExitCode::Ok);
    table
        .says("n0 (itself)")
        .says("unreachable: ")
        .says("n=4 f=1 quorum=3");
    fakes.world.stop_all();
    run(fakes.home(), &["status"])
        .await
        .exits(ExitCode::NoQuorum)
        .says("unreachable: ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_what_is_required() {
    let (fakes, _) = paid(&[Honest; 4]);
    run(fakes.home(), &["health", "--require", "all"])
        .await
        .exits(ExitCode::Ok)
        .says("✔ ok: 4 of 4");
    fakes.world.set(1, Learner);
    run(fakes.home(), &["health"])
        .await
        .exits(ExitCode::Ok)
        .says("n1: learner");
    let ran = run(fakes.home(), &["-o", "json", "health", "--require", "all"])
        .await
        .exits(ExitCode::Degraded);
    let json = ran.json("health/v1");
    assert_eq!(
        (&json["state"], &json["voting"], &json["required"]),
        (&"degraded".into(), &3.into(), &4.into())
    );
    assert_eq!(json["problems"][0], json!({ "replica": 1, "problem": "learner" }));
    fakes.world.stop(3);
    run(fakes.home(), &["health"])
        .await
        .exits(ExitCode::NoQuorum)
        .says("✘ no_quorum: 2 of 4");
}
