//! The JSON documents. Integers that may pass 2^53 are text, since many readers lose digits above it.

use serde::{Serialize, Serializer};
use tagma_crypto::Digest;
use tagma_evidence::Judge;
use tagma_ledger::{BlockHeader, Outcome, Receipt, SignedTransaction, Transaction};
use tagma_pbft::ReplicaId;
use tagma_pbft::evidence::Evidence;
use tagma_wire::client_protocol::{AccountReport, BlockReport, StatusReport};

fn text<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// `status/v1`
#[derive(Serialize)]
pub(super) struct Status {
    schema: &'static str,
    replica: u16,
    chain: Digest,
    version: String,
    #[serde(serialize_with = "text")]
    view: u64,
    #[serde(serialize_with = "text")]
    target: u64,
    primary: u16,
    standing: String,
    #[serde(serialize_with = "text")]
    stable: u64,
    #[serde(serialize_with = "text")]
    executed: u64,
    tip: Digest,
    state_root: Digest,
    #[serde(serialize_with = "text")]
    state_height: u64,
    pending: u64,
    connected: Vec<bool>,
    #[serde(serialize_with = "text")]
    uptime_ms: u64,
}

impl From<StatusReport> for Status {
    fn from(report: StatusReport) -> Self {
        Self {
            schema: "status/v1",
            replica: report.replica,
            chain: report.chain,
            version: report.version.into_string(),
            view: report.view,
            target: report.target,
            primary: report.primary,
            standing: report.standing.into_string(),
            stable: report.stable,
            executed: report.executed,
            tip: report.tip,
            state_root: report.state_root,
            state_height: report.state_height,
            pending: report.pending,
            connected: report.connected.into_vec(),
            uptime_ms: report.uptime_ms,
        }
    }
}

/// `account/v1`
#[derive(Serialize)]
pub(super) struct Account {
    schema: &'static str,
    key: String,
    #[serde(serialize_with = "text")]
    height: u64,
    #[serde(serialize_with = "text")]
    balance: u64,
    #[serde(serialize_with = "text")]
    next_nonce: u64,
}

impl Account {
    pub(super) fn new(key: &tagma_crypto::PublicKey, height: u64, report: AccountReport) -> Self {
        Self {
            schema: "account/v1",
            key: key.to_string(),
            height,
            balance: report.balance,
            next_nonce: report.next_nonce,
        }
    }
}

/// `block/v1`
#[derive(Serialize)]
pub(super) struct Block {
    schema: &'static str,
    #[serde(serialize_with = "text")]
    height: u64,
    hash: Digest,
    parent: Digest,
    batch: Digest,
    #[serde(serialize_with = "text")]
    time_ms: u64,
    receipts_root: Digest,
    state_root: Option<Digest>,
    transactions: Vec<Entry>,
}

/// A request of a block with what became of it.
#[derive(Serialize)]
struct Entry {
    request: Digest,
    executed: bool,
    /// What came of an execution.
    outcome: Option<serde_json::Value>,
    /// Why there was none.
    no_op: Option<serde_json::Value>,
    transaction: Option<serde_json::Value>,
}

impl From<BlockReport> for Block {
    fn from(report: BlockReport) -> Self {
        let BlockReport {
            header,
            requests,
            receipts,
        } = report;
        let hash = header.digest();
        let BlockHeader {
            height,
            parent,
            batch,
            time_ms,
            receipts_root,
            state_root,
        } = header;
        let entries = requests
            .iter()
            .zip(receipts.iter())
            .map(|(request, receipt)| Entry {
                transaction: SignedTransaction::from_request(request)
                    .ok()
                    .map(|signed| numbers_as_text(json(&signed.transaction as &Transaction))),
                ..Entry::of(receipt)
            });
        Self {
            schema: "block/v1",
            height,
            hash,
            parent,
            batch,
            time_ms,
            receipts_root,
            state_root,
            transactions: entries.collect(),
        }
    }
}

impl Entry {
    fn of(receipt: &Receipt) -> Self {
        match receipt {
            Receipt::Executed(executed) => Self {
                request: executed.request,
                executed: true,
                outcome: Some(outcome(&executed.outcome)),
                no_op: None,
                transaction: None,
            },
            Receipt::NoOp(no_op) => Self {
                request: no_op.request,
                executed: false,
                outcome: None,
                no_op: Some(json(&no_op.reason)),
                transaction: None,
            },
        }
    }
}

fn outcome(outcome: &Outcome) -> serde_json::Value {
    numbers_as_text(json(outcome))
}

fn json<T: Serialize>(value: &T) -> serde_json::Value {
    let value = serde_json::to_value(value);
    assert!(value.is_ok(), "ledger types have nothing JSON cannot express");
    value.unwrap_or_default()
}

/// Every number of a document as text.
fn numbers_as_text(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Number(number) => Value::String(number.to_string()),
        Value::Array(items) => Value::Array(items.into_iter().map(numbers_as_text).collect()),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (key, numbers_as_text(value)))
            .collect(),
        other => other,
    }
}

/// `evidence-list/v1`
#[derive(Serialize)]
pub(super) struct EvidenceList {
    schema: &'static str,
    replica: u16,
    evidence: Vec<EvidenceEntry>,
}

/// One provable fault; the proof is at `/v1/evidence/ID`.
#[derive(Serialize)]
struct EvidenceEntry {
    id: Digest,
    culprit: u16,
    fault: &'static str,
    sentence: String,
}

impl EvidenceList {
    pub(super) fn new(replica: ReplicaId, judge: &Judge, evidence: &[Evidence]) -> Self {
        let entry = |evidence: &Evidence| EvidenceEntry {
            id: evidence.id(),
            culprit: evidence.culprit(judge.ring()).get(),
            fault: evidence.name(),
            sentence: evidence.sentence(judge.ring()),
        };
        Self {
            schema: "evidence-list/v1",
            replica: replica.get(),
            evidence: evidence.iter().map(entry).collect(),
        }
    }
}

/// `error/v1`
#[derive(Serialize)]
pub(super) struct Problem {
    schema: &'static str,
    error: String,
}

impl Problem {
    pub(super) fn new(error: impl ToString) -> Self {
        Self {
            schema: "error/v1",
            error: error.to_string(),
        }
    }
}
