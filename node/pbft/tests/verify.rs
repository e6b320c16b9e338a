//! Verification: each way in which a message can be wrong is found and named.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

mod common;

use std::sync::Arc;

use tagma_crypto::{Digest, Signature};
use tagma_pbft::certificate::PreparedCertificate;
use tagma_pbft::error::{BadCertificate, BadNewView, BadViewChange, BatchFault, Rejection};
use tagma_pbft::message::{
    CertifiedBatch, HighestSigned, Message, Mode, NewView, Phase, SignedTarget, SlotStatus, Status,
    ViewChange, Vote,
};
use tagma_pbft::verify::{check_batch, check_new_view, check_view_change};
use tagma_pbft::{Batch, Body, Incoming, SeqNum};

use common::{Cluster, Rules, craft, id, n, parameters, request, tuning, v};

fn cluster() -> Cluster {
    Cluster::unstarted(4, parameters(), tuning())
}

fn unsigned(vote: Vote) -> Vote {
    Vote {
        signature: Signature::from_bytes([9; 64]),
        ..vote
    }
}

fn status(slots: u64, yours: Option<HighestSigned>) -> Message {
    let slot = |seq| SlotStatus {
        seq: n(seq),
        proposed: true,
        prepares: u128::MAX,
        commits: 0,
    };
    Message::Status(Status {
        view: v(0),
        target: v(0),
        mode: Mode::Normal,
        stable: SeqNum::ZERO,
        executed: SeqNum::ZERO,
        slots: (1..=slots).map(slot).collect::<Vec<_>>().into(),
        starting: false,
        yours: yours.map(Box::new),
    })
}

fn blocks(cluster: &mut Cluster, first: u64, seqs: &[(u64, &str, &str)], senders: &[u16]) -> Message {
    let mut certified = Vec::new();
    for (seq, certificate, body) in seqs {
        let digest = cluster.digest(&[certificate]);
        certified.push(CertifiedBatch {
            certificate: cluster.committed(senders, 0, *seq, digest),
            batch: craft::batch(&[body]),
        });
    }
    Message::Blocks {
        from: n(first),
        blocks: certified.into(),
    }
}

#[test]
fn every_rejection_is_reached() {
    let mut cluster = cluster();
    let a = cluster.digest(&["a"]);
    let quorum = [0, 1, 2];
    let mut foreign = cluster.vote(0, Phase::Commit, 0, 1, a);
    foreign.sender = id(4);
    let long: Vec<_> = (1..=9).map(|seq| cluster.prepared(&[1, 2], 0, seq, a)).collect();
    let own_vote = cluster.vote(3, Phase::Prepare, 0, 1, a);
    let others_vote = cluster.vote(2, Phase::Prepare, 0, 1, a);
    let yours = |vote: Vote| HighestSigned {
        view: Some(vote),
        ..HighestSigned::default()
    };
    let target = HighestSigned {
        target: Some(SignedTarget {
            target: v(4),
            content: a,
            signature: Signature::from_bytes([9; 64]),
        }),
        ..HighestSigned::default()
    };
    let many: Vec<_> = (0..5).map(|i| request(&format!("r{i}"))).collect();
    let vote = |phase, sender| Message::Vote(cluster.vote(sender, phase, 0, 1, a));
    let cases = [
        (Message::Vote(foreign), Rejection::UnknownSender(id(4))),
        (
            Message::Vote(unsigned(cluster.vote(1, Phase::Commit, 0, 1, a))),
            Rejection::Signature,
        ),
        (vote(Phase::PrePrepare, 0), Rejection::NotPrimary(id(0), v(0))),
        (vote(Phase::Prepare, 0), Rejection::PrimaryPrepare(id(0))),
        (
            Message::PrePrepare {
                vote: cluster.vote(1, Phase::PrePrepare, 0, 1, a),
                batch: None,
            },
            Rejection::NotPrimary(id(1), v(0)),
        ),
        (
            Message::PrePrepare {
                vote: cluster.vote(0, Phase::Commit, 0, 1, a),
                batch: None,
            },
            Rejection::NotPrimary(id(0), v(0)),
        ),
        (
            Message::Stable(cluster.stable(&[0, 1], 4, a)),
            Rejection::Certificate(BadCertificate::Count { found: 2, needed: 3 }),
        ),
        (
            Message::Stable(cluster.stable(&quorum, 6, a)),
            Rejection::Certificate(BadCertificate::NoCheckpointHeight(n(6))),
        ),
        (
            cluster.checkpoint(0, 6, a),
            Rejection::Certificate(BadCertificate::NoCheckpointHeight(n(6))),
        ),
        (
            Message::ViewChange(cluster.view_change(0, 1, None, long)),
            Rejection::TooLong,
        ),
        (status(9, None), Rejection::TooLong),
        (status(0, Some(yours(others_vote))), Rejection::Signature),
        (
            status(0, Some(yours(unsigned(own_vote.clone())))),
            Rejection::Signature,
        ),
        (status(0, Some(target)), Rejection::Signature),
        (Message::Forward(many.into()), Rejection::TooLong),
    ];
    for (message, why) in cases {
        assert_eq!(
            cluster.verifier(3).verify(message.clone()),
            Err(why),
            "{message:?}"
        );
    }
    let forms = [
        (
            blocks(&mut cluster, 1, &[(2, "a", "a")], &quorum),
            Rejection::OutsideWindow(n(2)),
        ),
        (
            blocks(&mut cluster, 1, &[(1, "a", "a"), (3, "b", "b")], &quorum),
            Rejection::OutsideWindow(n(3)),
        ),
        (
            blocks(&mut cluster, 1, &[(1, "a", "b")], &quorum),
            Rejection::BodyMismatch,
        ),
        (
            blocks(&mut cluster, 1, &[(1, "a", "a")], &[0, 1]),
            Rejection::Certificate(BadCertificate::Count { found: 2, needed: 3 }),
        ),
        (
            blocks(&mut cluster, 1, &[(1, "a", "a")], &[0, 1, 1]),
            Rejection::Certificate(BadCertificate::NotAscending(id(1))),
        ),
    ];
    for (message, why) in forms {
        assert_eq!(
            cluster.verifier(3).verify(message.clone()),
            Err(why),
            "{message:?}"
        );
    }
    for good in [
        status(8, Some(yours(own_vote))),
        blocks(&mut cluster, 1, &[(1, "a", "a"), (2, "b", "b")], &quorum),
        Message::Stable(cluster.stable(&quorum, 4, a)),
    ] {
        cluster.verifier(3).verify(good).unwrap();
    }
}

#[test]
fn forwarded_requests_that_are_not_valid_are_left_out() {
    let cluster = cluster();
    let mut forged = request("signed b");
    forged.signature = request("signed other").signature;
    let forwarded = vec![request("signed a"), request("bad"), forged, request("c")];
    let verified = cluster
        .verifier(0)
        .verify(Message::Forward(forwarded.into()))
        .unwrap();
    let Incoming::Forward(kept) = verified.into_inner() else {
        panic!()
    };
    let texts: Vec<_> = kept.iter().map(|(request, _)| request.content.to_vec()).collect();
    assert_eq!(texts, [b"signed a".to_vec(), b"c".to_vec()]);
}

#[test]
fn every_batch_fault_is_found() {
    let cluster = cluster();
    let fault = |batch: Batch| {
        let body = Body::new(&cluster.ring.chain, batch);
        check_batch(&cluster.parameters, &Rules, &body)
    };
    let mut forged = craft::batch(&["signed b"]);
    let mut requests = forged.requests.into_vec();
    requests[0].signature = request("signed other").signature;
    forged.requests = requests.into();
    let reason = "the signature does not verify";
    assert_eq!(fault(craft::batch(&["signed a", "b"])), Ok(()));
    assert_eq!(fault(craft::batch(&[])), Err(BatchFault::Empty));
    assert_eq!(
        fault(craft::batch_at(0, &[])),
        Err(BatchFault::Empty),
        "the null batch is no proposal"
    );
    assert_eq!(
        fault(craft::batch(&["a", "b", "a"])),
        Err(BatchFault::Duplicate(2))
    );
    assert_eq!(
        fault(craft::batch(&["a", "b", "c", "d", "e"])),
        Err(BatchFault::TooLarge)
    );
    assert_eq!(
        fault(craft::batch(&[&"x".repeat(4_096)])),
        Err(BatchFault::TooLarge)
    );
    let bad = BatchFault::Request {
        position: 1,
        reason: "it is bad",
    };
    assert_eq!(fault(craft::batch(&["a", "bad"])), Err(bad));
    assert_eq!(fault(forged), Err(BatchFault::Request { position: 0, reason }));
}

fn verdict(cluster: &Cluster, message: &ViewChange) -> Result<(), BadViewChange> {
    check_view_change(&cluster.ring, &cluster.parameters, message)
}

#[test]
fn every_defect_of_a_view_change_is_found() {
    let mut cluster = cluster();
    let a = cluster.digest(&["a"]);
    let stable = |senders: &[u16], seq| Some(cluster.stable(senders, seq, a));
    let p = |senders: &[u16], view, seq| cluster.prepared(senders, view, seq, a);
    let count = |found, needed| BadCertificate::Count { found, needed };
    let prepared = |why| BadViewChange::Prepared(n(1), why);
    let mut swapped = stable(&[0, 1, 2], 4).unwrap();
    swapped.header = Digest::of("another", &[]);
    let mut bent = p(&[1, 2], 0, 1);
    bent.pre_prepare = Signature::from_bytes([9; 64]);
    let two_views: PreparedCertificate = PreparedCertificate {
        prepares: p(&[1, 2], 1, 1).prepares,
        ..p(&[1, 2], 0, 1)
    };
    for (c, p, why) in [
        (stable(&[0, 1], 4), vec![], BadViewChange::Stable(count(2, 3))),
        (
            stable(&[0, 1, 4], 4),
            vec![],
            BadViewChange::Stable(BadCertificate::UnknownSigner(id(4))),
        ),
        (
            stable(&[0, 2, 2], 4),
            vec![],
            BadViewChange::Stable(BadCertificate::NotAscending(id(2))),
        ),
        (
            stable(&[0, 1, 2], 5),
            vec![],
            BadViewChange::Stable(BadCertificate::NoCheckpointHeight(n(5))),
        ),
        (
            stable(&[0, 1, 2], 0),
            vec![],
            BadViewChange::Stable(BadCertificate::NoCheckpointHeight(n(0))),
        ),
        (Some(swapped), vec![], BadViewChange::Signature),
        (None, vec![p(&[1], 0, 1)], prepared(count(1, 2))),
        (None, vec![p(&[1, 2, 3], 0, 1)], prepared(count(3, 2))),
        (
            None,
            vec![p(&[2, 2], 0, 1)],
            prepared(BadCertificate::NotAscending(id(2))),
        ),
        (
            None,
            vec![p(&[2, 1], 0, 1)],
            prepared(BadCertificate::NotAscending(id(1))),
        ),
        (
            None,
            vec![p(&[0, 1], 0, 1)],
            prepared(BadCertificate::PrimaryPrepared(id(0))),
        ),
        (
            None,
            vec![p(&[1, 5], 0, 1)],
            prepared(BadCertificate::UnknownSigner(id(5))),
        ),
        (
            None,
            vec![p(&[1, 2], 0, 2), p(&[1, 2], 0, 1)],
            BadViewChange::NotAscending(n(1)),
        ),
        (
            None,
            vec![p(&[1, 2], 0, 2), p(&[1, 2], 0, 2)],
            BadViewChange::NotAscending(n(2)),
        ),
        (None, vec![p(&[1, 2], 0, 9)], BadViewChange::OutsideWindow(n(9))),
        (None, vec![p(&[1, 2], 0, 0)], BadViewChange::OutsideWindow(n(0))),
        (
            stable(&[0, 1, 2], 4),
            vec![p(&[1, 2], 0, 4)],
            BadViewChange::OutsideWindow(n(4)),
        ),
        (None, vec![p(&[1, 2], 3, 1)], BadViewChange::FutureView(v(3))),
        (None, vec![bent], BadViewChange::Signature),
        (None, vec![two_views], BadViewChange::Signature),
    ] {
        let message = cluster.view_change(3, 3, c, p);
        assert_eq!(verdict(&cluster, &message), Err(why));
    }
    let good = cluster.view_change(
        3,
        3,
        stable(&[0, 1, 2], 4),
        vec![p(&[1, 2], 0, 5), p(&[0, 3], 2, 12)],
    );
    assert_eq!(verdict(&cluster, &good), Ok(()));
}

#[test]
fn every_defect_of_a_new_view_is_found() {
    let mut cluster = cluster();
    let (a, b) = (cluster.digest(&["a"]), cluster.digest(&["b"]));
    let verdict = |message: &NewView| check_new_view(&cluster.ring, &cluster.parameters, message);
    let empty = |sender, view| cluster.view_change(sender, view, None, Vec::new());
    let holds = |sender, digest| {
        let certificate = cluster.prepared(&[2, 3], 0, 1, digest);
        cluster.view_change(sender, 1, None, vec![certificate])
    };
    let void = cluster.view_change(1, 1, None, vec![cluster.prepared(&[2], 0, 1, a)]);
    let mut forged = ViewChange::clone(&empty(1, 1));
    forged.signature = Signature::from_bytes([9; 64]);
    let void_why = BadViewChange::Prepared(n(1), BadCertificate::Count { found: 1, needed: 2 });
    for (v_set, o, why) in [
        (vec![empty(0, 1), empty(1, 1)], vec![], BadNewView::Senders),
        (
            vec![empty(0, 1), empty(2, 1), empty(1, 1)],
            vec![],
            BadNewView::Senders,
        ),
        (
            vec![empty(0, 1), empty(1, 1), empty(1, 1)],
            vec![],
            BadNewView::Senders,
        ),
        (
            vec![empty(0, 1), empty(1, 2), empty(2, 1)],
            vec![],
            BadNewView::OtherTarget(id(1)),
        ),
        (
            vec![empty(0, 1), void, empty(2, 1)],
            vec![],
            BadNewView::ViewChange(id(1), void_why),
        ),
        (
            vec![empty(0, 1), Arc::new(forged), empty(2, 1)],
            vec![],
            BadNewView::ViewChange(id(1), BadViewChange::Signature),
        ),
        (
            vec![empty(0, 1), empty(1, 1), empty(2, 1)],
            vec![a],
            BadNewView::Choice,
        ),
        (
            vec![holds(0, a), empty(1, 1), empty(2, 1)],
            vec![],
            BadNewView::Choice,
        ),
        (
            vec![holds(0, a), empty(1, 1), empty(2, 1)],
            vec![b],
            BadNewView::Choice,
        ),
        (
            vec![holds(0, a), holds(1, b), empty(2, 1)],
            vec![a],
            BadNewView::Contradiction(n(1), v(0)),
        ),
    ] {
        let message = cluster.new_view(1, v_set, 1, &o);
        assert_eq!(verdict(&message), Err(why));
    }
    let good = cluster.new_view(1, vec![holds(0, a), empty(1, 1), empty(2, 1)], 1, &[a]);
    assert_eq!(verdict(&good).unwrap().choices, [(n(1), a)]);
    let mut bent = NewView::clone(&good);
    let mut proposals = bent.proposals.into_vec();
    proposals[0].signature = Signature::from_bytes([9; 64]);
    bent.proposals = proposals.into();
    assert_eq!(verdict(&bent), Err(BadNewView::Signature));
}
