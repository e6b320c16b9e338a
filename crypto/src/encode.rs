//! The one canonical encoding: bincode 2, fixed-width integers, little endian. This module is the only user of
//! bincode in the workspace.
//!
//! *Canonical* means: a value has exactly one encoding, and every byte string that decodes to a value is that
//! value's encoding. *Bounded* means: decoding allocates at most a constant (of the type) times its input.
//!
//! Both hold only for types made of fixed-width integers, `bool`, arrays, tuples, `Option`, `Box`, enums and
//! structs of these, and the three containers of this module. In particular, message types must not hold:
//!
//! - `Vec`, `String`: bincode allocates for the count it reads, before the items are there. Use [`List`], [`Blob`], [`Text`].
//! - maps and sets: their order in the encoding is arbitrary, and bincode accepts duplicates. Use a [`List`],
//!   and have the message's validity ask for it to be sorted where order carries no meaning.
//! - `usize`, floats, `Duration`, `SystemTime`, `char`: several encodings of one value, or platform dependent.
//! - themselves: a recursive type is decoded recursively, and input can then exhaust the stack.
//! - enums (or options) of which one variant is far larger in memory than another is encoded: the ratio of the two
//!   is the constant of a [`List`] of them. Box the large variant.
//!
//! Other crates derive with
//! `#[derive(Encode, Decode)] #[bincode(crate = "tagma_crypto::encode::bincode")]`.

use std::fmt;
use std::ops::Deref;

use bincode::de::read::Reader;
use bincode::de::{BorrowDecode, BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[doc(hidden)]
pub use bincode;
pub use bincode::{Decode, Encode};

/// No input longer than this is decoded, whatever limit the caller names: 256 MiB.
pub const MAX_INPUT: usize = 256 << 20;

/// Second line of defence: should a `Vec` find its way into a message type after all, bincode refuses to allocate more
/// than this for it instead of aborting the process. Types that keep the rules of this module claim no more
/// than a few times their encoded length, so that this never decides whether they decode.
const BACKSTOP: usize = 4 * MAX_INPUT;

/// Why bytes are not the encoding of a value.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The input is longer than the caller (or [`MAX_INPUT`]) allows; nothing of it was looked at.
    #[error("input of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// Length of the input in bytes.
        len: usize,
        /// The limit in force, in bytes.
        limit: usize,
    },
    /// The input goes on after the value.
    #[error("{count} bytes follow the value")]
    Trailing {
        /// How many bytes follow.
        count: usize,
    },
    /// The input ends early, or holds something that no value encodes to.
    #[error("malformed encoding: {0}")]
    Malformed(#[source] bincode::error::DecodeError),
}

/// The canonical encoding of `value`.
///
/// Infallible: of the errors bincode knows when encoding, one is the writer's, and a growing vector has none, and
/// the others are of types that the rules of this module rule out (locks, cells, paths, times).
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    let config = bincode::config::standard().with_fixed_int_encoding();
    match bincode::encode_to_vec(value, config) {
        Ok(bytes) => bytes,
        Err(error) => unreachable!("a message type that cannot be encoded: {error}"),
    }
}

/// The value whose canonical encoding is `input`.
///
/// # Errors
/// If the input is longer than `limit` bytes, malformed, or longer than the value it holds.
pub fn decode<T: Decode<()>>(input: &[u8], limit: usize) -> Result<T, DecodeError> {
    let limit = limit.min(MAX_INPUT);
    if input.len() > limit {
        return Err(DecodeError::TooLong {
            len: input.len(),
            limit,
        });
    }
    let config = bincode::config::standard()
        .with_fixed_int_encoding()
        .with_limit::<BACKSTOP>();
    let (value, consumed) = bincode::decode_from_slice(input, config).map_err(DecodeError::Malformed)?;
    match input.len() - consumed {
        0 => Ok(value),
        count => Err(DecodeError::Trailing { count }),
    }
}

/// A sequence: its count as a u64, then the items. Decoding grows it only as items are really there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct List<T>(Vec<T>);

impl<T> List<T> {
    /// An empty list.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The items.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }

    /// Adds an item at the end.
    pub fn push(&mut self, item: T) {
        self.0.push(item);
    }
}

/// Decodes a [`List`]'s items with `item`, which decodes one of them.
fn decode_items<D: Decoder, T>(
    decoder: &mut D,
    mut item: impl FnMut(&mut D) -> Result<T, bincode::error::DecodeError>,
) -> Result<List<T>, bincode::error::DecodeError> {
    let claimed = <u64 as Decode<D::Context>>::decode(decoder)?;
    // An item takes at least one byte (checked below), so a count above what is left is certainly wrong.
    let count = available(decoder, claimed)?;
    let mut items = Vec::new();
    for _ in 0..count {
        let before = position(decoder);
        if count == 1 {
            // The usual first step of a growing vector is to room for four.
            items.reserve_exact(1);
        }
        items.push(item(decoder)?);
        if position(decoder) == before {
            // Items of no bytes would let a few bytes of input stand for any number of items.
            return Err(bincode::error::DecodeError::Other(
                "an item of a list takes no bytes",
            ));
        }
    }
    Ok(List(items))
}

/// Where in its input the decoder stands, as an address: only good for telling whether it has moved.
fn position<D: Decoder>(decoder: &mut D) -> Option<*const u8> {
    decoder.reader().peek_read(0).map(<[u8]>::as_ptr)
}

/// `claimed` as a length, if at least that many bytes are left in the input.
fn available<D: Decoder>(decoder: &mut D, claimed: u64) -> Result<usize, bincode::error::DecodeError> {
    let count =
        usize::try_from(claimed).map_err(|_| bincode::error::DecodeError::OutsideUsizeRange(claimed))?;
    match decoder.reader().peek_read(count) {
        Some(_) => Ok(count),
        None => Err(bincode::error::DecodeError::UnexpectedEnd { additional: count }),
    }
}

/// Decodes a byte string with `take`, which is shown its bytes in place before anything is allocated.
fn decode_bytes<D: Decoder, T>(
    decoder: &mut D,
    take: impl FnOnce(&[u8]) -> Result<T, bincode::error::DecodeError>,
) -> Result<T, bincode::error::DecodeError> {
    let claimed = <u64 as Decode<D::Context>>::decode(decoder)?;
    let count = available(decoder, claimed)?;
    let value = take(decoder.reader().peek_read(count).unwrap_or_default())?;
    decoder.reader().consume(count);
    Ok(value)
}

/// Encodes a byte string: its length as a u64, then the bytes.
fn encode_bytes<E: Encoder>(bytes: &[u8], encoder: &mut E) -> Result<(), EncodeError> {
    (bytes.len() as u64).encode(encoder)?;
    encoder.writer().write(bytes)
}

impl<T: Encode> Encode for List<T> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        (self.0.len() as u64).encode(encoder)?;
        self.0.iter().try_for_each(|item| item.encode(encoder))
    }
}

impl<Context, T: Decode<Context>> Decode<Context> for List<T> {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, bincode::error::DecodeError> {
        decode_items(decoder, T::decode)
    }
}

impl<'de, Context, T: BorrowDecode<'de, Context>> BorrowDecode<'de, Context> for List<T> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        decode_items(decoder, T::borrow_decode)
    }
}

// By hand: a derived one would ask for T: Default.
impl<T> Default for List<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> From<Vec<T>> for List<T> {
    fn from(items: Vec<T>) -> Self {
        Self(items)
    }
}

impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

impl<T> IntoIterator for List<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// A byte string: its length as a u64, then the bytes. Clones share the bytes. In JSON it is hex text.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blob(Bytes);

impl Blob {
    /// The bytes, shared.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl Encode for Blob {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        encode_bytes(&self.0, encoder)
    }
}

impl<Context> Decode<Context> for Blob {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, bincode::error::DecodeError> {
        decode_bytes(decoder, |bytes| Ok(Self(Bytes::copy_from_slice(bytes))))
    }
}
bincode::impl_borrow_decode!(Blob);

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..8).unwrap_or(&self.0);
        let more = if shown.len() < self.0.len() { "…" } else { "" };
        write!(
            formatter,
            "Blob({} bytes: {}{more})",
            self.0.len(),
            hex::encode(shown)
        )
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        hex::decode(text.as_bytes())
            .map(Self::from)
            .map_err(serde::de::Error::custom)
    }
}

/// UTF-8 text: its length in bytes as a u64, then the bytes.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(String);

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as an owned string.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl Encode for Text {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        encode_bytes(self.0.as_bytes(), encoder)
    }
}

impl<Context> Decode<Context> for Text {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, bincode::error::DecodeError> {
        decode_bytes(decoder, |bytes| match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self(text.to_owned())),
            Err(inner) => Err(bincode::error::DecodeError::Utf8 { inner }),
        })
    }
}
bincode::impl_borrow_decode!(Text);

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}
