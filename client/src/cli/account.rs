//! Accounts: keys on this machine.

use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};
use tagma_client::{ExitCode, Keystore};
use tagma_crypto::{PublicKey, SecretKey};
use tagma_ledger::Genesis;

use super::context::home;
use super::failure::Failure;
use super::output::{Format, table};
use super::{AccountCommand, Common};

struct Accounts {
    format: Format,
    keystore: Keystore,
    /// What is known of names and balances beside the keys, if there is a genesis.
    genesis: Option<Genesis>,
}

pub(crate) fn run(command: &AccountCommand, common: &Common) -> Result<ExitCode, Failure> {
    let home = home(common)?;
    // Keys can be made before there is a network.
    let genesis = home
        .genesis()
        .is_file()
        .then(|| Genesis::load(home.genesis()))
        .transpose()?;
    let accounts = Accounts {
        format: common.output,
        keystore: Keystore::new(home.accounts()),
        genesis,
    };
    match command {
        AccountCommand::New { name } => accounts.keep(name, &SecretKey::generate()),
        AccountCommand::Import { name, file } => accounts.keep(name, &read_key(file)?),
        AccountCommand::List => accounts.list(),
        AccountCommand::Show { account } => accounts.show(account),
    }?;
    Ok(ExitCode::Ok)
}

fn read_key(file: &Path) -> Result<SecretKey, Failure> {
    if file != Path::new("-") {
        return Ok(SecretKey::load(file).map_err(tagma_client::KeystoreError::from)?);
    }
    let mut text = String::new();
    // A little more than a seed and a newline, so that a longer input shows.
    let read = std::io::stdin().take(80).read_to_string(&mut text);
    read.map_err(|error| {
        Failure::new(
            ExitCode::Config,
            format!("cannot read the seed from stdin: {error}"),
        )
    })?;
    let seed = text.trim().parse::<PublicKey>().map_err(|_| {
        Failure::new(ExitCode::Config, "what stands on stdin is not a seed")
            .hint("a seed is 64 hex digits, the last field of a key file")
    })?;
    Ok(SecretKey::from_seed(*seed.as_bytes()))
}

impl Accounts {
    fn keep(&self, name: &str, key: &SecretKey) -> Result<(), Failure> {
        let path = self.keystore.add(name, key)?;
        let public = key.public();
        self.format.emit(
            || json!({ "schema": "account/v1", "name": name, "key": public, "file": path }),
            || format!("{name}  {public}\nkept in {}", path.display()),
        )
    }

    fn list(&self) -> Result<(), Failure> {
        let mut rows = Vec::new();
        for name in self.keystore.names()? {
            let key = self.keystore.load(&name)?.public();
            rows.push((name, key));
        }
        self.format.emit(
            || {
                let accounts: Vec<Value> = rows
                    .iter()
                    .map(|(name, key)| json!({ "name": name, "key": key, "genesis": self.in_genesis(key).is_some() }))
                    .collect();
                json!({ "schema": "accounts/v1", "accounts": accounts })
            },
            || {
                let mut table = table(&["account", "key", "in genesis"]);
                for (name, key) in &rows {
                    let genesis = self.in_genesis(key).map_or_else(|| "-".into(), |b| b.to_string());
                    table.add_row([name.clone(), key.to_string(), genesis]);
                }
                table.to_string()
            },
        )
    }

    fn show(&self, account: &str) -> Result<(), Failure> {
        let key = self.keystore.resolve(account, self.genesis.as_ref())?;
        let mut name = None;
        for known in self.keystore.names()? {
            if self.keystore.load(&known)?.public() == key {
                name = Some(known);
                break;
            }
        }
        let genesis = self.in_genesis(&key);
        self.format.emit(
            || {
                json!({
                    "schema": "account/v1", "name": name, "key": key,
                    "file": name.as_ref().map(|name| self.keystore.dir().join(format!("{name}.key"))),
                    "genesis_balance": genesis.map(|balance| balance.to_string()),
                })
            },
            || {
                let secret = match &name {
                    Some(name) => format!("secret key here, as {name}"),
                    None => "no secret key here".into(),
                };
                format!("{key}\n{secret}")
            },
        )
    }

    fn in_genesis(&self, key: &PublicKey) -> Option<u64> {
        let accounts = &self.genesis.as_ref()?.accounts;
        accounts
            .iter()
            .find(|account| account.key == *key)
            .map(|account| account.balance)
    }
}
