//! All quorum arithmetic, in one place.
//!
//! | N | f | weak quorum f + 1 | quorum Q = 2f + 1 | PREPAREs in a certificate 2f |
//! | --- | --- | --- | --- | --- |
//! | 4 | 1 | 2 | 3 | 2 |
//! | 7 | 2 | 3 | 5 | 4 |
//! | 10 | 3 | 4 | 7 | 6 |
//!
//! Any two quorums share at least f + 1 replicas, of which one is correct; a weak quorum holds at least one correct
//! replica (OSDI '99 §3). **Ours:** N is exactly 3f + 1. With any other N a quorum of 2f + 1 would either not intersect
//! as needed or cost messages without tolerating one more fault.

use std::ops::Range;

use crate::types::{ReplicaId, SeqNum, View};

/// The largest N: a replica set must fit the bitmaps of STATUS.
pub const MAX_REPLICAS: u16 = 127;

/// The sizes that follow from N.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorum {
    n: u16,
    f: u16,
}

/// N is not of the form 3f + 1 with f ≥ 1, or too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{n} replicas: N must be 3f + 1 with 1 ≤ f ≤ 42; the nearest valid sizes are {below} and {above}")]
pub struct BadReplicaCount {
    /// The refused N.
    pub n: u64,
    /// The next valid size below (or the smallest valid one).
    pub below: u64,
    /// The next valid size above (or the largest valid one).
    pub above: u64,
}

impl Quorum {
    /// The quorum sizes for `n` replicas.
    ///
    /// # Errors
    /// If `n` is not 3f + 1 for an f of at least 1, or above [`MAX_REPLICAS`].
    pub fn new(n: usize) -> Result<Self, BadReplicaCount> {
        let max = MAX_REPLICAS;
        match u16::try_from(n) {
            Ok(size) if (4..=max).contains(&size) && size % 3 == 1 => Ok(Self {
                n: size,
                f: (size - 1) / 3,
            }),
            _ => {
                let n = u64::try_from(n).unwrap_or(u64::MAX);
                let largest = u64::from(max);
                let below = if n < 7 {
                    4
                } else {
                    (n.min(largest) - 1) / 3 * 3 + 1
                };
                Err(BadReplicaCount {
                    n,
                    below,
                    above: (below + 3).min(largest),
                })
            }
        }
    }
    /// N, the number of replicas.
    pub const fn replicas(self) -> u16 {
        self.n
    }
    /// f, the number of faulty replicas tolerated.
    pub const fn faults(self) -> u16 {
        self.f
    }
    /// Q = 2f + 1.
    pub const fn quorum(self) -> usize {
        2 * self.f as usize + 1
    }
    /// f + 1: at least one of them is correct.
    pub const fn weak(self) -> usize {
        self.f as usize + 1
    }
    /// 2f: the PREPAREs that make a prepared certificate together with the primary's PRE-PREPARE.
    pub const fn prepares(self) -> usize {
        2 * self.f as usize
    }
    /// The primary of view `v`: v mod N (OSDI '99 §4).
    pub const fn primary(self, view: View) -> ReplicaId {
        // The remainder of a division by a u16 fits a u16.
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the remainder of a division by a u16"
        )]
        let id = (view.get() % self.n as u64) as u16;
        ReplicaId::new(id)
    }
    /// Whether `id` is one of the f backups that may leave (v, n) to the other 2f + 1, if they stand by at all
    /// ([`Tuning::standby`](crate::Tuning)): the backups, in the order of their numbers from the primary on, take turns from n to n + 1.
    pub fn stands_by(self, id: ReplicaId, view: View, seq: SeqNum) -> bool {
        self.turn(id, view, seq)
            .is_some_and(|turn| turn < u64::from(self.f))
    }
    /// Which of the `len` requests of the batch (v, n) replica `id` has to check where they are shared out: of the 2f backups whose
    /// turn it is to take part every other one the first half, the others the second, so that f of them check each request. The
    /// primary checks all, and so does who takes part out of turn.
    pub fn share(self, id: ReplicaId, view: View, seq: SeqNum, len: usize) -> Range<usize> {
        let first = len.div_ceil(2);
        let place = self
            .turn(id, view, seq)
            .and_then(|turn| turn.checked_sub(u64::from(self.f)));
        match place {
            None => 0..len,
            Some(place) if place % 2 == 0 || mutant!(SharesOneHalf) => 0..first,
            Some(_) => first..len,
        }
    }
    /// The place of a backup in the order for (v, n): the first f stand by, the other 2f take part. None for the primary.
    fn turn(self, id: ReplicaId, view: View, seq: SeqNum) -> Option<u64> {
        let n = u64::from(self.n);
        let backups = n - 1;
        let after = (u64::from(id.get()) + n - view.get() % n) % n;
        after
            .checked_sub(1)
            .map(|place| (place + seq.get() % backups) % backups)
    }
    /// Whether `id` is one of the N replicas.
    pub const fn contains(self, id: ReplicaId) -> bool {
        id.get() < self.n
    }
    /// All replicas in order.
    pub fn all(self) -> impl Iterator<Item = ReplicaId> {
        (0..self.n).map(ReplicaId::new)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test may fail by panicking"
    )]
    use super::*;

    #[test]
    fn only_three_f_plus_one_is_accepted() {
        let valid: Vec<usize> = (0..200).filter(|&n| Quorum::new(n).is_ok()).collect();
        let expected: Vec<usize> = (1..=42).map(|f| 3 * f + 1).collect();
        assert_eq!(valid, expected);
        assert_eq!(
            Quorum::new(5).unwrap_err(),
            BadReplicaCount {
                n: 5,
                below: 4,
                above: 7
            }
        );
        assert_eq!(
            Quorum::new(6).unwrap_err(),
            BadReplicaCount {
                n: 6,
                below: 4,
                above: 7
            }
        );
        assert_eq!(
            Quorum::new(9).unwrap_err(),
            BadReplicaCount {
                n: 9,
                below: 7,
                above: 10
            }
        );
        assert_eq!(
            Quorum::new(1).unwrap_err(),
            BadReplicaCount {
                n: 1,
                below: 4,
                above: 7
            }
        );
        assert_eq!(Quorum::new(500).unwrap_err().above, 127);
    }

    #[test]
    fn quorums_intersect_in_a_correct_replica() {
        for f in 1..=42_usize {
            let q = Quorum::new(3 * f + 1).unwrap();
            assert!(
                2 * q.quorum() >= usize::from(q.replicas()) + q.weak(),
                "two quorums share f + 1"
            );
            assert!(
                q.quorum() <= usize::from(q.replicas() - q.faults()),
                "the correct replicas are a quorum"
            );
            assert_eq!(q.prepares() + 1, q.quorum());
        }
    }

    #[test]
    fn f_backups_stand_by_and_all_of_them_do_in_turn() {
        for n in [4, 7, 10, 31, 127] {
            let q = Quorum::new(n).unwrap();
            let mut turns = vec![0_u64; n];
            let backups = u64::from(q.replicas()) - 1;
            let view = View::new(1234);
            for seq in 5..5 + backups {
                let standing = q.all().filter(|id| q.stands_by(*id, view, SeqNum::new(seq)));
                let standing: Vec<ReplicaId> = standing.collect();
                assert_eq!(standing.len(), usize::from(q.faults()), "the others are a quorum");
                standing.iter().for_each(|id| turns[id.index()] += 1);
            }
            let primary = q.primary(view).index();
            assert_eq!(turns.remove(primary), 0);
            assert!(
                turns.iter().all(|turn| *turn == u64::from(q.faults())),
                "{turns:?}"
            );
        }
    }

    /// f of the 2f backups that take part check each request of a batch; the primary and whoever takes part out of turn all of them.
    #[test]
    fn each_request_is_checked_by_f_backups_whose_turn_it_is() {
        for n in [4, 7, 10, 31, 127] {
            let q = Quorum::new(n).unwrap();
            for (view, seq) in (0..40).map(|k| (View::new(k * 7), SeqNum::new(k * 3 + 1))) {
                for len in [0, 1, 2, 5, 8] {
                    let (in_turn, others): (Vec<ReplicaId>, Vec<ReplicaId>) = q
                        .all()
                        .partition(|id| *id != q.primary(view) && !q.stands_by(*id, view, seq));
                    assert_eq!(in_turn.len(), q.prepares());
                    for position in 0..len {
                        let check = |id: &&ReplicaId| q.share(**id, view, seq, len).contains(&position);
                        assert_eq!(in_turn.iter().filter(check).count(), usize::from(q.faults()));
                    }
                    assert!(others.iter().all(|id| q.share(*id, view, seq, len) == (0..len)));
                }
            }
        }
    }

    /// Whoever makes a certificate with a lying primary, a correct replica among them has checked each request.
    #[test]
    fn no_liars_can_have_a_bad_request_prepared() {
        for n in [4_u16, 7] {
            let q = Quorum::new(n.into()).unwrap();
            let faults = u32::from(q.faults());
            let (view, len) = (View::ZERO, 4);
            for seq in (1..=u64::from(n)).map(SeqNum::new) {
                for position in 0..len {
                    // Sets of backups as bits; n0 is the primary and lies.
                    let backups = (0..1_u32 << n).filter(|set| set & 1 == 0);
                    let checks = |id: u16| q.share(ReplicaId::new(id), view, seq, len).contains(&position);
                    let checking: u32 = (1..n).filter(|id| checks(*id)).map(|id| 1 << id).sum();
                    for signers in backups.clone().filter(|set| set.count_ones() == 2 * faults) {
                        for liars in backups.clone().filter(|set| set.count_ones() == faults - 1) {
                            assert_ne!(
                                signers & !liars & checking,
                                0,
                                "{signers:b} {liars:b} {checking:b}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn primaries_rotate() {
        let q = Quorum::new(4).unwrap();
        let primaries: Vec<u16> = (0..6).map(|v| q.primary(View::new(v)).get()).collect();
        assert_eq!(primaries, [0, 1, 2, 3, 0, 1]);
    }
}
