//! How a command fails: what happened, where, and what to do next.

use std::fmt::Display;

use tagma_client::{ExitCode, HomeError, KeystoreError, PendingError, ReadError};
use tagma_crypto::KeyFileError;
use tagma_ledger::GenesisError;

/// A failure to be reported.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: ExitCode,
    message: String,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: ExitCode, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Internal, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, when something else has happened before: that is said first, and decides the exit code.
    pub(crate) fn but(self, exit: ExitCode, before: &str) -> Self {
        Self {
            exit,
            message: format!("{before}: {}", self.message),
            hint: self.hint,
        }
    }

    /// Says it on stderr.
    pub(crate) fn report(self) -> ExitCode {
        // Where stderr is closed there is nobody to tell, and the exit code still says it.
        let _ = write_report(&self.message, self.hint.as_deref());
        self.exit
    }
}

fn write_report(message: &str, hint: Option<&str>) -> std::io::Result<()> {
    use std::io::Write;
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "error: {message}")?;
    match hint {
        Some(hint) => writeln!(stderr, "hint: {hint}"),
        None => Ok(()),
    }
}

fn config(error: impl Display) -> Failure {
    Failure::new(ExitCode::Config, error.to_string())
}

impl From<GenesisError> for Failure {
    fn from(error: GenesisError) -> Self {
        config(error).hint("start a network with `tagma-testnet up`, or name a genesis with --genesis FILE")
    }
}

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        config(error).hint(
            "start one with `tagma-testnet up`, or name it with --home DIR, --genesis FILE or TAGMA_HOME",
        )
    }
}

impl From<KeystoreError> for Failure {
    fn from(error: KeystoreError) -> Self {
        let hint = match &error {
            KeystoreError::NoKey { .. } | KeystoreError::Unknown { .. } => {
                Some("`tagma account list` shows the keys here, `tagma account new NAME` makes one")
            }
            KeystoreError::File(KeyFileError::Exposed { .. }) => None,
            KeystoreError::File(KeyFileError::Exists { .. }) => Some("choose another name"),
            _ => Some("--home DIR names another directory"),
        };
        let failure = config(error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<PendingError> for Failure {
    fn from(error: PendingError) -> Self {
        config(error)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match &error {
            ReadError::TooFew { errors, .. } => {
                let each: Vec<String> = errors
                    .iter()
                    .map(|(id, error)| format!("n{id}: {error}"))
                    .collect();
                let message = format!("{error}\n  {}", each.join("\n  "));
                Self::new(ExitCode::NoQuorum, message).hint(
                    "`tagma status` shows every replica, `tagma-testnet ps` the processes of a local network",
                )
            }
            ReadError::NoMatch { .. } => Self::new(ExitCode::NoQuorum, error.to_string()).hint(
                "replicas lag or lie: `tagma status` shows every replica; try again with a longer --timeout",
            ),
            ReadError::BelowMinHeight { .. } => Self::new(ExitCode::OutcomeUnknown, error.to_string())
                .hint("try again with a longer --timeout, or a lower --min-height"),
        }
    }
}
