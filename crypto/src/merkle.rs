//! Merkle trees and inclusion proofs in the manner of RFC 6962: leaves, inner nodes and the empty tree are hashed
//! under different prefixes, and n leaves split at the largest power of two below n. So a node never passes for a leaf,
//! and no leaf is ever hashed twice to fill up a level (CVE-2012-2459).

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::encode::List;

const LEAF: &[u8] = &[0];
const NODE: &[u8] = &[1];
const EMPTY: &[u8] = &[2];

/// The hash of a leaf that holds `data`: SHA-256 of `0x00 ‖ data`.
pub fn leaf(data: &[u8]) -> Digest {
    Digest::of_concatenated(&[LEAF, data])
}

/// The hash of an inner node: SHA-256 of `0x01 ‖ left ‖ right`.
pub fn node(left: &Digest, right: &Digest) -> Digest {
    Digest::of_concatenated(&[NODE, left.as_bytes(), right.as_bytes()])
}

/// The root over leaf hashes (of [`leaf`]), in their order. An empty tree's is SHA-256 of `0x02`.
pub fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of_concatenated(&[EMPTY]),
        [only] => *only,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(&root(left), &root(right))
        }
    }
}

/// How many of `count` (at least 2) leaves go to the left: the largest power of two below `count`.
fn split(count: usize) -> usize {
    1 << (count - 1).ilog2()
}

/// That a leaf is the one at `index` of `count` in a tree.
///
/// The root binds the leaves, not their number: check `count` against a signed one where it matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
pub struct Proof {
    /// The leaf's position, from 0.
    pub index: u64,
    /// How many leaves the tree has.
    pub count: u64,
    /// The siblings on the way up, from the leaf's to one below the root.
    pub path: List<Digest>,
}

/// The proof for the leaf at `index`, or `None` if there is no such leaf. Takes leaf hashes, as [`root`] does.
pub fn prove(leaves: &[Digest], index: usize) -> Option<Proof> {
    if index >= leaves.len() {
        return None;
    }
    let mut path = Vec::new();
    let (mut rest, mut position) = (leaves, index);
    while rest.len() > 1 {
        let middle = split(rest.len());
        let (left, right) = rest.split_at(middle);
        if position < middle {
            path.push(root(right));
            rest = left;
        } else {
            path.push(root(left));
            rest = right;
            position -= middle;
        }
    }
    path.reverse();
    Some(Proof {
        index: index as u64,
        count: leaves.len() as u64,
        path: path.into(),
    })
}

impl Proof {
    /// Whether `leaf` (a leaf hash) is at `index` in a tree of `count` leaves with this `root`.
    ///
    /// The path must have exactly the length that index and count ask for. At most 64 steps, whatever they claim.
    pub fn verify(&self, leaf: &Digest, root: &Digest) -> bool {
        // RFC 9162, section 2.1.3.2. `position` and `last` are those of the current node and of the last node
        // in the current level.
        if self.index >= self.count {
            return false;
        }
        let (mut position, mut last) = (self.index, self.count - 1);
        let mut hash = *leaf;
        for sibling in &self.path {
            if last == 0 {
                return false;
            }
            if position % 2 == 1 || position == last {
                hash = node(sibling, &hash);
                // A last node without a sibling goes up unchanged until it is a right child.
                while position % 2 == 0 && position != 0 {
                    position /= 2;
                    last /= 2;
                }
            } else {
                hash = node(&hash, sibling);
            }
            position /= 2;
            last /= 2;
        }
        last == 0 && hash == *root
    }
}
