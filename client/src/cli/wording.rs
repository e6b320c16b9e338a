//! Outcomes in words and in JSON.

use serde_json::{Value, json};
use tagma_ledger::{NoOpReason, Operation, Outcome, Receipt};

/// An outcome in words, after "executed at height …".
pub(crate) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Transferred => "transferred".into(),
        Outcome::InsufficientFunds { balance } => {
            format!("insufficient funds, the account has {balance}: nothing moved")
        }
        Outcome::ZeroAmount => "the amount is zero: nothing moved".into(),
        Outcome::Overflow => "the recipient's balance would pass 2^64 - 1: nothing moved".into(),
        Outcome::BadRecipient => "the recipient's key cannot own an account: nothing moved".into(),
        Outcome::Read { balance, next_nonce } => format!("balance {balance}, next nonce {next_nonce}"),
        Outcome::NoSuchAccount => "the account does not exist".into(),
    }
}

/// An outcome in JSON.
pub(crate) fn outcome_json(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Transferred => json!({ "kind": "transferred" }),
        Outcome::InsufficientFunds { balance } => {
            json!({ "kind": "insufficient_funds", "balance": balance.to_string() })
        }
        Outcome::ZeroAmount => json!({ "kind": "zero_amount" }),
        Outcome::Overflow => json!({ "kind": "overflow" }),
        Outcome::BadRecipient => json!({ "kind": "bad_recipient" }),
        Outcome::Read { balance, next_nonce } => {
            json!({ "kind": "read", "balance": balance.to_string(), "next_nonce": next_nonce.to_string() })
        }
        Outcome::NoSuchAccount => json!({ "kind": "no_such_account" }),
    }
}

/// Why a request in a block was not executed there.
fn no_op(reason: NoOpReason) -> &'static str {
    match reason {
        NoOpReason::Malformed => "malformed",
        NoOpReason::WrongChain => "wrong_chain",
        NoOpReason::UnknownAccount => "unknown_account",
        NoOpReason::ConsumedNonce => "consumed_nonce",
        NoOpReason::FutureNonce => "future_nonce",
        NoOpReason::Expired => "expired",
        NoOpReason::NoncesExhausted => "nonces_exhausted",
    }
}

/// A receipt in words.
pub(crate) fn receipt(receipt: &Receipt) -> String {
    match receipt {
        Receipt::Executed(executed) => outcome(&executed.outcome),
        Receipt::NoOp(receipt) => format!("not executed here: {}", no_op(receipt.reason)),
    }
}

/// A receipt in JSON.
pub(crate) fn receipt_json(receipt: &Receipt) -> Value {
    match receipt {
        Receipt::Executed(executed) => {
            json!({ "executed": true, "outcome": outcome_json(&executed.outcome) })
        }
        Receipt::NoOp(receipt) => json!({ "executed": false, "reason": no_op(receipt.reason) }),
    }
}

/// An operation in JSON.
pub(crate) fn operation_json(operation: &Operation) -> Value {
    match operation {
        Operation::Transfer { to, amount } => {
            json!({ "kind": "transfer", "to": to, "amount": amount.to_string() })
        }
        Operation::Read { account } => json!({ "kind": "read", "account": account }),
    }
}
