//! What a command works with: the network found on this machine, its keys and pending requests.

use std::time::Duration;

use tagma_client::{Client, Config, ExitCode, Home, Keystore, Network, Pending};
use tagma_crypto::PublicKey;
use tagma_evidence::Judge;
use tagma_ledger::Genesis;

use super::Common;
use super::failure::Failure;
use super::output::Format;

/// Everything a command has.
pub(crate) struct Context {
    pub(crate) format: Format,
    pub(crate) timeout: Duration,
    pub(crate) genesis: Genesis,
    pub(crate) keystore: Keystore,
    pub(crate) pending: Pending,
}

/// The home that the options name, or that is found.
pub(crate) fn home(common: &Common) -> Result<Home, Failure> {
    match (&common.home, &common.genesis) {
        (Some(dir), Some(genesis)) => Ok(Home::at(dir).with_genesis(genesis)),
        (Some(dir), None) => Ok(Home::at(dir)),
        (None, Some(genesis)) => Ok(Home::of_genesis(genesis)),
        (None, None) => {
            let here = std::env::current_dir()
                .map_err(|error| Failure::internal(format!("no working directory: {error}")))?;
            Ok(Home::find(&here)?)
        }
    }
}

/// What judges proofs about the chain of a genesis.
pub(crate) fn judge(genesis: &Genesis) -> Result<Judge, Failure> {
    Judge::new(genesis)
        .map_err(|error| Failure::new(ExitCode::Config, format!("the genesis is unusable: {error}")))
}

impl Context {
    /// Reads what is there.
    pub(crate) fn open(common: &Common) -> Result<Self, Failure> {
        let home = home(common)?;
        Ok(Self {
            format: common.output,
            timeout: common.timeout,
            genesis: Genesis::load(home.genesis())?,
            keystore: Keystore::new(home.accounts()),
            pending: Pending::new(home.pending()),
        })
    }

    /// The account that `text` names.
    pub(crate) fn account(&self, text: &str) -> Result<PublicKey, Failure> {
        Ok(self.keystore.resolve(text, Some(&self.genesis))?)
    }

    /// Starts the client. Its connections come up by themselves.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let network = Network::from_genesis(&self.genesis)
            .map_err(|error| Failure::new(ExitCode::Config, error.to_string()))?;
        Client::start(network, Config::default()).map_err(|error| Failure::internal(error.to_string()))
    }
}
