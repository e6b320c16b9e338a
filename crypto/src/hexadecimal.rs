//! Byte strings of fixed length as text: what digests, public keys and signatures have in common.

/// A text that is not the hex form of what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {what}: expected {digits} hex digits, found {found} characters{}", if *.found == *.digits { ", one of them no hex digit" } else { "" })]
pub struct ParseError {
    /// What the text should have been, e.g. "public key".
    pub what: &'static str,
    /// How many hex digits that takes.
    pub digits: usize,
    /// How many characters (bytes of UTF-8) were given.
    pub found: usize,
}

/// Reads exactly `LEN` bytes from `2 * LEN` hex digits of either case.
pub(crate) fn parse<const LEN: usize>(what: &'static str, text: &str) -> Result<[u8; LEN], ParseError> {
    let mut bytes = [0; LEN];
    hex::decode_to_slice(text, &mut bytes)
        .map(|()| bytes)
        .map_err(|_| ParseError {
            what,
            digits: 2 * LEN,
            found: text.len(),
        })
}

/// Gives a newtype over `[u8; N]` its constructors, its hex text form (Display, FromStr, serde) and a short
/// Debug form, so that the three such types cannot drift apart.
macro_rules! byte_string {
    ($name:ident, $len:literal, $what:literal) => {
        impl $name {
            #[doc = concat!("The ", $what, " with these ", stringify!($len), " bytes, whatever they are.")]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            #[doc = concat!("The ", stringify!($len), " bytes.")]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The first eight hex digits: enough to tell values apart in logs, and for nothing else.
            pub fn short(&self) -> String {
                // A model checker prints states by the million: no more is encoded than is shown.
                hex::encode(self.0.get(..4).unwrap_or_default())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&hex::encode(self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::ParseError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::hexadecimal::parse($what, text).map(Self)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <std::borrow::Cow<'de, str>>::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use byte_string;
