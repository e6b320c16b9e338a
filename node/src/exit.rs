//! The exit codes of every Tagma command, in one place.

use std::process::ExitCode;

/// Why a command ended. The numbers are an interface: scripts branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All went well.
    Ok = 0,
    /// A fault of the program or of the machine below it.
    Internal = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The configuration, the genesis or a key does not fit.
    Config = 3,
    /// Not enough replicas can be reached.
    NoQuorum = 4,
    /// No answer in time: the outcome is unknown.
    Timeout = 5,
    /// The ledger rejected the request.
    Rejected = 6,
    /// A chain or a proof does not check out.
    Verification = 7,
    /// It works, but not as well as it should.
    Degraded = 8,
    /// Replicas differ where they must agree.
    Divergence = 9,
    /// The data directory is in use by another process, or damaged.
    Data = 10,
    /// Ended by SIGINT before it was done.
    Interrupted = 130,
    /// Ended by SIGTERM before it was done.
    Terminated = 143,
}

/// The table for `--help`.
pub const HELP: &str = "Exit codes:
  0 ok                              6 rejected by the ledger
  1 internal                        7 verification failed
  2 usage                           8 degraded
  3 config, genesis or key          9 divergence
  4 no quorum reachable            10 data directory locked or damaged
  5 timeout, outcome unknown  130/143 interrupted by SIGINT/SIGTERM
A node that is told to stop by SIGINT or SIGTERM and stops cleanly exits with 0.";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // The discriminants are the codes.
        Self::from(exit as u8)
    }
}

/// A command's failure: the code it ends with, what happened, and what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened, and where.
    pub message: String,
    /// What to do next, if anything helps.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(exit: Exit, message: impl ToString) -> Self {
        Self {
            exit,
            message: message.to_string(),
            hint: None,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl ToString) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// For `map_err`: an error that ends a command with this code.
    pub fn with<E: ToString>(exit: Exit) -> impl FnOnce(E) -> Self {
        move |error| Self::new(exit, error)
    }
}
