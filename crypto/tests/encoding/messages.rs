//! A message type with everything in it that message types may have.

use proptest::prelude::*;
use tagma_crypto::encode::{Decode, Encode};
use tagma_crypto::{Blob, Digest, List, PublicKey, Signature, Text};

/// Derived through the re-export, as other crates do.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) height: u64,
    pub(crate) amount: u128,
    pub(crate) small: (u8, u16, i64, bool),
    pub(crate) digest: Option<Digest>,
    pub(crate) blobs: List<Blob>,
    pub(crate) votes: List<(PublicKey, Signature)>,
    pub(crate) nested: List<List<List<u16>>>,
    pub(crate) name: Text,
}

#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub(crate) enum Kind {
    Nothing,
    Pair(u32, List<Option<bool>>),
    Named { text: Text, boxed: Box<[u64; 4]> },
}

fn list<T: std::fmt::Debug>(item: impl Strategy<Value = T>, most: usize) -> impl Strategy<Value = List<T>> {
    proptest::collection::vec(item, 0..most).prop_map(List::from)
}

pub(crate) fn blob() -> impl Strategy<Value = Blob> {
    any::<Vec<u8>>().prop_map(Blob::from)
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Nothing),
        (any::<u32>(), list(any::<Option<bool>>(), 6)).prop_map(|(number, list)| Kind::Pair(number, list)),
        (any::<String>(), any::<[u64; 4]>()).prop_map(|(text, numbers)| Kind::Named {
            text: text.into(),
            boxed: Box::new(numbers)
        }),
    ]
}

pub(crate) fn message() -> impl Strategy<Value = Message> {
    let vote = (any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(key, half)| {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&half);
        (PublicKey::from_bytes(key), Signature::from_bytes(signature))
    });
    (
        (kind(), any::<(u64, u128)>(), any::<(u8, u16, i64, bool)>()),
        (
            proptest::option::of(any::<[u8; 32]>()),
            list(blob(), 5),
            list(vote, 4),
        ),
        (list(list(list(any::<u16>(), 5), 4), 4), any::<String>()),
    )
        .prop_map(
            |((kind, (height, amount), small), (digest, blobs, votes), (nested, name))| Message {
                kind,
                height,
                amount,
                small,
                digest: digest.map(Digest::from_bytes),
                blobs,
                votes,
                nested,
                name: name.into(),
            },
        )
}

/// Encodings to begin attacks from: of messages, with up to eight changes of a byte or of eight bytes to a huge count,
/// cut off anywhere.
pub(crate) fn attack() -> impl Strategy<Value = Vec<u8>> {
    let change = (
        any::<prop::sample::Index>(),
        any::<u8>(),
        prop_oneof![Just(None), counts().prop_map(Some)],
    );
    let mutated = (
        message(),
        proptest::collection::vec(change, 0..8),
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(message, changes, end, cut)| {
            let mut bytes = tagma_crypto::encode::encode(&message);
            for (place, byte, count) in changes {
                let place = place.index(bytes.len());
                match (count, bytes.get_mut(place..place + 8)) {
                    (Some(count), Some(eight)) => eight.copy_from_slice(&count.to_le_bytes()),
                    _ => bytes[place] = byte,
                }
            }
            if cut {
                bytes.truncate(end.index(bytes.len()));
            }
            bytes
        });
    prop_oneof![mutated, any::<Vec<u8>>()]
}

/// Counts that a length bomb would name, and small ones.
pub(crate) fn counts() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..300_u64,
        any::<u64>(),
        (0..64_u32, 0..3_u64).prop_map(|(power, more)| (1_u64 << power).wrapping_add(more).wrapping_sub(1)),
        Just(u64::MAX),
    ]
}
