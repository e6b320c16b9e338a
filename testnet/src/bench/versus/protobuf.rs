//! As much of Protocol Buffers as the few messages need that are exchanged with etcd. Generated code would ask its procedural macros'
//! libraries for features that make the whole workspace, RocksDB included, compile anew.

use bytes::{BufMut, BytesMut};

/// The wire type of numbers.
const VARINT: u64 = 0;
/// The wire type of bytes, texts and messages.
const DELIMITED: u64 = 2;

/// A field's value. Types that no message here has are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A number.
    Number(u64),
    /// Bytes, a text or a message.
    Bytes(&'a [u8]),
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        // The lowest seven bits; the eighth says that more follow.
        out.put_u8(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
        value >>= 7;
    }
    out.put_u8(u8::try_from(value).unwrap_or_default());
}

/// Adds a field of bytes.
pub(super) fn put_bytes(out: &mut BytesMut, tag: u64, bytes: &[u8]) {
    put_varint(out, (tag << 3) | DELIMITED);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = input.split_first()?;
        *input = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The fields of a message in their order; none if it is no message.
pub(super) fn fields(mut message: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let input = &mut message;
    let mut fields = Vec::new();
    while !input.is_empty() {
        let key = take_varint(input)?;
        let value = match key & 7 {
            VARINT => Value::Number(take_varint(input)?),
            DELIMITED => {
                let length = usize::try_from(take_varint(input)?).ok()?;
                let (bytes, rest) = input.split_at_checked(length)?;
                *input = rest;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        fields.push((key >> 3, value));
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn numbers_and_bytes_are_read_as_the_encoding_says() {
        // The example of the specification: field 1 is 150, field 2 the text "testing".
        let message = [
            0x08, 0x96, 0x01, 0x12, 7, b't', b'e', b's', b't', b'i', b'n', b'g',
        ];
        let expected = [(1, Value::Number(150)), (2, Value::Bytes(b"testing"))];
        assert_eq!(fields(&message).unwrap(), expected);
        assert_eq!(fields(&message[..6]), None, "cut off");
        assert_eq!(fields(&[0xff; 11]), None, "a number without end");
        assert_eq!(fields(&[0x0d, 1, 2, 3, 4]), None, "a type that is not known here");
    }

    #[test]
    fn long_bytes_have_a_length_of_two_bytes() {
        let mut out = BytesMut::new();
        put_bytes(&mut out, 2, &[7; 200]);
        assert!(out.starts_with(&[0x12, 0xc8, 0x01]));
        assert_eq!(fields(&out).unwrap(), [(2, Value::Bytes(&[7; 200]))]);
    }
}
