//! `tagma evidence`: files judged offline, and replicas asked for what they can prove.

use std::fs;
use std::path::Path;

use tagma_client::ExitCode;
use tagma_crypto::{Digest, SecretKey};
use tagma_evidence::{EvidenceFile, Judge};
use tagma_ledger::Genesis;
use tagma_pbft::evidence::Evidence;
use tagma_pbft::message::{Phase, Vote};
use tagma_pbft::{ReplicaId, SeqNum, View};

use crate::support::Fakes;
use crate::{Ran, run};

/// Replica 1 sends two COMMITs for one place.
fn equivocation(genesis: &Genesis) -> EvidenceFile {
    let key = SecretKey::from_seed([2; 32]);
    let vote = |text: &str| {
        let digest = Digest::of("test batch", &[text.as_bytes()]);
        let (view, seq) = (View::new(3), SeqNum::new(12));
        let chain = genesis.chain_id();
        Vote::sign(Phase::Commit, view, seq, digest, ReplicaId::new(1), &chain, &key)
    };
    let judge = Judge::new(genesis).unwrap();
    EvidenceFile::new(&judge, &Evidence::ConflictingVotes(vote("a"), vote("b")))
}

async fn verify(home: &Path, file: &Path) -> Ran {
    run(home, &["evidence", "verify", file.to_str().unwrap()]).await
}

#[tokio::test]
async fn a_file_is_judged_offline_from_genesis_alone() {
    let fakes = Fakes::start(4);
    // Nothing but the genesis: no network, no keys.
    let home = tempfile::TempDir::new().unwrap();
    fs::copy(
        fakes.home().join("genesis.json"),
        home.path().join("genesis.json"),
    )
    .unwrap();
    let evidence = equivocation(&fakes.genesis);
    let path = home.path().join(&evidence.name);
    fs::write(&path, &evidence.text).unwrap();
    drop(fakes);

    verify(home.path(), &path)
        .await
        .exits(ExitCode::Ok)
        .says("✔ VALID  n1 signed two COMMITs for sequence number 12 in view 3");
    let genesis = home.path().join("genesis.json");
    let elsewhere = tempfile::TempDir::new().unwrap();
    run(
        elsewhere.path(),
        &[
            "evidence",
            "verify",
            path.to_str().unwrap(),
            "--genesis",
            genesis.to_str().unwrap(),
        ],
    )
    .await
    .exits(ExitCode::Ok);
    let verdict = run(
        home.path(),
        &["-o", "json", "evidence", "verify", path.to_str().unwrap()],
    )
    .await
    .json("evidence-verdict/v1");
    assert_eq!(verdict["files"][0]["culprit"], 1);
    assert_eq!(verdict["files"][0]["valid"], true);

    let forged = home.path().join("forged.json");
    fs::write(&forged, evidence.text.replace("\"culprit\": 1", "\"culprit\": 2")).unwrap();
    verify(home.path(), &forged)
        .await
        .exits(ExitCode::VerificationFailed)
        .says("✘ INVALID");
    // The last byte of the second signature.
    let end = evidence.text.rfind('"').unwrap();
    let mut changed = evidence.text.clone().into_bytes();
    changed[end - 1] = if changed[end - 1] == b'0' { b'1' } else { b'0' };
    fs::write(&forged, changed).unwrap();
    verify(home.path(), &forged)
        .await
        .exits(ExitCode::VerificationFailed)
        .says("it does not prove that n1 signed two COMMITs");
    // One that is not valid among several counts.
    run(
        home.path(),
        &[
            "evidence",
            "verify",
            path.to_str().unwrap(),
            forged.to_str().unwrap(),
        ],
    )
    .await
    .exits(ExitCode::VerificationFailed)
    .says("✔ VALID");
}

#[tokio::test]
async fn without_a_file_or_a_replica_there_is_no_verdict() {
    let fakes = Fakes::start(4);
    verify(fakes.home(), Path::new("/nowhere.json"))
        .await
        .exits(ExitCode::Config)
        .warns("/nowhere.json");
    // Nobody listens at their HTTP addresses.
    run(fakes.home(), &["evidence", "list", "--timeout", "2s"])
        .await
        .exits(ExitCode::NoQuorum)
        .warns("no replica answers");
}
