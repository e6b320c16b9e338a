//! Provable faults: looking at them, taking them away, and judging them offline.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tagma_client::ExitCode;
use tagma_client::evidence::{EvidenceSource, NoEvidence};
use tagma_crypto::Digest;
use tagma_evidence::file::verify;
use tagma_evidence::{Conviction, EvidenceFile, Invalid, Judge};
use tagma_ledger::Genesis;

use super::context::{home, judge};
use super::failure::Failure;
use super::output::{names, table, warn};
use super::verdicts::verdicts;
use super::{Common, EvidenceCommand};

pub(crate) async fn run(command: &EvidenceCommand, common: &Common) -> Result<ExitCode, Failure> {
    let genesis = Genesis::load(home(common)?.genesis())?;
    let judge = judge(&genesis)?;
    match command {
        EvidenceCommand::Verify { files } => verdicts(
            "evidence-verdict/v1",
            files,
            common.output,
            |content| verify(&judge, content),
            |conviction| {
                json!({
                    "id": conviction.id, "culprit": conviction.culprit.get(), "fault": conviction.fault,
                    "sentence": conviction.sentence,
                })
            },
            |conviction| conviction.sentence.clone(),
        ),
        EvidenceCommand::List => {
            let found = gather(genesis, judge, common.timeout).await?;
            common.output.emit(|| list_json(&found), || list_text(&found))?;
            Ok(ExitCode::Ok)
        }
        EvidenceCommand::Export { dir } => {
            let found = gather(genesis, judge.clone(), common.timeout).await?;
            let written = export(&judge, &found, dir)?;
            common.output.emit(
                || json!({ "schema": "evidence-export/v1", "files": written }),
                || match written.len() {
                    0 => "no evidence".to_owned(),
                    _ => written.join("\n"),
                },
            )?;
            Ok(ExitCode::Ok)
        }
    }
}

/// Proved faults by id, with the replicas that hold the proof.
type Found = BTreeMap<Digest, (Conviction, Vec<u16>)>;

/// What all replicas together can prove. What one of them claims and cannot prove is its own fault, and only a warning.
async fn gather(genesis: Genesis, judge: Judge, patience: Duration) -> Result<Found, Failure> {
    let asked = tokio::task::spawn_blocking(move || {
        std::thread::scope(|scope| {
            let asked: Vec<_> = genesis
                .replicas
                .iter()
                .map(|replica| {
                    let (genesis, judge) = (&genesis, &judge);
                    let id = replica.id;
                    (id, scope.spawn(move || ask(genesis, judge, id, patience)))
                })
                .collect();
            let answers = asked.into_iter().map(|(id, thread)| {
                let answer = thread.join().unwrap_or_else(|_| {
                    Err(NoEvidence {
                        replica: id,
                        reason: "the question was not finished".to_owned(),
                    })
                });
                (id, answer)
            });
            answers.collect::<Vec<_>>()
        })
    });
    let answers = asked
        .await
        .map_err(|error| Failure::internal(format!("cannot ask: {error}")))?;
    if answers.iter().all(|(_, answer)| answer.is_err()) {
        let each: Vec<String> = answers
            .iter()
            .filter_map(|(_, answer)| answer.as_ref().err().map(ToString::to_string))
            .collect();
        return Err(Failure::new(
            ExitCode::NoQuorum,
            format!("no replica answers\n  {}", each.join("\n  ")),
        )
        .hint("evidence of stopped replicas lies in their homes, in data/evidence"));
    }
    let mut found = Found::new();
    for (replica, answer) in answers {
        match answer {
            Err(error) => warn(&error.to_string()),
            Ok(verdicts) => {
                for verdict in verdicts {
                    match verdict {
                        Ok(conviction) => {
                            let id = conviction.id;
                            let entry = found.entry(id).or_insert_with(|| (conviction, Vec::new()));
                            entry.1.push(replica);
                        }
                        Err(invalid) => {
                            warn(&format!("n{replica} has evidence that proves nothing: {invalid}"));
                        }
                    }
                }
            }
        }
    }
    Ok(found)
}

fn ask(
    genesis: &Genesis,
    judge: &Judge,
    replica: u16,
    patience: Duration,
) -> Result<Vec<Result<Conviction, Invalid>>, NoEvidence> {
    let source = EvidenceSource::new(genesis, patience);
    let entries = source.list(replica)?;
    entries
        .iter()
        .map(|entry| Ok(verify(judge, &source.file(replica, &entry.id)?)))
        .collect()
}

fn list_json(found: &Found) -> Value {
    let entries: Vec<Value> = found
        .values()
        .map(|(conviction, holders)| {
            json!({
                "id": conviction.id, "culprit": conviction.culprit.get(), "fault": conviction.fault,
                "sentence": conviction.sentence, "found_by": holders,
            })
        })
        .collect();
    json!({ "schema": "evidence-list/v1", "evidence": entries })
}

fn list_text(found: &Found) -> String {
    if found.is_empty() {
        return "no evidence: no replica can prove a fault of another".to_owned();
    }
    let mut rows = table(&["culprit", "fault", "id", "found by", "what it did"]);
    for (conviction, holders) in found.values() {
        rows.add_row([
            conviction.culprit.to_string(),
            conviction.fault.to_owned(),
            conviction.id.short(),
            names(holders),
            conviction.sentence.clone(),
        ]);
    }
    rows.to_string()
}

fn export(judge: &Judge, found: &Found, dir: &Path) -> Result<Vec<String>, Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::internal(format!("cannot write {}: {error}", path.display()))
    };
    std::fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    found
        .values()
        .map(|(conviction, _)| {
            let file = EvidenceFile::new(judge, &conviction.evidence);
            let path = dir.join(&file.name);
            std::fs::write(&path, &file.text).map_err(|error| failed(&path, error))?;
            Ok(path.display().to_string())
        })
        .collect()
}
