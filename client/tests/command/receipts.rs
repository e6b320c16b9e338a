//! Receipts: written by `tx receipt` and `transfer --wait receipt`, judged offline by `verify`.

use std::fs;
use std::path::Path;

use tagma_client::ExitCode;
use tempfile::TempDir;

use crate::support::world::Behaviour::{Honest, Learner, Liar, Silent};
use crate::support::{Fakes, account_key};
use crate::{Ran, run, run_in};

/// Nothing but the genesis: no network, no keys.
fn bare_home(fakes: &Fakes) -> TempDir {
    let home = TempDir::new().unwrap();
    let genesis = fakes.home().join("genesis.json");
    fs::copy(genesis, home.path().join("genesis.json")).unwrap();
    home
}

async fn verify(home: &Path, file: &Path) -> Ran {
    run(home, &["verify", file.to_str().unwrap()]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_is_a_file_that_anybody_can_judge() {
    let fakes = Fakes::behaving(&[Honest, Liar, Honest, Silent]);
    let transfer = fakes.transfer("alice", account_key("bob").public(), 25, 0);
    fakes.world.order(&transfer.to_request());
    let hash = transfer.transaction.digest();
    let (home, place) = (bare_home(&fakes), TempDir::new().unwrap());
    let name = format!("{}.json", hash.short());

    let get = ["tx", "receipt", &hash.to_string()];
    run_in(place.path(), fakes.home(), &get)
        .await
        .exits(ExitCode::Ok)
        .says(&format!("receipt of the request at height 1: {name}"));
    let file = place.path().join(&name);
    let written = fs::read_to_string(&file).unwrap();
    // What is there is not lost.
    run_in(place.path(), fakes.home(), &get)
        .await
        .exits(ExitCode::Config)
        .warns("--out FILE");
    assert_eq!(fs::read_to_string(&file).unwrap(), written);
    let shown = run(fakes.home(), &["tx", "receipt", &hash.to_string(), "--out", "-"]).await;
    assert!(
        shown
            .exits(ExitCode::Ok)
            .stdout
            .contains("\"schema\": \"receipt/v1\"")
    );

    drop(fakes);
    verify(home.path(), &file)
        .await
        .exits(ExitCode::Ok)
        .says("alice → bob 25: transferred");
    let json = run(home.path(), &["-o", "json", "verify", file.to_str().unwrap()]).await;
    let json = json.exits(ExitCode::Ok).json("receipt-verdict/v1");
    assert_eq!(json["files"][0]["hash"], hash.to_string());
    assert_eq!(json["files"][0]["attested_by"], serde_json::json!([0, 2]));
    // One hex digit of a proof is enough.
    let changed = place.path().join("changed.json");
    let at = written.find("\"proof\": \"").unwrap() + 200;
    let other = if &written[at..=at] == "0" { "1" } else { "0" };
    fs::write(&changed, [&written[..at], other, &written[at + 1..]].concat()).unwrap();
    let both = ["verify", file.to_str().unwrap(), changed.to_str().unwrap()];
    run(home.path(), &both)
        .await
        .exits(ExitCode::VerificationFailed)
        .says("✔ VALID")
        .says("✘ INVALID");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_can_wait_for_its_receipt() {
    let fakes = Fakes::behaving(&[Honest, Honest, Liar, Honest]);
    let place = TempDir::new().unwrap();
    let pay = ["-o", "json", "transfer", "alice", "bob", "7", "--wait", "receipt"];
    let ran = run_in(place.path(), fakes.home(), &pay).await;
    let json = ran.exits(ExitCode::Ok).json("transfer/v1");
    assert_eq!(json["state"], "committed");
    let file = place.path().join(json["receipt"].as_str().unwrap());
    verify(fakes.home(), &file)
        .await
        .exits(ExitCode::Ok)
        .says("alice → bob 7: transferred");
}

/// What was paid is paid, and who repeats it pays twice: the exit code is not that of a transfer that failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_that_cannot_be_had_does_not_undo_the_transfer() {
    // One alone attests; two are enough to accept the outcome.
    let fakes = Fakes::behaving(&[Honest, Learner, Liar, Silent]);
    let place = TempDir::new().unwrap();
    let pay = [
        "--timeout",
        "3s",
        "transfer",
        "alice",
        "bob",
        "7",
        "--wait",
        "receipt",
    ];
    let ran = run_in(place.path(), fakes.home(), &pay).await;
    let ran = ran
        .exits(ExitCode::Degraded)
        .says("✔ committed at height 1")
        .warns("the request was executed, its receipt could not be kept");
    assert!(ran.stderr.contains(&format!("tagma tx receipt {}", ran.hash())));
    assert!(fakes.pending().is_empty(), "nothing is left to find out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_executed_has_no_receipt_and_evidence_is_none() {
    let fakes = Fakes::start(4);
    run(fakes.home(), &["tx", "receipt", &"ab".repeat(32)])
        .await
        .exits(ExitCode::Rejected)
        .warns("not executed as of height 0");
    let file = fakes.home().join("other.json");
    fs::write(&file, "{\"schema\": \"evidence/v1\"}").unwrap();
    verify(fakes.home(), &file)
        .await
        .exits(ExitCode::VerificationFailed)
        .says("here it must be \"receipt/v1\"");
}
