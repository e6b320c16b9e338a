//! Checks of encoded curve points (keys, and the R of signatures) that need no decompression.

/// p = 2^255 − 19 less one, little endian: the largest y-coordinate, and y of the point of order 2.
const P_MINUS_ONE: [u8; 32] = {
    let mut bytes = [0xff; 32];
    bytes[0] = 0xec;
    bytes[31] = 0x7f;
    bytes
};

/// The y-coordinates, little endian, of the eight points whose order divides 8: y = 1 (the identity), y = −1 (order 2),
/// y = 0 (order 4, both signs), and two of order 8 (both signs).
const SMALL_ORDER: [[u8; 32]; 5] = [
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    P_MINUS_ONE,
    [0; 32],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

/// Whether these bytes, if they are a point at all, are the canonical encoding of one of large order: y < p and not one of
/// the y-coordinates of small order. As x = 0 only where y is 1 or p − 1, which are of small order, a set sign bit
/// on x = 0 cannot remain. Order 8ℓ (mixed order) passes: the cofactored equation settles those alike everywhere.
///
/// Says nothing about whether y is on the curve: that takes a decompression.
pub(crate) fn is_canonical_of_large_order(encoding: &[u8; 32]) -> bool {
    let mut y = *encoding;
    let [.., top] = &mut y;
    *top &= 0x7f;
    // Little endian, so compared from the last byte on.
    y.iter().rev().le(P_MINUS_ONE.iter().rev()) && !SMALL_ORDER.contains(&y)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "a test that fails is to stop at once")]

    use std::collections::HashSet;

    use curve25519_dalek::constants::EIGHT_TORSION;
    use curve25519_dalek::edwards::CompressedEdwardsY;

    use super::{SMALL_ORDER, is_canonical_of_large_order};

    /// What the checks must find, by decompressing: `None` where the bytes are no point.
    fn by_decompressing(encoding: &[u8; 32]) -> Option<bool> {
        let point = CompressedEdwardsY(*encoding).decompress()?;
        Some(point.compress().to_bytes() == *encoding && !point.is_small_order())
    }

    #[test]
    fn the_small_order_list_is_that_of_the_torsion_points() {
        let by_curve: HashSet<_> = EIGHT_TORSION
            .iter()
            .map(|point| {
                let mut y = point.compress().to_bytes();
                y[31] &= 0x7f;
                y
            })
            .collect();
        assert_eq!(by_curve, HashSet::from(SMALL_ORDER));
    }

    #[test]
    fn agrees_with_decompression_on_every_y_near_the_ends_of_the_range() {
        let (mut refused, mut passed) = (0, 0);
        for distance in 0..=0xff_u8 {
            for sign in [0, 0x80] {
                let mut low = [0; 32];
                (low[0], low[31]) = (distance, sign);
                let mut high = [0xff; 32];
                (high[0], high[31]) = (distance, 0x7f | sign);
                for encoding in [low, high] {
                    match by_decompressing(&encoding) {
                        Some(expected) => {
                            assert_eq!(
                                is_canonical_of_large_order(&encoding),
                                expected,
                                "{encoding:02x?}"
                            );
                            *(if expected { &mut passed } else { &mut refused }) += 1;
                        }
                        // y ≥ p is refused even where there is no such point; the rest is for decompression to refuse.
                        None => assert_eq!(
                            is_canonical_of_large_order(&encoding),
                            !(encoding == high && distance >= 0xed),
                            "{encoding:02x?}"
                        ),
                    }
                }
            }
        }
        assert!(refused >= 8 && passed > 100, "{refused} refused, {passed} passed");
    }
}
