//! Submitting, against replicas of every kind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

mod support;

use std::time::Duration;

use support::world::Behaviour::{self, Busy, Garbage, Honest, Late, Liar, Refusing, Silent};
use support::{Fakes, PATIENCE, account_key, network_key, until};
use tagma_client::{LinkState, SubmitError};
use tagma_ledger::Outcome;
use tagma_wire::client_protocol::Refusal;
use tokio::sync::mpsc;

/// Long enough for a few rounds of sending, short enough to wait for in vain.
const BRIEF: Duration = Duration::from_secs(2);

fn bob() -> tagma_crypto::PublicKey {
    account_key("bob").public()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_is_accepted_at_f_plus_1_and_later_requests_go_to_the_primary_alone() {
    let fakes = Fakes::start(4);
    let client = fakes.connected().await;
    let first = fakes.transfer("alice", bob(), 25, 0);
    let accepted = client.submit(&first, PATIENCE).await.unwrap();
    assert_eq!(accepted.hash, first.transaction.digest());
    assert_eq!((accepted.outcome, accepted.height), (Outcome::Transferred, 1));
    assert!(accepted.supporters.len() >= 2 && accepted.liars.is_empty());
    let alice = account_key("alice").public();
    until("all replicas know who follows alice", || {
        fakes.world.followed_by(&alice) == 4
    })
    .await;

    let second = fakes.transfer("alice", bob(), 25, 1);
    let accepted = client.submit(&second, PATIENCE).await.unwrap();
    assert_eq!(accepted.height, 2);
    let standing = client.all_replies(&accepted.hash, PATIENCE).await.unwrap();
    assert_eq!(standing.supporters, [0, 1, 2, 3]);
    assert_eq!(fakes.world.receivers(&accepted.hash), [0]);
    assert_eq!((fakes.world.balance(&bob()), client.in_flight()), (1050, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f_liars_are_outvoted_and_named() {
    let fakes = Fakes::behaving(&[Honest, Liar, Honest, Honest, Liar, Honest, Honest]);
    let client = fakes.connected().await;
    let transfer = fakes.transfer("alice", bob(), 25, 0);
    let accepted = client.submit(&transfer, PATIENCE).await.unwrap();
    assert_eq!(accepted.outcome, Outcome::Transferred);
    let standing = client.all_replies(&accepted.hash, PATIENCE).await.unwrap();
    assert_eq!(standing.liars, [1, 4]);
    assert_eq!(standing.supporters, [0, 2, 3, 5, 6]);
    let contradictions = client.take_contradictions();
    assert!(contradictions.iter().all(|lie| {
        lie.request == accepted.hash
            && lie.accepted.outcome == Outcome::Transferred
            && lie.said.outcome == Outcome::InsufficientFunds { balance: 666 }
    }));
    let mut liars: Vec<u16> = contradictions.iter().map(|lie| lie.replica).collect();
    liars.sort_unstable();
    assert_eq!(liars, [1, 4]);
    assert!(client.take_contradictions().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f_alike_are_not_enough() {
    let fakes = Fakes::behaving(&[Honest, Silent, Silent, Liar]);
    let client = fakes.connected().await;
    let transfer = fakes.transfer("alice", bob(), 25, 0);
    let Err(SubmitError::OutcomeUnknown(unknown)) = client.submit(&transfer, BRIEF).await else {
        panic!("one honest reply and one lie decide nothing");
    };
    assert_eq!((unknown.hash, unknown.needed), (transfer.transaction.digest(), 2));
    assert_eq!(unknown.supporters.len(), 1);
    assert!(unknown.unconnected.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lie_that_comes_late_is_reported() {
    let fakes = Fakes::behaving(&[Honest, Honest, Honest, Late]);
    let client = fakes.connected().await;
    let transfer = fakes.transfer("alice", bob(), 25, 0);
    // The late one is asked itself, whether or not it knew in time who follows alice.
    let alice = account_key("alice").public();
    let accepted = client.submit(&transfer, PATIENCE).await.unwrap();
    until("all replicas know who follows alice", || {
        fakes.world.followed_by(&alice) == 4
    })
    .await;
    let second = fakes.transfer("alice", bob(), 25, 1);
    let second = client.submit(&second, PATIENCE).await.unwrap();
    assert!(accepted.liars.is_empty() && second.liars.is_empty());
    assert!(client.take_contradictions().is_empty());

    fakes.world.set(3, Liar);
    until("the late lie is known", || {
        client.standing(&second.hash).unwrap().liars == [3]
    })
    .await;
    assert!(
        client
            .take_contradictions()
            .iter()
            .any(|lie| lie.replica == 3 && lie.request == second.hash)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_primary_is_gone_around_and_the_new_one_learnt() {
    let fakes = Fakes::behaving(&[Silent, Honest, Honest, Honest]);
    fakes.world.set_view(1);
    let client = fakes.connected().await;
    assert_eq!(client.presumed_primary(), 0);
    let first = fakes.transfer("alice", bob(), 25, 0);
    client.submit(&first, PATIENCE).await.unwrap();
    assert!(fakes.world.receivers(&first.transaction.digest()).len() > 1);
    assert_eq!((client.view(), client.presumed_primary()), (1, 1));

    let alice = account_key("alice").public();
    until("the others know who follows alice", || {
        fakes.world.followed_by(&alice) == 3
    })
    .await;
    let second = fakes.transfer("alice", bob(), 25, 1);
    client.submit(&second, PATIENCE).await.unwrap();
    assert_eq!(fakes.world.receivers(&second.transaction.digest()), [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f_replicas_cannot_name_a_primary() {
    let fakes = Fakes::behaving(&[Honest, Honest, Honest, Behaviour::ClaimsView(1_000_003)]);
    let client = fakes.connected().await;
    let transfer = fakes.transfer("alice", bob(), 25, 0);
    let accepted = client.submit(&transfer, PATIENCE).await.unwrap();
    let standing = client.all_replies(&accepted.hash, PATIENCE).await.unwrap();
    assert!(standing.liars.is_empty(), "views are not compared");
    assert_eq!((client.view(), client.presumed_primary()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_refusal_decides_nothing() {
    let fakes = Fakes::behaving(&[Refusing(Refusal::Expired { height: 9 }), Honest, Honest, Honest]);
    // The others work in another view, and only the client does not know it.
    fakes.world.set_view(1);
    let client = fakes.connected().await;
    let transfer = fakes.transfer("alice", bob(), 25, 0);
    let accepted = client.submit(&transfer, PATIENCE).await.unwrap();
    assert_eq!(accepted.outcome, Outcome::Transferred);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f_plus_1_final_refusals_decide_whatever_their_heights() {
    let fakes = Fakes::behaving(&[
        Refusing(Refusal::Expired { height: 9 }),
        Silent,
        Refusing(Refusal::Expired { height: 10 }),
        Silent,
    ]);
    let client = fakes.connected().await;
    let transfer = fakes.transfer("alice", bob(), 25, 0);
    let Err(SubmitError::Rejected { hash, refusal, by }) = client.submit(&transfer, PATIENCE).await else {
        panic!("one of the two is correct");
    };
    assert_eq!(hash, transfer.transaction.digest());
    assert!(matches!(refusal, Refusal::Expired { .. }));
    assert_eq!(by, [0, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_of_the_moment_and_unlike_ones_need_more() {
    let too_far = Refusing(Refusal::NonceTooFar { next: 0 });
    for behaviours in [
        [too_far, too_far, Silent, Busy],
        [
            too_far,
            Refusing(Refusal::UnknownAccount),
            Refusing(Refusal::Expired { height: 9 }),
            Silent,
        ],
    ] {
        let fakes = Fakes::behaving(&behaviours);
        let client = fakes.connected().await;
        let transfer = fakes.transfer("alice", bob(), 25, 0);
        let Err(SubmitError::OutcomeUnknown(unknown)) = client.submit(&transfer, BRIEF).await else {
            panic!("{behaviours:?} decide nothing");
        };
        let refusals = behaviours
            .iter()
            .filter(|behaviour| matches!(behaviour, Refusing(_)))
            .count();
        assert_eq!(unknown.refused.len(), refusals);
        assert_eq!(unknown.busy.len(), usize::from(behaviours[3] == Busy));
    }
    let fakes = Fakes::behaving(&[too_far, too_far, too_far, Silent]);
    let client = fakes.connected().await;
    let transfer = fakes.transfer("alice", bob(), 25, 0);
    let result = client.submit(&transfer, PATIENCE).await;
    assert!(matches!(result, Err(SubmitError::Rejected { by, .. }) if by == [0, 1, 2]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_again_finds_the_outcome_and_pays_once() {
    let fakes = Fakes::behaving(&[Silent; 4]);
    let client = fakes.connected().await;
    let transfer = fakes.transfer("alice", bob(), 25, 0);
    let result = client.submit(&transfer, BRIEF).await;
    assert!(matches!(result, Err(SubmitError::OutcomeUnknown(_))));
    for id in 0..4 {
        fakes.world.set(id, Honest);
    }
    let first = client.submit(&transfer, PATIENCE).await.unwrap();
    let again = client.submit(&transfer, PATIENCE).await.unwrap();
    assert_eq!((first.outcome, first.height), (again.outcome, again.height));
    assert_eq!((fakes.world.executed(), fakes.world.balance(&bob())), (1, 1025));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_submissions_of_one_request_share_its_outcome() {
    let fakes = Fakes::start(4);
    let client = fakes.connected().await;
    let transfer = fakes.transfer("alice", bob(), 25, 0);
    let (a, b) = tokio::join!(
        client.submit(&transfer, PATIENCE),
        client.submit(&transfer, PATIENCE)
    );
    assert_eq!(a.unwrap().height, b.unwrap().height);
    assert_eq!(fakes.world.executed(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_costs_a_replica_its_connection_and_nobody_else() {
    let fakes = Fakes::behaving(&[Garbage, Honest, Honest, Honest]);
    fakes.world.set_view(1);
    let client = fakes.connected().await;
    let transfer = fakes.transfer("alice", bob(), 25, 0);
    client.submit(&transfer, PATIENCE).await.unwrap();
    until("the connection is closed", || fakes.world.lost(0) > 0).await;
    assert_eq!((1..4).map(|id| fakes.world.lost(id)).sum::<usize>(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_another_key_is_none_of_the_network() {
    let fakes = Fakes::start(4);
    fakes.world.stop(2);
    fakes.restart(2, Some(network_key(77)));
    let client = fakes.client();
    until("three are connected", || {
        client
            .links()
            .iter()
            .filter(|link| **link == LinkState::Up)
            .count()
            == 3
    })
    .await;
    until("the stranger is refused", || {
        matches!(client.links()[2], LinkState::Down(_))
    })
    .await;
    let transfer = fakes.transfer("alice", bob(), 25, 0);
    let accepted = client.submit(&transfer, PATIENCE).await.unwrap();
    assert!(!accepted.supporters.contains(&2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_come_back_by_themselves() {
    let fakes = Fakes::start(4);
    let client = fakes.connected().await;
    let alice = account_key("alice").public();
    client
        .submit(&fakes.transfer("alice", bob(), 1, 0), PATIENCE)
        .await
        .unwrap();
    fakes.world.stop(0);
    until("the loss is noticed", || client.links()[0] != LinkState::Up).await;
    fakes.restart(0, None);
    until("it is connected again", || client.links()[0] == LinkState::Up).await;
    until("it is told again whom the client follows", || {
        fakes.world.followed_by(&alice) == 4
    })
    .await;
    let transfer = fakes.transfer("alice", bob(), 1, 1);
    let accepted = client.submit(&transfer, PATIENCE).await.unwrap();
    let standing = client.all_replies(&accepted.hash, PATIENCE).await.unwrap();
    assert_eq!(standing.supporters, [0, 1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_left_is_not_of_unknown_outcome() {
    let fakes = Fakes::start(4);
    fakes.world.stop_all();
    let client = fakes.client();
    let result = client.submit(&fakes.transfer("alice", bob(), 1, 0), BRIEF).await;
    assert!(
        matches!(result, Err(SubmitError::Unreachable { .. })),
        "{result:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_handed_over_reaches_f_plus_1() {
    let fakes = Fakes::behaving(&[Honest, Silent, Honest, Late]);
    let client = fakes.connected().await;
    let transfer = fakes.transfer("alice", bob(), 1, 0);
    let received = client.hand_over(&transfer, PATIENCE).await;
    assert!(received.len() >= 2 && !received.contains(&1), "{received:?}");
    let receivers = fakes.world.receivers(&transfer.transaction.digest());
    assert!(received.iter().all(|id| receivers.contains(id)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_in_flight_each_complete_once() {
    let fakes = Fakes::behaving(&[Honest, Honest, Liar, Honest]);
    let client = fakes.connected().await;
    let (completions, mut completed) = mpsc::unbounded_channel();
    let mut expected = Vec::new();
    for nonce in 0..100 {
        for name in ["alice", "bob", "carol"] {
            let to = account_key("dave").public();
            let transfer = fakes.transfer(name, to, 2, nonce);
            expected.push(client.submit_to(&transfer, PATIENCE, &completions));
        }
    }
    let mut hashes = Vec::new();
    for _ in 0..expected.len() {
        let completion = tokio::time::timeout(PATIENCE, completed.recv())
            .await
            .unwrap()
            .unwrap();
        let accepted = completion.result.unwrap();
        assert_eq!(
            (accepted.hash, accepted.outcome),
            (completion.hash, Outcome::Transferred)
        );
        hashes.push(completion.hash);
    }
    expected.sort();
    hashes.sort();
    assert_eq!(hashes, expected);
    assert!(completed.try_recv().is_err());
    assert_eq!(
        (
            fakes.world.executed(),
            fakes.world.balance(&account_key("dave").public())
        ),
        (300, 600)
    );
}
