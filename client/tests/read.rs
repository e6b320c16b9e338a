//! Reading, against replicas that lag and lie.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

mod support;

use std::time::Duration;

use support::world::Behaviour::{self, Honest, Learner, Liar, Silent};
use support::{Fakes, PATIENCE, account_key};
use tagma_client::read::TransactionRead;
use tagma_client::receipt::ReceiptRead;
use tagma_client::{QueryError, ReadError};
use tagma_evidence::Judge;
use tagma_ledger::Outcome;

/// Long enough to ask a few times, short enough to wait for in vain.
const BRIEF: Duration = Duration::from_secs(2);

fn bob() -> tagma_crypto::PublicKey {
    account_key("bob").public()
}

fn ordered(behaviours: &[Behaviour]) -> (Fakes, tagma_crypto::Digest) {
    let fakes = Fakes::behaving(behaviours);
    let transfer = fakes.transfer("alice", bob(), 25, 0);
    fakes.world.order(&transfer.to_request());
    (fakes, transfer.transaction.digest())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_what_f_plus_1_say_alike() {
    let (fakes, _) = ordered(&[Liar, Honest, Honest, Silent]);
    let client = fakes.client();
    let read = client.account(bob(), 0, PATIENCE).await.unwrap();
    assert_eq!((read.account.unwrap().balance, read.height), (1025, 1));
    assert_eq!(read.supporters, [1, 2]);
    let nobody = client
        .account(account_key("nobody").public(), 0, PATIENCE)
        .await
        .unwrap();
    assert_eq!(nobody.account, None);
    let alice = account_key("alice").public();
    let read = client.next_nonce(alice, PATIENCE).await.unwrap().unwrap();
    assert_eq!(read.account.unwrap().next_nonce, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_least_height_is_waited_for() {
    let (fakes, _) = ordered(&[Honest; 4]);
    let client = fakes.client();
    let Err(error) = client.account(bob(), 2, BRIEF).await else {
        panic!("there is no block 2");
    };
    assert!(
        matches!(&error, ReadError::BelowMinHeight { needed: 2, min_height: 2, heights } if heights[0] == 1)
    );
    let reading = client.account(bob(), 2, PATIENCE);
    let ordering = async {
        fakes
            .world
            .order(&fakes.transfer("alice", bob(), 25, 1).to_request());
    };
    let (read, ()) = tokio::join!(reading, ordering);
    assert_eq!(read.unwrap().account.unwrap().balance, 1050);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_answers_are_none() {
    let (fakes, _) = ordered(&[Honest; 4]);
    for id in 1..4 {
        fakes.world.stop(id);
    }
    let client = fakes.client();
    let Err(ReadError::TooFew {
        answered,
        replicas,
        needed,
        errors,
    }) = client.account(bob(), 0, PATIENCE).await
    else {
        panic!("one replica is no quorum");
    };
    assert_eq!((answered, replicas, needed), (1, 4, 2));
    let unreachable = |error: &QueryError| matches!(error, QueryError::Unreachable(_));
    assert!(errors.iter().all(|(_, error)| unreachable(error)));
    assert_eq!(errors.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_answer_and_one_lie_do_not_match() {
    let (fakes, _) = ordered(&[Honest, Liar, Silent, Silent]);
    let client = fakes.client();
    let result = client.account(bob(), 0, BRIEF).await;
    assert!(
        matches!(result, Err(ReadError::NoMatch { needed: 2, .. })),
        "{result:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_has_a_body_that_fits_its_header() {
    let (fakes, hash) = ordered(&[Liar, Honest, Honest, Honest]);
    let client = fakes.connected().await;
    let read = client.block(1, PATIENCE).await.unwrap().unwrap();
    assert_eq!(read.block.header.height, 1);
    assert_eq!(read.hash, read.block.header.digest());
    assert_eq!(read.block.requests[0].digest(&fakes.world.chain()), hash);
    assert!(read.supporters.len() >= 2 && !read.supporters.contains(&0));
    assert!(read.liars.is_empty() || read.liars == [0]);
    assert_eq!(client.block(2, PATIENCE).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_was_executed_if_f_plus_1_say_so() {
    let (fakes, hash) = ordered(&[Honest, Honest, Liar, Silent]);
    let client = fakes.client();
    let read = client.transaction(hash, PATIENCE).await.unwrap();
    let TransactionRead::Executed {
        report, supporters, ..
    } = read
    else {
        panic!("two of four have executed it");
    };
    assert_eq!(
        (report.outcome, report.height, report.position),
        (Outcome::Transferred, 1, 0)
    );
    assert_eq!(supporters, [0, 1]);
    let other = fakes.transfer("alice", bob(), 1, 1).transaction.digest();
    let read = client.transaction(other, PATIENCE).await.unwrap();
    assert_eq!(read, TransactionRead::NotExecuted { height: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_stands_in_the_status() {
    let (fakes, _) = ordered(&[Honest, Honest, Honest, Silent]);
    fakes.world.stop(2);
    let client = fakes.client();
    let status = client.status(Duration::from_secs(5)).await;
    assert_eq!(status.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(status[0].1.as_ref().unwrap().executed, 1);
    assert!(matches!(status[2].1, Err(QueryError::Unreachable(_))));
    assert_eq!(status[3].1, Err(QueryError::Timeout));
}

/// A liar's header is another one, and it is alone with it: the receipt is that of the honest ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_is_made_of_what_f_plus_1_attest() {
    let (fakes, hash) = ordered(&[Liar, Honest, Silent, Honest]);
    let judge = Judge::new(&fakes.genesis).unwrap();
    let client = fakes.client();
    let ReceiptRead::Receipt(gathered) = client.receipt(&judge, hash, PATIENCE).await.unwrap() else {
        panic!("it was executed");
    };
    let proved = gathered.receipt.check(&judge).unwrap();
    assert_eq!(
        (proved.request, proved.receipt.outcome),
        (hash, Outcome::Transferred)
    );
    let attested: Vec<u16> = proved.attested_by.iter().map(|id| id.get()).collect();
    assert_eq!(attested, [1, 3]);
    // It is named, whenever its answer is among those that came in time.
    let named = async |of: &str| {
        for _ in 0..100 {
            let liars = if of == "receipt" {
                let read = client.receipt_of_executed(&judge, hash, PATIENCE).await;
                read.unwrap().liars
            } else {
                match client.transaction(hash, PATIENCE).await.unwrap() {
                    TransactionRead::Executed { liars, .. } => liars,
                    TransactionRead::NotExecuted { .. } => panic!("two of four have executed it"),
                }
            };
            match *liars {
                [] => {}
                [0] => return true,
                _ => panic!("{liars:?} are named"),
            }
        }
        false
    };
    assert!(named("receipt").await && named("transaction").await);

    let unknown = tagma_crypto::Digest::of("test", &[]);
    let none = client.receipt(&judge, unknown, PATIENCE).await.unwrap();
    assert_eq!(none, ReceiptRead::NotExecuted { height: 1 });
    // Who knows better does not take that for an answer.
    let error = client
        .receipt_of_executed(&judge, unknown, BRIEF)
        .await
        .unwrap_err();
    assert!(matches!(error, ReadError::NoMatch { .. }), "{error}");
}

/// Who signs nothing adds nothing, and one alone is not enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_receipt_of_one_replica() {
    let (fakes, hash) = ordered(&[Liar, Honest, Learner, Silent]);
    let judge = Judge::new(&fakes.genesis).unwrap();
    let client = fakes.client();
    let error = client.receipt(&judge, hash, BRIEF).await.unwrap_err();
    assert!(matches!(&error, ReadError::NoMatch { needed: 2, .. }), "{error}");
    let why = error.to_string();
    assert!(
        why.contains("n2: executed at height 1, and it signs nothing"),
        "{why}"
    );
    fakes.world.set(2, Honest);
    let receipt = client.receipt(&judge, hash, PATIENCE).await.unwrap();
    assert!(matches!(receipt, ReceiptRead::Receipt(_)));
}
