//! What must be on disk before what leaves; what a replica is after a crash; amnesia and stolen keys.

use std::time::Duration;

use tagma_pbft::io::HaltReason;
use tagma_pbft::message::{Message, Mode, Phase};
use tagma_pbft::{Event, Standing};

use crate::common::{Cluster, Disk, n, parameters, tuning, v};

fn votes(messages: &[Message], phase: Phase) -> usize {
    messages
        .iter()
        .filter(|message| matches!(message, Message::Vote(vote) if vote.phase == phase))
        .count()
}

fn view_changes(messages: &[Message]) -> Vec<Message> {
    let is = |message: &&Message| matches!(message, Message::ViewChange(_));
    messages.iter().filter(is).cloned().collect()
}

/// n1 has PREPAREd #1 and holds a prepared certificate that is not on disk yet.
fn prepared_but_not_synced() -> Cluster {
    let mut cluster = Cluster::new(4);
    let digest = cluster.digest(&["a"]);
    let proposal = cluster.pre_prepare(0, 1, &["a"]);
    cluster.feed(1, 0, proposal).unwrap();
    cluster.sync(1);
    for sender in [2, 3] {
        let prepare = cluster.prepare(sender, 0, 1, digest);
        cluster.feed(1, sender, prepare).unwrap();
    }
    cluster
}

#[test]
fn nothing_is_promised_before_it_is_on_disk() {
    let mut cluster = Cluster::new(4);
    let digest = cluster.digest(&["a"]);
    let proposal = cluster.pre_prepare(0, 1, &["a"]);
    cluster.feed(1, 0, proposal).unwrap();
    assert_eq!(votes(&cluster.take_sent(1), Phase::Prepare), 0);
    cluster.sync(1);
    assert_eq!(votes(&cluster.take_sent(1), Phase::Prepare), 1);
    for sender in [2, 3] {
        let prepare = cluster.prepare(sender, 0, 1, digest);
        cluster.feed(1, sender, prepare).unwrap();
    }
    assert_eq!(votes(&cluster.take_sent(1), Phase::Commit), 0);
    cluster.sync(1);
    assert_eq!(votes(&cluster.take_sent(1), Phase::Commit), 1);
}

#[test]
fn a_primary_proposes_nothing_before_it_is_on_disk() {
    let mut cluster = Cluster::new(4);
    cluster.submit(0, "a");
    assert!(cluster.take_sent(0).is_empty());
    cluster.sync(0);
    assert!(matches!(cluster.take_sent(0)[..], [Message::PrePrepare { .. }]));
}

/// The own vote counts towards a certificate only once its sync has returned.
#[test]
fn the_own_commit_counts_only_after_its_sync() {
    let mut cluster = prepared_but_not_synced();
    let digest = cluster.digest(&["a"]);
    for sender in [2, 3] {
        let commit = cluster.commit(sender, 0, 1, digest);
        cluster.feed(1, sender, commit).unwrap();
    }
    assert!(
        !cluster.execute(1),
        "two COMMITs of others and one that is not on disk"
    );
    cluster.sync(1);
    assert!(cluster.execute(1));
}

#[test]
fn the_own_prepare_counts_only_after_its_sync() {
    let mut cluster = Cluster::new(4);
    let digest = cluster.digest(&["a"]);
    let proposal = cluster.pre_prepare(0, 1, &["a"]);
    cluster.feed(1, 0, proposal).unwrap();
    let prepare = cluster.prepare(2, 0, 1, digest);
    cluster.feed(1, 2, prepare).unwrap();
    let is_prepared = |event: &Event| matches!(event, Event::Prepared { .. });
    assert!(!cluster.node(1).events.iter().any(is_prepared));
    cluster.sync(1);
    assert!(cluster.node(1).events.iter().any(is_prepared));
}

#[test]
fn the_same_votes_leave_again_after_a_crash() {
    let mut cluster = prepared_but_not_synced();
    cluster.sync(1);
    let before = cluster.take_sent(1);
    cluster.crash(1);
    cluster.restart(1);
    cluster.drop_all();
    assert_eq!(
        votes(&cluster.take_sent(1), Phase::Commit),
        0,
        "not before it knows that it forgot nothing"
    );
    cluster.run(Duration::from_millis(300));
    let after = cluster.take_sent(1);
    for message in before
        .iter()
        .filter(|message| matches!(message, Message::Vote(_)))
    {
        assert!(after.contains(message), "{message:?} is not sent again");
    }
}

/// View, mode and the exact VIEW-CHANGE come back.
#[test]
fn a_view_change_is_sent_again_unchanged_after_a_crash() {
    let mut cluster = prepared_but_not_synced();
    cluster.submit(1, "b");
    cluster.isolate(1);
    cluster.pass(Duration::from_secs(2));
    cluster.sync(1);
    let before = view_changes(&cluster.take_sent(1));
    assert_eq!(before.len(), 1);
    let Message::ViewChange(message) = &before[0] else {
        panic!()
    };
    assert_eq!(message.prepared.len(), 1, "the certificate is in P");
    cluster.crash(1);
    cluster.heal();
    cluster.restart(1);
    assert_eq!(
        (cluster.replica(1).mode(), cluster.replica(1).target()),
        (Mode::ViewChange, v(1))
    );
    cluster.run(Duration::from_millis(300));
    let after = cluster.take_sent(1);
    assert!(view_changes(&after).iter().all(|message| *message == before[0]));
    assert!(!view_changes(&after).is_empty());
    assert_eq!(
        votes(&after, Phase::Commit),
        0,
        "the COMMIT was never sent, and now it never is"
    );
}

/// Crashing between any two of {persisted, synced, sent} never makes a replica sign two digests for one (v, n).
#[test]
fn crashes_at_every_boundary_sign_no_conflict() {
    for crash_after in 0..40 {
        let mut cluster = Cluster::new(4);
        let mut signed = std::collections::BTreeMap::new();
        let mut steps = 0;
        cluster.submit_to_all("a");
        cluster.submit_to_all("b");
        for _ in 0..400 {
            let mut busy = false;
            for i in 0..4 {
                busy |= cluster.work(i);
                steps += 1;
                if steps == crash_after {
                    cluster.crash(0);
                    cluster.restart(0);
                    cluster.submit(0, "c");
                }
                for j in 0..4 {
                    busy |= cluster.deliver(j, i);
                }
            }
            if !busy {
                cluster.pass(Duration::from_millis(250));
            }
        }
        for i in 0..4 {
            for message in cluster.take_sent(i) {
                let (Message::Vote(vote) | Message::PrePrepare { vote, .. }) = message else {
                    continue;
                };
                let key = (vote.sender, vote.phase, vote.view, vote.seq);
                assert_eq!(
                    *signed.entry(key).or_insert(vote.digest),
                    vote.digest,
                    "crash at {crash_after}"
                );
            }
        }
        cluster.assert_agreement();
        cluster.assert_evidence_is_sound(&[]);
        assert!(
            cluster.replica(0).executed() >= n(1),
            "crash at {crash_after}: no progress"
        );
    }
}

/// A wiped store under an old key: it follows and signs nothing, not even a VIEW-CHANGE.
#[test]
fn a_store_that_says_nothing_is_a_learners() {
    let mut cluster = Cluster::new(4);
    cluster.crash(1);
    cluster.node(1).disk = Disk::wiped();
    cluster.restart(1);
    cluster.take_sent(1);
    cluster.submit_to_all("a");
    cluster.run(Duration::from_secs(30));
    assert_eq!(cluster.replica(1).standing(), &Standing::Learner);
    assert_eq!(cluster.chain_of(1), ["[a]"], "it follows");
    let sent = cluster.take_sent(1);
    let signs = |message: &Message| {
        matches!(
            message,
            Message::Vote(_) | Message::ViewChange(_) | Message::Checkpoint(_) | Message::NewView(_)
        )
    };
    assert!(!sent.iter().any(signs));
}

fn roll_back(cluster: &mut Cluster, i: u16, disk: Disk) {
    cluster.crash(i);
    cluster.node(i).disk = disk;
    cluster.restart(i);
    cluster.run(Duration::from_secs(2));
}

#[test]
fn a_store_rolled_back_to_the_start_is_a_learners() {
    let mut cluster = Cluster::new(4);
    cluster.submit_to_all("a");
    cluster.settle();
    roll_back(&mut cluster, 1, Disk::fresh());
    assert_eq!(cluster.replica(1).standing(), &Standing::Learner);
}

/// The store remembers the PREPARE but not the certificate for which a COMMIT was released: P would lack it.
#[test]
fn a_store_that_lost_a_certificate_is_a_learners() {
    let mut cluster = Cluster::new(4);
    cluster.node(0).executes = false;
    cluster.submit(0, "a");
    cluster.sync(0);
    cluster.deliver(0, 1);
    cluster.sync(1);
    let disk = cluster.node(1).disk.clone();
    cluster.settle();
    roll_back(&mut cluster, 1, disk);
    assert_eq!(cluster.replica(1).standing(), &Standing::Learner);
}

/// Learning of a view while starting does not make up for having forgotten what was signed in it.
#[test]
fn a_new_view_that_comes_while_starting_hides_no_amnesia() {
    let mut cluster = Cluster::new(4);
    cluster.submit_to_all("a");
    cluster.settle();
    let disk = cluster.node(2).disk.clone();
    // Everybody enters view 1 and #1, re-proposed there, is voted for again.
    for i in 0..4 {
        for sender in [1, 3] {
            let message = cluster.view_change(sender, 1, None, Vec::new());
            if sender != i {
                let _ = cluster.feed(i, sender, Message::ViewChange(message));
            }
        }
    }
    cluster.run(Duration::from_secs(3));
    assert_eq!(cluster.replica(2).view(), v(1));
    let new_view = cluster.trace.iter().any(|line| line.contains("NEW-VIEW v1"));
    assert!(new_view);
    let message = cluster
        .node(1)
        .sent
        .iter()
        .find_map(|(_, message)| matches!(message, Message::NewView(_)).then(|| message.clone()))
        .unwrap();
    cluster.crash(2);
    cluster.node(2).disk = disk;
    cluster.restart(2);
    cluster.drop_all();
    cluster.feed(2, 1, message).unwrap();
    cluster.check(2);
    cluster.run(Duration::from_secs(2));
    assert_eq!(cluster.replica(2).standing(), &Standing::Learner);
}

/// The new primary crashes after its NEW-VIEW left and before anything under it is on disk. Its own signed choices come
/// back to it: they are its own word, not a thief's.
#[test]
fn a_new_primary_knows_its_own_choices_after_a_crash() {
    let mut cluster = Cluster::new(4);
    let digest = cluster.digest(&["a"]);
    cluster.isolate(1);
    let certificate = cluster.prepared(&[2, 3], 0, 1, digest);
    let with = cluster.view_change(2, 1, None, vec![certificate]);
    let without = cluster.view_change(3, 1, None, Vec::new());
    for message in [with, without] {
        let sender = message.sender.get();
        cluster.feed(1, sender, Message::ViewChange(message)).unwrap();
    }
    cluster.sync(1);
    while cluster.check(1) {}
    cluster.sync(1);
    assert_eq!(cluster.replica(1).view(), v(1), "its NEW-VIEW has left");
    cluster.crash(1);
    cluster.heal();
    cluster.restart(1);
    let relayed = cluster.bare_pre_prepare(1, 1, digest);
    cluster.feed(1, 2, relayed.clone()).unwrap();
    cluster.run(Duration::from_millis(300));
    cluster.feed(1, 2, relayed).unwrap();
    assert_eq!(cluster.replica(1).standing(), &Standing::Voting);
}

#[test]
fn a_vote_under_the_own_key_that_was_never_cast_halts() {
    let mut cluster = Cluster::new(4);
    let digest = cluster.digest(&["stolen"]);
    let commit = cluster.commit(1, 0, 1, digest);
    cluster.feed(1, 2, commit).unwrap();
    assert_eq!(
        cluster.replica(1).standing(),
        &Standing::Halted(HaltReason::ForeignVote { what: "COMMIT" })
    );
    cluster.submit(1, "a");
    cluster.run(Duration::from_secs(5));
    assert!(cluster.take_sent(1).is_empty(), "nothing leaves after a halt");
}

#[test]
fn a_view_change_under_the_own_key_that_was_never_sent_halts() {
    let mut cluster = Cluster::new(4);
    let foreign = cluster.empty_view_change(1, 3);
    cluster.feed(1, 2, foreign).unwrap();
    assert!(matches!(cluster.replica(1).standing(), Standing::Halted(_)));
}

#[test]
fn a_new_view_under_the_own_key_that_was_never_sent_halts() {
    let mut cluster = Cluster::new(4);
    let view_changes = (0..3)
        .map(|i| cluster.view_change(i, 1, None, Vec::new()))
        .collect();
    let foreign = cluster.new_view(1, view_changes, 1, &[]);
    cluster.feed(1, 2, Message::NewView(foreign)).unwrap();
    assert!(matches!(cluster.replica(1).standing(), Standing::Halted(_)));
}

/// Never on n ≤ h, nor on an old target, nor on a relayed vote of its own.
#[test]
fn old_and_relayed_statements_of_its_own_do_not_halt() {
    let mut cluster = Cluster::new(4);
    for round in 0..4 {
        cluster.submit(0, &format!("r{round}"));
        cluster.settle();
    }
    assert_eq!(cluster.replica(1).stable_seq(), n(4));
    let digest = cluster.digest(&["never"]);
    let old = cluster.commit(1, 0, 4, digest);
    cluster.feed(1, 2, old).unwrap();
    cluster.submit(0, "r4");
    cluster.settle();
    let messages = cluster.take_sent(1);
    for message in messages {
        if matches!(message, Message::Vote(_)) {
            cluster.feed(1, 2, message).unwrap();
        }
    }
    assert_eq!(cluster.replica(1).standing(), &Standing::Voting);
}

/// All lose power in the middle of a commit: what was promised is completed without any client asking.
#[test]
fn a_power_failure_of_all_loses_nothing_that_was_promised() {
    for stop in 1..60 {
        let mut cluster = Cluster::new(4);
        cluster.submit(0, "a");
        let mut steps = 0;
        'run: for _ in 0..100 {
            for i in 0..4 {
                for j in 0..4 {
                    steps += u32::from(cluster.deliver(j, i));
                }
                steps += u32::from(cluster.work(i));
                if steps >= stop {
                    break 'run;
                }
            }
        }
        // A reply may have left wherever the block was executed.
        let replied = (0..4).any(|i| !cluster.nodes[i].executed.is_empty());
        for i in 0..4 {
            cluster.crash(i);
        }
        for i in 0..4 {
            cluster.restart(i);
        }
        cluster.run(Duration::from_secs(30));
        cluster.assert_agreement();
        for i in 0..4 {
            assert_eq!(cluster.replica(i).standing(), &Standing::Voting);
            assert!(
                !replied || cluster.chain_of(i) == ["[a]"],
                "stopped after {stop}, n{i} lost it"
            );
        }
    }
}

#[test]
fn a_replica_signs_nothing_before_2f_others_have_answered() {
    let mut cluster = Cluster::unstarted(7, parameters(), tuning());
    for i in 0..4 {
        cluster.restart(i);
    }
    cluster.run(Duration::from_secs(2));
    assert_eq!(cluster.replica(0).standing(), &Standing::Starting);
    cluster.restart(4);
    cluster.run(Duration::from_secs(2));
    assert_eq!(cluster.replica(0).standing(), &Standing::Voting);
}
