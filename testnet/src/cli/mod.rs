//! The `tagma-testnet` command line: what can be asked, and how errors are told.

mod byz;
mod disk;
mod look;
mod manage;
mod net;
mod run;
mod up;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tagma_sim::command::SimArguments;

pub(crate) use look::print_json;

use crate::byzantine::Order;
use crate::error::Error;
use crate::layout::{DEFAULT_DIRECTORY, Layout};
use crate::network::Network;
use crate::process::{Lifetime, Programs};
use crate::{bench, byzantine, demo, matrix, process, torture};

const EXIT_CODES: &str = "Exit codes: 0 ok · 1 internal · 2 usage · 3 config, genesis or ports · 4 no answer · \
                          5 timeout, outcome unknown · 8 degraded · 9 divergence or an unexpected verdict · 130/143 signals";

/// Runs networks of real tagma nodes on this machine, and tries them.
#[derive(Parser)]
#[command(name = "tagma-testnet", version, about, after_help = EXIT_CODES)]
struct Cli {
    /// The directory of the network
    #[arg(long, global = true, env = "TAGMA_HOME", default_value = DEFAULT_DIRECTORY)]
    dir: PathBuf,
    /// How to print what is looked at
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Start a network and say when it is really ready; Ctrl-C stops it
    Up(up::UpArgs),
    /// List the nodes and their processes
    Ps,
    /// Show what every node says of itself
    Status {
        /// Again every second, until Ctrl-C
        #[arg(long)]
        watch: bool,
    },
    /// Print a node's log
    Logs {
        /// Go on as it grows, until Ctrl-C
        #[arg(short, long)]
        follow: bool,
        /// n0, 0 or primary
        node: NodeName,
    },
    /// Kill a node at once (SIGKILL)
    Kill(Disturbance),
    /// Stop a node in good order (SIGTERM)
    Stop(Disturbance),
    /// Start a node that is down
    Start {
        /// n0 or 0
        node: NodeName,
    },
    /// Stop a node in good order and start it again
    Restart {
        /// n0, 0 or primary
        node: NodeName,
    },
    /// Freeze a node (SIGSTOP)
    Pause(Disturbance),
    /// Let a frozen node go on (SIGCONT)
    Resume {
        /// n0 or 0
        node: NodeName,
    },
    /// Remove all data of a node that is down; its keys stay
    Wipe {
        /// n0 or 0
        node: NodeName,
    },
    /// Stop all nodes in good order; their data stays
    Down,
    /// Remove the network and all its data
    Clean {
        /// Without asking
        #[arg(long)]
        yes: bool,
    },
    /// Compare heights, headers, state roots and balances of all nodes
    Check(CheckArgs),
    /// Make running nodes lie
    Byz(byz::ByzArgs),
    /// Take the room from a node's disk, give it back, or make it slow
    Disk(disk::DiskArgs),
    /// Make links between nodes lose, delay, double or reorder packets, or carry nothing at all
    Net(net::NetArgs),
    /// Play scenarios: things that happen to a network, and what must hold all the same
    Run(run::RunArgs),
    /// Play a recording again in the simulator, and see whether it ends as it did
    Replay {
        /// What `run --record` wrote
        trace: PathBuf,
    },
    /// Tell a story step by step, ending in a verdict
    Demo(demo::DemoArgs),
    /// Kill the primary again and again under load, and see whether anything acknowledged is lost
    Torture(torture::TortureArgs),
    /// Simulate whole networks with every kind of fault, much faster than real time; a run is its seed
    Sim(SimArguments),
    /// Measure
    Bench(bench::BenchArgs),
    /// Run a node that does what it is ordered to do: how the other commands start traitors
    #[command(hide = true)]
    Traitor(tagma_node::cli::HomeArgs),
    /// Carry the links between nodes: how the other commands start that
    #[command(hide = true)]
    Links {
        #[arg(long)]
        seed: u64,
    },
    /// Become a node's process: how the other commands start nodes
    #[command(hide = true)]
    Hold {
        #[arg(long)]
        parent: Option<u32>,
        #[arg(long)]
        nice: Option<u8>,
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
}

#[derive(Args)]
struct Disturbance {
    /// n0, 0 or primary
    node: NodeName,
    /// Undo it after this time, e.g. 10s or 500ms
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    lasting: Option<Duration>,
}

#[derive(Args)]
struct CheckArgs {
    /// How long nodes may take to become equal
    #[arg(long, default_value = "10s", value_parser = duration)]
    patience: Duration,
    /// Also say who can be proved faulty, from the stores and transcripts of all nodes
    #[arg(long)]
    audit: bool,
    /// Only audit, as the homes are: nodes need not run
    #[arg(long)]
    offline: bool,
    /// Write the evidence of the audit into files of this directory
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
}

/// How a person names a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeName {
    Number(u16),
    Primary,
}

impl std::str::FromStr for NodeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "primary" {
            return Ok(Self::Primary);
        }
        let digits = text.strip_prefix('n').unwrap_or(text);
        digits
            .parse()
            .map(Self::Number)
            .map_err(|_| format!("{text:?} is no node: expected n0, 0 or primary"))
    }
}

/// "500ms", "10s" or "2m".
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: expected for example 500ms, 10s or 2m");
    let split = text
        .find(|letter: char| !letter.is_ascii_digit())
        .ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        _ => Err(wrong()),
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // A node has a log of its own.
    if !matches!(cli.command, Command::Traitor(_)) {
        start_log();
    }
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TAGMA_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}

fn run(cli: Cli) -> Result<(), Error> {
    let layout = Layout::new(cli.dir);
    let open = || Network::open(layout.clone(), Programs::find()?, Lifetime::Detached);
    match cli.command {
        Command::Up(args) => up::up(layout, &args),
        Command::Ps => look::ps(&mut open()?, cli.output),
        Command::Status { watch } => look::status(&open()?, cli.output, watch),
        Command::Logs { follow, node } => look::logs(&open()?, node, follow),
        Command::Kill(what) => manage::kill(&mut open()?, &what),
        Command::Stop(what) => manage::stop(&mut open()?, &what),
        Command::Start { node } => manage::start(&mut open()?, node),
        Command::Restart { node } => manage::restart(&mut open()?, node),
        Command::Pause(what) => manage::pause(&mut open()?, &what),
        Command::Resume { node } => manage::resume(&mut open()?, node),
        Command::Wipe { node } => manage::wipe(&mut open()?, node),
        Command::Down => manage::down(&mut open()?),
        Command::Clean { yes } => manage::clean(layout, yes),
        Command::Check(args) => look::check(&open()?, &args, cli.output),
        Command::Byz(args) => match args.what {
            byz::What::Set {
                node,
                name,
                when,
                allow_beyond_f,
            } => {
                let order = Order {
                    behaviour: name,
                    when,
                };
                byz::set(&mut open()?, node, &order, allow_beyond_f)
            }
            byz::What::Clear { node } => byz::clear(&mut open()?, node),
            byz::What::List => byz::list(cli.output),
            byz::What::Matrix(args) => block_on(matrix::run(&args, cli.output == Format::Json)),
        },
        Command::Traitor(home) => byzantine::traitor::run(&home),
        Command::Disk(args) => disk::run(&mut open()?, &args),
        Command::Net(args) => net::run(&mut open()?, &args, cli.output),
        Command::Links { seed } => block_on(crate::net::control::serve(&layout, seed)),
        Command::Run(args) => run::run(&args, cli.output),
        Command::Replay { trace } => run::replay(&trace),
        Command::Demo(args) => demo::run(&args),
        Command::Torture(args) => torture::run(&args),
        Command::Sim(args) => simulate(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Hold {
            parent,
            nice,
            program,
        } => Err(Error::io(
            "run",
            std::path::Path::new("tagma-node"),
            process::hold(parent, nice, &program),
        )),
    }
}

/// Runs seeds in the simulator.
fn simulate(args: &SimArguments) -> Result<(), Error> {
    args.check()
        .map_err(|error| Error::usage(error.to_string(), "leave --nodes out and each seed draws it"))?;
    let clean = args
        .run("tagma-testnet sim", &mut std::io::stdout())
        .map_err(|source| Error::io("write to", std::path::Path::new("standard output"), source))?;
    if clean {
        Ok(())
    } else {
        Err(Error::Verdict("a promise was broken in a simulated run".into()))
    }
}

/// Runs `future` on a runtime of its own. Processes started in it are children of the calling thread, which the kernel takes
/// for their parent.
///
/// # Errors
/// Those of `future`, and if the system gives no threads.
pub fn block_on<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::io("start", std::path::Path::new("runtime"), source))?;
    let result = runtime.block_on(future);
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// The number of a node that a person named.
///
/// # Errors
/// If there is no such node, or nobody can say who the primary is.
fn resolve(network: &Network, name: NodeName) -> Result<u16, Error> {
    match name {
        NodeName::Primary => block_on(network.primary()),
        NodeName::Number(node) if network.genesis().replica(node).is_some() => Ok(node),
        NodeName::Number(node) => Err(Error::usage(
            format!("there is no node n{node}"),
            format!(
                "nodes are n0 to n{}",
                network.genesis().replica_count().saturating_sub(1)
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn nodes_and_durations_are_read_as_people_write_them() {
        assert_eq!("n12".parse(), Ok(NodeName::Number(12)));
        assert_eq!("3".parse(), Ok(NodeName::Number(3)));
        assert_eq!("primary".parse(), Ok(NodeName::Primary));
        assert!("m3".parse::<NodeName>().is_err());
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("10").is_err() && duration("s").is_err() && duration("1h").is_err());
    }
}
