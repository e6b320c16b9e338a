//! As much of ZooKeeper's client protocol as storing needs: Jute records over TCP, each frame preceded by its length.

use bytes::{Buf, BufMut, BytesMut};

/// The kind of a request that makes a node.
const CREATE: i32 = 1;
/// The kind of a request that changes a node's data.
const SET_DATA: i32 = 5;
/// All rights, for anybody.
const ALL_RIGHTS: i32 = 31;
/// Whatever version a node has.
const ANY_VERSION: i32 = -1;
/// A node that has been made already: what was wanted is there.
pub(super) const NODE_EXISTS: i32 = -110;
/// Frames are never longer than this.
const MAX_FRAME: usize = 1 << 20;

fn put_buffer(out: &mut BytesMut, bytes: &[u8]) {
    // Nothing that is sent here comes near the limit.
    out.put_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    out.extend_from_slice(bytes);
}

/// Adds a frame whose content `write` adds.
fn put_frame(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let mut content = BytesMut::new();
    write(&mut content);
    put_buffer(out, &content);
}

/// Adds the first frame of a session: a new one that lives so many milliseconds without a word.
pub(super) fn put_connect(out: &mut BytesMut, timeout_ms: i32) {
    put_frame(out, |content| {
        content.put_i32(0);
        content.put_i64(0);
        content.put_i32(timeout_ms);
        content.put_i64(0);
        put_buffer(content, &[0; 16]);
        content.put_u8(0);
    });
}

/// Adds a request to make a node that stays.
pub(super) fn put_create(out: &mut BytesMut, xid: i32, path: &str, data: &[u8]) {
    put_frame(out, |content| {
        content.put_i32(xid);
        content.put_i32(CREATE);
        put_buffer(content, path.as_bytes());
        put_buffer(content, data);
        content.put_i32(1);
        content.put_i32(ALL_RIGHTS);
        put_buffer(content, b"world");
        put_buffer(content, b"anyone");
        content.put_i32(0);
    });
}

/// Adds a request to change a node's data.
pub(super) fn put_set_data(out: &mut BytesMut, xid: i32, path: &str, data: &[u8]) {
    put_frame(out, |content| {
        content.put_i32(xid);
        content.put_i32(SET_DATA);
        put_buffer(content, path.as_bytes());
        put_buffer(content, data);
        content.put_i32(ANY_VERSION);
    });
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// The number that the request had.
    pub(super) xid: i32,
    /// 0 is success.
    pub(super) error: i32,
}

/// Takes a whole frame from the front, if there is one.
///
/// # Errors
/// The length that makes no sense.
pub(super) fn take_frame(input: &mut BytesMut) -> Result<Option<BytesMut>, i32> {
    let Some(prefix) = input.first_chunk::<4>() else {
        return Ok(None);
    };
    let said = i32::from_be_bytes(*prefix);
    let length = usize::try_from(said)
        .ok()
        .filter(|length| *length <= MAX_FRAME)
        .ok_or(said)?;
    if input.len() < 4 + length {
        input.reserve(4 + length - input.len());
        return Ok(None);
    }
    input.advance(4);
    Ok(Some(input.split_to(length)))
}

/// Reads the header of an answer, if there is one.
pub(super) fn reply(mut frame: BytesMut) -> Option<Reply> {
    let xid = frame.try_get_i32().ok()?;
    // The transaction's number, which nobody needs here.
    frame.try_get_i64().ok()?;
    let error = frame.try_get_i32().ok()?;
    Some(Reply { xid, error })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn requests_are_encoded_as_jute_says() {
        let mut out = BytesMut::new();
        put_set_data(&mut out, 7, "/a", b"xyz");
        let expected = [
            [0, 0, 0, 25].as_slice(),
            &[0, 0, 0, 7],
            &[0, 0, 0, 5],
            &[0, 0, 0, 2, b'/', b'a'],
            &[0, 0, 0, 3, b'x', b'y', b'z'],
            &[255, 255, 255, 255],
        ];
        assert_eq!(out[..], expected.concat());
        let mut out = BytesMut::new();
        put_connect(&mut out, 40_000);
        assert_eq!(out.len(), 4 + 45);
        let mut out = BytesMut::new();
        put_create(&mut out, 1, "/a", b"");
        let length = 4 + 4 + 6 + 4 + 4 + 4 + 9 + 10 + 4;
        assert_eq!(out.len(), 4 + length);
    }

    #[test]
    fn frames_are_taken_when_they_are_whole() {
        let mut input = BytesMut::new();
        put_buffer(
            &mut input,
            &[0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 255, 255, 255, 146],
        );
        put_buffer(&mut input, &[1, 2]);
        let rest = input.split_off(21);
        let frame = take_frame(&mut input).unwrap().unwrap();
        let expected = Reply {
            xid: 9,
            error: NODE_EXISTS,
        };
        assert_eq!(reply(frame), Some(expected));
        assert_eq!(take_frame(&mut input), Ok(None), "one byte of a prefix");
        input.unsplit(rest);
        let short = take_frame(&mut input).unwrap().unwrap();
        assert_eq!(reply(short), None, "too short for a header");
        input.put_i32(-5);
        assert_eq!(take_frame(&mut input), Err(-5));
    }
}
