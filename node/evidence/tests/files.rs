//! A file convicts whom it should, and no change of it convicts anybody else.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

mod support;

use std::collections::BTreeSet;

use proptest::prelude::*;
use support::Village;
use tagma_crypto::encode::{decode, encode};
use tagma_evidence::file::{SCHEMA, verify};
use tagma_evidence::{EvidenceFile, Invalid};
use tagma_pbft::ReplicaId;
use tagma_pbft::evidence::Evidence;
use tagma_pbft::message::Phase;

#[test]
fn every_kind_of_evidence_convicts_its_culprit_from_genesis_alone() {
    let village = Village::new(4);
    let mut names = BTreeSet::new();
    for (culprit, evidence) in village.every_kind() {
        let file = EvidenceFile::new(&village.judge, &evidence);
        let conviction = verify(&village.judge, file.text.as_bytes()).unwrap();
        assert_eq!(conviction.culprit, ReplicaId::new(culprit), "{}", file.name);
        assert_eq!(conviction.evidence, evidence);
        assert!(conviction.sentence.starts_with(&format!("n{culprit}")));
        assert!(file.name.starts_with(&format!("n{culprit}-{}-", evidence.name())));
        assert!(file.text.contains(SCHEMA));
        assert!(names.insert(evidence.name()), "{} comes twice", evidence.name());
    }
    assert_eq!(names.len(), 11, "one of every kind");
}

#[test]
fn evidence_of_another_chain_is_refused() {
    let (here, elsewhere) = (Village::new(4), Village::new(7));
    let (_, evidence) = here.every_kind().remove(0);
    let file = EvidenceFile::new(&here.judge, &evidence);
    let refused = verify(&elsewhere.judge, file.text.as_bytes()).unwrap_err();
    assert!(matches!(refused, Invalid::OtherChain { .. }));
    // With the other chain's id the signatures do not verify.
    let renamed = file
        .text
        .replace(&here.chain.to_string(), &elsewhere.chain.to_string());
    assert!(matches!(
        verify(&elsewhere.judge, renamed.as_bytes()).unwrap_err(),
        Invalid::NotProved(_)
    ));
}

#[test]
fn what_a_file_says_about_itself_must_be_true() {
    let village = Village::new(4);
    let (_, evidence) = village.every_kind().remove(0);
    let text = EvidenceFile::new(&village.judge, &evidence).text;
    let refused = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        verify(&village.judge, text.replace(from, to).as_bytes()).unwrap_err()
    };
    assert!(matches!(
        refused("\"culprit\": 0", "\"culprit\": 1"),
        Invalid::Mislabelled { .. }
    ));
    assert!(matches!(
        refused("conflicting_pre_prepares", "conflicting_prepares"),
        Invalid::Mislabelled { .. }
    ));
    assert_eq!(
        refused("evidence/v1", "evidence/v2"),
        Invalid::Schema {
            found: "evidence/v2".to_owned(),
            expected: SCHEMA,
        }
    );
    assert!(matches!(
        refused("\"culprit\": 0,", "\"culprit\": 0, \"note\": 1,"),
        Invalid::Malformed { .. }
    ));
    assert!(matches!(refused("\"proof\": \"", "\"proof\": \"0"), Invalid::Hex));
    assert!(matches!(
        refused("\"proof\": \"", "\"proof\": \"00"),
        Invalid::Proof(_)
    ));
    for garbage in [&b""[..], b"{}", b"\xff\xfe", b"[[[[[[[[[["] {
        assert!(matches!(
            verify(&village.judge, garbage).unwrap_err(),
            Invalid::Malformed { .. }
        ));
    }
}

/// The canonical bytes are all signed, each of them: a flipped bit anywhere makes the proof void.
#[test]
fn a_changed_byte_of_a_proof_convicts_nobody() {
    let village = Village::new(4);
    for (_, evidence) in village.every_kind() {
        let bytes = encode(&evidence);
        for place in 0..bytes.len() {
            for flip in [1, 0x80] {
                let mut changed = bytes.clone();
                changed[place] ^= flip;
                if let Ok(other) = decode::<Evidence>(&changed, changed.len()) {
                    let convicted = village.judge.convicts(&other);
                    assert_eq!(convicted, None, "{} with byte {place} changed", evidence.name());
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to a file, it convicts nobody, or the culprit of what it was made for.
    #[test]
    fn a_changed_file_convicts_nobody_else(
        kind in 0_usize..11,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..4), 1..4),
    ) {
        let village = Village::new(4);
        let (culprit, evidence) = village.every_kind().remove(kind);
        let mut text = EvidenceFile::new(&village.judge, &evidence).text.into_bytes();
        for (place, byte, edit) in edits {
            let place = place.index(text.len());
            match edit {
                0 => text[place] = byte,
                1 => text[place] = b"0123456789abcdefABCDEF\" ,:{}"[usize::from(byte) % 28],
                2 => text.insert(place, byte),
                _ => { text.remove(place); }
            }
        }
        if let Ok(conviction) = verify(&village.judge, &text) {
            prop_assert_eq!(conviction.culprit, ReplicaId::new(culprit));
            prop_assert_eq!(conviction.evidence, evidence);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// What a correct replica signs contradicts nothing it signs: a vote of each kind for each (v, n), VIEW-CHANGEs that show
    /// what it has committed. However its statements are combined, and with whomever's, they do not convict it.
    #[test]
    fn honest_statements_convict_nobody(
        (views, seqs) in (prop::array::uniform2(0_u64..3), prop::array::uniform2(1_u64..4)),
        phases in prop::array::uniform2(0_usize..3),
        senders in prop::array::uniform2(0_u16..4),
        target in 1_u64..3,
    ) {
        let village = Village::new(4);
        // One digest for each number: what agreement gives.
        let digest = |seq: u64| Village::digest(&seq.to_string());
        let phase = |which: usize| [Phase::PrePrepare, Phase::Prepare, Phase::Commit][which];
        let vote = |i: usize| village.vote(phase(phases[i]), senders[i], views[i], seqs[i], digest(seqs[i]));
        let backups = |view: u64| (0..4).filter(|id| u64::from(*id) != view % 4).take(2).collect::<Vec<u16>>();
        let shown = |sender: u16| {
            let prepared = (1..4).map(|seq| village.prepared(&backups(target - 1), target - 1, seq, digest(seq)));
            village.view_change(sender, target, None, prepared.collect())
        };
        let changes = || (0..3).map(shown).collect::<Vec<_>>();
        let choices: Vec<_> = (1..4).map(digest).collect();
        let new_view = || village.new_view(target, changes(), 1, &choices);
        let batch = village.batch(&[0, 1]);
        let checkpoint = |sender| village.checkpoint(sender, 4, digest(4));
        for evidence in [
            Evidence::ConflictingVotes(vote(0), vote(1)),
            Evidence::ConflictingViewChanges(shown(senders[0]), shown(senders[1])),
            Evidence::ConflictingNewViews(new_view(), new_view()),
            Evidence::BadNewView(new_view()),
            Evidence::BadViewChange(shown(senders[0])),
            Evidence::BadBatch(village.proposal(views[0], seqs[0], &batch), batch.clone()),
            Evidence::BadBatch(vote(0), village.batch(&[0, 0])),
            Evidence::UnchosenNull(vote(0), new_view()),
            Evidence::ConflictingCheckpoints(checkpoint(senders[0]), checkpoint(senders[1])),
            Evidence::HiddenCertificate(vote(0), shown(senders[0])),
        ] {
            prop_assert_eq!(village.judge.convicts(&evidence), None, "{}", evidence.name());
        }
    }
}
