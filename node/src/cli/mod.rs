//! The commands of `tagma-node`.

mod config;
mod init;
mod inspect;
mod keys;
mod offline;
mod start;
mod status;
mod verify;

pub use inspect::{RecordedFault, recorded_faults};
pub use start::start_behind;

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Layered, Layers};
use crate::exit::{Exit, Failure, HELP};
use crate::home::Home;

/// One replica of a Tagma network.
#[derive(Parser)]
#[command(name = "tagma-node", version, about, after_help = HELP, after_long_help = HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a replica's home: genesis, keys, settings, and a store that has never voted. Never overwrites.
    Init(init::Args),
    /// Run the replica of a home until SIGTERM or SIGINT. SIGHUP has it read the addresses of the other replicas again.
    Start {
        #[command(flatten)]
        home: HomeArgs,
    },
    /// Ask the running replica of a home how it is.
    Status {
        #[command(flatten)]
        home: HomeArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Look into the data of a replica that is not running; changes nothing.
    #[command(subcommand)]
    Inspect(inspect::Command),
    /// Check the whole chain of a replica that is not running: execute every block again from genesis, and check every
    /// certificate.
    Verify {
        #[command(flatten)]
        home: HomeArgs,
    },
    /// Check or show the settings.
    #[command(subcommand)]
    Config(config::Command),
    /// Make or show the keys of a home.
    #[command(subcommand)]
    Keys(keys::Command),
}

/// Which home, and settings above those in it.
#[derive(Args, Clone, Debug)]
pub struct HomeArgs {
    /// The replica's home directory.
    #[arg(long, env = "TAGMA_HOME", value_name = "DIR")]
    home: PathBuf,
    /// A setting, above environment and file; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl HomeArgs {
    /// A home with no settings but its own.
    pub fn of(home: impl Into<PathBuf>) -> Self {
        Self {
            home: home.into(),
            set: Vec::new(),
        }
    }

    fn home(&self) -> Home {
        Home::new(&self.home)
    }

    fn layered(&self) -> Result<Layered, Failure> {
        let layers = Layers::of_process(self.home().config(), self.set.clone());
        layers.load().map_err(Failure::with(Exit::Config))
    }

    fn config(&self) -> Result<Config, Failure> {
        Ok(self.layered()?.config)
    }
}

/// How a result is written to stdout.
#[derive(Args, Clone, Copy)]
struct OutputArgs {
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Runs the command line of this process and says how it ended.
pub fn main() -> Exit {
    abort_on_panic();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results, everything else is a mistake; clap knows where each is printed. Nobody is
            // left to be told if even that fails.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Ok,
                _ => Exit::Usage,
            };
        }
    };
    let done = match cli.command {
        Command::Init(args) => init::run(&args),
        Command::Start { home } => start::run(&home),
        Command::Status { home, output } => status::run(&home, output.output),
        Command::Inspect(command) => inspect::run(&command),
        Command::Verify { home } => verify::run(&home),
        Command::Config(command) => config::run(&command),
        Command::Keys(command) => keys::run(&command),
    };
    conclude(done)
}

/// From here on a panic of any thread ends the process: a replica that lost one of its parts must not look alive.
pub fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        print(info);
        std::process::abort();
    }));
}

/// Tells on stderr why a command failed, if it did, and gives the code to end with.
fn conclude(done: Result<(), Failure>) -> Exit {
    match done {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            eprintln!("error: {failure}");
            if let Some(hint) = &failure.hint {
                eprintln!("hint: {hint}");
            }
            failure.exit
        }
    }
}

/// Writes a result to stdout. A reader that has gone away, as `head` does, is no failure.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::Internal,
            format!("cannot write to stdout: {error}"),
        )),
        _ => Ok(()),
    }
}
