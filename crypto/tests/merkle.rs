//! Trees against fixed roots and another way of computing them; proofs honest and crafted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails is to stop at once"
)]

use proptest::prelude::*;
use tagma_crypto::Digest;
use tagma_crypto::encode::{decode, encode};
use tagma_crypto::merkle::{Proof, leaf, node, prove, root};

fn leaves(count: usize) -> Vec<Digest> {
    (0..count).map(|number| leaf(&number.to_le_bytes())).collect()
}

/// The same tree from below: neighbours are joined level by level, and a last one without a neighbour goes up as it is.
fn root_by_levels(leaves: &[Digest]) -> Digest {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| if let [l, r] = pair { node(l, r) } else { pair[0] })
            .collect();
    }
    level[0]
}

#[test]
fn roots_are_those_of_rfc_6962() {
    // The leaves of the Certificate Transparency test tree; roots computed with another SHA-256 and another program.
    let data = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    let leaves: Vec<_> = data
        .iter()
        .map(|data| leaf(&hex::decode(data).unwrap()))
        .collect();
    let roots = [
        // Ours: SHA-256 of 0x02. RFC 6962 hashes the empty string.
        "dbc1b4c900ffe48d575b5da5c638040125f65db0fe3e24494b76ea986457d986",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    for (count, expected) in roots.iter().enumerate() {
        assert_eq!(root(&leaves[..count]).to_string(), *expected, "{count} leaves");
    }
}

#[test]
fn every_leaf_of_every_small_tree_has_a_proof_that_fits_it_alone() {
    for count in 0..70 {
        let leaves = leaves(count);
        let root = root(&leaves);
        if count > 0 {
            assert_eq!(root, root_by_levels(&leaves), "{count} leaves");
        }
        assert_eq!(prove(&leaves, count), None);
        for index in 0..count {
            let proof = prove(&leaves, index).unwrap();
            assert_eq!(decode::<Proof>(&encode(&proof), 4096).unwrap(), proof);
            for (place, leaf) in leaves.iter().enumerate() {
                assert_eq!(
                    proof.verify(leaf, &root),
                    place == index,
                    "leaf {place} by {proof:?}"
                );
            }
            for other in (0..count + 3).filter(|other| *other != index) {
                let moved = Proof {
                    index: other as u64,
                    ..proof.clone()
                };
                assert!(!moved.verify(&leaves[index], &root), "{moved:?}");
            }
            for path in [
                &proof.path[..proof.path.len().saturating_sub(1)],
                &[&proof.path[..], &[root]].concat(),
            ] {
                let changed = Proof {
                    path: path.to_vec().into(),
                    ..proof.clone()
                };
                assert!(
                    changed == proof || !changed.verify(&leaves[index], &root),
                    "{changed:?}"
                );
            }
        }
    }
}

#[test]
fn a_path_never_fits_a_position_that_asks_for_another_length() {
    // The last of two leaves is under the root by the same hash as a sole leaf would be with one step too many.
    let pair = leaves(2);
    let too_long = Proof {
        index: 0,
        count: 1,
        path: vec![pair[0]].into(),
    };
    assert!(!too_long.verify(&pair[1], &root(&pair)));
    for count in 1..24 {
        let all = leaves(count);
        for index in 0..count {
            let honest = prove(&all, index).unwrap();
            for (claimed_count, claimed_index) in
                (1..24).flat_map(|count| (0..count).map(move |index| (count, index)))
            {
                let right_length = prove(&leaves(claimed_count), claimed_index).unwrap().path.len();
                let claimed = Proof {
                    index: claimed_index as u64,
                    count: claimed_count as u64,
                    ..honest.clone()
                };
                let fits = claimed.verify(&all[index], &root(&all));
                assert!(
                    !fits || right_length == honest.path.len(),
                    "{claimed:?} of leaf {index} of {count}"
                );
            }
        }
    }
}

#[test]
fn an_inner_node_is_never_a_leaf() {
    let leaves = leaves(4);
    let root = root(&leaves);
    let (left, right) = (node(&leaves[0], &leaves[1]), node(&leaves[2], &leaves[3]));
    assert_eq!(node(&left, &right), root);
    // Whoever shows leaf *data* cannot show two digests that make up a node, with or without its prefix.
    let children = [leaves[0].as_bytes().as_slice(), leaves[1].as_bytes()].concat();
    let with_prefix = [&[1], &children[..]].concat();
    let proof = Proof {
        index: 0,
        count: 2,
        path: vec![right].into(),
    };
    for data in [&children, &with_prefix] {
        assert_ne!(leaf(data), left);
        assert!(!proof.verify(&leaf(data), &root));
    }
    // Nor is the empty tree, or its preimage, one.
    assert_ne!(tagma_crypto::merkle::root(&[]), leaf(&[]));
}

#[test]
fn doubling_the_last_leaf_changes_the_root() {
    for count in 1..40 {
        let mut leaves = leaves(count);
        let before = root(&leaves);
        for _ in 0..count {
            leaves.push(*leaves.last().unwrap());
            assert_ne!(root(&leaves), before, "{count} leaves against {}", leaves.len());
        }
    }
}

#[test]
fn claimed_positions_at_the_ends_of_their_range_do_no_harm() {
    let digest = leaf(b"x");
    for count in [0, 1, 2, 3, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX - 1, u64::MAX] {
        for index in [
            0,
            1,
            u64::MAX / 2,
            u64::MAX / 2 + 1,
            u64::MAX - 2,
            u64::MAX - 1,
            u64::MAX,
        ] {
            for length in [0, 1, 2, 62, 63, 64, 65, 200] {
                let proof = Proof {
                    index,
                    count,
                    path: vec![digest; length].into(),
                };
                let expected = (index, count, length) == (0, 1, 0);
                assert_eq!(
                    proof.verify(&digest, &digest),
                    expected,
                    "{index} of {count}, {length} steps"
                );
            }
        }
    }
}

#[test]
fn a_proof_in_the_largest_tree_there_can_be_works() {
    // 2^64 − 1 leaves: nobody can build that tree, but one path through it suffices.
    let digest = leaf(b"x");
    let (first, last) = (vec![digest; 64], vec![digest; 63]);
    let left_most = first.iter().fold(digest, |hash, sibling| node(&hash, sibling));
    assert!(
        Proof {
            index: 0,
            count: u64::MAX,
            path: first.into()
        }
        .verify(&digest, &left_most)
    );
    let right_most = last.iter().fold(digest, |hash, sibling| node(sibling, &hash));
    let proof = Proof {
        index: u64::MAX - 1,
        count: u64::MAX,
        path: last.into(),
    };
    assert!(proof.verify(&digest, &right_most));
}

#[test]
fn a_proof_has_a_json_form() {
    let proof = prove(&leaves(5), 3).unwrap();
    let json = serde_json::to_string(&proof).unwrap();
    assert!(json.starts_with(r#"{"index":3,"count":5,"path":[""#), "{json}");
    assert_eq!(serde_json::from_str::<Proof>(&json).unwrap(), proof);
}

proptest! {
    #[test]
    fn a_changed_proof_proves_nothing(
        count in 1_usize..300,
        place in any::<prop::sample::Index>(),
        bit in any::<prop::sample::Index>(),
    ) {
        let leaves = leaves(count);
        let (index, root) = (place.index(count), root(&leaves));
        let proof = prove(&leaves, index).unwrap();
        prop_assert!(proof.verify(&leaves[index], &root));
        // Any bit of the path, of the leaf or of the root.
        let mut parts: Vec<[u8; 32]> = proof.path.iter().map(|digest| *digest.as_bytes()).collect();
        parts.extend([*leaves[index].as_bytes(), *root.as_bytes()]);
        let bit = bit.index(parts.len() * 256);
        parts[bit / 256][bit % 256 / 8] ^= 1 << (bit % 8);
        let mut parts: Vec<_> = parts.into_iter().map(Digest::from_bytes).collect();
        let (root, leaf) = (parts.pop().unwrap(), parts.pop().unwrap());
        let changed = Proof { path: parts.into(), ..proof };
        prop_assert!(!changed.verify(&leaf, &root));
    }

    #[test]
    fn random_proofs_neither_pass_nor_panic(
        index in any::<u64>(),
        count in any::<u64>(),
        path in proptest::collection::vec(any::<[u8; 32]>(), 0..80),
    ) {
        let path = path.into_iter().map(Digest::from_bytes).collect();
        let proof = Proof { index, count, path };
        prop_assert!(!proof.verify(&leaf(b"x"), &leaf(b"y")));
    }
}
