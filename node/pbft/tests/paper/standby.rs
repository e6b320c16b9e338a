//! Standing by: what f backups leave to the others, and for how long.

use std::time::Duration;

use tagma_crypto::Digest;
use tagma_pbft::message::{Message, Mode, Phase};
use tagma_pbft::{Event, Tuning};

use crate::common::{Cluster, craft, id, n, parameters, tuning, v};

const T: Duration = Duration::from_secs(2);
const MOMENT: Duration = Duration::from_millis(1);

/// `size` replicas that may stand by and have not heard votes of each other.
pub(crate) fn strangers(size: u16) -> Cluster {
    let tuning = Tuning {
        standby: true,
        ..tuning()
    };
    Cluster::with(size, parameters(), tuning)
}

/// `size` replicas, of which f stand by: all have heard votes of each other, of a view that no test comes to. Of four, n3 stands by for 1, n2
/// for 2, n1 for 3, n3 for 4.
pub(crate) fn standing(size: u16) -> Cluster {
    let mut cluster = strangers(size);
    let digest = cluster.digest(&["elsewhere"]);
    let primary = cluster.ring.quorum.primary(v(9)).get();
    for i in 0..size {
        for sender in (0..size).filter(|sender| *sender != i) {
            let vote = if sender == primary {
                cluster.commit(sender, 9, 1, digest)
            } else {
                cluster.prepare(sender, 9, 1, digest)
            };
            cluster.feed(i, sender, vote).unwrap();
        }
        assert!(cluster.replica(i).stands_by());
    }
    cluster
}

/// Who has sent a vote of this phase.
pub(crate) fn voters(cluster: &Cluster, phase: &str) -> Vec<u16> {
    let sent = |i: &u16| {
        let start = format!("n{i} -> all: {phase}");
        cluster.trace.iter().any(|line| line.starts_with(&start))
    };
    (0..cluster.size()).filter(sent).collect()
}

fn late(cluster: &mut Cluster, i: u16) -> usize {
    let late = |event: &&Event| matches!(event, Event::Late { .. });
    cluster.node(i).events.iter().filter(late).count()
}

#[test]
fn the_others_decide_and_all_execute() {
    for size in [4, 7] {
        let mut cluster = standing(size);
        for round in 1..=6_u64 {
            cluster.trace.clear();
            cluster.submit(0, &format!("r{round}"));
            cluster.settle();
            let quorum = cluster.ring.quorum;
            let takes_part = |i: &u16| !quorum.stands_by(id(*i), v(0), n(round));
            let deciding: Vec<u16> = (0..size).filter(takes_part).collect();
            assert_eq!(voters(&cluster, "COMMIT"), deciding);
            assert_eq!(voters(&cluster, "PREPARE"), deciding[1..]);
            for i in 0..size {
                assert_eq!(cluster.node(i).executed.len() as u64, round, "n{i} of {size}");
            }
        }
        cluster.run(T * 10);
        for i in 0..size {
            assert_eq!(late(&mut cluster, i), 0);
        }
    }
}

#[test]
fn whoever_stands_by_takes_part_when_the_others_are_late() {
    let mut cluster = standing(4);
    cluster.isolate(1);
    cluster.submit(0, "a");
    // One PREPARE has come, at once.
    cluster.run(T / 8 - MOMENT);
    assert!(cluster.node(3).executed.is_empty());
    cluster.run(MOMENT);
    for i in [0, 2, 3] {
        assert_eq!(cluster.chain_of(i), ["[a]"]);
    }
    assert_eq!(voters(&cluster, "PREPARE"), [2, 3]);
    // From now on it takes part at once, and stands by again much later.
    for round in 0..2 {
        cluster.submit(0, &format!("b{round}"));
        cluster.run(T / 8);
    }
    cluster.trace.clear();
    cluster.submit(0, "c");
    cluster.settle();
    assert_eq!(voters(&cluster, "PREPARE"), [2, 3]);
    assert_eq!((late(&mut cluster, 3), late(&mut cluster, 2)), (1, 1));
    assert!(!cluster.replica(3).stands_by());
    // However long it is down: there is no leaving anything to it.
    for round in 0..20 {
        cluster.submit(0, &format!("d{round}"));
        cluster.run(T);
    }
    assert_eq!((late(&mut cluster, 3), late(&mut cluster, 2)), (1, 1));
    assert!(!cluster.replica(3).stands_by());
    cluster.heal();
    for round in 0..3 {
        cluster.submit(0, &format!("e{round}"));
        cluster.run(T);
    }
    assert!((1..4).all(|i| cluster.replica(i).stands_by()));
    assert_eq!(cluster.chain_of(1), cluster.chain_of(0));
}

/// Everybody takes part until all have shown that they do.
#[test]
fn nothing_is_left_to_strangers() {
    let mut cluster = strangers(4);
    cluster.submit(0, "a");
    cluster.settle();
    assert_eq!(voters(&cluster, "PREPARE"), [1, 2, 3]);
    cluster.trace.clear();
    cluster.submit(0, "b");
    cluster.settle();
    assert_eq!(voters(&cluster, "PREPARE"), [1, 3]);
    // Nor to those of whom nothing was heard for long.
    cluster.run(T * 9);
    cluster.trace.clear();
    cluster.submit(0, "c");
    cluster.settle();
    assert_eq!(voters(&cluster, "PREPARE"), [1, 2, 3]);
}

/// n1 is silent as soon as something is left to it, and votes when nothing is: the pause grows up to 64 T.
#[test]
fn whoever_makes_others_late_again_and_again_is_relied_on_ever_more_rarely() {
    let mut cluster = standing(4);
    let mut names = (0..).map(|number| format!("r{number}"));
    let mut until = |cluster: &mut Cluster, what: &str, holds: &dyn Fn(&mut Cluster) -> bool| {
        for name in names.by_ref().take(600) {
            if holds(cluster) {
                return;
            }
            cluster.submit(0, &name);
            cluster.run(T / 4);
        }
        panic!(
            "never: {what}: {:?}",
            cluster.trace.iter().rev().take(30).collect::<Vec<_>>()
        );
    };
    let mut pauses = Vec::new();
    for _ in 0..6 {
        cluster.isolate(1);
        let before = late(&mut cluster, 3);
        until(&mut cluster, "late", &|cluster| late(cluster, 3) > before);
        cluster.heal();
        let since = cluster.now.clock;
        until(&mut cluster, "stands by", &|cluster| {
            cluster.replica(3).stands_by()
        });
        pauses.push(cluster.now.clock.since(since).as_secs() / T.as_secs());
    }
    let expected = [8, 16, 32, 64, 64, 64];
    let close = |(pause, expected): (&u64, &u64)| (*expected..=expected + 1).contains(&(pause + 1));
    assert!(pauses.iter().zip(&expected).all(close), "{pauses:?}");
}

#[test]
fn with_no_word_of_the_others_a_proposal_is_late_after_half_of_t() {
    let mut cluster = standing(4);
    // n1 and n2 prepare, which nobody else learns.
    cluster.cut.extend([(1, 0), (2, 0), (1, 3), (2, 3)]);
    cluster.submit(0, "a");
    cluster.run(T / 2 - MOMENT);
    assert_eq!(voters(&cluster, "PREPARE"), [1, 2]);
    cluster.run(MOMENT);
    assert_eq!(voters(&cluster, "PREPARE"), [1, 2, 3]);
}

#[test]
fn what_is_not_checked_is_not_prepared() {
    let mut cluster = standing(4);
    let proposal = cluster.pre_prepare(0, 1, &["bad"]);
    cluster.feed(3, 0, proposal).unwrap();
    cluster.sync(3);
    assert!(cluster.take_sent(3).is_empty());
    assert!(cluster.node(3).evidence.is_empty());
    cluster.run(T / 2);
    assert_eq!(voters(&cluster, "PREPARE"), [0; 0]);
    assert_eq!(cluster.replica(3).mode(), Mode::ViewChange);
    assert_eq!(cluster.node(3).evidence.len(), 1);
    cluster.assert_evidence_is_sound(&[0]);
}

/// f + 1 of Q replicas that committed it are correct, so it was prepared, which nothing invalid is.
#[test]
fn commits_of_a_quorum_vouch_for_what_is_not_checked() {
    let mut cluster = standing(4);
    let proposal = cluster.pre_prepare(0, 1, &["a"]);
    cluster.feed(3, 0, proposal).unwrap();
    let digest = cluster.digest(&["a"]);
    for sender in 0..3 {
        assert!(cluster.node(3).executed.is_empty());
        let commit = cluster.commit(sender, 0, 1, digest);
        cluster.feed(3, sender, commit).unwrap();
        cluster.settle();
    }
    assert_eq!(cluster.chain_of(3), ["[a]"]);
    // It is final: no vote of this replica is of use to anybody.
    let again = cluster.pre_prepare(0, 1, &["a"]);
    cluster.feed(3, 2, again).unwrap();
    cluster.run(T * 2);
    assert!(!voters(&cluster, "PREPARE").contains(&3));
}

/// n2 takes part, and gives its COMMIT to nobody but the one who stands by: what that one knows is of no use to the others, who lack its
/// vote.
#[test]
fn commits_for_one_alone_are_noticed() {
    let mut cluster = standing(4);
    cluster.cut.extend([(2, 0), (2, 1)]);
    cluster.submit(0, "a");
    let digest = cluster.digest(&["a"]);
    for i in [0, 1] {
        let prepare = cluster.prepare(2, 0, 1, digest);
        cluster.feed(i, 2, prepare).unwrap();
    }
    cluster.settle();
    assert_eq!((cluster.chain_of(3).len(), cluster.chain_of(0).len()), (1, 0));
    assert_eq!(late(&mut cluster, 3), 0);
    cluster.run(T / 2);
    assert_eq!(cluster.chain_of(0), ["[a]"], "it has fetched the block");
    assert_eq!(late(&mut cluster, 3), 1);
    assert!(!cluster.replica(3).stands_by());
}

#[test]
fn a_body_above_the_window_is_asked_for_when_it_is_in_it() {
    let mut cluster = standing(4);
    let proposal = cluster.pre_prepare(0, 10, &["a"]);
    cluster.feed(3, 0, proposal).unwrap();
    let stable = cluster.stable(&[0, 1, 2], 4, Digest::of("header", &[]));
    cluster.feed(3, 0, Message::Stable(stable)).unwrap();
    let asked = |message: &Message| matches!(message, Message::FetchBody { seq, .. } if *seq == n(10));
    assert!(cluster.take_sent(3).iter().any(asked));
    cluster.feed(3, 0, Message::Body(craft::batch(&["a"]))).unwrap();
    cluster.sync(3);
    assert_eq!(voters(&cluster, "PREPARE"), [3]);
}

#[test]
fn what_was_left_to_others_in_a_view_that_was_left_is_void() {
    let mut cluster = standing(4);
    let proposal = cluster.pre_prepare(0, 1, &["a"]);
    cluster.feed(3, 0, proposal).unwrap();
    let view_changes = (0..3).map(|sender| cluster.view_change(sender, 1, None, Vec::new()));
    let new_view = cluster.new_view(1, view_changes.collect(), 1, &[]);
    cluster.feed(3, 1, Message::NewView(new_view)).unwrap();
    cluster.run(T);
    assert_eq!(cluster.replica(3).view(), v(1));
    assert_eq!(late(&mut cluster, 3), 0);
    assert_eq!(voters(&cluster, "PREPARE"), [0; 0]);
}

#[test]
fn what_somebody_hands_on_is_late_already() {
    let mut cluster = standing(4);
    let proposal = cluster.pre_prepare(0, 1, &["a"]);
    cluster.feed(3, 2, proposal).unwrap();
    cluster.settle();
    assert_eq!(voters(&cluster, "PREPARE"), [3]);
}

#[test]
fn what_a_new_view_chooses_is_for_all_and_its_body_is_at_hand() {
    let mut cluster = standing(4);
    let digest = cluster.digest(&["a"]);
    let proposal = cluster.pre_prepare(0, 1, &["a"]);
    cluster.feed(3, 0, proposal).unwrap();
    let certificate = cluster.prepared(&[1, 2], 0, 1, digest);
    let view_changes = vec![
        cluster.view_change(0, 1, None, vec![certificate]),
        cluster.view_change(1, 1, None, Vec::new()),
        cluster.view_change(2, 1, None, Vec::new()),
    ];
    let new_view = cluster.new_view(1, view_changes, 1, &[digest]);
    cluster.feed(3, 1, Message::NewView(new_view)).unwrap();
    cluster.settle();
    let sent = cluster.take_sent(3);
    let prepared = |message: &Message| {
        matches!(message, Message::Vote(vote) if vote.phase == Phase::Prepare
            && (vote.view, vote.digest) == (v(1), digest))
    };
    assert!(sent.iter().any(prepared), "{:?}", cluster.trace);
    let asked = |message: &Message| matches!(message, Message::FetchBody { .. });
    assert!(!sent.iter().any(asked));
    assert!(!cluster.replica(3).stands_by(), "somebody was faulty or slow");
}

/// A body of bad form is the primary's fault whoever looks.
#[test]
fn the_form_of_a_batch_is_checked_by_all() {
    let mut cluster = standing(4);
    let proposal = cluster.pre_prepare_batch(0, 1, craft::batch(&["a", "a"]));
    cluster.feed(3, 0, proposal).unwrap();
    assert_eq!(cluster.replica(3).mode(), Mode::ViewChange);
}
