//! What can be wrong with one direction of a link.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A share of all packets, in hundredths of a percent: 0 to 10,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(u32);

impl Percent {
    /// Every packet.
    pub const ALL: u32 = 10_000;

    /// So many hundredths of a percent; everything above is everything.
    #[must_use]
    pub fn from_hundredths(hundredths: u32) -> Self {
        Self(hundredths.min(Self::ALL))
    }

    /// Whether there is no such packet.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Hundredths of a percent.
    #[must_use]
    pub fn hundredths(self) -> u32 {
        self.0
    }

    /// Whether a packet is among them, by a number drawn evenly from all 32-bit numbers.
    #[must_use]
    pub fn holds(self, draw: u32) -> bool {
        u64::from(draw) * u64::from(Self::ALL) < u64::from(self.0) << 32
    }
}

impl FromStr for Percent {
    type Err = String;

    /// Reads "10%", "0.25%" or "0".
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no share: expected for example 10% or 0.5%, at most 100%");
        let number = text.strip_suffix('%').unwrap_or(text);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if fraction.is_empty() || fraction.len() > 2 || whole.len() > 3 {
            return Err(wrong());
        }
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let fraction: u32 = format!("{fraction:0<2}").parse().map_err(|_| wrong())?;
        match whole * 100 + fraction {
            hundredths if hundredths <= Self::ALL => Ok(Self(hundredths)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, fraction) => write!(f, "{whole}.{}%", format!("{fraction:02}").trim_end_matches('0')),
        }
    }
}

impl TryFrom<String> for Percent {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Percent> for String {
    fn from(percent: Percent) -> Self {
        percent.to_string()
    }
}

/// What one direction of a link does to packets. The default is a good link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkFault {
    /// Nothing passes.
    pub cut: bool,
    /// Packets lost.
    pub drop: Percent,
    /// Every packet takes this much longer.
    pub delay: Duration,
    /// And up to this much longer still, drawn evenly.
    pub jitter: Duration,
    /// Packets that arrive twice.
    pub dup: Percent,
    /// Packets held back until later ones have passed them.
    pub reorder: Percent,
}

impl LinkFault {
    /// Nothing passes.
    #[must_use]
    pub fn cut() -> Self {
        Self {
            cut: true,
            ..Self::default()
        }
    }

    /// Whether it is a good link.
    #[must_use]
    pub fn is_good(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for LinkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cut {
            return f.write_str("cut");
        }
        let shares = [("drop", self.drop), ("dup", self.dup), ("reorder", self.reorder)];
        let spans = [("delay", self.delay), ("jitter", self.jitter)];
        let shares = shares
            .iter()
            .filter(|(_, share)| !share.is_zero())
            .map(|(name, share)| format!("{name} {share}"));
        let spans = spans
            .iter()
            .filter(|(_, span)| !span.is_zero())
            .map(|(name, span)| format!("{name} {span:?}"));
        let all: Vec<String> = shares.chain(spans).collect();
        f.write_str(if all.is_empty() { "good" } else { "" })?;
        f.write_str(&all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panic")]

    use super::*;

    #[test]
    fn shares_are_read_and_shown_as_people_write_them() {
        for (text, hundredths) in [
            ("10%", 1000),
            ("0.5%", 50),
            ("12.25%", 1225),
            ("100%", 10_000),
            ("0", 0),
        ] {
            let share: Percent = text.parse().unwrap();
            assert_eq!(share.hundredths(), hundredths);
            assert_eq!(
                share.to_string().trim_end_matches('%'),
                text.trim_end_matches('%')
            );
        }
        for text in ["101%", "-1%", "%", "1.234%", "ten", "1.%", ""] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_holds_so_many_of_all_draws() {
        let draws = || (0..100_000_u32).map(|index| index * 42_949);
        let held = |share: &str| {
            let share: Percent = share.parse().unwrap();
            draws().filter(|draw| share.holds(*draw)).count()
        };
        assert_eq!(held("0%"), 0);
        assert_eq!(held("100%"), 100_000);
        assert!((9_990..=10_010).contains(&held("10%")), "{}", held("10%"));
    }
}
