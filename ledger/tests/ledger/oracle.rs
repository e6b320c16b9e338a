//! A second ledger, as naive as possible, executes the same random batches; both must agree on everything that shows
//! (faults S3, S4, S5, LE1, LE3, PS8).

use crate::common::{Chain, key, outcome, small_order_key};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tagma_crypto::{Digest, PublicKey, Signature};
use tagma_ledger::{AccountEntry, Operation, Outcome, Request, State, Transaction};

/// One random request, in terms that stay meaningful whatever the state is when it is made.
#[derive(Clone, Debug)]
struct Draw {
    from: usize,
    to: usize,
    /// Relative to the account's next nonce.
    nonce: i64,
    amount: Amount,
    /// Relative to the height of the batch.
    expiry: i64,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Amount {
    Small(u64),
    /// The payer's balance, off by this much.
    Balance(i64),
    Max,
}

#[derive(Clone, Debug)]
enum Kind {
    Transfer,
    Read,
    /// The n-th request ever made, counted from the last, once more.
    Repeat(usize),
    OtherChain,
    Garbage(Vec<u8>),
    /// A good request with one byte changed.
    Flipped(usize, u8),
}

fn draw() -> impl Strategy<Value = Draw> {
    let amount = prop_oneof![
        4 => (0u64..20).prop_map(Amount::Small),
        2 => (-1i64..2).prop_map(Amount::Balance),
        1 => Just(Amount::Max),
    ];
    let kind = prop_oneof![
        12 => Just(Kind::Transfer),
        3 => Just(Kind::Read),
        3 => (0usize..20).prop_map(Kind::Repeat),
        1 => Just(Kind::OtherChain),
        1 => prop::collection::vec(any::<u8>(), 0..150).prop_map(Kind::Garbage),
        1 => (0usize..200, 1u8..).prop_map(|(at, flip)| Kind::Flipped(at, flip)),
    ];
    let nonce = prop_oneof![8 => Just(0i64), 1 => -3i64..0, 1 => 1i64..3];
    let expiry = prop_oneof![8 => 5i64..100, 1 => -2i64..2];
    (0usize..6, 0usize..8, nonce, amount, expiry, kind).prop_map(|(from, to, nonce, amount, expiry, kind)| {
        Draw {
            from,
            to,
            nonce,
            amount,
            expiry,
            kind,
        }
    })
}

/// Accounts 0 to 2 exist from the start; 3 to 5 come into being, 6 and 7 cannot own anything.
fn party(index: usize) -> PublicKey {
    match index {
        6 => small_order_key(),
        7 => PublicKey::from_bytes([0xff; 32]),
        _ => key(index as u16),
    }
}

#[derive(Default)]
struct Oracle {
    balances: BTreeMap<PublicKey, i128>,
    executed: BTreeMap<PublicKey, Vec<(Digest, u64, Outcome)>>,
}

impl Oracle {
    fn next_nonce(&self, account: &PublicKey) -> u64 {
        self.executed
            .get(account)
            .map_or(0, |executed| executed.len() as u64)
    }

    /// The outcome of a transaction, `None` if it is a no-op here.
    fn execute(&mut self, chain: &Digest, height: u64, transaction: &Transaction) -> Option<Outcome> {
        let account = transaction.account;
        let balance = *self.balances.get(&account)?;
        if transaction.chain != *chain
            || transaction.nonce != self.next_nonce(&account)
            || height > transaction.expiry_height
        {
            return None;
        }
        let outcome = match transaction.operation {
            Operation::Transfer { amount: 0, .. } => Outcome::ZeroAmount,
            Operation::Transfer { to, .. } if !to.is_acceptable() => Outcome::BadRecipient,
            Operation::Transfer { amount, .. } if i128::from(amount) > balance => {
                Outcome::InsufficientFunds {
                    balance: u64::try_from(balance).unwrap(),
                }
            }
            Operation::Transfer { to, amount } => {
                *self.balances.entry(account).or_default() -= i128::from(amount);
                *self.balances.entry(to).or_default() += i128::from(amount);
                Outcome::Transferred
            }
            Operation::Read { account: read } => match self.balances.get(&read) {
                Some(balance) => Outcome::Read {
                    balance: u64::try_from(*balance).unwrap(),
                    next_nonce: self.next_nonce(&read) + u64::from(read == account),
                },
                None => Outcome::NoSuchAccount,
            },
        };
        self.executed
            .entry(account)
            .or_default()
            .push((transaction.digest(), height, outcome));
        Some(outcome)
    }

    /// The whole state, spelled out.
    fn matches(&self, state: &State, lookahead: usize) {
        assert_eq!(state.len(), self.balances.len());
        for (key, balance) in &self.balances {
            let account = state.account(key).expect("the oracle's account exists");
            assert_eq!(i128::from(account.balance), *balance);
            assert_eq!(account.next_nonce, self.next_nonce(key));
            let executed = self.executed.get(key).map_or(&[][..], Vec::as_slice);
            let remembered: Vec<_> = account
                .settled
                .iter()
                .map(|settled| (settled.request, settled.height, settled.outcome))
                .collect();
            assert_eq!(remembered, executed[executed.len().saturating_sub(lookahead)..]);
        }
    }
}

fn make(draw: &Draw, chain: &Chain, oracle: &Oracle, made: &[Request]) -> Request {
    let from = party(draw.from);
    let amount = match draw.amount {
        Amount::Small(amount) => amount,
        Amount::Balance(off) => {
            let balance = oracle.balances.get(&from).copied().unwrap_or(0);
            u64::try_from(balance + i128::from(off)).unwrap_or(0)
        }
        Amount::Max => u64::MAX,
    };
    let to = party(draw.to);
    let operation = match draw.kind {
        Kind::Read => Operation::Read { account: to },
        _ => Operation::Transfer { to, amount },
    };
    let transaction = Transaction {
        chain: if matches!(draw.kind, Kind::OtherChain) {
            Digest::ZERO
        } else {
            chain.id
        },
        account: from,
        nonce: oracle.next_nonce(&from).saturating_add_signed(draw.nonce),
        operation,
        expiry_height: (chain.tip.height + 1).saturating_add_signed(draw.expiry),
    };
    let mut content = transaction.content();
    match &draw.kind {
        Kind::Repeat(back) if !made.is_empty() => return made[made.len() - 1 - back % made.len()].clone(),
        Kind::Garbage(garbage) => content.clone_from(garbage),
        Kind::Flipped(at, flip) => {
            let at = at % content.len();
            content[at] ^= flip;
        }
        _ => {}
    }
    Request {
        content: content.into(),
        signature: Signature::from_bytes([draw.from as u8; 64]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_naive_ledger_agrees(
        balances in (0u64..1000, 0u64..50, prop_oneof![Just(0u64), Just(u64::MAX - 2000)]),
        batches in prop::collection::vec(prop::collection::vec(draw(), 0..12), 1..14),
    ) {
        let balances = [balances.0, balances.1, balances.2];
        let mut chain = Chain::new(&balances);
        let supply: u128 = balances.iter().copied().map(u128::from).sum();
        let mut oracle = Oracle::default();
        for (seed, balance) in (0..).zip(balances) {
            oracle.balances.insert(key(seed), i128::from(balance));
        }
        let mut made = Vec::new();
        let mut blocks = Vec::new();
        for draws in &batches {
            // Made one by one against the oracle's state before the batch, so that nonces collide within a batch too.
            let mut requests = Vec::new();
            for draw in draws {
                let request = make(draw, &chain, &oracle, &made);
                made.push(request.clone());
                requests.push(request);
            }
            let height = chain.tip.height + 1;
            let (block, executed) = chain.extend(&requests);
            for (request, receipt) in requests.iter().zip(&executed.receipts) {
                let expected = tagma_ledger::SignedTransaction::from_request(request)
                    .ok()
                    .and_then(|signed| oracle.execute(&chain.id, height, &signed.transaction));
                prop_assert_eq!(outcome(receipt), expected);
                prop_assert_eq!(receipt.request(), request.digest(&chain.id));
            }
            oracle.matches(&chain.state, 4);
            // S4: the supply at every height.
            prop_assert_eq!(chain.state.total_balance(), supply);
            blocks.push((block, executed));
        }
        // S3: no request was executed twice.
        let mut seen = std::collections::BTreeSet::new();
        for (_, executed) in &blocks {
            for receipt in executed.receipts.iter().filter_map(|receipt| receipt.executed()) {
                prop_assert!(seen.insert(receipt.request));
            }
        }
        // S2, LE3: a fresh ledger that replays the blocks has the same headers, and a state built from nothing the
        // same root.
        let mut fresh = Chain::from_genesis(chain.genesis.clone());
        for (block, executed) in &blocks {
            let again = fresh.try_execute(block.proposed_time_ms, &block.requests);
            prop_assert_eq!(&again.header, &executed.header);
            prop_assert_eq!(&again.touched, &executed.touched);
            fresh.state = again.state;
            fresh.tip = again.header;
            if let Some(root) = fresh.tip.state_root {
                let entries = fresh.state.iter().map(|(key, account)| AccountEntry { key: *key, account: account.clone() });
                prop_assert_eq!(State::from_entries(entries, 8).root(), root);
            }
        }
    }
}
