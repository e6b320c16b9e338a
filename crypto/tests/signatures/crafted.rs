//! Signatures as an attacker makes them who holds the secret scalar and adds points of small order wherever it may help.

use std::sync::LazyLock;

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use rand::{Rng, RngExt};
use tagma_crypto::{Claim, PublicKey, Signature};

use crate::reference::{GROUP_ORDER, challenge};

/// How a claim is made. The comments say what the predicate must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// As RFC 8032 says. Good.
    Honest,
    /// A point of order 2, 4 or 8 added to R. Good, as is the next two.
    TorsionInR,
    /// The same in A.
    TorsionInA,
    /// Both, independently.
    TorsionInBoth,
    /// A of small order, in any of its encodings; the cofactored equation holds. Bad.
    SmallA,
    /// R of small order (the identity included), in any of its encodings; the equation holds. Bad.
    SmallR,
    /// Both, with S = 0. Bad.
    SmallBoth,
    /// S + mℓ for any m that fits. Bad.
    LargeS,
    /// S off by a multiple of a small number. Bad.
    WrongS,
    /// −S. Bad.
    NegatedS,
    /// The negated R. Bad.
    NegatedR,
    /// R with its y-coordinate increased by p, where y < 19 and so this fits. Bad.
    OverlongR,
    /// The same for A. Bad.
    OverlongA,
    /// One bit flipped in key, signature or message. Bad but for a bit of the message that the hash happens to ignore,
    /// and there is none.
    FlippedBit,
    /// Random bytes for R. Bad.
    RandomR,
    /// Random bytes for A. Bad.
    RandomA,
    /// Everything random. Bad.
    Random,
}

impl Kind {
    pub(crate) const GOOD: [Self; 4] = [
        Self::Honest,
        Self::TorsionInR,
        Self::TorsionInA,
        Self::TorsionInBoth,
    ];
    pub(crate) const BAD: [Self; 13] = [
        Self::SmallA,
        Self::SmallR,
        Self::SmallBoth,
        Self::LargeS,
        Self::WrongS,
        Self::NegatedS,
        Self::NegatedR,
        Self::OverlongR,
        Self::OverlongA,
        Self::FlippedBit,
        Self::RandomR,
        Self::RandomA,
        Self::Random,
    ];

    pub(crate) fn is_good(self) -> bool {
        Self::GOOD.contains(&self)
    }
}

/// A scalar and, for each of the eight torsion points, its public key with that point added.
struct Pair {
    scalar: Scalar,
    keys: [[u8; 32]; 8],
}

/// Few enough keys that batches hold several signatures under one, as those of replicas do.
static PAIRS: LazyLock<Vec<Pair>> = LazyLock::new(|| {
    (1_u64..=48)
        .map(|number| {
            let scalar = Scalar::from(number).invert();
            let point = EdwardsPoint::mul_base(&scalar);
            Pair {
                scalar,
                keys: EIGHT_TORSION.map(|torsion| (point + torsion).compress().to_bytes()),
            }
        })
        .collect()
});

/// All 14 encodings of the eight points of small order.
pub(crate) static SMALL_ORDER: LazyLock<Vec<[u8; 32]>> = LazyLock::new(|| {
    let mut encodings: Vec<_> = EIGHT_TORSION
        .iter()
        .map(|point| point.compress().to_bytes())
        .collect();
    // x = 0 with the sign bit set, for y = 1 and y = −1.
    for identity_or_order_two in [encodings[0], encodings[4]] {
        let mut signed = identity_or_order_two;
        signed[31] |= 0x80;
        encodings.push(signed);
    }
    // y = 0 and y = 1 written as p and p + 1, with either sign.
    for distance in [0, 1] {
        for sign in [0, 0x80] {
            encodings.push(over_p(distance, sign));
        }
    }
    encodings
});

/// The encoding of y = p + `distance` (below 19), with this sign bit.
fn over_p(distance: u8, sign: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    bytes[0] = 0xed + distance;
    bytes[31] = 0x7f | sign;
    bytes
}

fn pick<'a, T>(rng: &mut impl Rng, items: &'a [T]) -> &'a T {
    &items[rng.random_range(0..items.len())]
}

fn random_bytes<const LEN: usize>(rng: &mut impl Rng) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// `scalar` + `multiple`·ℓ as bytes, little endian, if that fits.
fn plus_order(scalar: Scalar, multiple: u16) -> Option<[u8; 32]> {
    let mut bytes = scalar.to_bytes();
    let mut carry = 0_u16;
    for (byte, order) in bytes.iter_mut().zip(GROUP_ORDER.iter().rev()) {
        let sum = u16::from(*byte) + multiple * u16::from(*order) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    (carry == 0).then_some(bytes)
}

/// Makes one claim of this kind.
pub(crate) fn craft(kind: Kind, rng: &mut impl Rng) -> Claim {
    let mut message = vec![0; rng.random_range(0..96)];
    rng.fill_bytes(&mut message);
    let pair = pick(rng, &PAIRS);
    let mut scalar = pair.scalar;
    let mut key = pair.keys[0];
    let mut nonce = Scalar::from_bytes_mod_order_wide(&random_bytes(rng));
    let mut torsion_in_r = 0;
    if matches!(kind, Kind::TorsionInA | Kind::TorsionInBoth) {
        key = pair.keys[rng.random_range(1..8)];
    }
    if matches!(kind, Kind::TorsionInR | Kind::TorsionInBoth) {
        torsion_in_r = rng.random_range(1..8);
    }
    if matches!(kind, Kind::SmallA | Kind::SmallBoth) {
        key = *pick(rng, &SMALL_ORDER);
        scalar = Scalar::ZERO;
    }
    if matches!(kind, Kind::SmallR | Kind::SmallBoth) {
        nonce = Scalar::ZERO;
    }
    let mut r_point = EdwardsPoint::mul_base(&nonce) + EIGHT_TORSION[torsion_in_r];
    if kind == Kind::NegatedR {
        r_point = -r_point;
    }
    let mut r = r_point.compress().to_bytes();
    match kind {
        Kind::SmallR | Kind::SmallBoth => r = *pick(rng, &SMALL_ORDER),
        Kind::OverlongR => r = over_p(rng.random_range(0..19), *pick(rng, &[0, 0x80])),
        Kind::OverlongA => key = over_p(rng.random_range(0..19), *pick(rng, &[0, 0x80])),
        Kind::RandomR => r = random_bytes(rng),
        Kind::RandomA => key = random_bytes(rng),
        _ => {}
    }
    let s = nonce + challenge(&r, &key, &message) * scalar;
    let s = match kind {
        Kind::LargeS => plus_order(s, rng.random_range(1..15)).expect("15ℓ is below 2^256"),
        Kind::WrongS => (s + Scalar::from(rng.random_range(1_u64..=8))).to_bytes(),
        Kind::NegatedS => (-s).to_bytes(),
        _ => s.to_bytes(),
    };
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(&s);
    if kind == Kind::Random {
        (key, signature) = (random_bytes(rng), random_bytes(rng));
    }
    if kind == Kind::FlippedBit {
        flip(rng, &mut key, &mut signature, &mut message);
    }
    Claim {
        key: PublicKey::from_bytes(key),
        message,
        signature: Signature::from_bytes(signature),
    }
}

fn flip(rng: &mut impl Rng, key: &mut [u8; 32], signature: &mut [u8; 64], message: &mut [u8]) {
    let bit = 1 << rng.random_range(0..8);
    let place = rng.random_range(0..96 + message.len());
    match place {
        0..32 => key[place] ^= bit,
        32..96 => signature[place - 32] ^= bit,
        _ => message[place - 96] ^= bit,
    }
}
