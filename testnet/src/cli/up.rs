//! `up`: a network from nothing, or the one that is there, until it is of use; and what stays in front of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use tagma_ledger::Parameters;

use super::block_on;
use super::manage::{report_ended, report_killed};
use crate::error::Error;
use crate::interrupt::Interrupts;
use crate::layout::Layout;
use crate::network::{DirectoryLock, GRACE, Network, READY, temporary_directory};
use crate::payments::Payer;
use crate::plan::{ACCOUNT_NAMES, DEFAULT_BASE_PORT, Extras, INITIAL_BALANCE, Marker, Plan, check_size};
use crate::ports::Lease;
use crate::process::{Activity, Lifetime, Programs};

/// Between two looks at the nodes while they run.
const LOOK: Duration = Duration::from_millis(250);
/// How long the probe transfer may take.
const PROBE: Duration = Duration::from_secs(30);

/// What `up` can be asked for.
#[derive(Args)]
pub(super) struct UpArgs {
    /// How many replicas: 4, 7, 10, … = 3f + 1 [default: 4, or as many as the network has]
    #[arg(short = 'n', long)]
    replicas: Option<u16>,
    /// Come back when the network is ready and leave it running
    #[arg(long)]
    detach: bool,
    /// The first port; each replica takes three of the next ten [default: 7400]
    #[arg(long, value_name = "PORT|auto", value_parser = base_port)]
    base_port: Option<BasePort>,
    /// In a directory of its own that is removed in the end
    #[arg(long, conflicts_with = "detach")]
    ephemeral: bool,
    /// Make all keys from this number: the same seed and ports give the same chain id
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Clone, Copy)]
enum BasePort {
    Auto,
    At(u16),
}

fn base_port(text: &str) -> Result<BasePort, String> {
    if text == "auto" {
        return Ok(BasePort::Auto);
    }
    match text.parse() {
        Ok(port) if port > 0 => Ok(BasePort::At(port)),
        _ => Err("expected a port from 1 to 65535, or auto".to_owned()),
    }
}

pub(super) fn up(layout: Layout, args: &UpArgs) -> Result<(), Error> {
    if let Some(replicas) = args.replicas {
        check_size(replicas)?;
    }
    let (layout, _ephemeral) = if args.ephemeral {
        let directory = temporary_directory()?;
        (Layout::new(directory.path()), Some(directory))
    } else {
        (layout, None)
    };
    let _lock = DirectoryLock::take(&layout)?;
    let lifetime = if args.detach {
        Lifetime::Detached
    } else {
        Lifetime::WithParent
    };
    let (mut network, _lease) = prepare(layout, args, lifetime)?;
    network.refuse_running()?;
    // Links that were left behind may be cut.
    network.stop_links()?;

    block_on(async {
        let mut interrupts = Interrupts::listen()?;
        let mut outcome = interrupts.unless(bring_up(&mut network)).await;
        if outcome.is_ok() {
            if args.detach {
                return Ok(());
            }
            outcome = attend(&mut network, &mut interrupts).await;
        }
        if matches!(outcome, Err(Error::Interrupted { .. })) {
            eprintln!("stopping …");
        }
        let nodes = network.nodes();
        report_killed(&network.stop(&nodes, GRACE)?);
        network.stop_links()?;
        outcome
    })
}

/// The network in the directory, or a new one.
fn prepare(layout: Layout, args: &UpArgs, lifetime: Lifetime) -> Result<(Network, Option<Lease>), Error> {
    let programs = Programs::find()?;
    if layout.genesis().exists() {
        refuse_other(&layout, args)?;
        eprintln!("continuing the network in {}", layout.root().display());
        return Ok((Network::open(layout, programs, lifetime)?, None));
    }
    let replicas = args.replicas.unwrap_or(4);
    let lease = match args.base_port {
        Some(BasePort::Auto) => Some(Lease::find(replicas)?),
        _ => None,
    };
    let base_port = match (&lease, args.base_port) {
        (Some(lease), _) => lease.base,
        (None, Some(BasePort::At(port))) => port,
        _ => DEFAULT_BASE_PORT,
    };
    eprintln!("making keys, genesis and homes in {}", layout.root().display());
    let plan = Plan {
        replicas,
        seed: args.seed,
        base_port,
        parameters: Parameters::default(),
        extras: Extras::default(),
    };
    Ok((Network::create(layout, &plan, programs, lifetime)?, lease))
}

/// A network that exists cannot be made differently.
fn refuse_other(layout: &Layout, args: &UpArgs) -> Result<(), Error> {
    let marker = Marker::load(layout)?;
    let differs = |what: &str, has: String| {
        Err(Error::usage(
            format!("the network in {} {what} {has}", layout.root().display()),
            format!(
                "leave that out to continue it, remove it with tagma-testnet clean --dir {}, or choose another --dir",
                layout.root().display()
            ),
        ))
    };
    if args.replicas.is_some_and(|replicas| replicas != marker.replicas) {
        return differs("has", format!("{} replicas", marker.replicas));
    }
    if args.seed.is_some() && args.seed != marker.seed {
        return differs(
            "was made",
            marker
                .seed
                .map_or("without a seed".to_owned(), |seed| format!("from seed {seed}")),
        );
    }
    if args.base_port.is_some() {
        return differs("has", "its ports in genesis".to_owned());
    }
    Ok(())
}

/// Starts everything and tells when it is of use: all connected, and one transfer committed.
async fn bring_up(network: &mut Network) -> Result<(), Error> {
    network.start_all()?;
    let nodes = network.nodes();
    network.wait_ready(&nodes, READY).await?;
    let mut payer = Payer::new(network)?;
    // From an account to itself: it goes the way of every transfer, and leaves all balances as they were.
    let began = Instant::now();
    payer.pay("carol", "carol", 1, PROBE).await?;
    let took = began.elapsed();
    let primary = network.primary().await?;
    announce(network, primary, took);
    Ok(())
}

fn announce(network: &mut Network, primary: u16, probe: Duration) {
    let genesis = network.genesis().clone();
    let (n, f) = (genesis.replica_count(), network.faults());
    println!(
        "chain {}   n={n} f={f} quorum={}   genesis {}",
        genesis.chain_name,
        2 * f + 1,
        short(&genesis.chain_id().to_string())
    );
    for replica in genesis.replicas.iter() {
        let role = if replica.id == primary {
            "PRIMARY"
        } else {
            "backup "
        };
        let pid = network
            .activity(replica.id)
            .pid()
            .map_or_else(|| "?".to_owned(), |pid| pid.to_string());
        println!(
            "n{} {role}  quic {}  clients :{}  http :{}  pid {pid}",
            replica.id,
            replica.peer_address,
            port(&replica.client_address),
            port(&replica.http_address)
        );
    }
    println!(
        "accounts   {}, {INITIAL_BALANCE} each (unsafe development keys: {})",
        ACCOUNT_NAMES.join(" "),
        network.layout().accounts().display()
    );
    println!(
        "✔ ready: {n}/{n} connected, one probe transfer committed in {:.1} ms",
        probe.as_secs_f64() * 1000.0
    );
    println!("next: tagma transfer alice bob 25 | tagma-testnet demo | tagma-testnet down");
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(_, port)| port)
}

/// The first and last digits of a long one.
fn short(digits: &str) -> String {
    match (digits.get(..4), digits.get(digits.len().saturating_sub(2)..)) {
        (Some(first), Some(last)) => format!("{first}…{last}"),
        _ => digits.to_owned(),
    }
}

/// Stays with the network until a signal, or until it was stopped by another command. Tells of nodes that end by
/// themselves, or are started again.
async fn attend(network: &mut Network, interrupts: &mut Interrupts) -> Result<(), Error> {
    let nodes = network.nodes();
    let mut before: BTreeMap<u16, Activity> = nodes
        .iter()
        .map(|node| (*node, network.activity(*node)))
        .collect();
    loop {
        tokio::select! {
            signal = interrupts.next() => return Err(Error::Interrupted { signal }),
            () = tokio::time::sleep(LOOK) => {}
        }
        if nodes.iter().all(|node| !network.layout().pid(*node).exists()) {
            eprintln!("the network was stopped");
            return Ok(());
        }
        for node in &nodes {
            let now = network.activity(*node);
            match (before.insert(*node, now), now) {
                (Some(then), now) if then == now => {}
                (_, Activity::Down) => report_ended(network.layout(), *node),
                (_, Activity::Paused { .. }) => eprintln!("n{node} is paused"),
                (_, Activity::Running { pid }) => eprintln!("n{node} runs, pid {pid}"),
            }
        }
    }
}
