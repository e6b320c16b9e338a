//! §4.4: VIEW-CHANGE and NEW-VIEW.

use std::sync::Arc;
use std::time::Duration;

use tagma_crypto::Digest;
use tagma_pbft::error::Rejection;
use tagma_pbft::io::ViewChangeReason;
use tagma_pbft::message::{Message, Mode, NewView, Phase, ViewChange};
use tagma_pbft::{Event, Standing};

use crate::common::{Cluster, START_MS, craft, n, tuning, v};

const T: Duration = Duration::from_secs(2);

/// Makes replica `i` leave its view by a request that nobody serves, and gives its VIEW-CHANGE.
fn leave(cluster: &mut Cluster, i: u16) -> Arc<ViewChange> {
    cluster.submit(i, "ignored");
    cluster.pass(T);
    cluster.sync(i);
    last_view_change(cluster, i)
}

fn last_view_change(cluster: &mut Cluster, i: u16) -> Arc<ViewChange> {
    let sent = cluster.take_sent(i).into_iter().rev();
    let mut view_changes = sent.filter_map(|message| match message {
        Message::ViewChange(message) => Some(message),
        _ => None,
    });
    view_changes.next().expect("no VIEW-CHANGE was sent")
}

fn new_views(cluster: &mut Cluster, i: u16) -> Vec<Arc<NewView>> {
    cluster
        .take_sent(i)
        .into_iter()
        .filter_map(|message| match message {
            Message::NewView(message) => Some(message),
            _ => None,
        })
        .collect()
}

fn prepares(cluster: &mut Cluster, i: u16) -> Vec<(u64, u64, Digest)> {
    cluster.sync(i);
    cluster
        .take_sent(i)
        .into_iter()
        .filter_map(|message| match message {
            Message::Vote(vote) if vote.phase == Phase::Prepare => {
                Some((vote.view.get(), vote.seq.get(), vote.digest))
            }
            _ => None,
        })
        .collect()
}

/// Replica `i` prepares `texts` at `seq` in `view`, by messages of the others.
fn prepare_at(cluster: &mut Cluster, i: u16, view: u64, seq: u64, texts: &[&str]) {
    let proposal = cluster.pre_prepare(view, seq, texts);
    let digest = cluster.digest(texts);
    let primary = cluster.ring.quorum.primary(v(view)).get();
    cluster.feed(i, primary, proposal).unwrap();
    vote_for(cluster, i, view, seq, digest);
}

fn vote_for(cluster: &mut Cluster, i: u16, view: u64, seq: u64, digest: Digest) {
    let primary = cluster.ring.quorum.primary(v(view)).get();
    for sender in (0..4).filter(|sender| *sender != i && *sender != primary) {
        let prepare = cluster.prepare(sender, view, seq, digest);
        cluster.feed(i, sender, prepare).unwrap();
    }
    cluster.sync(i);
    cluster.sync(i);
}

/// Q empty VIEW-CHANGEs for `view`, of the lowest replicas.
fn empty_v(cluster: &Cluster, view: u64) -> Vec<Arc<ViewChange>> {
    (0..3)
        .map(|i| cluster.view_change(i, view, None, Vec::new()))
        .collect()
}

fn install(cluster: &mut Cluster, i: u16, message: Arc<NewView>) {
    let primary = cluster.ring.quorum.primary(message.view).get();
    cluster.feed(i, primary, Message::NewView(message)).unwrap();
    cluster.check(i);
}

/// P holds, for each n in (h, H] with one, the prepared certificate; what is not prepared is not in it.
#[test]
fn a_view_change_carries_what_was_prepared() {
    let mut cluster = Cluster::new(4);
    prepare_at(&mut cluster, 3, 0, 2, &["a"]);
    let proposal = cluster.pre_prepare(0, 1, &["not prepared"]);
    cluster.feed(3, 0, proposal).unwrap();
    let message = leave(&mut cluster, 3);
    assert_eq!((message.target, message.stable_seq()), (v(1), n(0)));
    assert!(message.stable.is_none(), "h = 0 needs no certificate");
    let a = cluster.digest(&["a"]);
    let p: Vec<_> = message
        .prepared
        .iter()
        .map(|one| (one.view, one.seq, one.digest))
        .collect();
    assert_eq!(p, [(v(0), n(2), a)]);
    assert_eq!(message.prepared[0].prepares.len(), 2);
}

/// C proves h, and nothing at or below h is in P.
#[test]
fn a_view_change_carries_the_proof_of_h() {
    let mut cluster = Cluster::new(4);
    for round in 0..5 {
        cluster.submit(0, &format!("r{round}"));
        cluster.settle();
    }
    cluster.isolate(3);
    let message = leave(&mut cluster, 3);
    assert_eq!(message.stable_seq(), n(4));
    let p: Vec<_> = message.prepared.iter().map(|one| one.seq).collect();
    assert_eq!(p, [n(5)], "executed or not");
}

/// A certificate stays in P across views until a higher view certifies something for its n, null included.
#[test]
fn certificates_stay_in_p_across_views() {
    let mut cluster = Cluster::new(4);
    cluster.isolate(3);
    prepare_at(&mut cluster, 3, 0, 1, &["a"]);
    prepare_at(&mut cluster, 3, 0, 2, &["b"]);
    let (a, b, null) = (cluster.digest(&["a"]), cluster.digest(&["b"]), cluster.null());
    // View 1 is made without this replica: it chooses null for #1 and b for #2.
    let mut view_changes = empty_v(&cluster, 1);
    view_changes[2] = cluster.view_change(2, 1, None, vec![cluster.prepared(&[1, 2], 0, 2, b)]);
    let new_view = cluster.new_view(1, view_changes, 1, &[null, b]);
    install(&mut cluster, 3, new_view);
    // There only the null batch at #1 is prepared again.
    vote_for(&mut cluster, 3, 1, 1, null);
    let message = leave(&mut cluster, 3);
    assert_eq!(message.target, v(2));
    let p: Vec<_> = message
        .prepared
        .iter()
        .map(|one| (one.view, one.seq, one.digest))
        .collect();
    assert_eq!(p, [(v(1), n(1), null), (v(0), n(2), b)]);
    assert_ne!(a, null);
}

/// After a VIEW-CHANGE nothing of a lower view is signed, and what waited for its sync is discarded.
#[test]
fn nothing_of_a_lower_view_leaves_after_a_view_change() {
    let mut cluster = Cluster::new(4);
    cluster.submit(3, "ignored");
    let proposal = cluster.pre_prepare(0, 1, &["a"]);
    cluster.feed(3, 0, proposal).unwrap();
    cluster.take_sent(3);
    // The PREPARE waits for the disk while the view is left.
    cluster.pass(T);
    cluster.sync(3);
    let digest = cluster.digest(&["a"]);
    for sender in [1, 2] {
        let prepare = cluster.prepare(sender, 0, 1, digest);
        cluster.feed(3, sender, prepare).unwrap();
    }
    let another = cluster.pre_prepare(0, 2, &["b"]);
    cluster.feed(3, 0, another).unwrap();
    cluster.sync(3);
    let sent = cluster.take_sent(3);
    assert!(
        sent.iter()
            .any(|message| matches!(message, Message::ViewChange(_)))
    );
    assert!(!sent.iter().any(|message| matches!(message, Message::Vote(_))));
}

#[test]
fn a_primary_that_leaves_discards_what_it_has_not_sent() {
    let mut cluster = Cluster::new(4);
    cluster.submit(0, "a");
    for sender in [2, 3] {
        let message = cluster.empty_view_change(sender, 1);
        cluster.feed(0, sender, message).unwrap();
    }
    cluster.sync(0);
    let sent = cluster.take_sent(0);
    assert!(matches!(sent[..], [Message::ViewChange(_)]), "{sent:?}");
}

/// The identical bytes go again and again.
#[test]
fn a_view_change_is_repeated_unchanged() {
    let mut cluster = Cluster::new(4);
    let first = leave(&mut cluster, 3);
    for _ in 0..5 {
        cluster.pass(Duration::from_millis(600));
        assert_eq!(last_view_change(&mut cluster, 3), first);
    }
}

/// min_s is the highest h in V, max_s the highest n in any P; what lies between and is in no P becomes null.
#[test]
fn the_new_primary_computes_o_from_v() {
    let mut cluster = Cluster::new(4);
    let (a, b) = (cluster.digest(&["a"]), cluster.digest(&["b"]));
    let stable = cluster.stable(&[0, 1, 2], 4, a);
    let p2 = vec![
        cluster.prepared(&[1, 2], 0, 3, a),
        cluster.prepared(&[1, 2], 0, 7, b),
    ];
    for message in [
        cluster.view_change(2, 1, None, p2),
        cluster.view_change(3, 1, Some(stable), Vec::new()),
    ] {
        let sender = message.sender.get();
        cluster.feed(1, sender, Message::ViewChange(message)).unwrap();
    }
    while cluster.sync(1) || cluster.check(1) {}
    let [message] = &new_views(&mut cluster, 1)[..] else {
        panic!("one NEW-VIEW")
    };
    let o: Vec<_> = message.proposals.iter().map(|one| one.digest).collect();
    let null = cluster.null();
    assert_eq!(o, [null, null, b], "#5, #6 and #7; #3 is below min_s");
    assert_eq!(message.view_changes.len(), 3);
    assert_eq!(
        (cluster.replica(1).view(), cluster.replica(1).stable_seq()),
        (v(1), n(4))
    );
}

/// New proposals start at max_s + 1.
#[test]
fn new_proposals_follow_the_chosen_ones() {
    let mut cluster = Cluster::new(4);
    let digest = cluster.digest(&["a"]);
    cluster.submit(1, "new");
    for message in [
        cluster.view_change(2, 1, None, vec![cluster.prepared(&[1, 2], 0, 3, digest)]),
        cluster.view_change(3, 1, None, Vec::new()),
    ] {
        let sender = message.sender.get();
        cluster.feed(1, sender, Message::ViewChange(message)).unwrap();
    }
    for _ in 0..4 {
        while cluster.sync(1) || cluster.check(1) {}
        cluster.pass(tuning().batch_max_delay);
    }
    assert!(
        cluster
            .trace
            .contains(&"n1 -> all: PRE-PREPARE v1 #4 [new]".to_owned()),
        "{:#?}",
        cluster.trace
    );
}

/// The new primary waits for Q valid VIEW-CHANGEs for exactly its view, one of each, its own among them.
#[test]
fn a_new_view_needs_q_valid_view_changes_for_exactly_it() {
    let mut cluster = Cluster::new(4);
    let digest = cluster.digest(&["a"]);
    let leave_too = |cluster: &mut Cluster, message: Arc<ViewChange>| {
        let sender = message.sender.get();
        cluster.feed(1, sender, Message::ViewChange(message)).unwrap();
        while cluster.sync(1) || cluster.check(1) {}
    };
    let own = leave(&mut cluster, 1);
    assert_eq!(own.target, v(1));
    // One for another view, and a void one: a PREPARE is missing.
    let other = cluster.view_change(2, 2, None, Vec::new());
    leave_too(&mut cluster, other);
    let void = cluster.view_change(3, 1, None, vec![cluster.prepared(&[2], 0, 1, digest)]);
    leave_too(&mut cluster, void);
    let good = cluster.view_change(0, 1, None, Vec::new());
    leave_too(&mut cluster, good.clone());
    leave_too(&mut cluster, good);
    assert!(new_views(&mut cluster, 1).is_empty());
    assert_eq!(cluster.replica(1).mode(), Mode::ViewChange);
}

/// One bad VIEW-CHANGE does not spoil the good ones beside it.
#[test]
fn a_void_view_change_spoils_nothing() {
    let mut cluster = Cluster::new(4);
    let digest = cluster.digest(&["a"]);
    leave(&mut cluster, 1);
    let mut bent = ViewChange::clone(&cluster.view_change(0, 1, None, Vec::new()));
    bent.prepared = vec![cluster.prepared(&[2, 3], 0, 1, digest)].into();
    let refused = cluster.feed(1, 0, Message::ViewChange(Arc::new(bent)));
    assert_eq!(refused, Err(Rejection::Signature));
    let void = cluster.view_change(0, 1, None, vec![cluster.prepared(&[0, 3], 0, 1, digest)]);
    let good = [2, 3].map(|i| cluster.view_change(i, 1, None, Vec::new()));
    for message in [void].into_iter().chain(good) {
        let sender = message.sender.get();
        cluster.feed(1, sender, Message::ViewChange(message)).unwrap();
    }
    while cluster.sync(1) || cluster.check(1) {}
    let [message] = &new_views(&mut cluster, 1)[..] else {
        panic!("one NEW-VIEW")
    };
    let senders: Vec<u16> = message.view_changes.iter().map(|one| one.sender.get()).collect();
    assert_eq!(senders, [1, 2, 3]);
    assert_eq!(
        cluster.node(1).evidence.len(),
        1,
        "for the void one, which n0 has signed"
    );
    cluster.assert_evidence_is_sound(&[0]);
}

/// What a backup does not find in V is not accepted in O: left out, swapped, nulled, added, or a V that is void.
#[test]
fn a_new_view_that_does_not_follow_from_its_v_is_refused() {
    let mut cluster = Cluster::new(4);
    let (a, b) = (cluster.digest(&["a"]), cluster.digest(&["b"]));
    let null = cluster.null();
    let mut good = empty_v(&cluster, 1);
    good[0] = cluster.view_change(0, 1, None, vec![cluster.prepared(&[1, 2], 0, 1, a)]);
    let twice = vec![good[0].clone(), good[1].clone(), good[1].clone()];
    let mut void = good.clone();
    void[1] = cluster.view_change(1, 1, None, vec![cluster.prepared(&[1], 0, 1, a)]);
    let mut late = good.clone();
    late[1] = cluster.view_change(1, 2, None, Vec::new());
    let mut four = good.clone();
    four.push(cluster.view_change(3, 1, None, Vec::new()));
    for (what, v_set, o) in [
        ("omits", good.clone(), vec![]),
        ("swaps", good.clone(), vec![b]),
        ("nulls", good.clone(), vec![null]),
        ("adds", good.clone(), vec![a, b]),
        ("too few", good[..2].to_vec(), vec![a]),
        ("too many", four, vec![a]),
        ("repeats", twice, vec![a]),
        ("void", void, vec![a]),
        ("other view", late, vec![a]),
    ] {
        let mut cluster = Cluster::new(4);
        leave(&mut cluster, 3);
        let message = cluster.new_view(1, v_set, 1, &o);
        install(&mut cluster, 3, message);
        assert_eq!(cluster.replica(3).view(), v(0), "{what}");
        assert_eq!(
            cluster.replica(3).target(),
            v(2),
            "{what}: it waited for exactly this one"
        );
        assert_eq!(cluster.node(3).evidence.len(), 1, "{what}");
        cluster.assert_evidence_is_sound(&[1]);
    }
    install(&mut cluster, 3, {
        let cluster = Cluster::new(4);
        cluster.new_view(1, good, 1, &[a])
    });
    assert_eq!(cluster.replica(3).view(), v(1), "the good one is accepted");
}

/// A bad NEW-VIEW is evidence for everybody, but only those who wait for exactly this view lose anything by it.
#[test]
fn a_bad_new_view_that_nobody_waits_for_moves_nobody() {
    let mut cluster = Cluster::new(4);
    let a = cluster.digest(&["a"]);
    let message = cluster.new_view(1, empty_v(&cluster, 1), 1, &[a]);
    install(&mut cluster, 3, message);
    assert_eq!(
        (cluster.replica(3).mode(), cluster.replica(3).view()),
        (Mode::Normal, v(0))
    );
    assert_eq!(cluster.node(3).evidence.len(), 1);
}

/// Below the own target, or installed already: dropped. Signed by another than the primary: refused.
#[test]
fn a_new_view_that_nobody_waits_for_is_dropped() {
    let mut cluster = Cluster::new(4);
    for sender in [0, 1] {
        let message = cluster.empty_view_change(sender, 2);
        cluster.feed(3, sender, message).unwrap();
    }
    assert_eq!(cluster.replica(3).target(), v(2));
    while cluster.check(3) {}
    let low = cluster.new_view(1, empty_v(&cluster, 1), 1, &[]);
    cluster.feed(3, 1, Message::NewView(low)).unwrap();
    assert!(!cluster.check(3), "it is not even looked at");
    let good = cluster.new_view(2, empty_v(&cluster, 2), 1, &[]);
    install(&mut cluster, 3, Arc::clone(&good));
    assert_eq!(cluster.replica(3).view(), v(2));
    cluster.feed(3, 2, Message::NewView(good.clone())).unwrap();
    assert!(!cluster.check(3));
    let mut foreign = NewView::clone(&good);
    foreign.view = v(3);
    let refused = cluster.feed(0, 2, Message::NewView(Arc::new(foreign)));
    assert_eq!(refused, Err(Rejection::Signature));
    assert!(cluster.node(3).evidence.is_empty());
}

/// What is proposed again by a new view is not looked at with today's clock, and needs no new admission.
#[test]
fn no_clock_is_asked_about_what_a_new_view_chose() {
    let mut cluster = Cluster::new(4);
    let batch = craft::batch_at(START_MS + 3_600_000, &["a"]);
    let proposal = cluster.pre_prepare_batch(1, 1, batch.clone());
    let Message::PrePrepare { vote, .. } = &proposal else {
        panic!()
    };
    let digest = vote.digest;
    let mut view_changes = empty_v(&cluster, 1);
    view_changes[0] = cluster.view_change(0, 1, None, vec![cluster.prepared(&[1, 2], 0, 1, digest)]);
    let message = cluster.new_view(1, view_changes, 1, &[digest]);
    install(&mut cluster, 3, message);
    cluster.feed(3, 1, Message::Body(batch)).unwrap();
    assert_eq!(prepares(&mut cluster, 3), [(1, 1, digest)]);
}

/// What was executed is voted for again, for those who have not, and is not executed again.
#[test]
fn executed_batches_are_prepared_again_and_not_executed_again() {
    let mut cluster = Cluster::new(4);
    cluster.submit(0, "a");
    cluster.settle();
    let digest = cluster.digest(&["a"]);
    let mut view_changes = empty_v(&cluster, 1);
    view_changes[0] = cluster.view_change(0, 1, None, vec![cluster.prepared(&[1, 2], 0, 1, digest)]);
    let message = cluster.new_view(1, view_changes, 1, &[digest]);
    cluster.take_sent(3);
    cluster.isolate(3);
    install(&mut cluster, 3, message);
    assert_eq!(prepares(&mut cluster, 3), [(1, 1, digest)]);
    for sender in 0..3 {
        let commit = cluster.commit(sender, 1, 1, digest);
        cluster.feed(3, sender, commit).unwrap();
    }
    cluster.settle();
    assert_eq!(cluster.node(3).executed.len(), 1);
}

/// A certificate that only one correct replica holds is carried or replaced by null, but never both.
#[test]
fn prepared_at_one_replica() {
    for without in 0..4 {
        let mut cluster = Cluster::new(4);
        cluster.submit(0, "a");
        cluster.sync(0);
        for i in 1..4 {
            cluster.deliver(0, i);
            cluster.sync(i);
        }
        // Only n2 sees the PREPAREs of others.
        for from in [1, 3] {
            cluster.deliver(from, 2);
        }
        cluster.sync(2);
        cluster.drop_all();
        cluster.isolate(without);
        for i in (0..4).filter(|i| *i != without) {
            cluster.submit(i, "b");
        }
        cluster.run(Duration::from_secs(60));
        cluster.heal();
        cluster.run(Duration::from_secs(60));
        cluster.submit_to_all("c");
        cluster.run(Duration::from_secs(60));
        cluster.assert_agreement();
        cluster.assert_evidence_is_sound(&[]);
        let chain = cluster.chain_of(0).join(" ");
        for i in 0..4 {
            assert_eq!(cluster.chain_of(i).join(" "), chain, "without n{without}");
        }
        assert!(chain.contains('b') && chain.contains('c'), "{chain}");
    }
}

/// Requests that only backups know are proposed in the new view.
#[test]
fn pending_requests_are_proposed_in_the_new_view() {
    let mut cluster = Cluster::new(4);
    cluster.isolate(0);
    for i in 1..4 {
        cluster.submit(i, &format!("of n{i}"));
    }
    cluster.run(Duration::from_secs(10));
    let chain = cluster.chain_of(2).join(" ");
    for i in 1..4 {
        assert!(chain.contains(&format!("of n{i}")), "{chain}");
    }
}

/// V contradicts itself: two valid certificates of one view for one n, which takes more than f faulty replicas.
#[test]
fn a_v_that_contradicts_itself_halts() {
    let mut cluster = Cluster::new(4);
    let (a, b) = (cluster.digest(&["a"]), cluster.digest(&["b"]));
    let mut view_changes = empty_v(&cluster, 1);
    view_changes[0] = cluster.view_change(0, 1, None, vec![cluster.prepared(&[1, 2], 0, 1, a)]);
    view_changes[1] = cluster.view_change(1, 1, None, vec![cluster.prepared(&[1, 2], 0, 1, b)]);
    let message = cluster.new_view(1, view_changes, 1, &[a]);
    install(&mut cluster, 3, message);
    assert!(matches!(cluster.replica(3).standing(), Standing::Halted(_)));
}

/// A NEW-VIEW reaches a replica whose state is behind min_s: it enters the view at once and catches up there.
#[test]
fn behind_is_not_stuck() {
    let mut cluster = Cluster::new(4);
    cluster.isolate(3);
    for round in 0..6 {
        cluster.submit(0, &format!("r{round}"));
        cluster.settle();
    }
    cluster.heal();
    cluster.isolate(0);
    for i in 1..4 {
        cluster.submit(i, "b");
    }
    cluster.run(Duration::from_secs(20));
    assert!(cluster.replica(3).view() >= v(1));
    for i in 1..4 {
        assert_eq!(cluster.replica(i).executed(), n(7), "n{i}");
    }
    cluster.assert_agreement();
}

/// The reasons for which a view is left are told apart.
#[test]
fn reasons_are_told() {
    let mut cluster = Cluster::new(4);
    leave(&mut cluster, 3);
    let started = |event: &Event| match event {
        Event::ViewChangeStarted { reason, .. } => Some(*reason),
        _ => None,
    };
    let reasons: Vec<_> = cluster.node(3).events.iter().filter_map(started).collect();
    assert_eq!(reasons, [ViewChangeReason::RequestTimeout]);
}

/// A new primary that chose a batch without having it takes the body from whoever hands its own proposal back.
#[test]
fn a_new_primary_takes_the_body_of_its_own_proposal() {
    let mut cluster = Cluster::new(4);
    let digest = cluster.digest(&["a"]);
    cluster.isolate(1);
    for message in [
        cluster.view_change(2, 1, None, vec![cluster.prepared(&[2, 3], 0, 1, digest)]),
        cluster.view_change(3, 1, None, Vec::new()),
    ] {
        let sender = message.sender.get();
        cluster.feed(1, sender, Message::ViewChange(message)).unwrap();
    }
    while cluster.sync(1) || cluster.check(1) {}
    assert_eq!(cluster.replica(1).view(), v(1));
    for sender in [2, 3] {
        let prepare = cluster.prepare(sender, 1, 1, digest);
        cluster.feed(1, sender, prepare).unwrap();
    }
    let prepared = |event: &Event| matches!(event, Event::Prepared { .. });
    assert!(
        !cluster.node(1).events.iter().any(prepared),
        "without the body nothing is prepared"
    );
    let handed_back = cluster.pre_prepare(1, 1, &["a"]);
    cluster.feed(1, 2, handed_back).unwrap();
    assert!(cluster.node(1).events.iter().any(prepared));
}
