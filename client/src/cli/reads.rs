//! Looking at accounts, blocks and requests.

use serde_json::{Value, json};
use tagma_client::ExitCode;
use tagma_client::read::{BlockRead, TransactionRead};
use tagma_crypto::Digest;
use tagma_ledger::{Operation, SignedTransaction};

use super::context::Context;
use super::failure::Failure;
use super::output::{names, table, warn};
use super::submit::{End, finish, ordered_read, read_outcome, warn_of_liars};
use super::{BalanceArgs, Read, wording};

/// A balance with where it comes from.
struct Balance {
    /// Balance and next nonce; none if there is no such account.
    account: Option<(u64, u64)>,
    height: u64,
    supporters: Vec<u16>,
}

pub(crate) async fn balance(args: &BalanceArgs, context: Context) -> Result<ExitCode, Failure> {
    let key = context.account(&args.account)?;
    let client = context.client()?;
    let (how, found) = match args.read {
        Read::Latest => {
            let read = client.account(key, args.min_height, context.timeout).await?;
            let found = Balance {
                account: read.account.map(|account| (account.balance, account.next_nonce)),
                height: read.height,
                supporters: read.supporters,
            };
            ("latest", found)
        }
        Read::Ordered => {
            let signer = context
                .keystore
                .signer(args.signer.as_deref().unwrap_or(&args.account))?;
            let (hash, end) = ordered_read(&context, &client, &signer, key).await?;
            let End::Executed {
                verdict, supporters, ..
            } = end
            else {
                if let End::Rejected { .. } = end {
                    warn(&end.text(client.network().weak_quorum()));
                }
                return finish(&hash, &end);
            };
            let found = Balance {
                account: read_outcome(&verdict.outcome),
                height: verdict.height,
                supporters,
            };
            ("ordered", found)
        }
    };
    client.close().await;
    let Balance {
        account,
        height,
        supporters,
    } = &found;
    context.format.emit(
        || {
            json!({
                "schema": "balance/v1", "account": key, "read": how, "exists": account.is_some(),
                "balance": account.map(|(balance, _)| balance.to_string()),
                "next_nonce": account.map(|(_, next)| next.to_string()),
                "height": height.to_string(), "supporters": supporters,
            })
        },
        || match account {
            Some((balance, next)) => {
                let said = names(supporters);
                format!("{balance}  (next nonce {next}, at height {height}, {how} read, says {said})")
            }
            None => format!("account {key} does not exist at height {height}"),
        },
    )?;
    Ok(if account.is_some() {
        ExitCode::Ok
    } else {
        ExitCode::Rejected
    })
}

pub(crate) async fn block(height: u64, context: Context) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let read = client.block(height, context.timeout).await?;
    client.close().await;
    let Some(read) = read else {
        return Err(Failure::new(
            ExitCode::Rejected,
            format!("f + 1 replicas do not have block {height}"),
        )
        .hint("`tagma status` shows the heights of the replicas"));
    };
    if !read.liars.is_empty() {
        let liars = names(&read.liars);
        warn(&format!(
            "{liars} has another block {height} than f + 1 others: faulty"
        ));
    }
    context
        .format
        .emit(|| block_json(&read, &context), || block_text(&read, &context))?;
    Ok(ExitCode::Ok)
}

fn block_json(read: &BlockRead, context: &Context) -> Value {
    let header = &read.block.header;
    let chain = context.genesis.chain_id();
    let pairs = read.block.requests.iter().zip(read.block.receipts.iter());
    let requests: Vec<Value> = pairs
        .map(|(request, receipt)| {
            let signed = SignedTransaction::from_request(request).ok();
            let transaction = signed.map(|signed| signed.transaction);
            json!({
                "hash": request.digest(&chain),
                "account": transaction.as_ref().map(|transaction| transaction.account),
                "nonce": transaction.as_ref().map(|transaction| transaction.nonce.to_string()),
                "operation": transaction.as_ref().map(|transaction| wording::operation_json(&transaction.operation)),
                "receipt": wording::receipt_json(receipt),
            })
        })
        .collect();
    json!({
        "schema": "block/v1", "height": header.height.to_string(), "hash": read.hash, "parent": header.parent,
        "batch": header.batch, "time_ms": header.time_ms.to_string(), "receipts_root": header.receipts_root,
        "state_root": header.state_root, "requests": requests, "supporters": read.supporters, "liars": read.liars,
    })
}

fn block_text(read: &BlockRead, context: &Context) -> String {
    let header = &read.block.header;
    let state_root = header.state_root.map(|root| format!("\nstate     {root}"));
    let head = format!(
        "block {}  {}\nparent    {}\nbatch     {}\nreceipts  {}{}\ntime      {} ms since the epoch\nsays      {}",
        header.height,
        read.hash,
        header.parent,
        header.batch,
        header.receipts_root,
        state_root.unwrap_or_default(),
        header.time_ms,
        names(&read.supporters),
    );
    if read.block.requests.is_empty() {
        return format!("{head}\nno requests");
    }
    let name = |key: &tagma_crypto::PublicKey| match context.genesis.account_name(key) {
        Some(name) => name.to_string(),
        None => key.short(),
    };
    let mut rows = table(&["request", "from", "nonce", "what", "outcome"]);
    let chain = context.genesis.chain_id();
    for (request, receipt) in read.block.requests.iter().zip(read.block.receipts.iter()) {
        let hash = request.digest(&chain).short();
        let (from, nonce, what) = match SignedTransaction::from_request(request) {
            Ok(signed) => {
                let transaction = signed.transaction;
                let what = match &transaction.operation {
                    Operation::Transfer { to, amount } => format!("{amount} to {}", name(to)),
                    Operation::Read { account } => format!("read {}", name(account)),
                };
                (name(&transaction.account), transaction.nonce.to_string(), what)
            }
            Err(error) => ("-".into(), "-".into(), error.to_string()),
        };
        rows.add_row([hash, from, nonce, what, wording::receipt(receipt)]);
    }
    format!("{head}\n{rows}")
}

pub(crate) async fn tx_status(hash: &Digest, context: Context) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let found = client.transaction(*hash, context.timeout).await?;
    client.close().await;
    if let TransactionRead::Executed { liars, .. } = &found {
        warn_of_liars(liars);
    }
    let kept = context.pending.load(hash)?.is_some();
    context.format.emit(
        || match &found {
            TransactionRead::Executed {
                report,
                supporters,
                liars,
            } => json!({
                "schema": "tx/v1", "hash": hash,
                "state": if report.outcome.is_success() { "committed" } else { "failed" },
                "outcome": wording::outcome_json(&report.outcome), "height": report.height.to_string(),
                "position": report.position, "supporters": supporters, "liars": liars, "kept": kept,
            }),
            TransactionRead::NotExecuted { height } => json!({
                "schema": "tx/v1", "hash": hash, "state": "not_executed", "height": height.to_string(), "kept": kept,
            }),
        },
        || match &found {
            TransactionRead::Executed { report, supporters, .. } => format!(
                "executed at height {}, position {}: {} (says {})",
                report.height,
                report.position,
                wording::outcome(&report.outcome),
                names(supporters)
            ),
            TransactionRead::NotExecuted { height } => {
                let resend = if kept {
                    format!("; it is kept here: `tagma tx wait {hash}` sends it again")
                } else {
                    String::new()
                };
                format!("not executed as of height {height}{resend}")
            }
        },
    )?;
    Ok(ExitCode::Ok)
}
