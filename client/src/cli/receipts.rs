//! Receipts as files: fetching them, and judging them offline.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tagma_client::receipt::{Gathered, ReceiptRead};
use tagma_client::{Client, ExitCode};
use tagma_crypto::{Digest, PublicKey};
use tagma_evidence::receipt::{Proved, verify};
use tagma_ledger::{Genesis, Operation};
use tagma_pbft::ReplicaId;

use super::context::{Context, home, judge};
use super::failure::Failure;
use super::output::names;
use super::submit::warn_of_liars;
use super::verdicts::verdicts;
use super::{Common, wording};

/// Stands for stdout where a file can be named.
const STDOUT: &str = "-";

pub(crate) async fn receipt(
    hash: &Digest,
    out: Option<&Path>,
    context: Context,
) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let judge = judge(&context.genesis)?;
    let read = client.receipt(&judge, *hash, context.timeout).await?;
    client.close().await;
    let Gathered { receipt, liars } = match read {
        ReceiptRead::Receipt(gathered) => {
            warn_of_liars(&gathered.liars);
            *gathered
        }
        ReceiptRead::NotExecuted { height } => {
            return Err(Failure::new(
                ExitCode::Rejected,
                format!("there is no receipt: the request is not executed as of height {height}"),
            )
            .hint(format!("`tagma tx wait {hash}` waits for its outcome")));
        }
    };
    let text = receipt.to_text(&context.genesis.chain_id());
    if out.is_some_and(|out| out == Path::new(STDOUT)) {
        let document: Value =
            serde_json::from_str(&text).map_err(|error| Failure::internal(error.to_string()))?;
        context.format.emit(|| document, || text.trim_end().to_owned())?;
        return Ok(ExitCode::Ok);
    }
    let path = out.map_or_else(|| PathBuf::from(receipt.file_name()), Path::to_path_buf);
    write(&path, &text)?;
    let height = receipt.inclusion.header.height.to_string();
    let file = path.display().to_string();
    context.format.emit(
        || json!({ "schema": "receipt-file/v1", "hash": hash, "height": height, "file": file, "liars": liars }),
        || format!("receipt of the request at height {height}: {file}"),
    )?;
    Ok(ExitCode::Ok)
}

/// Fetches the receipt of a request that was executed and writes it here under its own name, which is returned. Liars are named, but for
/// those who were `named` before.
///
/// # Errors
/// Whatever keeps it from that; the exit code is that of something that works with less than required, as the request was executed.
pub(crate) async fn keep(
    context: &Context,
    client: &Client,
    hash: &Digest,
    within: Duration,
    named: &[u16],
) -> Result<String, Failure> {
    let kept = async {
        let judge = judge(&context.genesis)?;
        let Gathered { receipt, liars } = client.receipt_of_executed(&judge, *hash, within).await?;
        let others: Vec<u16> = liars.into_iter().filter(|id| !named.contains(id)).collect();
        warn_of_liars(&others);
        let name = receipt.file_name();
        write(Path::new(&name), &receipt.to_text(&context.genesis.chain_id()))?;
        Ok(name)
    };
    kept.await.map_err(|failure: Failure| {
        failure
            .but(
                ExitCode::Degraded,
                "the request was executed, its receipt could not be kept",
            )
            .hint(format!("`tagma tx receipt {hash} --out FILE` tries again"))
    })
}

/// Writes a new file; one that is there is left as it is.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let written = file.and_then(|mut file| {
        let written = file.write_all(text.as_bytes());
        if written.is_err() {
            // Half a receipt proves nothing and would be in the way of the next attempt; the file is ours, as we created it.
            drop(std::fs::remove_file(path));
        }
        written
    });
    written.map_err(|error| {
        let failure = Failure::new(
            ExitCode::Config,
            format!("cannot write {}: {error}", path.display()),
        );
        match error.kind() {
            ErrorKind::AlreadyExists => {
                failure.hint("`tagma tx receipt HASH --out FILE` writes it elsewhere")
            }
            _ => failure,
        }
    })
}

pub(crate) fn verify_files(files: &[PathBuf], common: &Common) -> Result<ExitCode, Failure> {
    let genesis = Genesis::load(home(common)?.genesis())?;
    let judge = judge(&genesis)?;
    verdicts(
        "receipt-verdict/v1",
        files,
        common.output,
        |content| verify(&judge, content),
        proved_json,
        |proved| sentence(&genesis, proved),
    )
}

fn ids(replicas: &[ReplicaId]) -> Vec<u16> {
    replicas.iter().map(|id| id.get()).collect()
}

fn proved_json(proved: &Proved) -> Value {
    json!({
        "hash": proved.request, "account": proved.transaction.account,
        "nonce": proved.transaction.nonce.to_string(),
        "operation": wording::operation_json(&proved.transaction.operation),
        "outcome": wording::outcome_json(&proved.receipt.outcome),
        "height": proved.header.height.to_string(), "header": proved.header.digest(),
        "time_ms": proved.header.time_ms.to_string(),
        "ordered_by": ids(&proved.ordered_by), "attested_by": ids(&proved.attested_by),
    })
}

fn sentence(genesis: &Genesis, proved: &Proved) -> String {
    let name = |key: &PublicKey| match genesis.account_name(key) {
        Some(name) => name.to_string(),
        None => key.short(),
    };
    let who = name(&proved.transaction.account);
    let what = match &proved.transaction.operation {
        Operation::Transfer { to, amount } => format!("{who} → {} {amount}", name(to)),
        Operation::Read { account } => format!("{who} reads {}", name(account)),
    };
    format!(
        "{what}: {} · tx {} · height {} · order: {}/{} commit signatures ({}) · result: {} attestations ({}) · inclusion ok",
        wording::outcome(&proved.receipt.outcome),
        proved.request.short(),
        proved.header.height,
        proved.ordered_by.len(),
        genesis.replica_count(),
        names(&ids(&proved.ordered_by)),
        proved.attested_by.len(),
        names(&ids(&proved.attested_by)),
    )
}
