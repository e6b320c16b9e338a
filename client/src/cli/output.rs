//! What goes to stdout (data) and to stderr (progress).

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;
use tagma_client::ExitCode;

use super::failure::Failure;

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One JSON document, with its schema.
    Json,
}

impl Format {
    /// Writes the result in the form asked for.
    pub(crate) fn emit(
        self,
        json: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self {
            Self::Json => line(&mut io::stdout().lock(), &json().to_string()),
            Self::Table => line(&mut io::stdout().lock(), &text()),
        }
    }

    /// Writes a line that a reader should have before the result: data for people, progress beside a document.
    pub(crate) fn announce(self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Json => line(&mut io::stderr().lock(), text),
            Self::Table => line(&mut io::stdout().lock(), text),
        }
    }
}

/// Writes a warning to stderr.
pub(crate) fn warn(text: &str) {
    // Where stderr is closed there is nobody to warn.
    let _ = line(&mut io::stderr().lock(), &format!("warning: {text}"));
}

fn line(to: &mut impl Write, text: &str) -> Result<(), Failure> {
    writeln!(to, "{text}")
        .and_then(|()| to.flush())
        .map_err(|error| Failure::new(ExitCode::Internal, format!("cannot write the output: {error}")))
}

/// A table with these columns.
pub(crate) fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(columns.to_vec());
    table
}

/// Replica names: "n0 n2".
pub(crate) fn names(replicas: &[u16]) -> String {
    let names: Vec<String> = replicas.iter().map(|id| format!("n{id}")).collect();
    names.join(" ")
}
