//! Files that prove something, judged one after the other.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tagma_client::ExitCode;
use tagma_evidence::Invalid;
use tagma_evidence::file::MAX_FILE;

use super::failure::Failure;
use super::output::Format;
use super::submit::merged;

/// The content of a file, but no more of it than tells that it is too large: it may be a stranger's.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?
        .take(MAX_FILE as u64 + 1)
        .read_to_end(&mut content)?;
    Ok(content)
}

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
        let content = read(path).map_err(|error| {
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
