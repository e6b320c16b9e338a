//! Requests that go through the agreement: transfers, ordered reads, and finding out what became of them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tagma_client::error::{describe_refusal, is_final};
use tagma_client::read::TransactionRead;
use tagma_client::{Client, ExitCode, SubmitError, Unknown, Verdict};
use tagma_crypto::{Digest, PublicKey, SecretKey};
use tagma_ledger::{Operation, Outcome, SignedTransaction, Transaction};
use tagma_wire::client_protocol::Refusal;

use super::context::Context;
use super::duration::milliseconds;
use super::failure::Failure;
use super::output::{names, warn};
use super::{TransferArgs, Wait, receipts, wording};

/// For how many blocks a request may be executed unless told otherwise.
pub(crate) const EXPIRES_IN: u64 = 100_000;

/// How long to wait for the connections of a quorum before the request goes out: backups that are connected late reply
/// late.
pub(crate) const CONNECTIONS: Duration = Duration::from_millis(500);

/// How long to listen, after the outcome is accepted, for replicas that contradict it.
const LISTEN: Duration = Duration::from_millis(200);

/// The pause between two looks at a request that is not ours to send.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What came of a request.
pub(crate) enum End {
    /// It was executed.
    Executed {
        verdict: Verdict,
        supporters: Vec<u16>,
        liars: Vec<u16>,
        latency: Option<Duration>,
    },
    /// It was refused.
    Rejected { refusal: Refusal, by: Vec<u16> },
    /// Nobody knows yet.
    Unknown(Option<Box<Unknown>>),
}

impl End {
    /// Whether nothing is left to find out.
    pub(crate) fn is_known(&self) -> bool {
        match self {
            Self::Executed { .. } => true,
            Self::Rejected { refusal, .. } => is_final(refusal),
            Self::Unknown(_) => false,
        }
    }

    pub(crate) fn state(&self) -> &'static str {
        match self {
            Self::Executed { verdict, .. } if verdict.outcome.is_success() => "committed",
            Self::Executed { .. } => "failed",
            Self::Rejected { .. } => "rejected",
            Self::Unknown(_) => "unknown",
        }
    }

    pub(crate) fn exit(&self) -> ExitCode {
        match self {
            Self::Executed { verdict, .. } if verdict.outcome.is_success() => ExitCode::Ok,
            Self::Executed { .. } | Self::Rejected { .. } => ExitCode::Rejected,
            Self::Unknown(_) => ExitCode::OutcomeUnknown,
        }
    }

    /// What happened, for people; `needed` is f + 1.
    pub(crate) fn text(&self, needed: usize) -> String {
        match self {
            Self::Executed {
                verdict,
                supporters,
                latency,
                ..
            } => {
                let height = verdict.height;
                let what = if verdict.outcome.is_success() {
                    format!("✔ committed at height {height}")
                } else {
                    let why = wording::outcome(&verdict.outcome);
                    format!("✘ executed at height {height} without effect: {why}")
                };
                let count = supporters.len();
                let replies = format!("{count} matching replies (f+1 = {needed}): {}", names(supporters));
                let latency = latency.map(|latency| format!(" · {}", milliseconds(latency)));
                format!("{what} · {replies}{}", latency.unwrap_or_default())
            }
            Self::Rejected { refusal, by } => {
                format!("✘ rejected: {} (says {})", describe_refusal(refusal), names(by))
            }
            Self::Unknown(_) => "? outcome unknown".into(),
        }
    }

    /// What happened, as the fields of a JSON document.
    pub(crate) fn json(&self, needed: usize) -> Value {
        let state = self.state();
        match self {
            Self::Executed {
                verdict,
                supporters,
                liars,
                latency,
            } => json!({
                "state": state,
                "outcome": wording::outcome_json(&verdict.outcome),
                "height": verdict.height.to_string(),
                "supporters": supporters,
                "needed": needed,
                "liars": liars,
                "latency_ms": latency.map(|latency| latency.as_secs_f64() * 1e3),
            }),
            Self::Rejected { refusal, by } => {
                json!({ "state": state, "reason": describe_refusal(refusal), "supporters": by, "needed": needed })
            }
            Self::Unknown(None) => json!({ "state": state, "needed": needed }),
            Self::Unknown(Some(unknown)) => {
                let refused: Vec<Value> = unknown
                    .refused
                    .iter()
                    .map(|(id, refusal)| json!({ "replica": id, "reason": describe_refusal(refusal) }))
                    .collect();
                json!({
                    "state": state, "needed": needed, "supporters": unknown.supporters,
                    "busy": unknown.busy, "refused": refused, "unconnected": unknown.unconnected,
                })
            }
        }
    }
}

/// What a request needs to know of its account.
pub(crate) struct Place {
    pub(crate) nonce: u64,
    pub(crate) height: u64,
}

/// The account's next nonce and a height for the expiry, from f + 1 replicas.
pub(crate) async fn place(context: &Context, client: &Client, account: PublicKey) -> Result<Place, Failure> {
    match client.next_nonce(account, context.timeout).await? {
        Some(read) => Ok(Place {
            nonce: read.account.map_or(0, |account| account.next_nonce),
            height: read.height,
        }),
        None => Err(
            Failure::new(ExitCode::Rejected, format!("account {account} does not exist"))
                .hint("an account comes into being with the first transfer to it"),
        ),
    }
}

/// Adds `extra` to the fields of `base`.
pub(crate) fn merged(mut base: Value, extra: Value) -> Value {
    if let (Value::Object(base), Value::Object(extra)) = (&mut base, extra) {
        base.extend(extra);
    }
    base
}

pub(crate) async fn transfer(args: &TransferArgs, context: Context) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let key = context.keystore.signer(&args.from)?;
    let to = context.account(&args.to)?;
    let client = context.client()?;
    let mut place = place(&context, &client, key.public()).await?;
    place.nonce = args.nonce.unwrap_or(place.nonce);
    let operation = Operation::Transfer {
        to,
        amount: args.amount,
    };
    let signed = sign(&context, &key, &place, operation, args.expires_in);
    let hash = signed.transaction.digest();
    warn_of_pending(&context, &signed)?;
    context.pending.save(&signed)?;
    client.connected(client.network().quorum(), CONNECTIONS).await;
    context.format.announce(&format!("tx {hash}"))?;

    let left = context.timeout.saturating_sub(started.elapsed());
    let needed = client.network().weak_quorum();
    let base = json!({
        "schema": "transfer/v1", "hash": hash, "from": key.public(), "to": to,
        "amount": args.amount.to_string(), "nonce": place.nonce.to_string(),
    });
    if args.wait == Wait::None {
        let exit = hand_over(&context, &client, &signed, left, base).await;
        client.close().await;
        return exit;
    }
    let end = match conclude(&client, &signed, left).await {
        Ok(end) => end,
        Err(failure) => {
            // It never left, so that there is nothing to find out.
            context.pending.remove(&hash)?;
            return Err(failure);
        }
    };
    settle(&context, &hash, &end)?;
    let receipt = match &end {
        End::Executed { liars, .. } if args.wait == Wait::Receipt => {
            let left = context.timeout.saturating_sub(started.elapsed());
            Some(receipts::keep(&context, &client, &hash, left, liars).await)
        }
        _ => None,
    };
    let file = receipt.as_ref().and_then(|kept| kept.as_ref().ok());
    context.format.emit(
        || merged(merged(base, end.json(needed)), json!({ "receipt": file })),
        || {
            let file = file.map(|file| format!(" · receipt {file}"));
            end.text(needed) + &file.unwrap_or_default()
        },
    )?;
    client.close().await;
    // What was paid is told before what could not be fetched or written.
    receipt.transpose()?;
    finish(&hash, &end)
}

async fn hand_over(
    context: &Context,
    client: &Client,
    signed: &SignedTransaction,
    within: Duration,
    base: Value,
) -> Result<ExitCode, Failure> {
    let received = client.hand_over(signed, within).await;
    let needed = client.network().weak_quorum();
    let state = if received.len() >= needed {
        "sent"
    } else {
        "unknown"
    };
    let count = received.len();
    context.format.emit(
        || {
            let found = json!({ "state": state, "received": received, "needed": needed });
            merged(base, found)
        },
        || format!("received by {count} (f+1 = {needed}): {}", names(&received)),
    )?;
    if count >= needed {
        return Ok(ExitCode::Ok);
    }
    let hash = signed.transaction.digest();
    finish(&hash, &End::Unknown(None))
}

/// Signs what an account wants at its place.
pub(crate) fn sign(
    context: &Context,
    key: &SecretKey,
    place: &Place,
    operation: Operation,
    expires_in: u64,
) -> SignedTransaction {
    let transaction = Transaction {
        chain: context.genesis.chain_id(),
        account: key.public(),
        nonce: place.nonce,
        operation,
        expiry_height: place.height.saturating_add(expires_in),
    };
    transaction.sign(key)
}

/// Two requests with one nonce: only one of them can be executed, so the payment is not doubled, but the person may
/// want to know which it was.
fn warn_of_pending(context: &Context, signed: &SignedTransaction) -> Result<(), Failure> {
    let ours = &signed.transaction;
    for pending in context.pending.all()? {
        let other = &pending.transaction.transaction;
        if other.account == ours.account && other.nonce == ours.nonce && pending.hash != ours.digest() {
            warn(&format!(
                "an earlier request with this nonce has an unknown outcome: {}; only one of the two can be executed \
                 (`tagma tx wait {}` finds out)",
                pending.hash, pending.hash
            ));
        }
    }
    Ok(())
}

/// Submits and waits for what comes of it.
async fn conclude(client: &Client, signed: &SignedTransaction, within: Duration) -> Result<End, Failure> {
    match client.submit(signed, within).await {
        Ok(accepted) => {
            let standing = client.all_replies(&accepted.hash, LISTEN).await;
            let (supporters, liars) = match standing {
                Some(standing) => (standing.supporters, standing.liars),
                None => (accepted.supporters, accepted.liars),
            };
            Ok(End::Executed {
                verdict: Verdict {
                    outcome: accepted.outcome,
                    height: accepted.height,
                },
                supporters,
                liars,
                latency: Some(accepted.latency),
            })
        }
        Err(error) => end_of(error),
    }
}

/// What a submission's error means for the person who made it.
pub(crate) fn end_of(error: SubmitError) -> Result<End, Failure> {
    match error {
        SubmitError::Rejected { refusal, by, .. } => Ok(End::Rejected { refusal, by }),
        SubmitError::OutcomeUnknown(unknown) => Ok(End::Unknown(Some(unknown))),
        SubmitError::Unreachable { .. } => Err(Failure::new(ExitCode::NoQuorum, error.to_string())
            .hint("`tagma status` shows every replica, `tagma-testnet ps` the processes of a local network")),
        SubmitError::TooLarge { .. } => Err(Failure::new(ExitCode::Rejected, error.to_string())),
        SubmitError::TooManyInFlight { .. } | SubmitError::Closed { .. } => {
            Err(Failure::internal(error.to_string()))
        }
    }
}

fn executed(read: TransactionRead) -> Option<End> {
    match read {
        TransactionRead::Executed {
            report,
            supporters,
            liars,
        } => Some(End::Executed {
            verdict: Verdict {
                outcome: report.outcome,
                height: report.height,
            },
            supporters,
            liars,
            latency: None,
        }),
        TransactionRead::NotExecuted { .. } => None,
    }
}

/// Forgets a request whose fate is known, and names who lied about it.
fn settle(context: &Context, hash: &Digest, end: &End) -> Result<(), Failure> {
    if end.is_known() {
        context.pending.remove(hash)?;
    }
    if let End::Executed { liars, .. } = end {
        warn_of_liars(liars);
    }
    Ok(())
}

/// Names the replicas that contradicted an accepted outcome.
pub(crate) fn warn_of_liars(liars: &[u16]) {
    if !liars.is_empty() {
        let names = names(liars);
        warn(&format!(
            "{names} replied something else than f + 1 others: faulty"
        ));
    }
}

/// The exit code, with what to do if the outcome is unknown.
pub(crate) fn finish(hash: &Digest, end: &End) -> Result<ExitCode, Failure> {
    let End::Unknown(unknown) = end else {
        return Ok(end.exit());
    };
    let mut message = format!("the outcome of tx {hash} is unknown");
    if let Some(unknown) = unknown {
        let replies = unknown.supporters.len();
        message.push_str(&format!(
            ": {replies} matching replies, {} needed",
            unknown.needed
        ));
        if !unknown.unconnected.is_empty() {
            message.push_str(&format!("; not connected: {}", names(&unknown.unconnected)));
        }
        if !unknown.busy.is_empty() {
            message.push_str(&format!("; busy: {}", names(&unknown.busy)));
        }
        for (id, refusal) in &unknown.refused {
            message.push_str(&format!("; n{id} refuses: {}", describe_refusal(refusal)));
        }
    }
    Err(Failure::new(ExitCode::OutcomeUnknown, message).hint(format!(
        "it may have been executed or may be yet; `tagma tx wait {hash}` finds out, and cannot pay twice"
    )))
}

pub(crate) async fn wait(hash: &Digest, context: Context) -> Result<ExitCode, Failure> {
    let kept = context.pending.load(hash)?;
    let client = context.client()?;
    let needed = client.network().weak_quorum();
    let end = match kept {
        Some(kept) => {
            client.connected(client.network().quorum(), CONNECTIONS).await;
            conclude(&client, &kept.transaction, context.timeout).await?
        }
        None => look(&client, *hash, context.timeout).await?,
    };
    settle(&context, hash, &end)?;
    let base = json!({ "schema": "tx/v1", "hash": hash });
    context
        .format
        .emit(|| merged(base, end.json(needed)), || end.text(needed))?;
    client.close().await;
    finish(hash, &end)
}

/// Looks for a request that is not kept here until it is executed or the time is over.
async fn look(client: &Client, hash: Digest, within: Duration) -> Result<End, Failure> {
    let started = Instant::now();
    loop {
        let left = within.saturating_sub(started.elapsed());
        if let Some(end) = executed(client.transaction(hash, left).await?) {
            return Ok(end);
        }
        if left <= LOOK_AGAIN {
            return Ok(End::Unknown(None));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Reads an account in order, and gives its end with what was read.
pub(crate) async fn ordered_read(
    context: &Context,
    client: &Client,
    signer: &SecretKey,
    account: PublicKey,
) -> Result<(Digest, End), Failure> {
    let started = Instant::now();
    let place = place(context, client, signer.public()).await?;
    let signed = sign(context, signer, &place, Operation::Read { account }, EXPIRES_IN);
    client.connected(client.network().quorum(), CONNECTIONS).await;
    let left = context.timeout.saturating_sub(started.elapsed());
    let end = conclude(client, &signed, left).await?;
    let hash = signed.transaction.digest();
    settle(context, &hash, &end)?;
    Ok((hash, end))
}

/// What an ordered read found: balance and next nonce.
pub(crate) fn read_outcome(outcome: &Outcome) -> Option<(u64, u64)> {
    match outcome {
        Outcome::Read { balance, next_nonce } => Some((*balance, *next_nonce)),
        _ => None,
    }
}
