//! A request's way into a header, and everything that must not verify (LE4).

use crate::common::{Chain, key};
use tagma_crypto::Digest;
use tagma_crypto::encode::{MAX_INPUT, decode, encode};
use tagma_ledger::proof::ProofError;
use tagma_ledger::{Block, BlockHeader, LinkError, NoOpReason, NoOpReceipt, Receipt, TransactionProof};

fn block() -> (Chain, BlockHeader, Block) {
    let mut chain = Chain::new(&[100]);
    let parent = chain.tip.clone();
    let mut requests: Vec<_> = (0..5).map(|nonce| chain.pay(key(0), nonce, key(1), 1)).collect();
    requests.push(requests[0].clone());
    let (block, _) = chain.extend(&requests);
    (chain, parent, block)
}

#[test]
fn every_request_of_a_block_can_be_proved() {
    let (chain, _, block) = block();
    for position in 0..6 {
        let proof = TransactionProof::of(&block, position, &chain.id).unwrap();
        assert_eq!(
            proof.verify(&chain.id, &block.header),
            Ok(&block.receipts[position])
        );
        assert_eq!(
            decode::<TransactionProof>(&encode(&proof), MAX_INPUT).unwrap(),
            proof
        );
        let json = serde_json::to_string(&proof).unwrap();
        assert_eq!(serde_json::from_str::<TransactionProof>(&json).unwrap(), proof);
    }
    assert_eq!(TransactionProof::of(&block, 6, &chain.id), None);
}

#[test]
fn a_changed_proof_proves_nothing() {
    let (chain, _, block) = block();
    let good = TransactionProof::of(&block, 2, &chain.id).unwrap();
    let verdict = |change: &dyn Fn(&mut TransactionProof)| {
        let mut proof = good.clone();
        change(&mut proof);
        proof.verify(&chain.id, &block.header).copied()
    };
    let other = TransactionProof::of(&block, 3, &chain.id).unwrap();
    let repeated = TransactionProof::of(&block, 5, &chain.id).unwrap();
    let first = TransactionProof::of(&block, 0, &chain.id).unwrap();
    assert_eq!(
        verdict(&|p| p.request = other.request.clone()),
        Err(ProofError::Request)
    );
    assert_eq!(
        verdict(&|p| p.request.signature = tagma_crypto::Signature::from_bytes([1; 64])),
        Err(ProofError::Request)
    );
    assert_eq!(verdict(&|p| p.proposed_time_ms += 1), Err(ProofError::Request));
    assert_eq!(
        verdict(&|p| p.batch_root = Digest::ZERO),
        Err(ProofError::Request)
    );
    assert_eq!(verdict(&|p| p.request_path.count += 1), Err(ProofError::Request));
    assert_eq!(verdict(&|p| p.receipt = other.receipt), Err(ProofError::Receipt));
    assert_eq!(
        verdict(&|p| {
            p.receipt = other.receipt;
            p.receipt_path = other.receipt_path.clone();
        }),
        Err(ProofError::Mismatch)
    );
    // The repeated request's no-op does not pass for the outcome of its first occurrence, nor the other way round.
    let mut crossed = first.clone();
    crossed.receipt = repeated.receipt;
    crossed.receipt_path = repeated.receipt_path.clone();
    assert_eq!(
        crossed.verify(&chain.id, &block.header),
        Err(ProofError::Mismatch)
    );
    assert_eq!(
        good.verify(&Digest::ZERO, &block.header),
        Err(ProofError::Request)
    );
    let mut header = block.header.clone();
    header.receipts_root = Digest::ZERO;
    assert_eq!(good.verify(&chain.id, &header), Err(ProofError::Receipt));
}

#[test]
fn outcomes_and_no_ops_are_hashed_apart() {
    let (_, _, block) = block();
    let leaves: std::collections::BTreeSet<Digest> = block.receipts.iter().map(Receipt::leaf).collect();
    assert_eq!(leaves.len(), 6);
    let executed = block.receipts[0];
    let no_op = |reason| {
        Receipt::NoOp(NoOpReceipt {
            request: executed.request(),
            reason,
        })
    };
    assert_eq!(block.receipts[5], no_op(NoOpReason::ConsumedNonce));
    // Each kind has a prefix of its own: no bytes are a leaf of both.
    let (Receipt::Executed(outcome), Receipt::NoOp(no_outcome)) = (block.receipts[0], block.receipts[5])
    else {
        panic!("the first was executed, the last was not")
    };
    assert_eq!(
        executed.leaf(),
        Digest::of("tagma/receipt/executed", &[&encode(&outcome)])
    );
    assert_eq!(
        block.receipts[5].leaf(),
        Digest::of("tagma/receipt/no-op", &[&encode(&no_outcome)])
    );
    assert_ne!(
        no_op(NoOpReason::Expired).leaf(),
        no_op(NoOpReason::ConsumedNonce).leaf()
    );
}

#[test]
fn a_body_must_be_its_headers() {
    let (chain, parent, block) = block();
    block.verify_body(&chain.id, &parent).unwrap();
    let verdict = |change: &dyn Fn(&mut Block)| {
        let mut block = block.clone();
        change(&mut block);
        block.verify_body(&chain.id, &parent).unwrap_err()
    };
    assert!(matches!(
        verdict(&|b| b.proposed_time_ms += 1),
        LinkError::Batch { .. }
    ));
    assert!(matches!(
        verdict(&|b| b.requests = b.requests[1..].to_vec().into()),
        LinkError::Batch { .. }
    ));
    assert!(matches!(
        verdict(&|b| b.header.time_ms += 1),
        LinkError::Time { .. }
    ));
    assert!(matches!(
        verdict(&|b| b.receipts = b.receipts[1..].to_vec().into()),
        LinkError::Receipts { .. }
    ));
    assert!(matches!(
        verdict(&|b| {
            let mut receipts = b.receipts.to_vec();
            receipts.swap(0, 1);
            b.receipts = receipts.into();
        }),
        LinkError::Receipts { .. }
    ));
}
