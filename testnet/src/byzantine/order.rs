//! What a node is ordered to do, as it stands in its home: `behaviour = "censor:alice"`, `when = "as-primary"`.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// An order to misbehave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The behaviour's name, with its argument if it takes one: `silent`, `censor:alice`.
    pub behaviour: String,
    /// When it misbehaves; honest otherwise.
    #[serde(default)]
    pub when: When,
}

/// When a replica misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum When {
    /// With every message.
    #[default]
    Always,
    /// With so many messages of a thousand, drawn by chance.
    Permille(u16),
    /// While it is the primary of its view.
    AsPrimary,
    /// With sequence numbers from the first to the second.
    Sequence(u64, u64),
}

impl When {
    /// Whether it misbehaves now: `draw` is a number from 0 to 999, drawn by chance; `primary` says whether it is the
    /// primary; `seq` is the sequence number it is about.
    #[must_use]
    pub fn applies(self, draw: u64, primary: bool, seq: u64) -> bool {
        match self {
            Self::Always => true,
            Self::Permille(permille) => draw < u64::from(permille),
            Self::AsPrimary => primary,
            Self::Sequence(first, last) => (first..=last).contains(&seq),
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Permille(permille) => {
                let digits = format!("{permille:03}");
                match digits.strip_prefix('1').filter(|_| *permille >= 1000) {
                    Some(_) => f.write_str("p=1"),
                    None => write!(f, "p=0.{}", digits.trim_end_matches('0')),
                }
            }
            Self::AsPrimary => f.write_str("as-primary"),
            Self::Sequence(first, last) => write!(f, "seq={first}..{last}"),
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no condition: expected always, as-primary, p=0.3 or seq=10..20");
        if let Some(number) = text.strip_prefix("p=") {
            return permille(number).map(Self::Permille).ok_or_else(wrong);
        }
        if let Some(range) = text.strip_prefix("seq=") {
            let (first, last) = range.split_once("..").ok_or_else(wrong)?;
            let first: u64 = first.parse().map_err(|_| wrong())?;
            let last: u64 = last.parse().map_err(|_| wrong())?;
            return if first <= last {
                Ok(Self::Sequence(first, last))
            } else {
                Err(wrong())
            };
        }
        match text {
            "always" => Ok(Self::Always),
            "as-primary" => Ok(Self::AsPrimary),
            _ => Err(wrong()),
        }
    }
}

/// "1" or "0." and one to three digits, above zero.
fn permille(text: &str) -> Option<u16> {
    if text == "1" {
        return Some(1000);
    }
    let digits = text.strip_prefix("0.").or_else(|| text.strip_prefix('.'))?;
    if digits.is_empty() || digits.len() > 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{digits:0<3}")
        .parse()
        .ok()
        .filter(|permille| *permille > 0)
}

impl TryFrom<String> for When {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<When> for String {
    fn from(when: When) -> Self {
        when.to_string()
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.when {
            When::Always => f.write_str(&self.behaviour),
            when => write!(f, "{} ({when})", self.behaviour),
        }
    }
}

impl Order {
    /// The order in a file; none if there is no such file.
    ///
    /// # Errors
    /// If it cannot be read, or is no order.
    pub fn load(path: &Path) -> Result<Option<Self>, Error> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text)
                .map(Some)
                .map_err(|why| Error::io("read", path, io::Error::other(why))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::io("read", path, source)),
        }
    }

    /// Reads an order.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// The text that [`Order::parse`] reads.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "behaviour = {}\nwhen = {}\n",
            toml::Value::from(self.behaviour.as_str()),
            toml::Value::from(self.when.to_string())
        )
    }

    /// Writes the order so that nobody ever reads half of it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        write_whole(path, &self.text()).map_err(|source| Error::io("write", path, source))
    }
}

/// Replaces a file in one step.
pub(super) fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let half = path.with_extension("new");
    fs::write(&half, text)?;
    fs::rename(&half, path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panic")]

    use super::*;

    #[test]
    fn conditions_are_read_as_they_are_written() {
        for text in [
            "always",
            "as-primary",
            "p=0.3",
            "p=0.05",
            "p=0.125",
            "p=1",
            "seq=10..20",
        ] {
            assert_eq!(text.parse::<When>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "p=0",
            "p=1.5",
            "p=0.0001",
            "p=",
            "seq=20..10",
            "seq=1",
            "never",
        ] {
            assert!(text.parse::<When>().is_err(), "{text}");
        }
    }

    #[test]
    fn conditions_hold_when_they_say() {
        assert!(When::Always.applies(999, false, 0));
        assert!(When::Permille(300).applies(299, false, 0) && !When::Permille(300).applies(300, false, 0));
        assert!(When::AsPrimary.applies(0, true, 0) && !When::AsPrimary.applies(0, false, 0));
        let range = When::Sequence(3, 5);
        assert!(range.applies(0, false, 3) && range.applies(0, false, 5));
        assert!(!range.applies(0, false, 2) && !range.applies(0, false, 6));
    }

    #[test]
    fn an_order_survives_its_file_and_nonsense_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/byzantine.toml");
        assert_eq!(Order::load(&path).unwrap(), None);
        let order = Order {
            behaviour: "censor:alice".to_owned(),
            when: When::Permille(300),
        };
        order.save(&path).unwrap();
        assert_eq!(Order::load(&path).unwrap(), Some(order));
        for text in [
            "",
            "behaviour = 1",
            "behaviour = \"silent\"\nwhen = \"never\"",
            "behaviour = \"silent\"\nx = 1",
        ] {
            fs::write(&path, text).unwrap();
            assert!(Order::load(&path).is_err(), "{text:?}");
        }
    }
}
