//! What a replica that is behind does: commit certificates in any mode, blocks, bodies, state transfer, STATUS.

use std::collections::BTreeSet;
use std::time::Duration;

use tagma_crypto::Digest;
use tagma_pbft::io::HaltReason;
use tagma_pbft::message::{Message, Mode};
use tagma_pbft::{Event, Input, Standing};

use crate::common::{Cluster, craft, id, n, parameters, tuning};

/// How long a body is waited for that may come by itself: an eighth of the time within which one that was asked for must come.
const PATIENCE: Duration = Duration::from_millis(125);

fn asked_for_body(cluster: &mut Cluster, i: u16) -> Vec<(u16, Digest)> {
    std::mem::take(&mut cluster.node(i).sent)
        .into_iter()
        .filter_map(|(to, message)| match (to, message) {
            (tagma_pbft::Recipient::One(to), Message::FetchBody { digest, .. }) => Some((to.get(), digest)),
            _ => None,
        })
        .collect()
}

fn prepared_by(cluster: &mut Cluster, i: u16) -> Vec<(u64, Digest)> {
    use tagma_pbft::message::Phase;
    cluster
        .take_sent(i)
        .into_iter()
        .filter_map(|message| match message {
            Message::Vote(vote) if vote.phase == Phase::Prepare => Some((vote.seq.get(), vote.digest)),
            _ => None,
        })
        .collect()
}

/// Q matching COMMITs and the body prove n final, whatever the own view and mode: lower, higher, or leaving.
#[test]
fn commit_certificates_count_in_any_view_and_mode() {
    for (commit_view, leaves) in [(0, false), (0, true), (1, false), (5, true)] {
        let mut cluster = Cluster::new(4);
        if leaves {
            cluster.submit(3, "waits");
            cluster.pass(Duration::from_secs(2));
            cluster.sync(3);
            assert_eq!(cluster.replica(3).mode(), Mode::ViewChange);
        }
        let body = cluster.body(&["a"]);
        for sender in 0..3 {
            let commit = cluster.commit(sender, commit_view, 1, body.digest());
            cluster.feed(3, sender, commit).unwrap();
        }
        // It has prepared nothing and has to ask for the body, unless it may still come: see the next test.
        if (commit_view, leaves) == (0, false) {
            cluster.pass(PATIENCE);
        }
        let asked = asked_for_body(&mut cluster, 3);
        assert_eq!(asked.len(), 1);
        let answer = Message::Body(body.batch().clone());
        cluster.feed(3, asked[0].0, answer).unwrap();
        assert!(
            cluster.execute(3),
            "commits of view {commit_view}, leaving: {leaves}"
        );
        assert_eq!(cluster.chain_of(3), ["[a]"]);
    }
}

/// Votes overtake a proposal whose many signatures are still being checked: under load one body of forty was fetched that was
/// here already, and checked twice.
#[test]
fn a_body_that_may_be_on_its_way_is_not_asked_for_at_once() {
    for comes in [true, false] {
        let mut cluster = Cluster::new(4);
        let digest = cluster.digest(&["a"]);
        for sender in 0..3 {
            let commit = cluster.commit(sender, 0, 1, digest);
            cluster.feed(3, sender, commit).unwrap();
        }
        cluster.pass(PATIENCE / 2);
        assert_eq!(asked_for_body(&mut cluster, 3), []);
        if comes {
            let proposal = cluster.pre_prepare(0, 1, &["a"]);
            cluster.feed(3, 0, proposal).unwrap();
            assert!(cluster.execute(3));
        }
        cluster.pass(PATIENCE / 2);
        let asked = asked_for_body(&mut cluster, 3);
        assert_eq!(
            asked.len(),
            usize::from(!comes),
            "asked {asked:?}, comes: {comes}"
        );
        // Who does not answer costs its turn.
        cluster.pass(tuning().fetch_timeout);
        assert_eq!(asked_for_body(&mut cluster, 3).len(), usize::from(!comes));
    }
}

/// Between two batches a replica wants nothing. Its STATUS of such a moment crossed the next proposal, which was sent again.
#[test]
fn no_status_goes_out_while_batches_are_executed() {
    let mut cluster = Cluster::new(4);
    let statuses = |cluster: &mut Cluster| -> usize {
        let sent = (0..4).flat_map(|i| cluster.take_sent(i));
        sent.filter(|message| matches!(message, Message::Status(_)))
            .count()
    };
    cluster.submit_to_all("first");
    cluster.run(Duration::from_millis(200));
    statuses(&mut cluster);
    for number in 0..20 {
        cluster.submit_to_all(&number.to_string());
        cluster.run(Duration::from_millis(200));
    }
    assert_eq!(cluster.chain_of(3).len(), 21);
    assert_eq!(statuses(&mut cluster), 0);
    // Whoever has missed the end of it hears so soon.
    cluster.run(2 * tuning().status_interval);
    assert!(statuses(&mut cluster) >= 4);
}

/// COMMITs of two views make no certificate together, nor do COMMITs for two digests.
#[test]
fn mixed_commits_are_no_certificate() {
    let mut cluster = Cluster::new(4);
    let (a, b) = (cluster.digest(&["a"]), cluster.digest(&["b"]));
    let proposal = cluster.pre_prepare(0, 1, &["a"]);
    cluster.feed(3, 0, proposal).unwrap();
    for (sender, view, digest) in [(0, 0, a), (1, 0, b), (2, 1, a)] {
        let commit = cluster.commit(sender, view, 1, digest);
        cluster.feed(3, sender, commit).unwrap();
    }
    assert!(!cluster.execute(3));
    // The same vote again is no second one.
    let commit = cluster.commit(0, 0, 1, a);
    cluster.feed(3, 2, commit).unwrap();
    assert!(!cluster.execute(3));
}

#[test]
fn execution_is_strictly_in_order() {
    let mut cluster = Cluster::new(4);
    for (seq, text) in [(2, "b"), (3, "c"), (1, "a")] {
        let digest = cluster.digest(&[text]);
        let proposal = cluster.pre_prepare(0, seq, &[text]);
        cluster.feed(3, 0, proposal).unwrap();
        for sender in 0..3 {
            let commit = cluster.commit(sender, 0, seq, digest);
            cluster.feed(3, sender, commit).unwrap();
        }
        assert!(seq == 1 || !cluster.execute(3), "#{seq} has to wait for #1");
    }
    while cluster.execute(3) {}
    assert_eq!(cluster.chain_of(3), ["[a]", "[b]", "[c]"]);
}

/// A second commit certificate with another digest means that more than f are faulty, in whatever view it was made.
#[test]
fn two_certified_batches_at_one_height_halt() {
    for (first, second) in [(0, 1), (1, 0)] {
        let mut cluster = Cluster::new(4);
        for (view, text) in [(first, "a"), (second, "b")] {
            let body = cluster.body(&[text]);
            for sender in 0..3 {
                let commit = cluster.commit(sender, view, 1, body.digest());
                // Those who vote in view 1 have left view 0: their older votes come from relays, in another order.
                cluster.feed(3, sender, commit).unwrap();
            }
            if text == "a" {
                let answer = Message::Body(body.batch().clone());
                cluster.feed(3, 0, answer).unwrap();
                assert!(cluster.execute(3));
            }
        }
        let expected = Standing::Halted(HaltReason::ConflictingCommit { seq: n(1) });
        assert_eq!(
            cluster.replica(3).standing(),
            &expected,
            "views {first} and {second}"
        );
    }
}

/// What a replica holds above what it has executed can be more than a window when its state is behind h; its STATUS
/// stays one that others accept, or nobody would ever help it.
#[test]
fn the_status_of_one_far_behind_is_accepted() {
    let mut cluster = Cluster::new(4);
    let digest = cluster.digest(&["a"]);
    let vote = |cluster: &mut Cluster, seq| {
        let prepare = cluster.prepare(1, 0, seq, digest);
        cluster.feed(3, 1, prepare).unwrap();
    };
    for seq in 2..=12 {
        vote(&mut cluster, seq);
    }
    let stable = cluster.stable(&[0, 1, 2], 8, Digest::of("header", &[]));
    cluster.feed(3, 0, Message::Stable(stable)).unwrap();
    assert_eq!(cluster.replica(3).stable_seq(), n(8));
    for seq in 13..=16 {
        vote(&mut cluster, seq);
    }
    cluster.take_sent(3);
    cluster.input(3, Input::Connected(id(0)));
    let status = cluster.take_sent(3).pop().unwrap();
    assert!(matches!(status, Message::Status(_)));
    assert_eq!(cluster.verifier(0).verify(status).err(), None);
}

/// One body may be wanted for two sequence numbers: its arrival serves both.
#[test]
fn a_body_serves_every_sequence_number_that_wants_it() {
    let mut cluster = Cluster::new(4);
    let body = cluster.body(&["a"]);
    for seq in [1, 2] {
        let proposal = cluster.bare_pre_prepare(0, seq, body.digest());
        cluster.feed(1, 0, proposal).unwrap();
    }
    cluster.take_sent(1);
    cluster.feed(1, 0, Message::Body(body.batch().clone())).unwrap();
    cluster.sync(1);
    let expected = [(1, body.digest()), (2, body.digest())];
    assert_eq!(prepared_by(&mut cluster, 1), expected);
}

/// What nobody needs any more is not asked for any more.
#[test]
fn a_body_of_a_view_that_was_left_is_not_asked_for_for_ever() {
    let mut cluster = Cluster::new(4);
    let digest = cluster.digest(&["a"]);
    let proposal = cluster.bare_pre_prepare(0, 1, digest);
    cluster.feed(3, 0, proposal).unwrap();
    assert_eq!(asked_for_body(&mut cluster, 3).len(), 1);
    let view_changes = (0..3)
        .map(|i| cluster.view_change(i, 1, None, Vec::new()))
        .collect();
    let new_view = cluster.new_view(1, view_changes, 1, &[]);
    cluster.feed(3, 1, Message::NewView(new_view)).unwrap();
    cluster.check(3);
    cluster.isolate(3);
    cluster.take_sent(3);
    cluster.run(Duration::from_secs(10));
    assert_eq!(asked_for_body(&mut cluster, 3), []);
}

/// An unsolicited body, and one that is another than was asked for, are not kept.
#[test]
fn only_bodies_that_were_asked_for_are_taken() {
    let mut cluster = Cluster::new(4);
    let digest = cluster.digest(&["a"]);
    let proposal = cluster.bare_pre_prepare(0, 1, digest);
    cluster.feed(1, 0, proposal).unwrap();
    cluster.feed(1, 0, Message::Body(craft::batch(&["b"]))).unwrap();
    cluster.sync(1);
    assert_eq!(prepared_by(&mut cluster, 1), []);
    assert!(
        cluster
            .node(1)
            .events
            .iter()
            .any(|event| matches!(event, Event::Rejected { .. }))
    );
}

/// The bodies that a NEW-VIEW needs are asked for from those who signed the certificates: the new primary may not have
/// them.
#[test]
fn chosen_bodies_are_asked_for_from_certificate_signers() {
    let mut cluster = Cluster::with(7, parameters(), tuning());
    let digest = cluster.digest(&["a"]);
    let certificate = cluster.prepared(&[2, 3, 4, 5], 0, 1, digest);
    let mut view_changes: Vec<_> = (1..5)
        .map(|i| cluster.view_change(i, 1, None, Vec::new()))
        .collect();
    view_changes.insert(0, cluster.view_change(0, 1, None, vec![certificate]));
    let new_view = cluster.new_view(1, view_changes, 1, &[digest]);
    cluster.isolate(6);
    cluster.feed(6, 1, Message::NewView(new_view)).unwrap();
    cluster.check(6);
    cluster.sync(6);
    let mut asked = BTreeSet::new();
    for _ in 0..12 {
        cluster.pass(Duration::from_millis(500));
        asked.extend(asked_for_body(&mut cluster, 6).into_iter().map(|(to, _)| to));
        if cluster.replica(6).mode() == Mode::ViewChange {
            break;
        }
        assert!(!asked.contains(&0) && !asked.contains(&1), "asked {asked:?}");
    }
    assert!(
        asked.len() >= 2,
        "one who does not answer costs its turn only: {asked:?}"
    );
}

/// A proposal of a future view does not push the body of the present view's proposal out.
#[test]
fn a_future_proposal_leaves_the_present_one_alone() {
    let mut cluster = Cluster::new(4);
    let ahead = craft::batch_at(cluster.now.wall_ms + 1_000, &["a"]);
    let proposal = cluster.pre_prepare_batch(0, 1, ahead);
    cluster.feed(2, 0, proposal).unwrap();
    let future = cluster.pre_prepare(1, 1, &["b"]);
    cluster.feed(2, 1, future).unwrap();
    cluster.pass(Duration::from_millis(600));
    cluster.sync(2);
    assert_eq!(asked_for_body(&mut cluster, 2), []);
    assert!(
        cluster
            .trace
            .iter()
            .any(|line| line == "n2 -> all: PREPARE v0 #1 [a]")
    );
}

#[test]
fn a_replica_that_was_away_catches_up_by_blocks() {
    let mut cluster = Cluster::new(4);
    cluster.isolate(3);
    for round in 0..3 {
        cluster.submit_to_all(&format!("r{round}"));
        cluster.run(Duration::from_millis(50));
    }
    assert_eq!(cluster.replica(3).executed(), n(0));
    cluster.heal();
    cluster.run(Duration::from_secs(8));
    assert_eq!(cluster.chain_of(3), cluster.chain_of(0));
    cluster.assert_agreement();
}

/// Nobody has the blocks any more: f + 1 say so, and only then the state is fetched.
#[test]
fn a_replica_that_was_away_too_long_fetches_the_state() {
    let mut cluster = Cluster::new(4);
    cluster.isolate(3);
    for round in 0..9 {
        cluster.submit_to_all(&format!("r{round}"));
        cluster.run(Duration::from_millis(50));
    }
    assert_eq!(cluster.replica(0).stable_seq(), n(8));
    for i in 0..3 {
        cluster.node(i).app.prune(n(8));
    }
    cluster.heal();
    for _ in 0..100 {
        cluster.run(Duration::from_millis(100));
        if cluster.node(3).transfer.is_some() {
            break;
        }
    }
    let wanted = cluster
        .node(3)
        .transfer
        .clone()
        .expect("no transfer was asked for");
    assert_eq!(wanted.seq, n(8));
    cluster.transfer_state(3, 0);
    cluster.run(Duration::from_secs(10));
    assert_eq!(cluster.replica(3).executed(), n(9));
    assert_eq!(cluster.node(3).app.header(), cluster.node(0).app.header());
}
