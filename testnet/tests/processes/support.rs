//! What these tests share: a network of its own for each, one at a time, and looks at it with deadlines.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use tagma_testnet::check::{self, Report};
use tagma_testnet::load::{Load, Pace};
use tagma_testnet::network::READY;
use tagma_testnet::observe::Observer;
use tagma_testnet::payments::{Paid, Payer};
use tagma_testnet::process::Programs;
use tagma_testnet::{Layout, Network};
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
        let turn = turn();
        let mut network = Network::ephemeral(replicas, programs()).unwrap();
        let runtime = runtime();
        network.start_all().unwrap();
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
        running
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
        let statuses = self.runtime.block_on(async {
            let observer = Observer::new(self.network.genesis()).unwrap();
            self.network.statuses(&observer).await
        });
        statuses
            .into_iter()
            .filter_map(|(_, status)| Some(status.ok()?.view))
            .max()
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

/// A program's words, for messages of failed tests.
pub(crate) fn words(output: &Output) -> String {
    format!(
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
