//! §4.3: checkpoints, water marks, garbage collection.

use std::time::Duration;

use tagma_crypto::Digest;
use tagma_pbft::error::{BadCertificate, Rejection};
use tagma_pbft::io::HaltReason;
use tagma_pbft::message::{Message, Phase};
use tagma_pbft::{Standing, Tuning};

use crate::common::{Cluster, id, n, parameters, tuning, v};

fn header(text: &str) -> Digest {
    Digest::of("some header", &[text.as_bytes()])
}

/// Runs `count` requests through the primary, one batch each.
fn fill(cluster: &mut Cluster, count: u64) {
    for _ in 0..count {
        let name = format!("r{}", cluster.replica(0).executed().get() + 1);
        cluster.submit(0, &name);
        cluster.settle();
    }
}

fn checkpoints_sent(cluster: &mut Cluster, i: u16) -> Vec<u64> {
    cluster
        .take_sent(i)
        .into_iter()
        .filter_map(|message| match message {
            Message::Checkpoint(checkpoint) => Some(checkpoint.seq.get()),
            _ => None,
        })
        .collect()
}

#[test]
fn every_k_batches_a_checkpoint_becomes_stable() {
    let mut cluster = Cluster::new(4);
    fill(&mut cluster, 3);
    assert_eq!(cluster.replica(1).stable_seq(), n(0));
    fill(&mut cluster, 1);
    for i in 0..4 {
        assert_eq!(cluster.replica(i).stable_seq(), n(4));
        assert_eq!(cluster.replica(i).high_mark(), n(12));
    }
    fill(&mut cluster, 5);
    assert_eq!(cluster.replica(2).stable_seq(), n(8));
}

/// CHECKPOINT waits for the state, not for the execution.
#[test]
fn a_checkpoint_is_sent_when_the_state_is_on_disk() {
    let mut cluster = Cluster::new(4);
    cluster.node(3).state_is_durable = false;
    fill(&mut cluster, 4);
    assert_eq!(cluster.replica(3).executed(), n(4));
    assert_eq!(checkpoints_sent(&mut cluster, 3), []);
    cluster.make_state_durable(3);
    assert_eq!(checkpoints_sent(&mut cluster, 3), [4]);
}

#[test]
fn q_equal_checkpoints_are_needed() {
    let mut cluster = Cluster::new(4);
    for (sender, seq, text) in [(0, 4, "a"), (1, 4, "b"), (2, 8, "a"), (0, 4, "a")] {
        let message = cluster.checkpoint(sender, seq, header(text));
        cluster.feed(3, sender, message).unwrap();
    }
    assert_eq!(cluster.replica(3).stable_seq(), n(0));
    // Only the highest of each counts: n1 and n2 come to agree with n0 at 8.
    for sender in [0, 1] {
        let message = cluster.checkpoint(sender, 8, header("a"));
        cluster.feed(3, sender, message).unwrap();
    }
    assert_eq!(cluster.replica(3).stable_seq(), n(8));
    cluster.assert_evidence_is_sound(&[]);
}

/// Differing CHECKPOINTs of others accuse nobody, and f of them prevent nothing.
#[test]
fn f_wrong_checkpoints_do_no_harm() {
    let mut cluster = Cluster::new(4);
    cluster.isolate(3);
    for i in 0..3 {
        let wrong = cluster.checkpoint(3, 4, header("wrong"));
        cluster.feed(i, 3, wrong).unwrap();
    }
    fill(&mut cluster, 4);
    for i in 0..3 {
        assert_eq!(cluster.replica(i).stable_seq(), n(4));
        assert!(cluster.node(i).evidence.is_empty());
    }
}

#[test]
fn checkpoints_elsewhere_and_bad_certificates_are_refused() {
    let mut cluster = Cluster::new(4);
    let refused = |cluster: &mut Cluster, message| cluster.feed(3, 0, message).unwrap_err();
    let odd = cluster.checkpoint(0, 5, header("a"));
    let expected = Rejection::Certificate(BadCertificate::NoCheckpointHeight(n(5)));
    assert_eq!(refused(&mut cluster, odd), expected);
    let odd = cluster.stable(&[0, 1, 2], 5, header("a"));
    assert_eq!(refused(&mut cluster, Message::Stable(odd)), expected);
    for (senders, why) in [
        (vec![0, 1], BadCertificate::Count { found: 2, needed: 3 }),
        (vec![0, 1, 2, 3], BadCertificate::Count { found: 4, needed: 3 }),
        (vec![0, 1, 1], BadCertificate::NotAscending(id(1))),
        (vec![1, 0, 2], BadCertificate::NotAscending(id(0))),
    ] {
        let certificate = cluster.stable(&senders, 4, header("a"));
        assert_eq!(
            refused(&mut cluster, Message::Stable(certificate)),
            Rejection::Certificate(why)
        );
    }
    let mut forged = cluster.stable(&[0, 1, 2], 4, header("a"));
    forged.header = header("b");
    assert_eq!(
        refused(&mut cluster, Message::Stable(forged)),
        Rejection::Signature
    );
}

/// The primary fills the window and stops; once the checkpoint is stable it goes on.
#[test]
fn a_full_window_stops_the_primary_until_h_moves() {
    let eager = Tuning {
        batch_max_delay: Duration::ZERO,
        ..tuning()
    };
    let mut cluster = Cluster::with(4, parameters(), eager);
    for i in 0..4 {
        cluster.node(i).state_is_durable = false;
    }
    for round in 1..=10 {
        cluster.submit(0, &format!("r{round}"));
        cluster.settle();
    }
    assert_eq!(cluster.replica(0).executed(), n(8), "H = 8");
    for i in 0..4 {
        cluster.make_state_durable(i);
    }
    cluster.settle();
    assert_eq!(cluster.replica(0).stable_seq(), n(8));
    assert_eq!(cluster.replica(0).executed(), n(9), "what waited is one batch");
}

/// h moves with a certificate, whether or not the state is here; the replica votes on but does not execute past the
/// gap, and what it needs to execute is kept.
#[test]
fn h_needs_no_state() {
    let mut cluster = Cluster::new(4);
    let body = cluster.body(&["a"]);
    let proposal = cluster.pre_prepare(0, 3, &["a"]);
    cluster.feed(3, 0, proposal).unwrap();
    let stable = cluster.stable(&[0, 1, 2], 4, header("a"));
    cluster.feed(3, 0, Message::Stable(stable)).unwrap();
    assert_eq!(
        (cluster.replica(3).stable_seq(), cluster.replica(3).executed()),
        (n(4), n(0))
    );
    cluster.sync(3);
    cluster.take_sent(3);
    // It votes above h.
    let proposal = cluster.pre_prepare(0, 5, &["b"]);
    cluster.feed(3, 0, proposal).unwrap();
    cluster.sync(3);
    let voted = |message: &Message| matches!(message, Message::Vote(vote) if vote.phase == Phase::Prepare);
    assert_eq!(
        cluster
            .take_sent(3)
            .iter()
            .filter(|message| voted(message))
            .count(),
        1
    );
    // Commits of 5 do not make it execute past the gap.
    let b = cluster.digest(&["b"]);
    for sender in 0..3 {
        let commit = cluster.commit(sender, 0, 5, b);
        cluster.feed(3, sender, commit).unwrap();
    }
    assert!(!cluster.execute(3));
    // The body at 3, which is below h but not covered by state, is still there for others.
    let ask = Message::FetchBody {
        seq: n(3),
        digest: body.digest(),
    };
    cluster.feed(3, 1, ask).unwrap();
    assert!(
        cluster
            .take_sent(3)
            .contains(&Message::Body(body.batch().clone()))
    );
}

/// A body is kept as long as a view may need it, whatever later views choose for its n; a stable checkpoint ends that.
#[test]
fn bodies_are_kept_until_state_and_h_have_passed_them() {
    let mut cluster = Cluster::new(4);
    let other = cluster.body(&["left out"]);
    let proposal = cluster.pre_prepare(0, 1, &["left out"]);
    cluster.feed(2, 0, proposal).unwrap();
    // View 1 chooses nothing for #1, and something else is executed there and after.
    let view_changes = (0..3)
        .map(|i| cluster.view_change(i, 1, None, Vec::new()))
        .collect();
    let new_view = cluster.new_view(1, view_changes, 1, &[]);
    cluster.feed(2, 1, Message::NewView(new_view)).unwrap();
    cluster.check(2);
    for (seq, text) in [(1, "r1"), (2, "r2"), (3, "r3"), (4, "r4")] {
        let digest = cluster.digest(&[text]);
        let proposal = cluster.pre_prepare(1, seq, &[text]);
        cluster.feed(2, 1, proposal).unwrap();
        for sender in [0, 1, 3] {
            let commit = cluster.commit(sender, 1, seq, digest);
            cluster.feed(2, sender, commit).unwrap();
        }
    }
    cluster.sync(2);
    while cluster.execute(2) {}
    assert_eq!(
        (cluster.replica(2).executed(), cluster.replica(2).stable_seq()),
        (n(4), n(0))
    );
    let ask = Message::FetchBody {
        seq: n(1),
        digest: other.digest(),
    };
    cluster.feed(2, 3, ask.clone()).unwrap();
    let answer = Message::Body(other.batch().clone());
    assert!(cluster.take_sent(2).contains(&answer));
    let header = cluster.node(2).app.header();
    let stable = cluster.stable(&[0, 1, 3], 4, header);
    cluster.feed(2, 0, Message::Stable(stable)).unwrap();
    assert_eq!(cluster.replica(2).stable_seq(), n(4));
    cluster.take_sent(2);
    cluster.feed(2, 3, ask).unwrap();
    assert!(!cluster.take_sent(2).contains(&answer));
}

/// The own header differs from the certified one: stop, and say so.
#[test]
fn a_replica_that_has_diverged_halts() {
    let mut cluster = Cluster::new(4);
    cluster.isolate(3);
    fill(&mut cluster, 3);
    for (seq, text) in [(1, "r1"), (2, "r2"), (3, "r3"), (4, "r4")] {
        let digest = cluster.digest(&[text]);
        let proposal = cluster.pre_prepare(0, seq, &[text]);
        cluster.feed(3, 0, proposal).unwrap();
        for sender in 0..3 {
            let commit = cluster.commit(sender, 0, seq, digest);
            cluster.feed(3, sender, commit).unwrap();
        }
    }
    while cluster.execute(3) {}
    let own = cluster.node(3).app.header();
    let stable = cluster.stable(&[0, 1, 2], 4, header("other"));
    cluster.feed(3, 0, Message::Stable(stable)).unwrap();
    let expected = HaltReason::Diverged {
        seq: n(4),
        own,
        certified: header("other"),
    };
    assert_eq!(cluster.replica(3).standing(), &Standing::Halted(expected));
    cluster.heal();
    cluster.take_sent(3);
    cluster.run(Duration::from_secs(10));
    assert!(cluster.take_sent(3).is_empty());
}

/// Votes for n ≤ h are of no use and not kept.
#[test]
fn what_lies_below_h_is_ignored() {
    let mut cluster = Cluster::new(4);
    fill(&mut cluster, 4);
    let digest = cluster.digest(&["late"]);
    cluster.take_sent(1);
    let proposal = cluster.pre_prepare(0, 4, &["late"]);
    cluster.feed(1, 0, proposal).unwrap();
    for sender in [0, 2, 3] {
        let commit = cluster.commit(sender, 0, 4, digest);
        cluster.feed(1, sender, commit).unwrap();
    }
    cluster.settle();
    assert!(cluster.take_sent(1).is_empty());
    assert_eq!(cluster.replica(1).standing(), &Standing::Voting);
}

/// A CHECKPOINT that was lost is sent again when the window is stuck.
#[test]
fn lost_checkpoints_are_sent_again() {
    let mut cluster = Cluster::new(4);
    for i in 0..4 {
        cluster.node(i).state_is_durable = false;
    }
    fill(&mut cluster, 4);
    for i in 0..4 {
        cluster.make_state_durable(i);
    }
    cluster.drop_all();
    for i in 0..4 {
        cluster.node(i).state_is_durable = true;
    }
    for round in 5..=12 {
        cluster.submit_to_all(&format!("r{round}"));
        cluster.run(Duration::from_millis(300));
    }
    for i in 0..4 {
        assert!(cluster.replica(i).stable_seq() >= n(8));
        assert_eq!(cluster.replica(i).view(), v(0), "nobody had to leave");
    }
}
