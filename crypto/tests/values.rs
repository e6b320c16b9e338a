//! Digests, and the text and JSON forms of the byte strings.

#![allow(clippy::unwrap_used, reason = "a test that fails is to stop at once")]

use proptest::prelude::*;
use tagma_crypto::{Blob, Digest, Hasher, ParseError, PublicKey, Signature, Text};

#[test]
fn digests_are_sha_256_of_length_prefixed_parts() {
    // Computed with another SHA-256.
    let fixed = [
        (
            &[b"ab".as_slice(), b"c"][..],
            "7d26119dcc96e5dfdecef5a508f23ded91590fb6a2f9c5e6432f13ff121620ab",
        ),
        (
            &[],
            "3424d59ee43ecbffd99465ed7331d710ebeed8f06ca81d6ee2d7ab2112dd2c25",
        ),
    ];
    for (parts, expected) in fixed {
        assert_eq!(Digest::of("tagma/test", parts).to_string(), expected);
    }
}

#[test]
fn where_parts_and_domain_are_split_matters() {
    let all = [
        Digest::of("tagma", &[b"abc"]),
        Digest::of("tagma", &[b"ab", b"c"]),
        Digest::of("tagma", &[b"a", b"bc"]),
        Digest::of("tagma", &[b"abc", b""]),
        Digest::of("tagma", &[b"", b"abc"]),
        Digest::of("tagmaa", &[b"bc"]),
        Digest::of("tagma", &[]),
        Digest::of("tagma", &[b""]),
        // A part that looks like the prefix and the part after it.
        Digest::of("tagma", &[b"ab\x01\0\0\0\0\0\0\0c"]),
    ];
    assert_eq!(
        all.iter().collect::<std::collections::HashSet<_>>().len(),
        all.len()
    );
}

#[test]
#[should_panic(expected = "3 to 255 bytes")]
fn a_domain_that_could_pass_for_a_merkle_prefix_is_refused() {
    Hasher::new("ab");
}

#[test]
fn text_and_json_forms_are_hex() {
    let key = PublicKey::from_bytes([0xa5; 32]);
    let digits = "a5".repeat(32);
    assert_eq!(
        (key.to_string(), key.short()),
        (digits.clone(), "a5a5a5a5".to_owned())
    );
    assert_eq!(format!("{key:?}"), "PublicKey(a5a5a5a5)");
    assert_eq!(format!("{:?}", Digest::ZERO), "Digest(00000000)");
    assert_eq!(digits.to_uppercase().parse(), Ok(key));
    assert_eq!(serde_json::to_string(&key).unwrap(), format!("\"{digits}\""));
    assert_eq!(
        serde_json::from_str::<PublicKey>(&format!("\"{digits}\"")).unwrap(),
        key
    );
    let signature = Signature::from_bytes([7; 64]);
    assert_eq!(signature.to_string().parse(), Ok(signature));
    let json = serde_json::to_string(&signature).unwrap();
    assert_eq!(serde_json::from_str::<Signature>(&json).unwrap(), signature);
    let blob = Blob::from(vec![1, 2, 0xff]);
    assert_eq!(serde_json::to_string(&blob).unwrap(), "\"0102ff\"");
    assert_eq!(serde_json::from_str::<Blob>("\"0102ff\"").unwrap(), blob);
    assert!(serde_json::from_str::<Blob>("\"0102f\"").is_err());
    assert_eq!(serde_json::to_string(&Text::from("ß")).unwrap(), "\"ß\"");
    assert_eq!(format!("{blob:?}"), "Blob(3 bytes: 0102ff)");
    assert_eq!(
        format!("{:?}", Blob::from(vec![0; 100])),
        "Blob(100 bytes: 0000000000000000…)"
    );
}

#[test]
fn a_text_that_is_not_hex_of_the_length_says_what_is_wrong() {
    let error = "abc".parse::<Digest>().unwrap_err();
    assert_eq!(
        error,
        ParseError {
            what: "digest",
            digits: 64,
            found: 3
        }
    );
    assert_eq!(
        error.to_string(),
        "not a digest: expected 64 hex digits, found 3 characters"
    );
    let error = "g".repeat(128).parse::<Signature>().unwrap_err();
    assert!(error.to_string().ends_with("one of them no hex digit"), "{error}");
    assert!("ß".repeat(32).parse::<PublicKey>().is_err());
    assert!(serde_json::from_str::<PublicKey>("\"00\"").is_err());
    assert!(serde_json::from_str::<PublicKey>("[0]").is_err());
}

#[test]
fn clones_of_a_blob_share_its_bytes() {
    let blob = Blob::from(vec![1; 1000]);
    assert_eq!(blob.clone().as_ptr(), blob.as_ptr());
}

proptest! {
    #[test]
    fn streaming_gives_the_same_digest(parts in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let mut hasher = Hasher::new("tagma/test");
        for part in &parts {
            hasher.part(part);
        }
        prop_assert_eq!(hasher.finish(), Digest::of("tagma/test", &slices));
    }
}
