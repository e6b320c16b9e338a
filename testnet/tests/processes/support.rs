//! What these tests share: a network of its own for each, one at a time, and looks at it with deadlines.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use tagma_testnet::check::{self, Report};
use tagma_testnet::load::{Load, Pace};
use tagma_testnet::network::READY;
use tagma_testnet::observe::{Metrics, Observer};
use tagma_testnet::payments::{Paid, Payer};
use tagma_testnet::process::Programs;
use tagma_testnet::{Layout, Network};
use tagma_wire::client_protocol::StatusReport;
use tokio::runtime::Runtime;

/// Longer than anything here takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// `tagma-testnet` itself.
pub(crate) fn testnet_program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tagma-testnet"))
}

/// All programs of a network.
pub(crate) fn programs() -> Programs {
    Programs::beside(testnet_program())
        .expect("`cargo build --workspace` makes the programs that these tests run")
}

/// The client program.
pub(crate) fn client_program() -> PathBuf {
    testnet_program().with_file_name("tagma")
}

/// Networks are tried one after the other, whether tests are threads or processes: on few cores more of them at once
/// would only wait for each other.
pub(crate) struct Turn(#[expect(dead_code, reason = "held, not read")] Flock<File>);

pub(crate) fn turn() -> Turn {
    let path = std::env::temp_dir().join("tagma-testnet-tests.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .unwrap();
    Turn(
        Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| error)
            .unwrap(),
    )
}

/// A running network with a payer. Its processes end with it, however the test ends.
pub(crate) struct Running {
    pub(crate) network: Network,
    pub(crate) payer: Payer,
    pub(crate) runtime: Runtime,
    _turn: Turn,
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

impl Running {
    /// `replicas` replicas, all ready.
    pub(crate) fn start(replicas: u16) -> Self {
        Self::prepared(replicas, |_| {}).0
    }

    /// As [`Running::start`], on a network that `prepare` has changed before anything runs.
    pub(crate) fn prepared<T>(replicas: u16, prepare: impl FnOnce(&Network) -> T) -> (Self, T) {
        let turn = turn();
        let mut network = Network::ephemeral(replicas, programs()).unwrap();
        let prepared = prepare(&network);
        let runtime = runtime();
        // One by one, as somebody may stand where a replica is to be found by the others.
        for node in network.nodes() {
            network.start(node).unwrap();
        }
        let payer = {
            let _context = runtime.enter();
            Payer::new(&network).unwrap()
        };
        let mut running = Self {
            network,
            payer,
            runtime,
            _turn: turn,
        };
        let nodes = running.network.nodes();
        running.wait_ready(&nodes);
        (running, prepared)
    }

    pub(crate) fn wait_ready(&mut self, nodes: &[u16]) {
        self.runtime
            .block_on(self.network.wait_ready(nodes, READY))
            .unwrap();
    }

    pub(crate) fn pay(&mut self, from: &str, to: &str, amount: u64) -> Paid {
        self.runtime
            .block_on(self.payer.pay(from, to, amount, PATIENCE))
            .unwrap()
    }

    /// Reads the next nonces again, which a load of its own has used.
    pub(crate) fn renew_payer(&mut self) {
        let _context = self.runtime.enter();
        self.payer = Payer::new(&self.network).unwrap();
    }

    pub(crate) fn kill(&mut self, node: u16) {
        assert!(self.network.kill(node).unwrap(), "n{node} was running");
    }

    pub(crate) fn primary(&self) -> u16 {
        self.runtime.block_on(self.network.primary()).unwrap()
    }

    /// Begins a load.
    pub(crate) fn load(&self, pace: Pace) -> Load {
        let _context = self.runtime.enter();
        Load::start(&self.network, pace).unwrap()
    }

    /// The highest view any replica is in.
    pub(crate) fn view(&self) -> u64 {
        self.statuses().values().map(|status| status.view).max().unwrap()
    }

    /// What the replicas say of themselves, those that answer.
    pub(crate) fn statuses(&self) -> BTreeMap<u16, StatusReport> {
        let statuses = self.runtime.block_on(async {
            let observer = Observer::new(self.network.genesis()).unwrap();
            self.network.statuses(&observer).await
        });
        let answers = statuses.into_iter();
        answers
            .filter_map(|(node, status)| Some((node, status.ok()?)))
            .collect()
    }

    /// What one replica says of itself.
    pub(crate) fn status(&self, node: u16) -> StatusReport {
        self.statuses()
            .remove(&node)
            .unwrap_or_else(|| panic!("n{node} does not answer"))
    }

    /// The counters of one replica.
    pub(crate) fn metrics(&self, node: u16) -> Metrics {
        Metrics::of(self.network.genesis(), node).unwrap()
    }

    /// Waits until these replicas have executed the same blocks, and gives what they say of themselves then.
    pub(crate) fn wait_equal(&self, nodes: &[u16]) -> BTreeMap<u16, StatusReport> {
        let mut statuses = BTreeMap::new();
        until("equal chains", || {
            statuses = self.statuses();
            statuses.retain(|node, _| nodes.contains(node));
            let tips: BTreeSet<_> = statuses.values().map(|status| status.tip).collect();
            statuses.len() == nodes.len() && tips.len() == 1
        });
        statuses
    }

    /// Runs `tagma-testnet` on this network.
    pub(crate) fn testnet(&self, arguments: &[&str]) -> Output {
        Command::new(testnet_program())
            .args(arguments)
            .arg("--dir")
            .arg(self.network.layout().root())
            .output()
            .unwrap()
    }

    /// Compares all replicas once they are equal: anything missing or different fails the test.
    pub(crate) fn check(&self) -> Report {
        let report = self
            .runtime
            .block_on(check::check(&self.network, PATIENCE))
            .unwrap();
        report.into_result().unwrap()
    }

    /// What an account owns, in a checked report.
    pub(crate) fn balance(&self, report: &Report, name: &str) -> u64 {
        report.holdings[&self.network.genesis().account_key(name).unwrap()].balance
    }

    /// Runs `tagma` on this network.
    pub(crate) fn tagma(&self, arguments: &[&str]) -> Output {
        tagma(self.network.layout(), arguments)
    }
}

/// Adds settings, as TOML, to those of one replica.
pub(crate) fn configure(layout: &Layout, node: u16, settings: &str) {
    let mut file = OpenOptions::new()
        .append(true)
        .open(layout.home(node).join("config.toml"))
        .unwrap();
    writeln!(file, "{settings}").unwrap();
}

/// What one replica has logged so far.
pub(crate) fn log(layout: &Layout, node: u16) -> String {
    fs::read_to_string(layout.log(node)).unwrap()
}

pub(crate) fn tagma(layout: &Layout, arguments: &[&str]) -> Output {
    Command::new(client_program())
        .args(arguments)
        .env("TAGMA_HOME", layout.root())
        .output()
        .unwrap()
}

/// Polls until `done`, or fails naming `what`.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "did not happen in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a load has more than `before` acknowledgements.
pub(crate) fn until_acknowledged(load: &Load, before: usize) {
    until("another acknowledgement", || {
        assert_eq!(load.failure(), None, "the load goes on");
        load.acknowledged() > before
    });
}

/// A program's words, for messages of failed tests.
pub(crate) fn words(output: &Output) -> String {
    format!(
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
