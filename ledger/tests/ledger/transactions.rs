//! What is checked of a request before any state is looked at.

use crate::common::{genesis, key, secret, small_order_key};
use proptest::prelude::*;
use tagma_crypto::encode::Blob;
use tagma_crypto::{Digest, Domain, Signature, verify_batch};
use tagma_ledger::{
    Genesis, Operation, Parameters, Rejection, Request, SignedTransaction, StaticChecks, Transaction,
    transaction::TRANSACTION_DOMAIN,
};

fn transaction(genesis: &Genesis) -> Transaction {
    Transaction {
        chain: genesis.chain_id(),
        account: key(0),
        nonce: 0,
        operation: Operation::Transfer {
            to: key(1),
            amount: 5,
        },
        expiry_height: 100,
    }
}

fn check(genesis: &Genesis, request: &Request) -> Result<Transaction, Rejection> {
    request.check_static(&genesis.chain_id(), &genesis.parameters)
}

#[test]
fn a_signed_transaction_passes_and_round_trips() {
    let genesis = genesis(&[1]);
    for operation in [
        Operation::Transfer {
            to: key(1),
            amount: u64::MAX,
        },
        Operation::Read { account: key(3) },
    ] {
        let transaction = Transaction {
            operation,
            ..transaction(&genesis)
        };
        let signed = transaction.clone().sign(&secret(0));
        let request = signed.to_request();
        assert_eq!(check(&genesis, &request), Ok(transaction.clone()));
        assert_eq!(SignedTransaction::from_request(&request), Ok(signed));
        assert_eq!(transaction.digest(), request.digest(&genesis.chain_id()));
    }
}

#[test]
fn each_defect_has_its_rejection() {
    let genesis = genesis(&[1]);
    let transaction = transaction(&genesis);
    let good = transaction.clone().sign(&secret(0)).to_request();

    let other_key = transaction.clone().sign(&secret(1)).to_request();
    assert_eq!(check(&genesis, &other_key), Err(Rejection::BadSignature));

    let mut flipped = *good.signature.as_bytes();
    flipped[40] ^= 1;
    let flipped = Request {
        signature: Signature::from_bytes(flipped),
        ..good.clone()
    };
    assert_eq!(check(&genesis, &flipped), Err(Rejection::BadSignature));

    // BC5: signed well, for another chain.
    let elsewhere = Digest::of("elsewhere", &[]);
    let foreign = Transaction {
        chain: elsewhere,
        ..transaction.clone()
    }
    .sign(&secret(0))
    .to_request();
    assert_eq!(
        check(&genesis, &foreign),
        Err(Rejection::WrongChain { chain: elsewhere })
    );

    // Names this chain, but the signature was made for another one, or as another kind of message.
    let content = transaction.content();
    for signature in [
        secret(0).sign(TRANSACTION_DOMAIN, &elsewhere, &content),
        secret(0).sign(Domain::new("tagma/other"), &genesis.chain_id(), &content),
    ] {
        let request = Request {
            content: content.clone().into(),
            signature,
        };
        assert_eq!(check(&genesis, &request), Err(Rejection::BadSignature));
    }

    let weak = Transaction {
        account: small_order_key(),
        ..transaction
    };
    let weak = Request {
        content: weak.content().into(),
        signature: good.signature,
    };
    assert_eq!(check(&genesis, &weak), Err(Rejection::UnacceptableKey));

    for content in [
        &good.content[..0],
        &good.content[1..],
        &[&good.content[..], &[0]].concat(),
    ] {
        let request = Request {
            content: Blob::from(content.to_vec()),
            signature: good.signature,
        };
        assert_eq!(check(&genesis, &request), Err(Rejection::Malformed));
    }

    let large = Request {
        content: vec![0; 1025].into(),
        signature: good.signature,
    };
    assert_eq!(
        check(&genesis, &large),
        Err(Rejection::TooLarge {
            bytes: 1025,
            max: 1024
        })
    );
}

#[test]
fn claims_can_be_verified_together() {
    let genesis = genesis(&[1]);
    let requests: Vec<Request> = (0..6)
        .map(|nonce| {
            // Every third one is signed by another account's key.
            let signer = secret(u16::from(nonce % 3 == 2));
            Transaction {
                nonce,
                ..transaction(&genesis)
            }
            .sign(&signer)
            .to_request()
        })
        .collect();
    let claims: Vec<_> = requests
        .iter()
        .map(|request| {
            request.claim(
                &request
                    .check_form(&genesis.chain_id(), &genesis.parameters)
                    .unwrap(),
            )
        })
        .collect();
    let together = verify_batch(&claims);
    let alone: Vec<bool> = requests
        .iter()
        .map(|request| check(&genesis, request).is_ok())
        .collect();
    assert_eq!(together, alone);
    assert_eq!(together, [true, true, false, true, true, false]);
}

#[test]
fn the_identity_excludes_the_signature() {
    let genesis = genesis(&[1]);
    let mut request = transaction(&genesis).sign(&secret(0)).to_request();
    let (digest, leaf) = (
        request.digest(&genesis.chain_id()),
        request.leaf(&genesis.chain_id()),
    );
    request.signature = Signature::from_bytes([1; 64]);
    assert_eq!(request.digest(&genesis.chain_id()), digest);
    assert_ne!(
        request.leaf(&genesis.chain_id()),
        leaf,
        "the batch digest binds the signature"
    );
}

proptest! {
    #[test]
    fn content_has_one_encoding(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..200, flip in 1u8..) {
        // Whatever decodes encodes back to the same bytes: random bytes, and a good content with one byte changed.
        let mut changed = transaction(&genesis(&[1])).content();
        let at = at % changed.len();
        changed[at] ^= flip;
        for content in [bytes, changed] {
            let request = Request { content: content.clone().into(), signature: Signature::from_bytes([0; 64]) };
            if let Ok(signed) = SignedTransaction::from_request(&request) {
                prop_assert_eq!(signed.transaction.content(), content);
                prop_assert_eq!(signed.to_request(), request);
            }
        }
    }

    #[test]
    fn no_garbage_passes(bytes in prop::collection::vec(any::<u8>(), 0..1200), signature in any::<[u8; 32]>()) {
        let mut long = [0; 64];
        long[..32].copy_from_slice(&signature);
        let request = Request { content: bytes.into(), signature: Signature::from_bytes(long) };
        prop_assert!(request.check_static(&Digest::ZERO, &Parameters::default()).is_err());
    }
}
