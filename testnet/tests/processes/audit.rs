//! Audits of real networks: whoever lies is convicted, and nobody is for crashing.

use std::fs;

use tagma_crypto::SecretKey;
use tagma_evidence::{EvidenceFile, Judge};
use tagma_pbft::evidence::Evidence;
use tagma_pbft::message::Checkpoint;
use tagma_pbft::{ReplicaId, SeqNum};
use tagma_testnet::audit::{audit, evidence_files};
use tagma_testnet::network::GRACE;
use tagma_testnet::torture::kill_primaries;

use crate::support::{Running, words};

#[test]
fn killed_primaries_are_accused_of_nothing() {
    let mut net = Running::start(4);
    let network = &mut net.network;
    let outcome = net.runtime.block_on(kill_primaries(network, 3, 1, |_, _| {}));
    outcome.unwrap().into_result().unwrap();
    net.renew_payer();
    net.pay("alice", "bob", 1);
    // While they run, and when they are down.
    for offline in [false, true] {
        if offline {
            net.network.stop(&[0, 1, 2, 3], GRACE).unwrap();
        }
        let report = audit(net.network.layout(), net.network.genesis()).unwrap();
        assert_eq!(report.stores, [0, 1, 2, 3], "{report}");
        assert_eq!(report.transcripts.len(), 4, "{report}");
        assert!(report.transcripts.values().all(|count| *count > 20), "{report}");
        assert!(
            report.culprits().is_empty() && report.audit.forks.is_empty(),
            "{report}"
        );
        assert!(report.gaps.is_empty(), "{report}");
    }
    let output = net.testnet(&["check", "--offline"]);
    assert!(output.status.success(), "{}", words(&output));
    assert!(
        words(&output).contains("nobody can be proved faulty"),
        "{}",
        words(&output)
    );
}

/// Evidence in one home is everybody's: over HTTP, as files, and in an audit. A forged file is nobody's.
#[test]
fn evidence_travels_and_a_forged_file_convicts_nobody() {
    let mut net = Running::start(4);
    net.pay("alice", "bob", 1);
    let list = net.tagma(&["evidence", "list"]);
    assert!(words(&list).contains("no evidence"), "{}", words(&list));

    let layout = net.network.layout().clone();
    let judge = Judge::new(net.network.genesis()).unwrap();
    let key = SecretKey::load(&layout.vote_key(2)).unwrap();
    let checkpoint = |header| {
        let (id, chain) = (ReplicaId::new(2), judge.ring().chain);
        Checkpoint::sign(SeqNum::new(128), header, id, &chain, &key)
    };
    let (a, b) = (judge.ring().chain, tagma_crypto::Digest::ZERO);
    let evidence = Evidence::ConflictingCheckpoints(checkpoint(a), checkpoint(b));
    let file = EvidenceFile::new(&judge, &evidence);
    let directory = layout.home(1).join("data/evidence");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(&file.name), &file.text).unwrap();
    fs::write(
        directory.join("forged.json"),
        file.text.replace("\"culprit\": 2", "\"culprit\": 3"),
    )
    .unwrap();

    let found = evidence_files(&layout, net.network.genesis()).unwrap();
    let verdicts: Vec<bool> = found.iter().map(|file| file.verdict.is_ok()).collect();
    assert_eq!(verdicts, [false, true], "{found:?}");
    let report = audit(&layout, net.network.genesis()).unwrap();
    assert_eq!(report.culprits(), [2], "{report}");
    assert_eq!(report.gaps.len(), 1, "{report}");

    let exported = layout.root().join("exported");
    let output = net.testnet(&["check", "--audit", "--export", exported.to_str().unwrap()]);
    assert!(output.status.success(), "{}", words(&output));
    assert!(
        words(&output).contains("n2 is proved faulty"),
        "{}",
        words(&output)
    );
    let path = exported.join(&file.name);
    let output = net.tagma(&["evidence", "verify", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", words(&output));
    let output = net.tagma(&[
        "evidence",
        "verify",
        directory.join("forged.json").to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(7), "{}", words(&output));
}
