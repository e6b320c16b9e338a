//! Fixed vectors, and batches crafted so that members could make up for each other.

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha512};
use tagma_crypto::signature::signed_bytes;
use tagma_crypto::{Claim, Digest, Domain, PublicKey, SecretKey, Signature, verify, verify_batch};

use crate::crafted::{Kind, SMALL_ORDER, craft};
use crate::reference;

/// The lines of vectors.txt, which vectors.py computes over plain integers: name, verdict, claim.
fn vectors() -> Vec<(&'static str, bool, Claim)> {
    let lines = include_str!("vectors.txt").lines();
    let claims = lines.map(|line| {
        let [name, verdict, key, message, signature] = line
            .split(' ')
            .collect::<Vec<_>>()
            .try_into()
            .expect("five columns");
        let message = if message == "-" {
            Vec::new()
        } else {
            hex::decode(message).unwrap()
        };
        assert!(verdict == "good" || verdict == "bad", "{name}");
        let claim = Claim {
            key: key.parse().unwrap(),
            message,
            signature: signature.parse().unwrap(),
        };
        (name, verdict == "good", claim)
    });
    claims.collect()
}

#[test]
fn vectors_have_their_verdict_single_batched_and_by_the_reference() {
    let vectors = vectors();
    for (name, good, claim) in &vectors {
        assert_eq!(
            verify(&claim.key, &claim.message, &claim.signature),
            *good,
            "{name}"
        );
        assert_eq!(
            verify_batch(std::slice::from_ref(claim)),
            [*good],
            "{name} as a batch of one"
        );
        assert_eq!(reference::verdict(claim), *good, "{name} by the reference");
    }
    let (claims, expected): (Vec<_>, Vec<_>) = vectors
        .iter()
        .map(|(_, good, claim)| (claim.clone(), *good))
        .unzip();
    assert_eq!(verify_batch(&claims), expected, "all in one batch");
    let good: Vec<_> = vectors
        .iter()
        .filter(|(_, good, _)| *good)
        .map(|(_, _, claim)| claim.clone())
        .collect();
    assert_eq!(
        verify_batch(&good),
        vec![true; good.len()],
        "all good ones, mixed orders included, in one batch"
    );
    assert_eq!((vectors.len(), good.len()), (168, 25), "vectors were lost");
}

#[test]
fn each_bad_vector_is_found_among_good_ones() {
    let vectors = vectors();
    let good: Vec<_> = vectors
        .iter()
        .filter(|(_, good, _)| *good)
        .map(|(_, _, claim)| claim.clone())
        .collect();
    for (place, (name, _, bad)) in vectors.iter().filter(|(_, good, _)| !good).enumerate() {
        let place = place % (good.len() + 1);
        let mut batch = good.clone();
        batch.insert(place, bad.clone());
        let expected: Vec<_> = (0..batch.len()).map(|index| index != place).collect();
        assert_eq!(verify_batch(&batch), expected, "{name}");
    }
}

#[test]
fn rfc_8032_seeds_give_their_public_keys() {
    let seeds = [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
    ];
    for (seed, (name, _, claim)) in seeds.iter().zip(vectors()) {
        let seed: [u8; 32] = hex::decode(seed).unwrap().try_into().unwrap();
        assert_eq!(SecretKey::from_seed(seed).public(), claim.key, "{name}");
    }
}

#[test]
fn signing_is_rfc_8032_over_the_signed_bytes() {
    let (domain, chain) = (Domain::new("tagma/test"), Digest::of("tagma/chain", &[]));
    for number in 0..50_u8 {
        let (seed, content) = ([number; 32], vec![number; usize::from(number)]);
        let expanded: [u8; 64] = Sha512::digest(seed).into();
        let scalar = Scalar::from_bytes_mod_order(curve25519_dalek::scalar::clamp_integer(
            expanded[..32].try_into().unwrap(),
        ));
        let key = EdwardsPoint::mul_base(&scalar).compress().to_bytes();
        let mut message = vec![10, 0, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(b"tagma/test");
        message.extend_from_slice(chain.as_bytes());
        message.extend_from_slice(&content);
        assert_eq!(message, signed_bytes(domain, &chain, &content));
        let nonce = Sha512::new()
            .chain_update(&expanded[32..])
            .chain_update(&message)
            .finalize();
        let nonce = Scalar::from_bytes_mod_order_wide(&nonce.into());
        let r = EdwardsPoint::mul_base(&nonce).compress().to_bytes();
        let s = nonce + reference::challenge(&r, &key, &message) * scalar;
        let expected = [r, s.to_bytes()].concat();
        let secret = SecretKey::from_seed(seed);
        let signature = secret.sign(domain, &chain, &content);
        assert_eq!(signature.as_bytes()[..], expected[..]);
        assert!(verify(&secret.public(), &message, &signature));
    }
}

#[test]
fn errors_that_cancel_out_are_not_overlooked() {
    // Without a random factor for each member, a sum of equations would hold for these pairs.
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for difference in [1_u64, 2, 8, u64::MAX] {
        let mut pair = [
            craft(Kind::Honest, &mut rng),
            craft(Kind::TorsionInBoth, &mut rng),
        ];
        for (claim, change) in pair
            .iter_mut()
            .zip([Scalar::from(difference), -Scalar::from(difference)])
        {
            let mut bytes = *claim.signature.as_bytes();
            let s = Scalar::from_canonical_bytes(bytes[32..].try_into().unwrap()).unwrap();
            bytes[32..].copy_from_slice((s + change).as_bytes());
            claim.signature = Signature::from_bytes(bytes);
        }
        assert_eq!(verify_batch(&pair), [false, false]);
    }
    // The same under one key: terms of one key are added up before they are multiplied.
    let secret = SecretKey::from_seed([1; 32]);
    let mut pair = [b"one", b"two"].map(|content| {
        let signature = secret.sign(Domain::new("tagma/test"), &Digest::ZERO, content);
        let message = signed_bytes(Domain::new("tagma/test"), &Digest::ZERO, content);
        Claim {
            key: secret.public(),
            message,
            signature,
        }
    });
    assert_eq!(verify_batch(&pair), [true, true]);
    let [first, second] = &mut pair;
    std::mem::swap(&mut first.signature, &mut second.signature);
    assert_eq!(verify_batch(&pair), [false, false]);
}

#[test]
fn batches_of_all_sizes_give_a_verdict_for_each_claim() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    assert!(verify_batch(&[]).is_empty());
    for size in [1, 2, 63, 64, 65, 127, 128, 129, 300] {
        let mut claims: Vec<_> = (0..size).map(|_| craft(Kind::Honest, &mut rng)).collect();
        assert_eq!(verify_batch(&claims), vec![true; size]);
        let last = claims.last_mut().unwrap();
        last.message.push(0);
        let verdicts = verify_batch(&claims);
        assert_eq!(verdicts.iter().filter(|good| !**good).count(), 1);
        assert!(!verdicts[size - 1]);
    }
}

#[test]
fn keys_of_small_order_not_on_the_curve_or_not_canonical_are_not_acceptable() {
    assert_eq!(
        SMALL_ORDER.iter().collect::<std::collections::HashSet<_>>().len(),
        14
    );
    for encoding in SMALL_ORDER.iter() {
        assert!(
            !PublicKey::from_bytes(*encoding).is_acceptable(),
            "{}",
            hex::encode(encoding)
        );
    }
    assert!(!PublicKey::from_bytes([0; 32]).is_acceptable());
    assert!(!PublicKey::from_bytes([0xff; 32]).is_acceptable());
    let mut bad = 0;
    for (name, good, claim) in vectors() {
        if name.starts_with("over-p-a") || name == "a-off-curve" || name.starts_with("small-order-a") {
            assert!(!claim.key.is_acceptable(), "{name}");
            bad += 1;
        } else if good {
            assert!(claim.key.is_acceptable(), "{name}");
        }
    }
    assert_eq!(bad, 38 + 1 + 14);
}

#[test]
fn no_signature_of_one_kind_verifies_as_another() {
    let secret = SecretKey::from_seed([3; 32]);
    let chains = [Digest::ZERO, Digest::of("tagma/chain", &[b"other"])];
    // Tags of which one begins another, and contents that could make up for it.
    let tags = ["tagma/vote", "tagma/vote/", "tagma/votes", "tagma"];
    let contents: [&[u8]; 4] = [b"", b"s", b"/", b"/vote"];
    let mut all = Vec::new();
    for tag in tags {
        for chain in &chains {
            for content in contents {
                let message = signed_bytes(Domain::new(tag), chain, content);
                all.push((message, secret.sign(Domain::new(tag), chain, content)));
            }
        }
    }
    for (place, (message, _)) in all.iter().enumerate() {
        for (other, (_, signature)) in all.iter().enumerate() {
            assert_eq!(
                verify(&secret.public(), message, signature),
                place == other,
                "{place} against {other}"
            );
        }
    }
}
