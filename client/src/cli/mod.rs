//! The command line: what can be asked for, and how it ends.

mod account;
mod batch;
mod context;
mod duration;
mod evidence;
mod failure;
mod output;
mod reads;
mod receipts;
mod status;
mod submit;
mod verdicts;
mod wording;

use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use tagma_client::ExitCode;
use tagma_crypto::Digest;
use tokio::signal::unix::{SignalKind, signal};

use context::Context;
use failure::Failure;
use output::Format;

/// The client of a Tagma network: it believes what f + 1 replicas say alike.
#[derive(Parser, Debug)]
#[command(name = "tagma", version, after_help = ExitCode::help(), arg_required_else_help = true)]
pub(crate) struct Args {
    /// What the options common to all commands say.
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Options of all commands.
#[derive(clap::Args, Debug)]
pub(crate) struct Common {
    /// The genesis file [default: genesis.json of the home].
    #[arg(long, global = true, env = "TAGMA_GENESIS", value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// The directory of genesis, accounts and pending requests [default: the genesis file's, or the nearest .testnet/
    /// here or above].
    #[arg(long, global = true, env = "TAGMA_HOME", value_name = "DIR")]
    home: Option<PathBuf>,
    /// The form of the output.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// The longest time for the network to answer, as "500ms" or "10s".
    #[arg(long, global = true, value_parser = duration::parse, default_value = "10s", value_name = "DURATION")]
    timeout: Duration,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make, list, import and show accounts.
    #[command(subcommand, after_help = ExitCode::help())]
    Account(AccountCommand),
    /// Pay AMOUNT from one account to another.
    #[command(after_help = ExitCode::help())]
    Transfer(TransferArgs),
    /// Pay many: lines of "FROM TO AMOUNT" from a file, or from stdin if it is "-".
    #[command(after_help = ExitCode::help())]
    Batch(BatchArgs),
    /// What an account has.
    #[command(after_help = ExitCode::help())]
    Balance(BalanceArgs),
    /// The block of a height.
    #[command(after_help = ExitCode::help())]
    Block {
        /// The height; 0 is genesis.
        height: u64,
    },
    /// What became of a request.
    #[command(subcommand, after_help = ExitCode::help())]
    Tx(TxCommand),
    /// Whether files are receipts of executed requests, from genesis alone: 0 if all are, 7 if one is not.
    #[command(after_help = ExitCode::help())]
    Verify {
        /// The files that `tx receipt` has written.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Provable faults of replicas: list them, take them away, verify them offline.
    #[command(subcommand, after_help = ExitCode::help())]
    Evidence(EvidenceCommand),
    /// How each replica is, in its own words.
    #[command(after_help = ExitCode::help())]
    Status,
    /// Whether the network works: 0 if so, 8 if it does with less than required, 4 if no quorum is there.
    #[command(after_help = ExitCode::help())]
    Health {
        /// What must work.
        #[arg(long, value_enum, default_value_t = Require::Quorum)]
        require: Require,
    },
    /// The completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Subcommand, Debug)]
enum AccountCommand {
    /// Make a new key.
    New {
        /// The account's name here.
        name: String,
    },
    /// The keys here.
    List,
    /// Keep a key of elsewhere under a name.
    Import {
        /// The account's name here.
        name: String,
        /// A key file, or "-" to read the 64 hex digits of the seed from stdin.
        file: PathBuf,
    },
    /// An account's key, and where it is kept.
    Show {
        /// A name, or 64 hex digits.
        account: String,
    },
}

#[derive(clap::Args, Debug)]
struct TransferArgs {
    /// Who pays: the name of a key here.
    from: String,
    /// Who receives: a name, or 64 hex digits.
    to: String,
    /// How much.
    amount: u64,
    /// What to wait for.
    #[arg(long, value_enum, default_value_t = Wait::Committed)]
    wait: Wait,
    /// The nonce [default: the account's next].
    #[arg(long)]
    nonce: Option<u64>,
    /// For how many blocks from now the request may be executed.
    #[arg(long, default_value_t = submit::EXPIRES_IN, value_name = "BLOCKS")]
    expires_in: u64,
}

#[derive(clap::Args, Debug)]
struct BatchArgs {
    /// The file, or "-".
    file: PathBuf,
    /// The most requests in flight.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: u16,
}

#[derive(clap::Args, Debug)]
struct BalanceArgs {
    /// A name, or 64 hex digits.
    account: String,
    /// How to read.
    #[arg(long, value_enum, default_value_t = Read::Latest)]
    read: Read,
    /// The least height of the answer: give the height of what you have seen to see nothing older.
    #[arg(long, default_value_t = 0, value_name = "HEIGHT")]
    min_height: u64,
    /// Who signs an ordered read: the name of a key here [default: the account read].
    #[arg(long, value_name = "ACCOUNT")]
    signer: Option<String>,
}

#[derive(Subcommand, Debug)]
enum TxCommand {
    /// What f + 1 replicas know of it now.
    Status {
        /// The request's hash.
        hash: Digest,
    },
    /// Wait for its outcome; a request that is kept here is sent again, which cannot pay twice.
    Wait {
        /// The request's hash.
        hash: Digest,
    },
    /// Write a file that proves to everybody that it was executed, and with which outcome.
    Receipt {
        /// The request's hash.
        hash: Digest,
        /// The file, which must not be there yet; "-" is stdout [default: the first 8 digits of the hash, and .json].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Subcommand, Debug)]
enum EvidenceCommand {
    /// What the replicas can prove of each other; each proof is fetched and verified before it is shown.
    List,
    /// Write what the replicas can prove into files.
    Export {
        /// The directory; it is made if it is not there.
        dir: PathBuf,
    },
    /// Whether files prove a fault, from genesis alone: 0 if all do, 7 if one does not.
    Verify {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// What a transfer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wait {
    /// f + 1 replicas have received it.
    None,
    /// f + 1 replicas report the same outcome.
    Committed,
    /// The same, and write its receipt into a file here.
    Receipt,
}

/// How to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Read {
    /// What f + 1 replicas say alike now; may be stale.
    Latest,
    /// Through the agreement, linearizable; consumes a nonce of the signer.
    Ordered,
}

/// What `health` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Require {
    /// 2f + 1 replicas.
    Quorum,
    /// All replicas.
    All,
}

/// Runs a command to its exit code.
pub(crate) fn run(args: Args) -> ExitCode {
    if let Command::Completions { shell } = args.command {
        clap_complete::generate(shell, &mut Args::command(), "tagma", &mut std::io::stdout());
        return ExitCode::Ok;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::internal(format!("no runtime: {error}")).report(),
    };
    runtime.block_on(async {
        let result = tokio::select! {
            result = dispatch(&args) => result,
            exit = stopped() => exit,
        };
        result.unwrap_or_else(Failure::report)
    })
}

async fn dispatch(args: &Args) -> Result<ExitCode, Failure> {
    let common = &args.common;
    match &args.command {
        Command::Account(command) => account::run(command, common),
        Command::Transfer(transfer) => submit::transfer(transfer, Context::open(common)?).await,
        Command::Batch(batch) => batch::run(batch, Context::open(common)?).await,
        Command::Balance(balance) => reads::balance(balance, Context::open(common)?).await,
        Command::Block { height } => reads::block(*height, Context::open(common)?).await,
        Command::Tx(TxCommand::Status { hash }) => reads::tx_status(hash, Context::open(common)?).await,
        Command::Tx(TxCommand::Wait { hash }) => submit::wait(hash, Context::open(common)?).await,
        Command::Tx(TxCommand::Receipt { hash, out }) => {
            receipts::receipt(hash, out.as_deref(), Context::open(common)?).await
        }
        Command::Verify { files } => receipts::verify_files(files, common),
        Command::Evidence(command) => evidence::run(command, common).await,
        Command::Status => status::status(Context::open(common)?).await,
        Command::Health { require } => status::health(*require, Context::open(common)?).await,
        // Answered before a runtime was made.
        Command::Completions { .. } => Ok(ExitCode::Ok),
    }
}

/// Waits for a signal to stop.
async fn stopped() -> Result<ExitCode, Failure> {
    let unusable = |error| Failure::internal(format!("cannot listen for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unusable)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(unusable)?;
    let exit = tokio::select! {
        _ = interrupt.recv() => ExitCode::Interrupted,
        _ = terminate.recv() => ExitCode::Terminated,
    };
    Err(Failure::new(exit, exit.meaning()).hint(
        "the outcome of what was sent is unknown: `tagma tx wait HASH` finds out, and cannot pay twice",
    ))
}
