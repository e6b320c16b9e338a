//! The command as people and scripts meet it: its output, its exit codes, its files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod evidence;
mod looks;
mod receipts;
mod transfers;
mod usage;

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tagma_client::ExitCode;
use tokio::process::Command;

/// The command, without anything of this machine's environment that it would heed.
fn tagma(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagma"));
    for variable in ["TAGMA_GENESIS", "TAGMA_LOG"] {
        command.env_remove(variable);
    }
    command.env("TAGMA_HOME", home).args(args).kill_on_drop(true);
    command
}

/// What a run has left.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it was not killed"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn exits(self, exit: ExitCode) -> Self {
        let Self { code, stdout, stderr } = &self;
        assert_eq!(
            *code,
            i32::from(exit.code()),
            "stdout: {stdout}\nstderr: {stderr}"
        );
        self
    }

    /// Stdout as the one JSON document it is, of this schema.
    #[track_caller]
    fn json(&self, schema: &str) -> Value {
        let value: Value = serde_json::from_str(&self.stdout).expect(&self.stdout);
        assert_eq!(value["schema"], schema);
        value
    }

    #[track_caller]
    fn says(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text),
            "{text:?} is not in stdout: {}",
            self.stdout
        );
        self
    }

    #[track_caller]
    fn warns(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "{text:?} is not in stderr: {}",
            self.stderr
        );
        self
    }

    /// The hash on the first line.
    #[track_caller]
    fn hash(&self) -> String {
        let line = self.stdout.lines().next().expect("there is a line");
        line.strip_prefix("tx ").expect(line).to_owned()
    }
}

/// Runs the command to its end.
async fn run(home: &Path, args: &[&str]) -> Ran {
    let output = support::soon("the command ends", tagma(home, args).output()).await;
    Ran::of(output.unwrap())
}

/// As [`run`], in this directory.
async fn run_in(place: &Path, home: &Path, args: &[&str]) -> Ran {
    let ran = tagma(home, args).current_dir(place).output();
    Ran::of(support::soon("the command ends", ran).await.unwrap())
}
