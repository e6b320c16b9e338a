//! Where settings come from: flag > environment > file > default, and which of them won.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::Config;

/// The one key below which any key may stand.
const OPEN_TABLE: &str = "network.peer_addresses";
/// What environment variables of settings begin with: `TAGMA_CONSENSUS_REQUEST_TIMEOUT`.
const ENV_PREFIX: &str = "TAGMA_";
/// An unknown key this many edits away from a known one is taken for a slip.
const MAX_SLIPS: usize = 3;

/// Which layer a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said otherwise.
    Default,
    /// The settings file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("--set"),
        }
    }
}

/// Why settings are not accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        cause: String,
    },
    /// The file is no TOML.
    #[error("{path}: {cause}", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The parser's words, with the place.
        cause: String,
    },
    /// There is no such setting.
    #[error("{origin}: there is no setting `{key}`{}", did_you_mean(.suggestion.as_deref()))]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: String,
        /// A known one that looks like it.
        suggestion: Option<String>,
    },
    /// A value does not fit its setting.
    #[error("setting `{key}`{}: {why}", from_origin(.origin.as_ref()))]
    Value {
        /// The setting.
        key: String,
        /// Where the value comes from, if that is known.
        origin: Option<Origin>,
        /// What is wrong with it.
        why: String,
    },
    /// A `--set` without `=`.
    #[error("--set {0:?} is not of the form KEY=VALUE")]
    Flag(String),
}

impl ConfigError {
    pub(super) fn value(key: impl ToString, why: impl ToString) -> Self {
        Self::Value {
            key: key.to_string(),
            origin: None,
            why: why.to_string(),
        }
    }
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |key| format!(", did you mean `{key}`?"))
}

fn from_origin(origin: Option<&Origin>) -> String {
    origin.map_or_else(String::new, |origin| format!(" (from {origin})"))
}

/// What the layers above the defaults are read from.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The settings file; one that is not there is empty.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// `KEY=VALUE` of the command line.
    pub flags: Vec<String>,
}

impl Layers {
    /// The layers of a command: this file, the environment of this process, these flags.
    pub fn of_process(file: PathBuf, flags: Vec<String>) -> Self {
        Self {
            file: Some(file),
            environment: std::env::vars()
                .filter(|(name, _)| name.starts_with(ENV_PREFIX))
                .collect(),
            flags,
        }
    }

    /// Joins the layers.
    ///
    /// # Errors
    /// If the file cannot be read, a key is unknown, or a value does not fit.
    pub fn load(&self) -> Result<Layered, ConfigError> {
        let mut values: BTreeMap<String, (Value, Origin)> = defaults()
            .into_iter()
            .map(|(key, value)| (key, (value, Origin::Default)))
            .collect();
        let known: Vec<String> = values.keys().cloned().collect();
        if let Some(path) = &self.file {
            for (key, value) in read_file(path)? {
                let origin = Origin::File(path.clone());
                set(&mut values, &known, key, value, origin)?;
            }
        }
        for key in &known {
            let name = format!("{ENV_PREFIX}{}", key.to_uppercase().replace('.', "_"));
            if let Some(text) = self.environment.get(&name) {
                set(
                    &mut values,
                    &known,
                    key.clone(),
                    parse_value(text),
                    Origin::Environment(name),
                )?;
            }
        }
        for flag in &self.flags {
            let (key, text) = flag
                .split_once('=')
                .ok_or_else(|| ConfigError::Flag(flag.clone()))?;
            set(
                &mut values,
                &known,
                key.trim().to_owned(),
                parse_value(text),
                Origin::Flag,
            )?;
        }
        let config = build(&values)?;
        Ok(Layered { config, values })
    }
}

/// The settings in force, and where each comes from.
#[derive(Clone, Debug)]
pub struct Layered {
    /// The settings.
    pub config: Config,
    values: BTreeMap<String, (Value, Origin)>,
}

impl Layered {
    /// Every setting with its value and origin, by key.
    pub fn values(&self) -> impl Iterator<Item = (&str, &Value, &Origin)> {
        self.values
            .iter()
            .map(|(key, (value, origin))| (key.as_str(), value, origin))
    }
}

fn defaults() -> Vec<(String, Value)> {
    let table = Table::try_from(Config::default());
    assert!(table.is_ok(), "the defaults have nothing TOML cannot express");
    flatten(&table.unwrap_or_default(), "")
}

/// Tables within tables as dotted keys. Empty tables vanish.
fn flatten(table: &Table, prefix: &str) -> Vec<(String, Value)> {
    let mut flat = Vec::new();
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        match value {
            Value::Table(inner) => flat.extend(flatten(inner, &format!("{key}."))),
            other => flat.push((key, other.clone())),
        }
    }
    flat
}

fn read_file(path: &Path) -> Result<Vec<(String, Value)>, ConfigError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(ConfigError::Read {
                path: path.to_owned(),
                cause: error.to_string(),
            });
        }
    };
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| ConfigError::Parse {
            path: path.to_owned(),
            cause: error.to_string().trim_end().to_owned(),
        })?;
    Ok(flatten(&table, ""))
}

/// A value of a flag or the environment: a number or truth value where it looks like one, else text.
fn parse_value(text: &str) -> Value {
    if let Ok(number) = text.parse::<i64>() {
        return Value::Integer(number);
    }
    match text {
        "true" => Value::Boolean(true),
        "false" => Value::Boolean(false),
        text => Value::String(text.to_owned()),
    }
}

fn set(
    values: &mut BTreeMap<String, (Value, Origin)>,
    known: &[String],
    key: String,
    value: Value,
    origin: Origin,
) -> Result<(), ConfigError> {
    let open = key
        .strip_prefix(OPEN_TABLE)
        .is_some_and(|rest| rest.len() > 1 && rest.starts_with('.'));
    if !open && !known.contains(&key) {
        let suggestion = known
            .iter()
            .map(|candidate| (distance(&key, candidate), candidate))
            .filter(|(edits, _)| *edits <= MAX_SLIPS)
            .min();
        // A key in the wrong table is as common as a slip of the finger.
        let leaf = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let elsewhere = known.iter().find(|candidate| leaf(candidate) == leaf(&key));
        return Err(ConfigError::UnknownKey {
            suggestion: suggestion
                .map(|(_, key)| key.clone())
                .or_else(|| elsewhere.cloned()),
            origin,
            key,
        });
    }
    values.insert(key, (value, origin));
    Ok(())
}

fn build(values: &BTreeMap<String, (Value, Origin)>) -> Result<Config, ConfigError> {
    // One at a time over the defaults, so that a value that does not fit can be named with its origin.
    for (key, (value, origin)) in values {
        let alone = nest([(key.as_str(), value)]);
        if let Err(error) = alone.try_into::<Config>() {
            return Err(ConfigError::Value {
                key: key.clone(),
                origin: Some(origin.clone()),
                why: error.message().to_owned(),
            });
        }
    }
    let all = nest(values.iter().map(|(key, (value, _))| (key.as_str(), value)));
    all.try_into()
        .map_err(|error: toml::de::Error| ConfigError::value("config", error.message()))
}

fn nest<'a>(values: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Table {
    let mut root = Table::new();
    for (key, value) in values {
        insert(&mut root, key, value.clone());
    }
    root
}

fn insert(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((head, rest)) => {
            let inner = table
                .entry(head.to_owned())
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// The number of characters to change, add or remove to get from `a` to `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (to, window) in b.iter().zip(row.windows(2)) {
            let (diagonal, above) = match window {
                [diagonal, above] => (*diagonal, *above),
                _ => (0, 0),
            };
            let left = next.last().copied().unwrap_or_default();
            next.push((diagonal + usize::from(from != *to)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.pop().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn edits_are_counted() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("request_timeout", "request_timout"), 1);
    }
}
