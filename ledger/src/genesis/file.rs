//! Genesis as a person writes it: JSON or TOML with strict keys.

use super::{Genesis, GenesisAccount, GenesisError, GenesisReplica, Parameters};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::Path;
use tagma_crypto::PublicKey;
use tagma_crypto::encode::{List, Text};

/// The shape of the file. It differs from [`Genesis`] in what is convenient to write: names may be absent, amounts
/// may be numbers or text, parameters left out take their defaults.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    chain_name: String,
    #[serde(with = "amount")]
    time_ms: u64,
    #[serde(default)]
    parameters: Parameters,
    replicas: Vec<FileReplica>,
    accounts: Vec<FileAccount>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileReplica {
    id: u16,
    vote_key: PublicKey,
    network_key: PublicKey,
    peer_address: String,
    client_address: String,
    http_address: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAccount {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    key: PublicKey,
    #[serde(with = "amount")]
    balance: u64,
}

impl Genesis {
    /// Reads and validates a genesis file. A name ending in `.toml` is read as TOML, every other as JSON.
    ///
    /// # Errors
    /// If the file cannot be read or parsed, or if [`Genesis::validate`] refuses what it says.
    pub fn load(path: &Path) -> Result<Self, GenesisError> {
        let text = std::fs::read_to_string(path).map_err(|error| GenesisError::Read {
            path: path.display().to_string(),
            cause: error.to_string(),
        })?;
        if path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
        {
            Self::from_toml(&text)
        } else {
            Self::from_json(&text)
        }
    }

    /// Parses and validates the JSON form.
    ///
    /// # Errors
    /// If the text does not parse, or if [`Genesis::validate`] refuses what it says.
    pub fn from_json(text: &str) -> Result<Self, GenesisError> {
        let file: File = serde_json::from_str(text).map_err(|error| GenesisError::Parse {
            format: "JSON",
            cause: error.to_string(),
        })?;
        file.into_genesis()
    }

    /// Parses and validates the TOML form.
    ///
    /// # Errors
    /// If the text does not parse, or if [`Genesis::validate`] refuses what it says.
    pub fn from_toml(text: &str) -> Result<Self, GenesisError> {
        let file: File = toml::from_str(text).map_err(|error| GenesisError::Parse {
            format: "TOML",
            cause: error.to_string(),
        })?;
        file.into_genesis()
    }

    /// The JSON form, which [`Genesis::from_json`] reads back to an equal genesis.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(&File::from(self));
        assert!(
            text.is_ok(),
            "a genesis has nothing JSON cannot express: {text:?}"
        );
        text.unwrap_or_default()
    }

    /// The TOML form, which [`Genesis::from_toml`] reads back to an equal genesis.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let text = toml::to_string(&File::from(self));
        assert!(
            text.is_ok(),
            "a genesis has nothing TOML cannot express: {text:?}"
        );
        text.unwrap_or_default()
    }
}

impl File {
    fn into_genesis(self) -> Result<Genesis, GenesisError> {
        let replicas = self.replicas.into_iter().map(|replica| GenesisReplica {
            id: replica.id,
            vote_key: replica.vote_key,
            network_key: replica.network_key,
            peer_address: Text::from(replica.peer_address),
            client_address: Text::from(replica.client_address),
            http_address: Text::from(replica.http_address),
        });
        let accounts = self.accounts.into_iter().map(|account| GenesisAccount {
            name: account.name.map(Text::from),
            key: account.key,
            balance: account.balance,
        });
        let genesis = Genesis {
            chain_name: Text::from(self.chain_name),
            time_ms: self.time_ms,
            replicas: List::from(replicas.collect::<Vec<_>>()),
            accounts: List::from(accounts.collect::<Vec<_>>()),
            parameters: self.parameters,
        };
        genesis.validate()?;
        Ok(genesis)
    }
}

impl From<&Genesis> for File {
    fn from(genesis: &Genesis) -> Self {
        let replicas = genesis.replicas.iter().map(|replica| FileReplica {
            id: replica.id,
            vote_key: replica.vote_key,
            network_key: replica.network_key,
            peer_address: replica.peer_address.to_string(),
            client_address: replica.client_address.to_string(),
            http_address: replica.http_address.to_string(),
        });
        let accounts = genesis.accounts.iter().map(|account| FileAccount {
            name: account.name.as_ref().map(ToString::to_string),
            key: account.key,
            balance: account.balance,
        });
        Self {
            chain_name: genesis.chain_name.to_string(),
            time_ms: genesis.time_ms,
            parameters: genesis.parameters.clone(),
            replicas: replicas.collect(),
            accounts: accounts.collect(),
        }
    }
}

/// Unsigned 64-bit numbers, read from a number or from text, written as text: many JSON readers lose digits above
/// 2^53, and TOML has no integers above 2^63 - 1.
mod amount {
    use super::{Deserializer, Serializer, Visitor, de, fmt};

    pub(super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(Amount)
    }

    struct Amount;

    impl Visitor<'_> for Amount {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an unsigned integer below 2^64, as a number or as text")
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
            Ok(value)
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<u64, E> {
            u64::try_from(value).map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
        }

        fn visit_str<E: de::Error>(self, value: &str) -> Result<u64, E> {
            // `parse` alone would take "+5" as well.
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            digits
                .then(|| value.parse().ok())
                .flatten()
                .ok_or_else(|| E::invalid_value(de::Unexpected::Str(value), &self))
        }
    }
}
