//! Sharing out: which requests of a batch a backup checks, and what half a check is worth.

use tagma_pbft::Standing;
use tagma_pbft::message::{Message, Mode, Phase};

use crate::common::{Cluster, id, n, v};
use crate::standby::{standing, strangers, voters};

/// Has n1 to the last backup receive a proposal for 1 in view 0, and nothing of each other.
fn propose_to_all(cluster: &mut Cluster, texts: &[&str]) {
    for i in 1..cluster.size() {
        let proposal = cluster.pre_prepare(0, 1, texts);
        cluster.feed(i, 0, proposal).unwrap();
        cluster.sync(i);
    }
}

/// The view becomes 2, which chooses nothing, at replica `i`.
fn enter_view_2(cluster: &mut Cluster, i: u16) {
    let others = (0..4).filter(|sender| *sender != i);
    let view_changes = others.map(|sender| cluster.view_change(sender, 2, None, Vec::new()));
    let new_view = cluster.new_view(2, view_changes.collect(), 1, &[]);
    cluster.feed(i, 2, Message::NewView(new_view)).unwrap();
    cluster.settle();
    assert_eq!(cluster.replica(i).view(), v(2));
}

fn has_prepared(cluster: &mut Cluster, i: u16, view: u64) -> bool {
    let sent = cluster.take_sent(i);
    sent.iter().any(
        |message| matches!(message, Message::Vote(vote) if (vote.phase, vote.view) == (Phase::Prepare, v(view))),
    )
}

#[test]
fn f_backups_refuse_each_bad_request() {
    for size in [4, 7] {
        for bad in 0..4 {
            let mut cluster = standing(size);
            let mut texts = ["a", "b", "c", "d"];
            texts[bad] = "bad";
            propose_to_all(&mut cluster, &texts);
            let quorum = cluster.ring.quorum;
            let faults = usize::from(quorum.faults());
            let refuse = |i: &u16| cluster.replica(*i).mode() == Mode::ViewChange;
            let refusing: Vec<u16> = (0..size).filter(refuse).collect();
            assert_eq!(refusing.len(), faults, "request {bad} of {size} replicas");
            let prepared = voters(&cluster, "PREPARE");
            assert_eq!(prepared.len(), faults);
            for i in refusing {
                assert!(!prepared.contains(&i) && !quorum.stands_by(id(i), v(0), n(1)));
                assert_eq!(cluster.node(i).evidence.len(), 1);
            }
            cluster.assert_evidence_is_sound(&[0]);
            // Nothing has to be late for the others to find out.
            cluster.isolate(0);
            cluster.settle();
            for i in 1..size {
                assert_eq!(cluster.node(i).evidence.len(), 1, "n{i} of {size}");
                assert_eq!(cluster.replica(i).view(), v(1));
            }
            cluster.assert_evidence_is_sound(&[0]);
        }
    }
}

#[test]
fn who_takes_part_out_of_turn_checks_all() {
    let mut cluster = standing(4);
    // Handed on, so it was lost on its way.
    let proposal = cluster.pre_prepare(0, 1, &["a", "b", "c", "bad"]);
    cluster.feed(3, 2, proposal).unwrap();
    cluster.settle();
    assert_eq!(cluster.node(3).evidence.len(), 1);
    let proposal = cluster.pre_prepare(0, 1, &["bad", "a", "b", "c"]);
    let mut cluster = standing(4);
    cluster.feed(3, 2, proposal).unwrap();
    cluster.settle();
    assert_eq!(cluster.node(3).evidence.len(), 1);
}

/// n1 has checked the first half for (0, 1), and would have had to check another one elsewhere.
#[test]
fn a_share_is_of_no_use_in_another_view() {
    for restarts in [false, true] {
        let mut cluster = strangers(4);
        cluster.isolate(1);
        let proposal = cluster.pre_prepare(0, 1, &["a", "bad"]);
        cluster.feed(1, 0, proposal).unwrap();
        cluster.sync(1);
        assert!(has_prepared(&mut cluster, 1, 0));
        if restarts {
            cluster.heal();
            cluster.crash(1);
            cluster.restart(1);
            cluster.run(cluster.tuning.status_interval);
            cluster.isolate(1);
            assert_eq!(cluster.replica(1).standing(), &Standing::Voting);
        }
        enter_view_2(&mut cluster, 1);
        let digest = cluster.digest(&["a", "bad"]);
        let proposal = cluster.bare_pre_prepare(2, 1, digest);
        cluster.feed(1, 2, proposal).unwrap();
        cluster.sync(1);
        assert!(!has_prepared(&mut cluster, 1, 2));
        let body = Message::Body(crate::common::craft::batch(&["a", "bad"]));
        cluster.feed(1, 2, body).unwrap();
        // After the restart it had shown the proposal to the others, and all have checked the rest of it.
        assert_eq!(cluster.node(1).evidence.len(), 1 + usize::from(restarts));
        let culprits: &[u16] = if restarts { &[0, 2] } else { &[2] };
        cluster.assert_evidence_is_sound(culprits);
    }
}

/// n3 has checked the second half for (1, 1), which it never came to.
#[test]
fn a_share_of_a_view_that_was_skipped_is_of_no_use() {
    let mut cluster = strangers(4);
    cluster.isolate(3);
    let ahead = cluster.pre_prepare(1, 1, &["bad", "a"]);
    cluster.feed(3, 1, ahead).unwrap();
    let digest = cluster.digest(&["bad", "a"]);
    let bare = cluster.bare_pre_prepare(2, 1, digest);
    cluster.feed(3, 2, bare).unwrap();
    enter_view_2(&mut cluster, 3);
    cluster.sync(3);
    assert!(!has_prepared(&mut cluster, 3, 2));
    let body = Message::Body(crate::common::craft::batch(&["bad", "a"]));
    cluster.feed(3, 2, body).unwrap();
    assert_eq!(cluster.node(3).evidence.len(), 1);
    cluster.assert_evidence_is_sound(&[2]);
}

/// A view that chose a batch vouches for all of it.
#[test]
fn what_a_new_view_chooses_needs_no_share() {
    let mut cluster = standing(4);
    cluster.isolate(1);
    let digest = cluster.digest(&["a", "b"]);
    let proposal = cluster.pre_prepare(0, 1, &["a", "b"]);
    cluster.feed(1, 0, proposal).unwrap();
    cluster.sync(1);
    let certificate = cluster.prepared(&[1, 2], 0, 1, digest);
    let view_changes = vec![
        cluster.view_change(0, 2, None, vec![certificate]),
        cluster.view_change(2, 2, None, Vec::new()),
        cluster.view_change(3, 2, None, Vec::new()),
    ];
    let new_view = cluster.new_view(2, view_changes, 1, &[digest]);
    cluster.feed(1, 2, Message::NewView(new_view)).unwrap();
    cluster.settle();
    assert!(has_prepared(&mut cluster, 1, 2));
}

/// How many checks replica `i` has been asked for and not made yet.
fn checks(cluster: &mut Cluster, i: u16) -> usize {
    std::iter::from_fn(|| cluster.check(i).then_some(())).count()
}

/// n1 has left because of it before the others see it, so that its VIEW-CHANGE makes nobody look.
#[test]
fn a_bad_batch_that_is_shown_after_a_view_change_is_found_when_it_is_late() {
    let mut cluster = standing(4);
    cluster.isolate(0);
    let proposal = cluster.pre_prepare(0, 1, &["bad", "a"]);
    cluster.feed(1, 0, proposal.clone()).unwrap();
    cluster.settle();
    for i in [2, 3] {
        cluster.feed(i, 0, proposal.clone()).unwrap();
    }
    cluster.settle();
    // n2 has checked the good half, n3 stands by.
    let refuse = |i: &u16| cluster.replica(*i).mode() == Mode::ViewChange;
    assert_eq!((1..4).filter(refuse).collect::<Vec<_>>(), [1]);
    assert_eq!(voters(&cluster, "PREPARE"), [2]);
    cluster.run(cluster.tuning.request_timeout / 2);
    // n2 follows f + 1 others and need not know why.
    for (i, convicts) in [(1, 1), (2, 0), (3, 1)] {
        assert_eq!(cluster.node(i).evidence.len(), convicts, "n{i}");
        assert_eq!(cluster.replica(i).view(), v(1), "n{i}");
    }
    cluster.assert_evidence_is_sound(&[0]);
}

/// Whoever wants one view after the other cannot have everything checked by everybody again and again.
#[test]
fn the_first_view_change_of_somebody_is_a_reason_to_look_and_no_other() {
    let mut cluster = standing(4);
    cluster.isolate(1);
    for (seq, looks) in [(1, 1), (2, 0)] {
        let proposal = cluster.pre_prepare(0, seq, &["a", "b"]);
        cluster.feed(1, 0, proposal).unwrap();
        cluster.sync(1);
        assert_eq!(checks(&mut cluster, 1), 0);
        // Nobody wants so high a view: what is in this is not looked at.
        let message = cluster.empty_view_change(3, 10 + seq);
        cluster.feed(1, 3, message).unwrap();
        assert_eq!(checks(&mut cluster, 1), looks, "{seq}");
    }
    assert!(cluster.node(1).evidence.is_empty());
}

#[test]
fn what_is_proved_is_not_looked_at_again() {
    let mut cluster = strangers(4);
    // Executed, and forgotten how much of it was checked.
    cluster.submit(0, "a");
    cluster.settle();
    cluster.crash(1);
    cluster.restart(1);
    cluster.run(cluster.tuning.request_timeout);
    assert_eq!(cluster.chain_of(1), ["[a]"]);
    assert_eq!(cluster.replica(1).standing(), &Standing::Voting);
    cluster.isolate(1);
    // Prepared, and not committed.
    let digest = cluster.digest(&["b", "c"]);
    let proposal = cluster.pre_prepare(0, 2, &["b", "c"]);
    cluster.feed(1, 0, proposal).unwrap();
    cluster.sync(1);
    let prepare = cluster.prepare(3, 0, 2, digest);
    cluster.feed(1, 3, prepare).unwrap();
    cluster.sync(1);
    assert!(voters(&cluster, "COMMIT").contains(&1));
    let message = cluster.empty_view_change(3, 11);
    cluster.feed(1, 3, message).unwrap();
    assert_eq!(checks(&mut cluster, 1), 0);
}
