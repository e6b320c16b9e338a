//! A receipt proves what was executed, and no change of it proves anything else.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

mod support;

use support::Village;
use tagma_crypto::Digest;
use tagma_crypto::encode::{decode, encode};
use tagma_evidence::receipt::{Inclusion, Refuted, attest, attests, verify};
use tagma_evidence::{Invalid, PortableReceipt};
use tagma_ledger::batch::digests_of;
use tagma_ledger::{
    Batch, Block, BlockHeader, ExecContext, Outcome, Receipt, Rejection, TransactionProof, execute,
};
use tagma_pbft::certificate::Endorsement;
use tagma_pbft::{Body, ReplicaId};

/// Block 1 of the village: three payments, of which the second one's nonce is not next.
fn block(village: &Village) -> Block {
    block_of(village, village.batch(&[0, 5, 1]))
}

/// What executing this batch as the first one gives.
fn block_of(village: &Village, batch: tagma_pbft::Batch) -> Block {
    let (state, genesis) = village.genesis.start();
    let digest = Body::new(&village.chain, batch.clone()).digest();
    let digests = digests_of(&village.chain, &batch.requests);
    let agreed = Batch {
        height: 1,
        digest,
        time_ms: batch.time_ms,
        requests: &batch.requests,
        request_digests: &digests,
    };
    let context = ExecContext {
        chain: village.chain,
        parameters: &village.genesis.parameters,
    };
    let executed = execute(&state, &context, &genesis, &agreed);
    Block {
        header: executed.header,
        proposed_time_ms: batch.time_ms,
        requests: batch.requests,
        receipts: executed.receipts.into(),
    }
}

fn attestation(village: &Village, sender: u16, header: &BlockHeader) -> Endorsement {
    let sender = ReplicaId::new(sender);
    Endorsement {
        sender,
        signature: attest(&village.chain, header, sender, village.key(sender)),
    }
}

/// The receipt of a request of a block, ordered and attested by these.
fn receipt(
    village: &Village,
    block: &Block,
    position: usize,
    ordered: &[u16],
    attested: &[u16],
) -> PortableReceipt {
    let header = &block.header;
    PortableReceipt {
        inclusion: Inclusion {
            header: header.clone(),
            transaction: TransactionProof::of(block, position, &village.chain).unwrap(),
            order: village.committed(ordered, 3, header.height, header.batch),
        },
        attestations: attested
            .iter()
            .map(|sender| attestation(village, *sender, header))
            .collect(),
    }
}

#[test]
fn a_receipt_says_who_asked_for_what_and_what_came_of_it() {
    let village = Village::new(4);
    let block = block(&village);
    let receipt = receipt(&village, &block, 2, &[0, 1, 3], &[1, 2]);
    let text = receipt.to_text(&village.chain);
    let proved = verify(&village.judge, text.as_bytes()).unwrap();
    assert_eq!(proved.request, block.requests[2].digest(&village.chain));
    assert_eq!((proved.receipt.nonce, proved.transaction.nonce), (1, 1));
    assert_eq!(proved.receipt.outcome, Outcome::Transferred);
    assert_eq!(proved.header, block.header);
    assert_eq!(proved.ordered_by, [0, 1, 3].map(ReplicaId::new));
    assert_eq!(proved.attested_by, [1, 2].map(ReplicaId::new));
    assert!(receipt.file_name().starts_with(&proved.request.to_string()[..8]));
}

#[test]
fn what_was_not_executed_has_none() {
    let village = Village::new(4);
    let receipt = receipt(&village, &block(&village), 1, &[0, 1, 2], &[0, 1]);
    assert_eq!(receipt.check(&village.judge), Err(Refuted::NotExecuted));
}

/// Replicas that order what its account has not signed are more than f liars, and the receipt shows it.
#[test]
fn the_account_has_signed_the_request() {
    let village = Village::new(4);
    let mut batch = village.batch(&[0]);
    let mut requests = batch.requests.into_vec();
    requests[0].signature = village.vote_signature(1, &village.genesis.start().1);
    batch.requests = requests.into();
    let receipt = receipt(&village, &block_of(&village, batch), 0, &[0, 1, 2], &[0, 1]);
    let refuted = receipt.check(&village.judge);
    assert_eq!(refuted, Err(Refuted::Request(Rejection::BadSignature)));
}

#[test]
fn order_needs_2f_plus_1_and_the_result_f_plus_1() {
    let village = Village::new(7);
    let block = block(&village);
    let signers = |ordered: &[u16], attested: &[u16]| {
        receipt(&village, &block, 0, ordered, attested).check(&village.judge)
    };
    assert!(signers(&[0, 1, 2, 3, 4], &[4, 5, 6]).is_ok());
    let wrong: [(&[u16], &[u16]); 7] = [
        (&[0, 1, 2, 3], &[4, 5, 6]),
        (&[0, 1, 2, 2, 3], &[4, 5, 6]),
        (&[0, 1, 2, 3, 4, 5], &[4, 5, 6]),
        (&[0, 1, 2, 3, 4], &[4, 5]),
        (&[0, 1, 2, 3, 4], &[4, 4, 5]),
        (&[0, 1, 2, 3, 4], &[5, 4, 6]),
        (&[0, 1, 2, 3, 4], &[3, 4, 5, 6]),
    ];
    for (ordered, attested) in wrong {
        let refuted = signers(ordered, attested);
        assert!(
            matches!(refuted, Err(Refuted::Signers { .. })),
            "{ordered:?} {attested:?}: {refuted:?}"
        );
    }
}

/// f liars sign whatever they like; the attestation of another header, and one's own under another's name, are worth nothing.
#[test]
fn an_attestation_is_for_one_header_and_of_one_replica() {
    let village = Village::new(4);
    let block = block(&village);
    let good = receipt(&village, &block, 0, &[0, 1, 2], &[0, 1]);
    let header = block.header.digest();
    let mut other = block.header.clone();
    other.time_ms += 1;
    let lies = [
        attestation(&village, 1, &other),
        Endorsement {
            sender: ReplicaId::new(1),
            ..attestation(&village, 0, &block.header)
        },
        Endorsement {
            sender: ReplicaId::new(1),
            signature: village.vote_signature(1, &block.header),
        },
    ];
    for lie in lies {
        let mut changed = good.clone();
        changed.attestations = vec![good.attestations[0].clone(), lie.clone()].into();
        let refuted = changed.check(&village.judge);
        assert_eq!(refuted, Err(Refuted::Signature("the attestations")));
        assert!(!attests(village.judge.ring(), &header, &lie));
    }
    let stranger = Endorsement {
        sender: ReplicaId::new(9),
        ..good.attestations[0].clone()
    };
    assert!(!attests(village.judge.ring(), &header, &stranger));
    assert!(attests(village.judge.ring(), &header, &good.attestations[1]));
}

#[test]
fn the_certificate_is_for_this_batch_at_this_height() {
    let village = Village::new(4);
    let block = block(&village);
    let mut receipt = receipt(&village, &block, 0, &[0, 1, 2], &[0, 1]);
    for (seq, digest) in [(2, block.header.batch), (1, Village::digest("another"))] {
        receipt.inclusion.order = village.committed(&[0, 1, 2], 3, seq, digest);
        assert_eq!(receipt.check(&village.judge), Err(Refuted::OtherBatch));
    }
}

/// The outcome is what execution made: another one needs another header, which f liars attest alone.
#[test]
fn another_outcome_is_not_under_the_header() {
    let village = Village::new(4);
    let block = block(&village);
    let mut receipt = receipt(&village, &block, 0, &[0, 1, 2], &[0, 1]);
    let Receipt::Executed(executed) = &mut receipt.inclusion.transaction.receipt else {
        panic!("it was executed");
    };
    executed.outcome = Outcome::InsufficientFunds { balance: 3 };
    assert!(matches!(receipt.check(&village.judge), Err(Refuted::Path(_))));
}

/// Every byte is bound by a hash or a signature: a flipped bit anywhere makes the receipt void.
#[test]
fn a_changed_byte_proves_nothing() {
    let village = Village::new(4);
    let bytes = encode(&receipt(&village, &block(&village), 2, &[0, 1, 2], &[1, 3]));
    for place in 0..bytes.len() {
        for flip in [1, 0x80] {
            let mut changed = bytes.clone();
            changed[place] ^= flip;
            if let Ok(other) = decode::<PortableReceipt>(&changed, changed.len()) {
                assert!(other.check(&village.judge).is_err(), "byte {place} changed");
            }
        }
    }
}

#[test]
fn what_a_file_says_about_itself_must_be_true() {
    let village = Village::new(4);
    let receipt = receipt(&village, &block(&village), 0, &[0, 1, 2], &[0, 1]);
    let text = receipt.to_text(&village.chain);
    let refused = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        verify(&village.judge, text.replace(from, to).as_bytes()).unwrap_err()
    };
    let relabelled = [
        refused("\"height\": \"1\"", "\"height\": \"2\""),
        refused("\"height\": \"1\"", "\"height\": \"01\""),
        refused(
            &format!("\"request\": \"{}\"", receipt.request()),
            &format!("\"request\": \"{}\"", Digest::ZERO),
        ),
    ];
    for refused in relabelled {
        assert!(matches!(refused, Invalid::Mislabelled { .. }), "{refused}");
    }
    let elsewhere = Village::new(7);
    assert!(matches!(
        verify(&elsewhere.judge, text.as_bytes()),
        Err(Invalid::OtherChain { .. })
    ));
    let renamed = text.replace(&village.chain.to_string(), &elsewhere.chain.to_string());
    assert!(matches!(
        verify(&elsewhere.judge, renamed.as_bytes()),
        Err(Invalid::NotProved(_))
    ));
}
