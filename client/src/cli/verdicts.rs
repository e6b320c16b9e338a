//! Files that prove something, judged one after the other.

use std::path::PathBuf;

use serde_json::{Value, json};
use tagma_client::ExitCode;
use tagma_evidence::Invalid;

use super::failure::Failure;
use super::output::Format;
use super::submit::merged;

/// Says of each file what it proves, or why it proves nothing. The exit code is 0 if all of them prove something.
pub(crate) fn verdicts<P>(
    schema: &str,
    files: &[PathBuf],
    format: Format,
    verify: impl Fn(&[u8]) -> Result<P, Invalid>,
    fields: impl Fn(&P) -> Value,
    sentence: impl Fn(&P) -> String,
) -> Result<ExitCode, Failure> {
    let mut verdicts = Vec::new();
    for path in files {
        let content = std::fs::read(path).map_err(|error| {
            Failure::new(
                ExitCode::Config,
                format!("cannot read {}: {error}", path.display()),
            )
        })?;
        verdicts.push((path.display().to_string(), verify(&content)));
    }
    let json = || {
        let files = verdicts.iter().map(|(path, verdict)| match verdict {
            Ok(proved) => merged(json!({ "file": path, "valid": true }), fields(proved)),
            Err(invalid) => json!({ "file": path, "valid": false, "reason": invalid.to_string() }),
        });
        json!({ "schema": schema, "files": files.collect::<Vec<_>>() })
    };
    let text = || {
        let lines = verdicts.iter().map(|(path, verdict)| match verdict {
            Ok(proved) => format!("✔ VALID  {}", sentence(proved)),
            Err(invalid) => format!("✘ INVALID  {path}: {invalid}"),
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    format.emit(json, text)?;
    Ok(if verdicts.iter().all(|(_, verdict)| verdict.is_ok()) {
        ExitCode::Ok
    } else {
        ExitCode::VerificationFailed
    })
}
