//! One value, one encoding; and nothing else decodes.

use proptest::prelude::*;
use tagma_crypto::encode::{Decode, DecodeError, Encode, MAX_INPUT, decode, encode};
use tagma_crypto::{Blob, Digest, List, Text};

use crate::messages::{Message, attack, message};

/// What decodes at all encodes back to the same bytes.
fn canonical_or_refused<T: Encode + Decode<()>>(input: &[u8]) {
    if let Ok(value) = decode::<T>(input, MAX_INPUT) {
        assert_eq!(
            encode(&value),
            input,
            "another encoding of the same value was accepted"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn values_come_back(message in message()) {
        let bytes = encode(&message);
        prop_assert_eq!(decode::<Message>(&bytes, bytes.len()).unwrap(), message);
    }

    #[test]
    fn every_cut_and_every_addition_is_refused(message in message(), more in 1_usize..10) {
        let mut bytes = encode(&message);
        for end in 0..bytes.len() {
            let error = decode::<Message>(&bytes[..end], MAX_INPUT).unwrap_err();
            prop_assert!(matches!(error, DecodeError::Malformed(_)), "{}", error);
        }
        let len = bytes.len();
        bytes.resize(len + more, 0);
        let error = decode::<Message>(&bytes, MAX_INPUT).unwrap_err();
        prop_assert!(matches!(error, DecodeError::Trailing { count } if count == more), "{}", error);
        let error = decode::<Message>(&bytes, len).unwrap_err();
        prop_assert!(
            matches!(error, DecodeError::TooLong { len: found, limit } if (found, limit) == (len + more, len)),
            "{}", error
        );
    }

    #[test]
    fn what_decodes_is_canonical(input in attack()) {
        canonical_or_refused::<Message>(&input);
        canonical_or_refused::<List<Blob>>(&input);
        canonical_or_refused::<List<List<Option<bool>>>>(&input);
        canonical_or_refused::<(Text, Option<Digest>)>(&input);
    }
}

#[test]
fn every_single_byte_change_is_refused_or_another_value() {
    // Sweeps all 255 changes of every byte of one message, which random mutation would leave gaps in.
    let message: (List<Option<bool>>, Text, Blob, bool) = (
        vec![None, Some(true), Some(false)].into(),
        "naïve".into(),
        vec![1, 2].into(),
        true,
    );
    let bytes = encode(&message);
    let (mut accepted, mut refused) = (0, 0);
    for place in 0..bytes.len() {
        for change in 1..=255 {
            let mut changed = bytes.clone();
            changed[place] ^= change;
            match decode::<(List<Option<bool>>, Text, Blob, bool)>(&changed, MAX_INPUT) {
                Ok(other) => {
                    assert_ne!(other, message, "byte {place} means nothing");
                    assert_eq!(encode(&other), changed);
                    accepted += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(
        accepted > 500 && refused > 5000,
        "{accepted} accepted, {refused} refused"
    );
}

#[test]
fn the_layout_is_fixed() {
    // Spelled out, so that no update of a library can change it unnoticed: it is what digests and signatures cover.
    let value = (
        0x0102_u16,
        List::from(vec![7_u32]),
        Some(Blob::from(vec![9, 8])),
        Text::from("é"),
        None::<bool>,
        true,
    );
    let expected = [
        &[2, 1][..],
        &[1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0],
        &[1, 2, 0, 0, 0, 0, 0, 0, 0, 9, 8],
        &[2, 0, 0, 0, 0, 0, 0, 0, 0xc3, 0xa9],
        &[0, 1],
    ]
    .concat();
    assert_eq!(encode(&value), expected);
    assert_eq!(encode(&Digest::from_bytes([5; 32])), [5; 32]);
    assert_eq!(encode(&-2_i64), (-2_i64).to_le_bytes());
    // Variants are u32.
    assert_eq!(encode(&crate::messages::Kind::Nothing), [0; 4]);
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    let bytes = encode(&Blob::from(vec![0xff, 0xfe]));
    assert!(matches!(
        decode::<Text>(&bytes, 100),
        Err(DecodeError::Malformed(_))
    ));
}

#[test]
fn an_input_over_the_limit_is_refused_unseen() {
    assert!(matches!(
        decode::<u64>(&[0; 9], 8),
        Err(DecodeError::TooLong { len: 9, limit: 8 })
    ));
    assert!(decode::<u64>(&[0; 8], 8).is_ok());
    let large = vec![0; MAX_INPUT + 1];
    assert!(matches!(
        decode::<u64>(&large, usize::MAX),
        Err(DecodeError::TooLong { .. })
    ));
}

#[test]
fn lists_behave_as_sequences() {
    let mut list: List<u8> = (0..3).collect();
    list.push(9);
    assert_eq!((list.len(), list.first(), list.iter().sum()), (4, Some(&0), 12));
    assert_eq!((&list).into_iter().count(), 4);
    assert_eq!(
        list.clone().into_iter().collect::<Vec<_>>(),
        list.clone().into_vec()
    );
    assert_eq!(List::<String>::default(), List::new());
}
