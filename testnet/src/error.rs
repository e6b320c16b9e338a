//! What can go wrong with a network of processes, with the exit code and the way out of each.

use std::io;
use std::path::{Path, PathBuf};

use tagma_crypto::KeyFileError;
use tagma_ledger::GenesisError;

/// Why a command about a network failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command was asked for something that does not exist or contradicts itself.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do instead.
        hint: String,
    },
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: "create", "read", …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// There is no network where one was expected.
    #[error("there is no network in {}", path.display())]
    NoNetwork {
        /// The directory.
        path: PathBuf,
    },
    /// The network runs already.
    #[error("the network in {} is running already: {}", path.display(), running.join(", "))]
    Running {
        /// The directory.
        path: PathBuf,
        /// The nodes that run, with their process ids.
        running: Vec<String>,
    },
    /// Another command is working on the network.
    #[error("another tagma-testnet is working on {}", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// The genesis of the network is not valid.
    #[error("genesis: {0}")]
    Genesis(#[from] GenesisError),
    /// A key could not be read or written.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A port that a replica needs is taken.
    #[error("{}", .taken.join("\n"))]
    PortsTaken {
        /// One line a port, with its holder where the system tells.
        taken: Vec<String>,
    },
    /// No block of free ports was found.
    #[error("no {wanted} free ports in a row were found")]
    NoFreePorts {
        /// How many were looked for.
        wanted: u32,
    },
    /// A program that belongs to this one is not next to it.
    #[error("there is no {name} at {}", path.display())]
    NoProgram {
        /// The program.
        name: &'static str,
        /// Where it should be.
        path: PathBuf,
    },
    /// A replica's process ended where it should not have.
    #[error("n{node} {what}\n{log}")]
    NodeEnded {
        /// The replica.
        node: u16,
        /// What became of it.
        what: String,
        /// The last lines of its log.
        log: String,
    },
    /// Something did not happen within its bound.
    #[error("{what} did not happen within {seconds} s: {state}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// How far it had come.
        state: String,
    },
    /// A replica runs and follows, and has no vote: it cannot become ready.
    #[error("n{node} runs, but does not vote: {standing}")]
    NotVoting {
        /// The replica.
        node: u16,
        /// What it is instead, in its own words.
        standing: String,
    },
    /// A signal could not be sent.
    #[error("cannot signal n{node} (pid {pid}): {source}")]
    Signal {
        /// The replica.
        node: u16,
        /// Its process.
        pid: i32,
        /// The operating system's error.
        source: nix::Error,
    },
    /// A replica that runs in this process failed.
    #[error(transparent)]
    Replica(#[from] tagma_node::exit::Failure),
    /// A replica did not answer a question, or not to the point.
    #[error("n{node} does not answer: {reason}")]
    NoAnswer {
        /// The replica.
        node: u16,
        /// Why.
        reason: String,
    },
    /// The client library could not do what was asked of it.
    #[error("client: {message}")]
    Client {
        /// Its report.
        message: String,
        /// Its exit code (interface.md).
        code: u8,
    },
    /// Nodes are missing or behind.
    #[error("degraded: {0}")]
    Degraded(String),
    /// Nodes contradict each other, or a story ended otherwise than it must.
    #[error("unexpected verdict: {0}")]
    Verdict(String),
    /// A system that Tagma is compared with failed.
    #[error("{system}: {what}")]
    Compared {
        /// Which.
        system: &'static str,
        /// How.
        what: String,
    },
    /// A measurement that measured nothing.
    #[error("nothing was measured: {0}")]
    NothingMeasured(String),
    /// The command was interrupted.
    #[error("interrupted")]
    Interrupted {
        /// The signal's number.
        signal: u8,
    },
}

impl Error {
    /// An [`Error::Io`].
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// An [`Error::Usage`].
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage {
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// The exit code of the command that ends with this.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } | Self::NoNetwork { .. } | Self::Running { .. } | Self::Busy { .. } => 2,
            Self::Genesis(_) | Self::Key(_) | Self::PortsTaken { .. } | Self::NoFreePorts { .. } => 3,
            Self::NoAnswer { .. } => 4,
            Self::Client { code, .. } => *code,
            Self::Replica(failure) => failure.exit as u8,
            Self::Degraded(_) | Self::NotVoting { .. } => 8,
            Self::Verdict(_) => 9,
            Self::Interrupted { signal } => 128_u8.saturating_add(*signal),
            Self::Io { .. }
            | Self::NoProgram { .. }
            | Self::NodeEnded { .. }
            | Self::Timeout { .. }
            | Self::Signal { .. }
            | Self::Compared { .. }
            | Self::NothingMeasured(_) => 1,
        }
    }

    /// What to do next, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. } => Some(hint.clone()),
            Self::Replica(failure) => failure.hint.clone(),
            Self::NoNetwork { path } => Some(format!("tagma-testnet up --dir {}", path.display())),
            Self::Running { path, .. } => Some(format!(
                "look with `tagma-testnet ps --dir {0}`, stop it with `tagma-testnet down --dir {0}`",
                path.display()
            )),
            Self::Busy { .. } => Some("wait until it has ended, or end it with Ctrl-C".to_owned()),
            Self::PortsTaken { .. } => {
                Some("choose other ports with `--base-port P` or `--base-port auto`".to_owned())
            }
            Self::NoProgram { .. } => Some("build all programs: cargo build --workspace".to_owned()),
            Self::NotVoting { standing, .. } if standing == "learner" => Some(
                "its data does not hold what its key has signed, so it follows, serves reads, and signs nothing; \
                 the only way back to voting is a new key"
                    .to_owned(),
            ),
            Self::NotVoting { node, .. } => Some(format!("tagma-testnet logs n{node}")),
            Self::NoAnswer { node, .. } => Some(format!("tagma-testnet logs n{node}")),
            Self::Degraded(_) => Some("tagma-testnet ps, then tagma-testnet start NODE".to_owned()),
            _ => None,
        }
    }
}
