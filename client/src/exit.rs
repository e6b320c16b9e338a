//! What Tagma's commands exit with.

/// An exit code. The numbers are a promise to scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything went as asked.
    Ok = 0,
    /// A fault of the program or of the system under it.
    Internal = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Configuration, genesis or keys are missing or wrong.
    Config = 3,
    /// Too few replicas could be reached.
    NoQuorum = 4,
    /// The time is over and the outcome unknown.
    OutcomeUnknown = 5,
    /// The ledger refused the request, or executed it without the effect asked for.
    Rejected = 6,
    /// Something does not verify.
    VerificationFailed = 7,
    /// It works, with less than everything.
    Degraded = 8,
    /// Replicas disagree, or a verdict is not the expected one.
    Divergence = 9,
    /// A data directory is locked or damaged.
    DataDirectory = 10,
    /// Interrupted (SIGINT).
    Interrupted = 130,
    /// Asked to stop (SIGTERM).
    Terminated = 143,
}

impl ExitCode {
    /// All of them, in order.
    pub const ALL: [Self; 13] = [
        Self::Ok,
        Self::Internal,
        Self::Usage,
        Self::Config,
        Self::NoQuorum,
        Self::OutcomeUnknown,
        Self::Rejected,
        Self::VerificationFailed,
        Self::Degraded,
        Self::Divergence,
        Self::DataDirectory,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What it means, in a few words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Internal => "internal error",
            Self::Usage => "usage",
            Self::Config => "configuration or genesis",
            Self::NoQuorum => "no quorum reachable",
            Self::OutcomeUnknown => "timeout, outcome unknown",
            Self::Rejected => "rejected by the ledger",
            Self::VerificationFailed => "verification failed",
            Self::Degraded => "degraded",
            Self::Divergence => "divergence or an unexpected verdict",
            Self::DataDirectory => "data directory locked or damaged",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }

    /// The table that stands in every command's `--help`.
    #[must_use]
    pub fn help() -> String {
        let lines = Self::ALL.map(|exit| format!("  {:>3}  {}", exit.code(), exit.meaning()));
        format!("Exit codes:\n{}", lines.join("\n"))
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(exit: ExitCode) -> Self {
        Self::from(exit.code())
    }
}
