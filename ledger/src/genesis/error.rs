//! Why a genesis is not accepted.

use tagma_crypto::PublicKey;

/// What is wrong with a genesis, or with the file it should be read from.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// The file could not be read.
    #[error("cannot read genesis file {path}: {cause}")]
    Read {
        /// The path as given.
        path: String,
        /// What the system said.
        cause: String,
    },
    /// The file is not JSON or TOML of the expected shape.
    #[error("genesis is not valid {format}: {cause}")]
    Parse {
        /// "JSON" or "TOML".
        format: &'static str,
        /// What the parser said, with the place.
        cause: String,
    },
    /// The chain's name is empty, too long, or has characters that do not belong into a name.
    #[error("chain_name {name:?} must be 1 to {max} letters, digits, '-', '_' or '.'")]
    ChainName {
        /// The name given.
        name: String,
        /// The most bytes allowed.
        max: usize,
    },
    /// N is not 3f + 1.
    #[error("{replicas} replicas: N must be 3f + 1, the next valid sizes are {}", valid_sizes(*.below, *.above))]
    ReplicaCount {
        /// The number of replicas given.
        replicas: u64,
        /// The greatest valid size below it, if there is one.
        below: Option<u64>,
        /// The smallest valid size above it, if there is one.
        above: Option<u64>,
    },
    /// The replicas are not numbered 0, 1, 2, … in order.
    #[error("replica at position {position} has id {id}: ids must be 0, 1, 2, … in order")]
    ReplicaId {
        /// Where in the list, from 0.
        position: usize,
        /// The id found there.
        id: u16,
    },
    /// A key is no point of the curve in its one encoding, or of small order: it could not bind its owner.
    #[error("{owner}: key {key} is not acceptable")]
    UnacceptableKey {
        /// Whose key, and which.
        owner: String,
        /// The key.
        key: Box<PublicKey>,
    },
    /// A key appears twice among the replicas' vote and network keys, or among the accounts.
    #[error("{owner}: key {key} is used already")]
    RepeatedKey {
        /// The second owner, and which of its keys.
        owner: String,
        /// The key.
        key: Box<PublicKey>,
    },
    /// An address is no `ip:port`, has port 0, or is not in its one written form.
    #[error("replica {id}: {field} {address:?} is not an ip:port with a port above 0")]
    Address {
        /// The replica.
        id: u16,
        /// Which address.
        field: &'static str,
        /// What was given.
        address: String,
    },
    /// Two UDP sockets or two TCP sockets have one address.
    #[error("replica {id}: {field} {address} is used already")]
    RepeatedAddress {
        /// The second replica using it.
        id: u16,
        /// Which address.
        field: &'static str,
        /// The address.
        address: String,
    },
    /// There is no account, so nothing could ever be executed.
    #[error("a genesis needs at least one account")]
    NoAccounts,
    /// An account's display name is too long, or has characters that do not belong into a name.
    #[error("account name {name:?} must be 1 to {max} letters, digits, '-', '_' or '.'")]
    AccountName {
        /// The name given.
        name: String,
        /// The most bytes allowed.
        max: usize,
    },
    /// Two accounts have one display name.
    #[error("account name {0:?} is used already")]
    RepeatedAccountName(String),
    /// The balances add up to more than 2^64 - 1.
    #[error("the sum of all balances exceeds {}", u64::MAX)]
    SupplyOverflow,
    /// A parameter is out of its bounds.
    #[error("parameter {name} is {value}, expected {expected}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: u64,
        /// What would be accepted.
        expected: String,
    },
}

fn valid_sizes(below: Option<u64>, above: Option<u64>) -> String {
    match (below, above) {
        (Some(below), Some(above)) => format!("{below} and {above}"),
        (Some(size), None) | (None, Some(size)) => size.to_string(),
        (None, None) => "none".to_owned(),
    }
}
