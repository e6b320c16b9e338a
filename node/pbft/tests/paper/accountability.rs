//! Every provable fault leaves evidence that proves itself, and nobody else is accused.

use std::sync::Arc;
use std::time::Duration;

use tagma_pbft::evidence::Evidence;
use tagma_pbft::message::{Message, Mode, Phase};
use tagma_pbft::{Batch, Body};

use crate::common::{Cluster, Rules, craft, n, v};

fn names(cluster: &mut Cluster, i: u16) -> Vec<&'static str> {
    cluster.node(i).evidence.iter().map(Evidence::name).collect()
}

fn empty_view(cluster: &Cluster, view: u64) -> Message {
    let view_changes = (0..3)
        .map(|i| cluster.view_change(i, view, None, Vec::new()))
        .collect();
    Message::NewView(cluster.new_view(view, view_changes, 1, &[]))
}

#[test]
fn two_proposals_for_one_view_and_number() {
    let mut cluster = Cluster::new(4);
    for text in ["a", "b"] {
        let proposal = cluster.pre_prepare(0, 1, &[text]);
        cluster.feed(1, 0, proposal).unwrap();
    }
    assert_eq!(names(&mut cluster, 1), ["conflicting_pre_prepares"]);
    cluster.assert_evidence_is_sound(&[0]);
    assert_eq!(
        cluster.replica(1).mode(),
        Mode::ViewChange,
        "the view of a faulty primary is left"
    );
}

/// Proof against the primary of a coming view is remembered: that view is left as soon as it is entered.
#[test]
fn a_primary_that_lied_before_its_view_began_is_left_when_it_does() {
    let mut cluster = Cluster::new(4);
    cluster.isolate(0);
    for text in ["a", "b"] {
        // Far from the number that the new primary will give next, so that nothing else reminds of it.
        let proposal = cluster.pre_prepare(1, 5, &[text]);
        cluster.feed(2, 1, proposal).unwrap();
    }
    assert_eq!(cluster.replica(2).mode(), Mode::Normal, "view 0 is not concerned");
    for i in 1..4 {
        cluster.submit(i, "c");
    }
    cluster.run(Duration::from_millis(2500));
    assert_eq!(cluster.replica(2).view(), v(1), "it has entered view 1");
    assert_eq!(cluster.replica(2).target(), v(2), "and left it");
}

#[test]
fn two_votes_of_a_kind_for_one_view_and_number() {
    let mut cluster = Cluster::new(4);
    let (a, b) = (cluster.digest(&["a"]), cluster.digest(&["b"]));
    for digest in [a, b, b] {
        let prepare = cluster.prepare(2, 0, 1, digest);
        cluster.feed(1, 2, prepare).unwrap();
        let commit = cluster.commit(3, 0, 1, digest);
        cluster.feed(1, 3, commit).unwrap();
    }
    let found = names(&mut cluster, 1);
    assert!(found.contains(&"conflicting_prepares") && found.contains(&"conflicting_commits"));
    cluster.assert_evidence_is_sound(&[2, 3]);
    assert_eq!(
        cluster.replica(1).mode(),
        Mode::Normal,
        "a backup's fault is no reason to leave"
    );
}

/// Votes of different views or numbers, and the same vote twice, are nobody's fault.
#[test]
fn honest_differences_are_no_fault() {
    let mut cluster = Cluster::new(4);
    let (a, b) = (cluster.digest(&["a"]), cluster.digest(&["b"]));
    for message in [
        cluster.commit(2, 0, 1, a),
        cluster.commit(2, 0, 1, a),
        cluster.commit(2, 0, 2, b),
        cluster.commit(2, 1, 1, b),
        cluster.prepare(2, 1, 1, a),
    ] {
        cluster.feed(1, 2, message).unwrap();
    }
    assert!(names(&mut cluster, 1).is_empty());
}

#[test]
fn evidence_is_bounded() {
    let mut cluster = Cluster::new(4);
    let digests: Vec<_> = ["a", "b"].iter().map(|text| cluster.digest(&[text])).collect();
    for seq in 1..=8 {
        for digest in &digests {
            let prepare = cluster.prepare(2, 0, seq, *digest);
            cluster.feed(1, 2, prepare).unwrap();
        }
    }
    assert_eq!(names(&mut cluster, 1).len(), 4);
}

#[test]
fn batches_that_no_correct_primary_proposes() {
    let empty = Batch {
        time_ms: 5,
        requests: Vec::new().into(),
    };
    let unsigned = {
        let mut batch = craft::batch(&["signed b"]);
        let mut requests = batch.requests.into_vec();
        requests[0].signature = craft::batch(&["signed other"]).requests[0].signature;
        batch.requests = requests.into();
        batch
    };
    let long = "x".repeat(5_000);
    for (what, batch) in [
        ("empty", empty),
        ("a duplicate", craft::batch(&["a", "a"])),
        ("too many", craft::batch(&["a", "b", "c", "d", "e"])),
        ("too long", craft::batch(&[&long])),
        ("an invalid request", craft::batch(&["a", "bad"])),
        ("a bad signature", unsigned),
    ] {
        let mut cluster = Cluster::new(4);
        let proposal = cluster.pre_prepare_batch(0, 1, batch.clone());
        cluster.feed(1, 0, proposal).unwrap();
        assert_eq!(names(&mut cluster, 1), ["bad_batch"], "{what}");
        cluster.assert_evidence_is_sound(&[0]);
        assert_eq!(cluster.replica(1).mode(), Mode::ViewChange, "{what}");
        cluster.sync(1);
        let prepares = |message: &Message| matches!(message, Message::Vote(_));
        assert!(!cluster.take_sent(1).iter().any(prepares), "{what}");
        // The same when the body comes apart from the proposal.
        let mut cluster = Cluster::new(4);
        let digest = Body::new(&cluster.ring.chain, batch.clone()).digest();
        let bare = cluster.bare_pre_prepare(0, 1, digest);
        cluster.feed(1, 0, bare).unwrap();
        cluster.feed(1, 2, Message::Body(batch)).unwrap();
        assert_eq!(names(&mut cluster, 1), ["bad_batch"], "{what}, fetched");
        cluster.assert_evidence_is_sound(&[0]);
    }
}

/// A body that does not hash to d accuses nobody: it may have been swapped by whoever relayed it.
#[test]
fn a_swapped_body_accuses_nobody() {
    let mut cluster = Cluster::new(4);
    let Message::PrePrepare { vote, .. } = cluster.pre_prepare(0, 1, &["a"]) else {
        panic!()
    };
    let swapped = Message::PrePrepare {
        vote,
        batch: Some(craft::batch(&["bad"])),
    };
    cluster.feed(1, 2, swapped).unwrap();
    assert!(names(&mut cluster, 1).is_empty());
    assert_eq!(cluster.replica(1).mode(), Mode::Normal);
}

#[test]
fn a_null_batch_in_the_first_view_is_a_fault() {
    let mut cluster = Cluster::new(4);
    let null = cluster.null();
    let proposal = cluster.bare_pre_prepare(0, 1, null);
    cluster.feed(1, 0, proposal).unwrap();
    assert_eq!(names(&mut cluster, 1), ["bad_batch"]);
    cluster.assert_evidence_is_sound(&[0]);
    assert_eq!(cluster.replica(1).mode(), Mode::ViewChange);
}

/// In a later view a null batch is what an honest primary signs wherever V has nothing: that alone proves nothing.
#[test]
fn a_null_batch_that_a_new_view_chose_accuses_nobody() {
    let cluster = Cluster::new(4);
    let vote = cluster.vote(1, Phase::PrePrepare, 1, 1, cluster.null());
    let null = Body::null(&cluster.ring.chain).batch().clone();
    let evidence = Evidence::BadBatch(vote, null);
    assert!(!evidence.proves(&cluster.ring, &cluster.parameters, &Rules));
}

/// Beyond what its NEW-VIEW chose a primary that proposes null is at fault, and the NEW-VIEW proves it.
#[test]
fn a_null_batch_that_the_new_view_did_not_choose_is_a_fault() {
    let mut cluster = Cluster::new(4);
    let new_view = empty_view(&cluster, 1);
    cluster.feed(3, 1, new_view).unwrap();
    cluster.check(3);
    let null = cluster.null();
    let proposal = cluster.bare_pre_prepare(1, 1, null);
    cluster.feed(3, 1, proposal).unwrap();
    assert_eq!(cluster.replica(3).target(), v(2));
    assert_eq!(names(&mut cluster, 3), ["unchosen_null"]);
    cluster.assert_evidence_is_sound(&[1]);
}

#[test]
fn two_view_changes_for_one_target() {
    let mut cluster = Cluster::new(4);
    let digest = cluster.digest(&["a"]);
    let certificate = cluster.prepared(&[1, 2], 0, 1, digest);
    let first = cluster.view_change(3, 1, None, vec![certificate]);
    let second = cluster.view_change(3, 1, None, Vec::new());
    for message in [first.clone(), second, first] {
        cluster.feed(0, 3, Message::ViewChange(message)).unwrap();
    }
    assert_eq!(names(&mut cluster, 0), ["conflicting_view_changes"]);
    cluster.assert_evidence_is_sound(&[3]);
}

/// Each check of a VIEW-CHANGE costs many signatures: who sends void ones again and again does not get them all
/// checked.
#[test]
fn void_view_changes_for_one_target_are_not_checked_for_ever() {
    let mut cluster = Cluster::new(4);
    let mut checks = 0;
    for seq in 1..=8 {
        for text in ["a", "b", "c"] {
            let digest = cluster.digest(&[text]);
            // One PREPARE too few.
            let certificate = cluster.prepared(&[1], 0, seq, digest);
            let message = cluster.view_change(3, 1, None, vec![certificate]);
            cluster.feed(0, 3, Message::ViewChange(message)).unwrap();
            while cluster.check(0) {
                checks += 1;
            }
        }
    }
    assert!(checks <= 6, "{checks} checks");
}

#[test]
fn two_new_views_for_one_view() {
    let mut cluster = Cluster::new(4);
    let mut view_changes: Vec<_> = (0..4)
        .map(|i| cluster.view_change(i, 1, None, Vec::new()))
        .collect();
    let other = view_changes.split_off(1);
    view_changes.extend([Arc::clone(&other[0]), Arc::clone(&other[1])]);
    for v in [view_changes, other] {
        let message = cluster.new_view(1, v, 1, &[]);
        cluster.feed(3, 1, Message::NewView(message)).unwrap();
        cluster.check(3);
    }
    assert_eq!(names(&mut cluster, 3), ["conflicting_new_views"]);
    cluster.assert_evidence_is_sound(&[1]);
}

#[test]
fn two_checkpoints_for_one_height() {
    let mut cluster = Cluster::new(4);
    let (a, b) = (cluster.digest(&["a"]), cluster.digest(&["b"]));
    for message in [
        cluster.checkpoint(2, 4, a),
        // Somebody is wrong, and nobody knows who.
        cluster.checkpoint(3, 4, b),
        cluster.checkpoint(2, 4, a),
    ] {
        cluster.feed(1, 2, message).unwrap();
    }
    assert!(names(&mut cluster, 1).is_empty());
    let second = cluster.checkpoint(2, 4, b);
    cluster.feed(1, 2, second).unwrap();
    assert_eq!(names(&mut cluster, 1), ["conflicting_checkpoints"]);
    cluster.assert_evidence_is_sound(&[2]);
}

/// A correct replica shows only certificates that it has checked.
#[test]
fn a_view_change_with_certificates_that_do_not_hold() {
    let mut cluster = Cluster::new(4);
    let digest = cluster.digest(&["a"]);
    let short = cluster.prepared(&[1], 0, 1, digest);
    let mut moved = cluster.prepared(&[1, 2], 0, 1, digest);
    moved.digest = cluster.digest(&["b"]);
    let stable = cluster.stable(&[0, 1], 4, digest);
    for (stable, prepared) in [
        (None, vec![short]),
        (None, vec![moved]),
        (Some(stable), Vec::new()),
    ] {
        let mut cluster = Cluster::new(4);
        let message = cluster.view_change(3, 1, stable, prepared);
        cluster.feed(0, 3, Message::ViewChange(message)).unwrap();
        cluster.check(0);
        assert_eq!(names(&mut cluster, 0), ["bad_view_change"]);
        cluster.assert_evidence_is_sound(&[3]);
    }
}

/// Whoever has sent a COMMIT shows its certificate, or a higher one, until a stable checkpoint covers it.
#[test]
fn a_view_change_that_hides_a_certificate() {
    let mut cluster = Cluster::new(4);
    let (a, b) = (cluster.digest(&["a"]), cluster.digest(&["b"]));
    let commit = |view| cluster.vote(2, Phase::Commit, view, 1, a);
    let change = |target, stable, p| cluster.view_change(2, target, stable, p);
    let proves = |commit, message| {
        let evidence = Evidence::HiddenCertificate(commit, message);
        evidence.proves(&cluster.ring, &cluster.parameters, &Rules)
    };
    let shown = cluster.prepared(&[1, 2], 0, 1, a);
    let other = cluster.prepared(&[1, 2], 0, 1, b);
    let higher = cluster.prepared(&[0, 2], 1, 1, b);
    let elsewhere = cluster.prepared(&[1, 2], 0, 2, a);
    assert!(proves(commit(0), change(1, None, Vec::new())));
    assert!(proves(commit(0), change(3, None, vec![elsewhere])));
    assert!(proves(commit(0), change(1, None, vec![other])));
    assert!(
        proves(commit(1), change(2, None, vec![shown.clone()])),
        "a lower one does not do"
    );
    assert!(!proves(commit(0), change(1, None, vec![shown])));
    assert!(!proves(commit(0), change(2, None, vec![higher])));
    assert!(
        !proves(commit(1), change(1, None, Vec::new())),
        "the COMMIT came later"
    );
    let stable = cluster.stable(&[0, 1, 3], 4, a);
    assert!(
        !proves(commit(0), change(1, Some(stable), Vec::new())),
        "it is not needed any more"
    );
    let prepare = cluster.vote(2, Phase::Prepare, 0, 1, a);
    assert!(
        !proves(prepare, change(1, None, Vec::new())),
        "a PREPARE promises nothing"
    );
    let others = cluster.vote(3, Phase::Commit, 0, 1, a);
    assert!(
        !proves(others, change(1, None, Vec::new())),
        "another's COMMIT binds nobody"
    );
    let mut forged = commit(0);
    forged.signature = cluster.vote(3, Phase::Commit, 0, 1, a).signature;
    assert!(!proves(forged, change(1, None, Vec::new())));
}

/// A proposal of the new view that comes before its NEW-VIEW and contradicts it, below a checkpoint that comes with it.
#[test]
fn a_proposal_that_the_new_view_contradicts() {
    let mut cluster = Cluster::new(4);
    let (a, b) = (cluster.digest(&["a"]), cluster.digest(&["b"]));
    let early = cluster.pre_prepare(1, 6, &["x"]);
    cluster.feed(3, 1, early).unwrap();
    let stable = cluster.stable(&[0, 1, 2], 4, a);
    let p = vec![
        cluster.prepared(&[1, 2], 0, 5, a),
        cluster.prepared(&[1, 2], 0, 6, b),
    ];
    let view_changes = vec![
        cluster.view_change(0, 1, Some(stable), p),
        cluster.view_change(1, 1, None, Vec::new()),
        cluster.view_change(2, 1, None, Vec::new()),
    ];
    let message = cluster.new_view(1, view_changes, 5, &[a, b]);
    cluster.feed(3, 1, Message::NewView(message)).unwrap();
    cluster.check(3);
    assert_eq!(cluster.replica(3).stable_seq(), n(4));
    assert_eq!(names(&mut cluster, 3), ["conflicting_pre_prepares"]);
    cluster.assert_evidence_is_sound(&[1]);
    assert_eq!(cluster.replica(3).target(), v(2));
}

/// Evidence with a signature that is not the culprit's, or without a contradiction, proves nothing.
#[test]
fn made_up_evidence_proves_nothing() {
    let mut cluster = Cluster::new(4);
    let (a, b) = (cluster.digest(&["a"]), cluster.digest(&["b"]));
    let vote = |sender, view, digest| cluster.vote(sender, Phase::Commit, view, 1, digest);
    let mut forged = vote(1, 0, b);
    forged.sender = crate::common::id(2);
    for (first, second) in [
        (vote(2, 0, a), forged),
        (vote(2, 0, a), vote(2, 0, a)),
        (vote(2, 0, a), vote(2, 1, b)),
        (vote(2, 0, a), vote(3, 0, b)),
    ] {
        let evidence = Evidence::ConflictingVotes(first, second);
        assert!(!evidence.proves(&cluster.ring, &cluster.parameters, &Rules));
    }
    let good = craft::batch(&["a"]);
    let evidence = Evidence::BadBatch(cluster.vote(0, Phase::PrePrepare, 0, 1, a), good);
    assert!(!evidence.proves(&cluster.ring, &cluster.parameters, &Rules));
    let Message::NewView(good) = empty_view(&cluster, 1) else {
        panic!()
    };
    let evidence = Evidence::BadNewView(good);
    assert!(!evidence.proves(&cluster.ring, &cluster.parameters, &Rules));
}
