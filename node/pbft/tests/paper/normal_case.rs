//! §4.2: PRE-PREPARE, PREPARE, COMMIT.

use std::time::Duration;

use tagma_crypto::{Digest, SecretKey};
use tagma_pbft::error::Rejection;
use tagma_pbft::message::{Message, Phase, Vote};
use tagma_pbft::{Event, KeyRing, Tuning, Verifier};

use crate::common::{Cluster, Rules, START_MS, craft, id, n, parameters, tuning, v};

/// The votes of this phase that replica `i` has sent, as (view, n, digest).
fn sent(cluster: &mut Cluster, i: u16, phase: Phase) -> Vec<(u64, u64, Digest)> {
    cluster.sync(i);
    cluster
        .take_sent(i)
        .into_iter()
        .filter_map(|message| match message {
            Message::Vote(vote) if vote.phase == phase => {
                Some((vote.view.get(), vote.seq.get(), vote.digest))
            }
            _ => None,
        })
        .collect()
}

fn is_prepared(cluster: &mut Cluster, i: u16) -> bool {
    let prepared = |event: &Event| matches!(event, Event::Prepared { .. });
    cluster.node(i).events.iter().any(prepared)
}

#[test]
fn a_request_goes_through_the_three_phases() {
    let mut cluster = Cluster::new(4);
    cluster.submit(0, "a");
    cluster.settle();
    for i in 0..4 {
        assert_eq!(cluster.chain_of(i), ["[a]"]);
        let prepares = cluster
            .trace
            .iter()
            .filter(|line| line.starts_with(&format!("n{i} -> all: PREPARE")));
        assert_eq!(
            prepares.count(),
            usize::from(i != 0),
            "a primary never sends PREPARE"
        );
    }
}

#[test]
fn a_backup_accepts_what_the_primary_of_its_view_proposes() {
    let mut cluster = Cluster::new(4);
    let proposal = cluster.pre_prepare(0, 1, &["a"]);
    cluster.feed(1, 0, proposal).unwrap();
    let digest = cluster.digest(&["a"]);
    assert_eq!(sent(&mut cluster, 1, Phase::Prepare), [(0, 1, digest)]);
}

#[test]
fn a_proposal_of_another_view_is_not_accepted() {
    let mut cluster = Cluster::new(4);
    let proposal = cluster.pre_prepare(1, 1, &["a"]);
    cluster.feed(2, 1, proposal).unwrap();
    assert_eq!(sent(&mut cluster, 2, Phase::Prepare), []);
}

#[test]
fn a_proposal_of_another_than_the_primary_is_refused() {
    let mut cluster = Cluster::new(4);
    let digest = cluster.digest(&["a"]);
    let message = Message::PrePrepare {
        vote: cluster.vote(2, Phase::PrePrepare, 0, 1, digest),
        batch: Some(craft::batch(&["a"])),
    };
    assert_eq!(
        cluster.feed(1, 2, message),
        Err(Rejection::NotPrimary(id(2), v(0)))
    );
}

#[test]
fn the_second_digest_for_one_view_and_number_is_not_accepted() {
    let mut cluster = Cluster::new(4);
    for text in ["a", "b"] {
        let proposal = cluster.pre_prepare(0, 1, &[text]);
        cluster.feed(1, 0, proposal).unwrap();
    }
    let prepared = sent(&mut cluster, 1, Phase::Prepare);
    assert!(prepared.len() <= 1, "two PREPAREs for one (v, n)");
}

#[test]
fn without_the_body_there_is_no_prepare() {
    let mut cluster = Cluster::new(4);
    let body = cluster.body(&["a"]);
    let bare = cluster.bare_pre_prepare(0, 1, body.digest());
    cluster.feed(1, 0, bare).unwrap();
    for sender in [2, 3] {
        let prepare = cluster.prepare(sender, 0, 1, body.digest());
        cluster.feed(1, sender, prepare).unwrap();
    }
    assert_eq!(sent(&mut cluster, 1, Phase::Prepare), []);
    assert!(!is_prepared(&mut cluster, 1), "prepared needs the body");
    cluster.feed(1, 2, Message::Body(body.batch().clone())).unwrap();
    assert_eq!(sent(&mut cluster, 1, Phase::Prepare), [(0, 1, body.digest())]);
    assert!(is_prepared(&mut cluster, 1));
}

/// n in (h, H] is accepted; up to H + K the digest is kept and looked at when the window moves; what lies beyond is
/// dropped.
#[test]
fn water_marks_bound_what_is_accepted() {
    let mut cluster = Cluster::new(4);
    let proposals: Vec<(u64, Message)> = [0, 8, 9, 12, 13]
        .into_iter()
        .map(|seq| (seq, cluster.pre_prepare(0, seq, &[&format!("r{seq}")])))
        .collect();
    for (_, proposal) in proposals {
        cluster.feed(1, 0, proposal).unwrap();
    }
    let accepted: Vec<u64> = sent(&mut cluster, 1, Phase::Prepare)
        .iter()
        .map(|vote| vote.1)
        .collect();
    assert_eq!(accepted, [8]);
    let outside = |event: &Event| matches!(event, Event::Rejected { why: Rejection::OutsideWindow(seq), .. } if *seq == n(13));
    assert!(cluster.node(1).events.iter().any(outside));
    // h moves to 4: 9 and 12 are in the window now; their bodies have to be asked for.
    let stable = cluster.stable(&[0, 2, 3], 4, Digest::of("header", &[]));
    cluster.feed(1, 0, Message::Stable(stable)).unwrap();
    for text in ["r9", "r12"] {
        let body = cluster.body(&[text]);
        cluster.feed(1, 0, Message::Body(body.batch().clone())).unwrap();
    }
    let accepted: Vec<u64> = sent(&mut cluster, 1, Phase::Prepare)
        .iter()
        .map(|vote| vote.1)
        .collect();
    assert_eq!(accepted, [9, 12]);
}

#[test]
fn the_primarys_prepare_counts_for_nothing() {
    let mut cluster = Cluster::new(4);
    let digest = cluster.digest(&["a"]);
    let prepare = cluster.prepare(0, 0, 1, digest);
    assert_eq!(cluster.feed(1, 0, prepare), Err(Rejection::PrimaryPrepare(id(0))));
}

/// 2f PREPAREs that match the PRE-PREPARE, of distinct backups: not the same one twice, not of another view, number or
/// digest.
#[test]
fn prepared_needs_2f_matching_prepares_of_distinct_backups() {
    let mut cluster = Cluster::new(4);
    let (a, b) = (cluster.digest(&["a"]), cluster.digest(&["b"]));
    let proposal = cluster.pre_prepare(0, 1, &["a"]);
    // The primary needs two PREPAREs of others: its own word is the PRE-PREPARE.
    cluster.submit(0, "a");
    cluster.sync(0);
    drop(proposal);
    for (sender, view, seq, digest) in [
        (1, 0, 1, a),
        (1, 0, 1, a),
        (2, 0, 1, b),
        (3, 2, 1, a),
        (3, 0, 2, a),
    ] {
        let prepare = cluster.prepare(sender, view, seq, digest);
        cluster.feed(0, sender, prepare).unwrap();
        assert!(!is_prepared(&mut cluster, 0));
    }
    let prepare = cluster.prepare(3, 0, 1, a);
    cluster.feed(0, 3, prepare).unwrap();
    assert!(is_prepared(&mut cluster, 0));
    assert_eq!(sent(&mut cluster, 0, Phase::Commit), [(0, 1, a)]);
}

/// Votes may come before what they vote for.
#[test]
fn early_votes_are_kept() {
    let mut cluster = Cluster::new(4);
    let digest = cluster.digest(&["a"]);
    for sender in [2, 3] {
        let prepare = cluster.prepare(sender, 0, 1, digest);
        cluster.feed(1, sender, prepare).unwrap();
        let commit = cluster.commit(sender, 0, 1, digest);
        cluster.feed(1, sender, commit).unwrap();
    }
    let proposal = cluster.pre_prepare(0, 1, &["a"]);
    cluster.feed(1, 0, proposal).unwrap();
    assert_eq!(sent(&mut cluster, 1, Phase::Commit), [(0, 1, digest)]);
    assert!(cluster.execute(1));
}

#[test]
fn committed_local_needs_q_commits() {
    let mut cluster = Cluster::new(4);
    let digest = cluster.digest(&["a"]);
    let proposal = cluster.pre_prepare(0, 1, &["a"]);
    cluster.feed(1, 0, proposal).unwrap();
    for sender in [0, 2] {
        let commit = cluster.commit(sender, 0, 1, digest);
        cluster.feed(1, sender, commit).unwrap();
        assert!(!cluster.execute(1));
    }
    let commit = cluster.commit(3, 0, 1, digest);
    cluster.feed(1, 3, commit).unwrap();
    assert!(cluster.execute(1));
}

/// The claimed sender must be the verifying key, and a signature serves one phase, view, number, digest and chain only.
#[test]
fn a_signature_serves_one_statement_only() {
    let mut cluster = Cluster::new(4);
    let (a, b) = (cluster.digest(&["a"]), cluster.digest(&["b"]));
    let good = cluster.vote(2, Phase::Prepare, 0, 1, a);
    let bent: [fn(&mut Vote, Digest); 6] = [
        |vote, _| vote.sender = id(3),
        |vote, _| vote.phase = Phase::Commit,
        |vote, _| vote.view = v(1),
        |vote, _| vote.seq = n(2),
        |vote, other| vote.digest = other,
        |vote, _| vote.signature = tagma_crypto::Signature::from_bytes([0; 64]),
    ];
    for bend in bent {
        let mut vote = good.clone();
        bend(&mut vote, b);
        let refused = cluster.feed(1, 2, Message::Vote(vote)).unwrap_err();
        assert!(
            matches!(refused, Rejection::Signature | Rejection::PrimaryPrepare(_)),
            "{refused}"
        );
    }
    let mut outsider = good.clone();
    outsider.sender = id(4);
    assert_eq!(
        cluster.feed(1, 2, Message::Vote(outsider)),
        Err(Rejection::UnknownSender(id(4)))
    );
    let other_chain = Vote::sign(
        Phase::Prepare,
        v(0),
        n(1),
        a,
        id(2),
        &Digest::of("another chain", &[]),
        &cluster.keys[2],
    );
    assert_eq!(
        cluster.feed(1, 2, Message::Vote(other_chain)),
        Err(Rejection::Signature)
    );
    let stranger = Vote::sign(
        Phase::Prepare,
        v(0),
        n(1),
        a,
        id(2),
        &cluster.ring.chain,
        &SecretKey::from_seed([77; 32]),
    );
    assert_eq!(
        cluster.feed(1, 2, Message::Vote(stranger)),
        Err(Rejection::Signature)
    );
    cluster
        .feed(1, 3, Message::Vote(good))
        .expect("relaying is allowed: the signer counts");
}

/// One bad message in a batch of signatures does not spoil its neighbours.
#[test]
fn verdicts_in_a_batch_are_those_of_each_alone() {
    let mut cluster = Cluster::new(4);
    let a = cluster.digest(&["a"]);
    let mut bad = cluster.vote(3, Phase::Commit, 0, 1, a);
    bad.seq = n(2);
    let messages = vec![
        cluster.commit(2, 0, 1, a),
        Message::Vote(bad),
        cluster.commit(0, 0, 1, a),
    ];
    let ring: &KeyRing = &cluster.ring;
    let rules = std::sync::Arc::new(Rules);
    let verifier = Verifier::new(id(1), ring.clone().into(), parameters(), rules);
    let verdicts: Vec<bool> = verifier.verify_all(messages).iter().map(Result::is_ok).collect();
    assert_eq!(verdicts, [true, false, true]);
}

/// A proposal from too far in the future is held, not refused: it is accepted when the clock allows.
#[test]
fn a_proposal_ahead_of_the_clock_is_held() {
    let mut cluster = Cluster::new(4);
    let proposal = cluster.pre_prepare_batch(0, 1, craft::batch_at(START_MS + 1_500, &["a"]));
    cluster.feed(1, 0, proposal).unwrap();
    assert_eq!(sent(&mut cluster, 1, Phase::Prepare), []);
    cluster.pass(Duration::from_millis(999));
    assert_eq!(sent(&mut cluster, 1, Phase::Prepare), []);
    cluster.pass(Duration::from_millis(1));
    assert_eq!(sent(&mut cluster, 1, Phase::Prepare).len(), 1);
}

/// f + 1 other backups whose clocks allow it outweigh the own clock; fewer do not.
#[test]
fn a_held_proposal_is_accepted_with_f_plus_1_others() {
    let mut cluster = Cluster::new(4);
    let batch = craft::batch_at(START_MS + 3_600_000, &["a"]);
    let digest = tagma_pbft::Body::new(&cluster.ring.chain, batch.clone()).digest();
    let proposal = cluster.pre_prepare_batch(0, 1, batch);
    cluster.feed(1, 0, proposal).unwrap();
    let prepare = cluster.prepare(2, 0, 1, digest);
    cluster.feed(1, 2, prepare).unwrap();
    assert_eq!(sent(&mut cluster, 1, Phase::Prepare), []);
    let prepare = cluster.prepare(3, 0, 1, digest);
    cluster.feed(1, 3, prepare).unwrap();
    assert_eq!(sent(&mut cluster, 1, Phase::Prepare).len(), 1);
}

#[test]
fn proposed_times_in_the_past_are_fine() {
    let mut cluster = Cluster::new(4);
    let proposal = cluster.pre_prepare_batch(0, 1, craft::batch_at(1, &["a"]));
    cluster.feed(1, 0, proposal).unwrap();
    assert_eq!(sent(&mut cluster, 1, Phase::Prepare).len(), 1);
}

fn proposals(cluster: &mut Cluster) -> Vec<usize> {
    cluster.sync(0);
    cluster
        .take_sent(0)
        .into_iter()
        .filter_map(|message| match message {
            Message::PrePrepare { batch, .. } => batch.map(|batch| batch.requests.len()),
            _ => None,
        })
        .collect()
}

/// With nothing in flight a batch closes at once; else it waits for company until it is full or its time is over.
#[test]
fn batches_close_when_they_should() {
    let mut cluster = Cluster::new(4);
    cluster.submit(0, "a");
    assert_eq!(proposals(&mut cluster), [1]);
    for text in ["b", "c", "d"] {
        cluster.submit(0, text);
    }
    assert_eq!(proposals(&mut cluster), []);
    cluster.submit(0, "e");
    assert_eq!(proposals(&mut cluster), [4], "it is full");
    cluster.submit(0, "f");
    cluster.pass(tuning().batch_max_delay);
    assert_eq!(proposals(&mut cluster), [1], "it has waited long enough");
}

#[test]
fn proposals_in_flight_are_bounded() {
    let few = Tuning {
        max_in_flight: 2,
        ..tuning()
    };
    let mut cluster = Cluster::with(4, parameters(), few);
    for round in 0..40 {
        cluster.submit(0, &format!("r{round}"));
        cluster.pass(Duration::from_millis(10));
    }
    assert_eq!(proposals(&mut cluster).len(), 2);
}

/// A request that fits no batch is given up: it can neither be ordered nor make an empty batch.
#[test]
fn a_request_that_fits_no_batch_is_given_up() {
    let mut cluster = Cluster::new(4);
    cluster.submit(0, &"x".repeat(4_096));
    cluster.submit(0, "a");
    assert_eq!(proposals(&mut cluster), [1]);
    assert_eq!(cluster.replica(0).pending(), 1);
}
