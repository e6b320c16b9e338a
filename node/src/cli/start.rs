//! `tagma-node start`

use std::sync::Arc;

use nix::sys::signal::Signal;
use tagma_ledger::Genesis;
use tagma_wire::PeerInfo;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{HomeArgs, print};
use crate::config::{Log, LogFormat};
use crate::driver::{Interposer, Node, NodeSetup};
use crate::exit::{Exit, Failure};
use crate::home::Home;

/// A filter of this name goes before the one in the settings.
const LOG_VARIABLE: &str = "TAGMA_LOG";

pub(super) fn run(args: &HomeArgs) -> Result<(), Failure> {
    run_with(args, |_| Ok(None))
}

/// As `tagma-node start` in all that can be seen of the process, with somebody between the replica and its sockets, whom
/// `interposer` makes of what the replica is started with.
///
/// # Errors
/// Those of `interposer`, and if the replica cannot start.
pub fn start_behind(
    args: &HomeArgs,
    interposer: impl FnOnce(&NodeSetup) -> Result<Arc<dyn Interposer>, Failure>,
) -> Result<(), Failure> {
    run_with(args, |setup| interposer(setup).map(Some))
}

fn run_with(
    args: &HomeArgs,
    interposer: impl FnOnce(&NodeSetup) -> Result<Option<Arc<dyn Interposer>>, Failure>,
) -> Result<(), Failure> {
    let setup = NodeSetup::load(args.home(), args.config()?)?;
    log_to_stderr(&setup.config.log)?;
    let interposer = interposer(&setup)?;
    // For signals and HTTP; the replica has a thread of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::with(Exit::Internal))?;
    runtime.block_on(serve(args, setup, interposer))
}

async fn serve(
    args: &HomeArgs,
    setup: NodeSetup,
    interposer: Option<Arc<dyn Interposer>>,
) -> Result<(), Failure> {
    // Before anything is opened, so that an early signal is not lost.
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::with(Exit::Internal))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::with(Exit::Internal))?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(Failure::with(Exit::Internal))?;
    // A limit on the size of files is a disk without room: the write fails and says why, where the signal would kill.
    let _file_size =
        signal(SignalKind::from_raw(Signal::SIGXFSZ as i32)).map_err(Failure::with(Exit::Internal))?;
    let home = setup.home.clone();
    let genesis = Arc::clone(&setup.genesis);
    let chain = genesis.chain_id();
    let node = match interposer {
        None => Node::start(setup).await?,
        Some(interposer) => Node::start_behind(setup, interposer).await?,
    };
    let addresses = node.addresses().map_err(Failure::with(Exit::Internal))?;
    let (peers, clients, http) = addresses;
    let id = node.id();
    write_endpoints(
        &home,
        &format!(
            "pid = {}\npeers = \"{peers}\"\nclients = \"{clients}\"\nhttp = \"{http}\"\n",
            std::process::id()
        ),
    )?;
    tracing::info!(replica = %id, %chain, %peers, %clients, %http, "started");
    print(&format!(
        "ready replica={} chain={chain} peers={peers} clients={clients} http={http}\n",
        id.get()
    ))?;
    let name = loop {
        tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            _ = hang_up.recv() => match peers_again(args, &genesis) {
                Ok(peers) => {
                    tracing::info!(signal = "SIGHUP", "read the addresses of the other replicas again");
                    node.move_peers(&peers);
                }
                Err(error) => tracing::error!(%error, "kept the addresses of the other replicas"),
            },
        }
    };
    tracing::info!(signal = name, "stopping");
    node.stop("the replica is stopping").await;
    // What it says is not true any more; a file that is gone already is as good.
    let _ = std::fs::remove_file(home.endpoints());
    tracing::info!("stopped");
    Ok(())
}

/// Where the other replicas are by the settings as they are now. No other setting can change while a replica runs.
fn peers_again(args: &HomeArgs, genesis: &Genesis) -> Result<Vec<PeerInfo>, Failure> {
    let config = args.config()?;
    config.check(genesis).map_err(Failure::with(Exit::Config))?;
    config.peer_infos(genesis).map_err(Failure::with(Exit::Config))
}

fn write_endpoints(home: &Home, text: &str) -> Result<(), Failure> {
    std::fs::create_dir_all(home.run())
        .and_then(|()| std::fs::write(home.endpoints(), text))
        .map_err(|error| {
            Failure::new(
                Exit::Internal,
                format!("cannot write {}: {error}", home.endpoints().display()),
            )
        })
}

fn log_to_stderr(log: &Log) -> Result<(), Failure> {
    let text = std::env::var(LOG_VARIABLE).unwrap_or_else(|_| log.filter.clone());
    let filter = EnvFilter::try_new(&text)
        .map_err(|error| Failure::new(Exit::Config, format!("log filter {text:?}: {error}")))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    let installed = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    installed.map_err(|error| Failure::new(Exit::Internal, error))
}
