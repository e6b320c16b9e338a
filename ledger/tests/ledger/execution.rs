//! The rules of execution, one by one (protocol.md §2; faults LE2, BC1, BC2, BC5, PS8, CR3).

use crate::common::{Chain, genesis, key, small_order_key, unsigned};
use tagma_crypto::{Digest, PublicKey, Signature};
use tagma_ledger::{
    NoOpReason, NonceStatus, Operation, Outcome, Receipt, Request, State, Transaction, block::verify_link,
};

fn reasons(receipts: &[Receipt]) -> Vec<Option<NoOpReason>> {
    let reason = |receipt: &Receipt| match receipt {
        Receipt::Executed(_) => None,
        Receipt::NoOp(no_op) => Some(no_op.reason),
    };
    receipts.iter().map(reason).collect()
}

#[test]
fn a_transfer_moves_money_and_consumes_the_nonce() {
    let mut chain = Chain::new(&[100, 10]);
    let request = chain.pay(key(0), 0, key(1), 30);
    let (_, executed) = chain.extend(std::slice::from_ref(&request));
    assert_eq!(
        executed.receipts[0].executed().unwrap().outcome,
        Outcome::Transferred
    );
    assert_eq!(
        (chain.balance(key(0)), chain.balance(key(1))),
        (Some(70), Some(40))
    );
    assert_eq!((chain.nonce(key(0)), chain.nonce(key(1))), (Some(1), Some(0)));
    let settled = chain.state.settled(&key(0), &request.digest(&chain.id)).unwrap();
    assert_eq!(
        (settled.nonce, settled.height, settled.outcome),
        (0, 1, Outcome::Transferred)
    );
    let mut touched = executed.touched;
    touched.sort();
    let mut expected = vec![key(0), key(1)];
    expected.sort();
    assert_eq!(touched, expected);
}

#[test]
fn receiving_creates_an_account() {
    let mut chain = Chain::new(&[100]);
    assert_eq!(chain.balance(key(9)), None);
    assert_eq!(
        chain.outcomes(&[chain.pay(key(0), 0, key(9), 1)]),
        [Some(Outcome::Transferred)]
    );
    assert_eq!((chain.balance(key(9)), chain.nonce(key(9))), (Some(1), Some(0)));
    // In the same batch the new account can already pay.
    let batch = [chain.pay(key(0), 1, key(8), 5), chain.pay(key(8), 0, key(9), 5)];
    assert_eq!(chain.outcomes(&batch), [Some(Outcome::Transferred); 2]);
    assert_eq!((chain.balance(key(8)), chain.balance(key(9))), (Some(0), Some(6)));
}

#[test]
fn failed_transfers_move_nothing_and_consume_the_nonce() {
    let mut chain = Chain::new(&[100, 10]);
    let off_curve = (0u8..=255)
        .map(|first| {
            let mut bytes = [2; 32];
            bytes[0] = first;
            PublicKey::from_bytes(bytes)
        })
        .find(|key| !key.is_acceptable())
        .unwrap();
    let cases = [
        (key(1), 101, Outcome::InsufficientFunds { balance: 100 }),
        (key(1), u64::MAX, Outcome::InsufficientFunds { balance: 100 }),
        (key(9), 101, Outcome::InsufficientFunds { balance: 100 }),
        (key(0), 101, Outcome::InsufficientFunds { balance: 100 }),
        (key(1), 0, Outcome::ZeroAmount),
        (key(9), 0, Outcome::ZeroAmount),
        (small_order_key(), 1, Outcome::BadRecipient),
        (off_curve, 1, Outcome::BadRecipient),
    ];
    for (nonce, (to, amount, expected)) in (0..).zip(cases) {
        let (_, executed) = chain.extend(&[chain.pay(key(0), nonce, to, amount)]);
        assert_eq!(executed.receipts[0].executed().unwrap().outcome, expected);
        assert_eq!(executed.touched, [key(0)], "only the payer changed");
        assert_eq!(
            (chain.balance(key(0)), chain.balance(key(1))),
            (Some(100), Some(10))
        );
        assert_eq!(chain.nonce(key(0)), Some(nonce + 1));
        assert_eq!(chain.state.len(), 2, "a failed transfer creates no account");
    }
}

#[test]
fn an_overflow_fails() {
    // Only a supply above 2^64 - 1 can get there, which genesis refuses; the arithmetic is checked all the same.
    let mut chain = Chain::new(&[u64::MAX, u64::MAX]);
    let requests = [
        chain.pay(key(0), 0, key(1), 1),
        chain.pay(key(0), 1, key(0), u64::MAX),
    ];
    assert_eq!(
        chain.outcomes(&requests),
        [Some(Outcome::Overflow), Some(Outcome::Transferred)]
    );
    assert_eq!(
        (chain.balance(key(0)), chain.balance(key(1))),
        (Some(u64::MAX), Some(u64::MAX))
    );
}

#[test]
fn a_self_transfer_nets_zero() {
    let mut chain = Chain::new(&[100]);
    let requests = [chain.pay(key(0), 0, key(0), 100), chain.pay(key(0), 1, key(0), 1)];
    assert_eq!(chain.outcomes(&requests), [Some(Outcome::Transferred); 2]);
    assert_eq!((chain.balance(key(0)), chain.nonce(key(0))), (Some(100), Some(2)));
}

#[test]
fn the_whole_supply_can_move() {
    let mut chain = Chain::new(&[u64::MAX, 0]);
    let requests = [
        chain.pay(key(0), 0, key(1), u64::MAX),
        chain.pay(key(1), 0, key(2), u64::MAX),
    ];
    assert_eq!(chain.outcomes(&requests), [Some(Outcome::Transferred); 2]);
    assert_eq!(chain.balance(key(2)), Some(u64::MAX));
    assert_eq!(chain.state.total_balance(), u128::from(u64::MAX));
}

#[test]
fn of_two_operations_with_one_nonce_the_first_is_executed() {
    let mut chain = Chain::new(&[100]);
    let (one, other) = (chain.pay(key(0), 0, key(1), 1), chain.pay(key(0), 0, key(2), 2));
    let (_, executed) = chain.extend(&[one.clone(), other.clone()]);
    assert_eq!(
        reasons(&executed.receipts),
        [None, Some(NoOpReason::ConsumedNonce)]
    );
    let (_, later) = chain.extend(std::slice::from_ref(&other));
    assert_eq!(reasons(&later.receipts), [Some(NoOpReason::ConsumedNonce)]);
    assert_eq!((chain.balance(key(0)), chain.balance(key(2))), (Some(99), None));
    assert!(chain.state.settled(&key(0), &one.digest(&chain.id)).is_some());
    assert!(chain.state.settled(&key(0), &other.digest(&chain.id)).is_none());
}

#[test]
fn a_repeated_request_has_one_outcome() {
    let mut chain = Chain::new(&[100]);
    let request = chain.pay(key(0), 0, key(1), 10);
    let mut resigned = request.clone();
    resigned.signature = Signature::from_bytes([9; 64]);
    let (_, first) = chain.extend(&[request.clone(), resigned.clone()]);
    assert_eq!(reasons(&first.receipts), [None, Some(NoOpReason::ConsumedNonce)]);
    assert_eq!(
        first.receipts[0].request(),
        first.receipts[1].request(),
        "a re-signed request is the same request"
    );
    let before = chain.state.clone();
    let (_, second) = chain.extend(&[request, resigned]);
    assert_eq!(reasons(&second.receipts), [Some(NoOpReason::ConsumedNonce); 2]);
    assert_eq!(chain.state, before);
    assert!(second.touched.is_empty());
}

#[test]
fn what_cannot_execute_leaves_no_state() {
    let mut chain = Chain::new(&[100]);
    let transfer = Operation::Transfer {
        to: key(1),
        amount: 1,
    };
    let foreign = Transaction {
        chain: Digest::of("other", &[]),
        account: key(0),
        nonce: 0,
        operation: transfer.clone(),
        expiry_height: u64::MAX,
    };
    let good = chain.pay(key(0), 0, key(1), 1);
    let with_content = |content: Vec<u8>| Request {
        content: content.into(),
        signature: Signature::from_bytes([0; 64]),
    };
    let requests = [
        chain.pay(key(0), 1, key(1), 1),
        chain.pay(key(0), u64::MAX, key(1), 1),
        chain.pay(key(5), 0, key(1), 1),
        chain.pay(small_order_key(), 0, key(1), 1),
        chain.expiring(key(0), 0, transfer, 0),
        unsigned(&foreign),
        with_content(Vec::new()),
        with_content(good.content[..good.content.len() - 1].to_vec()),
        with_content([&good.content[..], &[0]].concat()),
    ];
    let before = chain.state.clone();
    let (_, executed) = chain.extend(&requests);
    let expected = [
        NoOpReason::FutureNonce,
        NoOpReason::FutureNonce,
        NoOpReason::UnknownAccount,
        NoOpReason::UnknownAccount,
        NoOpReason::Expired,
        NoOpReason::WrongChain,
        NoOpReason::Malformed,
        NoOpReason::Malformed,
        NoOpReason::Malformed,
    ];
    assert_eq!(reasons(&executed.receipts), expected.map(Some));
    assert_eq!(chain.state, before);
    // An early occurrence spoils nothing: the request executes once its turn has come.
    let (_, executed) = chain.extend(&[good, requests[0].clone()]);
    assert_eq!(reasons(&executed.receipts), [None, None]);
}

#[test]
fn a_request_executes_up_to_its_expiry_height() {
    for (expiry, executes) in [(1, false), (2, true), (3, true), (u64::MAX, true)] {
        let mut chain = Chain::new(&[100]);
        chain.extend(&[]);
        let request = chain.expiring(
            key(0),
            0,
            Operation::Transfer {
                to: key(1),
                amount: 1,
            },
            expiry,
        );
        let (block, executed) = chain.extend(&[request]);
        assert_eq!(block.header.height, 2);
        assert_eq!(
            executed.receipts[0].executed().is_some(),
            executes,
            "expiry {expiry} at height 2"
        );
        assert_eq!(
            chain.nonce(key(0)),
            Some(u64::from(executes)),
            "an expired request consumes no nonce"
        );
    }
}

#[test]
fn an_ordered_read_sees_what_came_before_it() {
    let mut chain = Chain::new(&[100, 5]);
    let read = |account| Operation::Read { account };
    let requests = [
        chain.pay(key(0), 0, key(1), 10),
        chain.request(key(0), 1, read(key(1))),
        chain.request(key(0), 2, read(key(0))),
        chain.request(key(0), 3, read(key(9))),
        chain.pay(key(0), 4, key(1), 1),
    ];
    let expected = [
        Outcome::Transferred,
        Outcome::Read {
            balance: 15,
            next_nonce: 0,
        },
        Outcome::Read {
            balance: 90,
            next_nonce: 3,
        },
        Outcome::NoSuchAccount,
        Outcome::Transferred,
    ];
    assert_eq!(chain.outcomes(&requests), expected.map(Some));
    assert_eq!(chain.nonce(key(0)), Some(5), "a read consumes a nonce");
    assert_eq!(chain.balance(key(9)), None, "a read creates nothing");
}

#[test]
fn an_account_remembers_its_last_outcomes_only() {
    let mut chain = Chain::new(&[100]);
    let digests: Vec<Digest> = (0..6)
        .map(|nonce| {
            let request = chain.pay(key(0), nonce, key(1), 1);
            chain.extend(std::slice::from_ref(&request));
            request.digest(&chain.id)
        })
        .collect();
    let status = |nonce| chain.state.nonce_status(&key(0), nonce, 4);
    assert_eq!(status(0), NonceStatus::Forgotten);
    assert_eq!(status(1), NonceStatus::Forgotten);
    for nonce in 2..6 {
        let NonceStatus::Settled(settled) = status(nonce) else {
            panic!("nonce {nonce} is remembered")
        };
        assert_eq!(
            (settled.request, settled.height),
            (digests[nonce as usize], nonce + 1)
        );
    }
    assert_eq!(status(6), NonceStatus::Next);
    assert_eq!(status(7), NonceStatus::Ahead { by: 1 });
    assert_eq!(status(9), NonceStatus::Ahead { by: 3 });
    assert_eq!(status(10), NonceStatus::TooFarAhead);
    assert_eq!(status(u64::MAX), NonceStatus::TooFarAhead);
    assert_eq!(
        chain.state.nonce_status(&key(7), 0, 4),
        NonceStatus::UnknownAccount
    );
    assert!(chain.state.settled(&key(0), &digests[1]).is_none());
    assert!(chain.state.settled(&key(0), &digests[2]).is_some());
}

#[test]
fn headers_chain_and_time_moves_forward() {
    let chain = Chain::new(&[1]);
    let parent = chain.tip.clone();
    let k = chain.genesis.parameters.checkpoint_interval;
    for (proposed, expected) in [
        (0, parent.time_ms + 1),
        (parent.time_ms, parent.time_ms + 1),
        (parent.time_ms + 1, parent.time_ms + 1),
    ] {
        assert_eq!(chain.try_execute(proposed, &[]).header.time_ms, expected);
    }
    assert_eq!(
        chain.try_execute(parent.time_ms + 500, &[]).header.time_ms,
        parent.time_ms + 500
    );
    let header = chain.try_execute(0, &[]).header;
    verify_link(&parent, &header, k).unwrap();
    let mut wrong = Vec::new();
    for change in 0..5 {
        let mut header = header.clone();
        match change {
            0 => header.height = 2,
            1 => header.height = 0,
            2 => header.parent = Digest::ZERO,
            3 => header.time_ms = parent.time_ms,
            _ => header.state_root = Some(Digest::ZERO),
        }
        wrong.push(verify_link(&parent, &header, k).unwrap_err());
    }
    assert_eq!(wrong.len(), 5);
}

#[test]
fn state_roots_stand_at_checkpoint_heights() {
    let mut chain = Chain::new(&[100]);
    assert!(chain.tip.state_root.is_some(), "header 0 has a state root");
    for height in 1..=9u64 {
        let (block, executed) = chain.extend(&[chain.pay(key(0), height - 1, key(height as u16), 1)]);
        assert_eq!(block.header.state_root.is_some(), height % 4 == 0);
        assert_eq!(executed.checkpoint.is_some(), height % 4 == 0);
        if let Some(checkpoint) = executed.checkpoint {
            assert_eq!(checkpoint.snapshot.header(), &block.header);
            assert_eq!(checkpoint.snapshot.state(), &chain.state);
            assert_eq!(
                checkpoint.touched.len(),
                5,
                "the payer and four payees since the last checkpoint"
            );
        }
    }
}

#[test]
fn chains_share_no_header() {
    let mut other = genesis(&[100]);
    other.chain_name = "other".into();
    let (one, other) = (Chain::new(&[100]), Chain::from_genesis(other));
    assert_ne!(one.id, other.id);
    assert_eq!(one.state, other.state);
    assert_ne!(one.tip.digest(), other.tip.digest());
}

#[test]
fn nonces_end() {
    use tagma_ledger::{Account, AccountEntry};
    let mut chain = Chain::new(&[100]);
    let account = Account {
        balance: 100,
        next_nonce: u64::MAX,
        ..Account::default()
    };
    chain.state = State::from_entries([AccountEntry { key: key(0), account }], 8);
    let (_, executed) = chain.extend(&[chain.pay(key(0), u64::MAX, key(1), 1)]);
    assert_eq!(reasons(&executed.receipts), [Some(NoOpReason::NoncesExhausted)]);
}

#[test]
#[should_panic(expected = "cannot be executed on block")]
fn heights_are_executed_without_gaps() {
    let mut chain = Chain::new(&[100]);
    chain.tip.height = u64::MAX;
    let context = tagma_ledger::ExecContext {
        chain: chain.id,
        parameters: &chain.genesis.parameters,
    };
    let batch = tagma_ledger::Batch {
        height: 0,
        digest: Digest::ZERO,
        time_ms: 0,
        requests: &[],
        request_digests: &[],
    };
    drop(tagma_ledger::execute(&chain.state, &context, &chain.tip, &batch));
}
