//! The rules of forensics on forks made by hand, and on what correct replicas sign.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

mod support;

use std::collections::BTreeSet;

use proptest::prelude::*;
use support::Village;
use tagma_evidence::forensics::{Audit, Explanation, Statements, audit};
use tagma_evidence::transcript::Statement;
use tagma_pbft::message::Phase;
use tagma_pbft::{ReplicaId, View};

fn ids(numbers: impl IntoIterator<Item = u16>) -> BTreeSet<ReplicaId> {
    numbers.into_iter().map(ReplicaId::new).collect()
}

fn audited(village: &Village, statements: &[Statement]) -> Audit {
    let mut heard = Statements::new(&village.judge);
    for statement in statements {
        heard.hear(statement);
    }
    let audit = audit(&heard);
    for evidence in audit.evidence() {
        let culprit = village.judge.convicts(evidence);
        assert!(culprit.is_some(), "{} does not prove itself", evidence.name());
    }
    audit
}

#[test]
fn two_certificates_of_one_view_convict_who_signed_both() {
    for (size, first, second, both) in [
        (4, vec![0, 1, 2], vec![0, 1, 3], vec![0, 1]),
        (7, vec![0, 1, 2, 3, 4], vec![2, 3, 4, 5, 6], vec![2, 3, 4]),
    ] {
        let village = Village::new(size);
        let (a, b) = (Village::digest("a"), Village::digest("b"));
        let audit = audited(
            &village,
            &[
                Statement::Committed(village.committed(&first, 3, 5, a)),
                Statement::Committed(village.committed(&second, 3, 5, b)),
            ],
        );
        let [fork] = audit.forks.as_slice() else {
            panic!("one height forks: {:?}", audit.forks)
        };
        assert_eq!(fork.explanation, Explanation::SameView(View::new(3)));
        assert_eq!(fork.culprits, ids(both.clone()));
        assert_eq!(audit.culprits(), ids(both));
    }
}

/// n2 and n3 commit a in view 0, hide that from the primary of view 1, and b is committed there.
#[test]
fn a_new_view_over_hidden_certificates_convicts_those_who_hid_them() {
    let village = Village::new(4);
    let (a, b) = (Village::digest("a"), Village::digest("b"));
    let empty = |sender| village.view_change(sender, 1, None, Vec::new());
    let hiding = village.new_view(1, vec![empty(1), empty(2), empty(3)], 1, &[]);
    let fork = [
        Statement::Committed(village.committed(&[0, 2, 3], 0, 1, a)),
        Statement::Committed(village.committed(&[1, 2, 3], 1, 1, b)),
        Statement::NewView(hiding),
    ];
    let audit = audited(&village, &fork);
    assert_eq!(
        audit.forks[0].explanation,
        Explanation::HiddenCertificates(View::new(1))
    );
    assert_eq!(audit.forks[0].culprits, ids([2, 3]));
    // n1 has hidden nothing, for it has committed nothing; as primary it did what V says.
    assert_eq!(audit.culprits(), ids([2, 3]));
    let names: BTreeSet<_> = audit.evidence().map(|evidence| evidence.name()).collect();
    assert_eq!(names, BTreeSet::from(["hidden_certificate"]));
}

/// The view that deviates is the first one: later ones, which carry b on faithfully, are nobody's fault.
#[test]
fn only_the_first_view_that_deviates_counts() {
    let village = Village::new(4);
    let (a, b) = (Village::digest("a"), Village::digest("b"));
    let shown = |sender, target, certificate| village.view_change(sender, target, None, vec![certificate]);
    let in_first = || village.prepared(&[2, 3], 0, 1, a);
    let in_fourth = || village.prepared(&[0, 1], 3, 1, b);
    // View 1 chooses a, which is committed there. View 3 forgets it, and view 4 carries b on.
    let empty = |sender, target| village.view_change(sender, target, None, Vec::new());
    let faithful = vec![shown(0, 1, in_first()), empty(1, 1), shown(2, 1, in_first())];
    let third = village.new_view(3, vec![empty(1, 3), empty(2, 3), empty(3, 3)], 1, &[]);
    let carried = vec![
        shown(0, 4, in_fourth()),
        shown(1, 4, in_fourth()),
        shown(3, 4, in_fourth()),
    ];
    let audit = audited(
        &village,
        &[
            Statement::Committed(village.committed(&[0, 2, 3], 1, 1, a)),
            Statement::NewView(village.new_view(1, faithful, 1, &[a])),
            Statement::NewView(third),
            Statement::NewView(village.new_view(4, carried, 1, &[b])),
            Statement::Committed(village.committed(&[0, 1, 3], 4, 1, b)),
        ],
    );
    assert_eq!(
        audit.forks[0].explanation,
        Explanation::HiddenCertificates(View::new(3))
    );
    assert_eq!(audit.forks[0].culprits, ids([2, 3]));
    assert_eq!(audit.culprits(), ids([2, 3]), "n0 and n1 were deceived");
}

/// A NEW-VIEW that its own V does not justify convicts its primary. No correct replica follows it, so a fork that has no
/// other cause takes more than 2f culprits.
#[test]
fn a_new_view_that_does_not_follow_from_its_view_changes_convicts_its_primary() {
    let village = Village::new(4);
    let (a, b) = (Village::digest("a"), Village::digest("b"));
    let shown = |sender| village.view_change(sender, 1, None, vec![village.prepared(&[2, 3], 0, 1, a)]);
    let audit = audited(
        &village,
        &[
            Statement::Committed(village.committed(&[0, 2, 3], 0, 1, a)),
            Statement::Committed(village.committed(&[1, 2, 3], 1, 1, b)),
            Statement::NewView(village.new_view(1, vec![shown(0), shown(2), shown(3)], 1, &[b])),
        ],
    );
    assert_eq!(audit.forks[0].explanation, Explanation::BadNewView(View::new(1)));
    assert_eq!(audit.culprits(), ids([1]));
}

#[test]
fn a_fork_whose_new_view_nobody_has_is_not_pinned_on_anybody() {
    let village = Village::new(4);
    let (a, b) = (Village::digest("a"), Village::digest("b"));
    let audit = audited(
        &village,
        &[
            Statement::Committed(village.committed(&[0, 2, 3], 0, 1, a)),
            Statement::Committed(village.committed(&[1, 2, 3], 1, 1, b)),
        ],
    );
    let suspects = ids([2, 3]);
    assert_eq!(audit.forks[0].explanation, Explanation::Missing { suspects });
    assert!(audit.culprits().is_empty());
}

/// What one replica was told contradicts what another was told: neither alone can prove it.
#[test]
fn transcripts_together_prove_what_none_proves_alone() {
    let village = Village::new(4);
    let told = |text| Statement::Vote(village.vote(Phase::PrePrepare, 0, 0, 1, Village::digest(text)));
    for text in ["a", "b"] {
        assert!(audited(&village, &[told(text), told(text)]).culprits().is_empty());
    }
    assert_eq!(audited(&village, &[told("a"), told("b")]).culprits(), ids([0]));
}

#[test]
fn every_kind_of_contradiction_is_found_in_plain_statements() {
    let village = Village::new(4);
    for (culprit, evidence) in village.every_kind() {
        use tagma_pbft::evidence::Evidence;
        let statements = match evidence.clone() {
            Evidence::ConflictingVotes(a, b) => vec![Statement::Vote(a), Statement::Vote(b)],
            Evidence::ConflictingViewChanges(a, b) => {
                vec![Statement::ViewChange(a), Statement::ViewChange(b)]
            }
            Evidence::ConflictingNewViews(a, b) => vec![Statement::NewView(a), Statement::NewView(b)],
            Evidence::ConflictingCheckpoints(a, b) => {
                vec![Statement::Checkpoint(a), Statement::Checkpoint(b)]
            }
            Evidence::BadNewView(message) => vec![Statement::NewView(message)],
            Evidence::BadViewChange(message) => vec![Statement::ViewChange(message)],
            Evidence::HiddenCertificate(vote, message) => {
                vec![Statement::Vote(vote), Statement::ViewChange(message)]
            }
            // These need a body or a rule that only the replica applies; they come as evidence.
            Evidence::BadBatch(..) | Evidence::UnchosenNull(..) => continue,
        };
        let mut found = audited(&village, &statements);
        let found = found.convicted.remove(&ReplicaId::new(culprit)).unwrap();
        assert!(
            found.iter().any(|one| one.name() == evidence.name()),
            "{}",
            evidence.name()
        );
    }
}

#[test]
fn evidence_that_proves_nothing_is_not_heard() {
    let village = Village::new(4);
    let (_, good) = village.every_kind().remove(0);
    let tagma_pbft::evidence::Evidence::ConflictingVotes(a, mut b) = good else {
        panic!("the first kind is that of votes")
    };
    b.sender = ReplicaId::new(1);
    let mut a_of_n1 = a.clone();
    a_of_n1.sender = ReplicaId::new(1);
    let mut heard = Statements::new(&village.judge);
    heard.hear_evidence(&tagma_pbft::evidence::Evidence::ConflictingVotes(a_of_n1, b));
    assert!(audit(&heard).culprits().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// A run of correct replicas that changes its view a few times: whoever took part in which quorum, nobody is accused,
    /// even if the statements are doctored by somebody who has no key.
    #[test]
    fn correct_replicas_are_never_accused(
        quorums in prop::collection::vec((0_u16..4, 0_u16..4), 1..5),
        doctored in prop::collection::vec((any::<prop::sample::Index>(), 0_u16..4, any::<bool>()), 0..12),
    ) {
        let village = Village::new(4);
        let without = |left_out: u16| (0..4).filter(|id| *id != left_out).collect::<Vec<u16>>();
        let digest = Village::digest("agreed");
        let mut statements = Vec::new();
        // In each view all backups but one prepare the same batch for 1, and all replicas but one commit it.
        let backups = |view: u64, left_out: u16| {
            let mut backups: Vec<u16> = (0..4).filter(|id| u64::from(*id) != view % 4).collect();
            backups.remove(usize::from(left_out % 3));
            backups
        };
        for (view, (left_out, absent)) in (0_u64..).zip(&quorums) {
            if view > 0 {
                let shown = |sender: u16| {
                    let certificate = village.prepared(&backups(view - 1, quorums[0].0), view - 1, 1, digest);
                    village.view_change(sender, view, None, vec![certificate])
                };
                let v = without(*absent).into_iter().map(shown).collect();
                statements.push(Statement::NewView(village.new_view(view, v, 1, &[digest])));
                statements.extend((0..4).map(|sender| Statement::ViewChange(shown(sender))));
            }
            statements.push(Statement::Committed(village.committed(&without(*left_out), view, 1, digest)));
        }
        for (place, sender, swap) in doctored {
            let mut statement = place.get(&statements).clone();
            match &mut statement {
                Statement::Committed(certificate) => {
                    if swap { certificate.digest = Village::digest("other") } else { certificate.view = certificate.view.next() }
                }
                Statement::ViewChange(message) => {
                    let mut changed = (**message).clone();
                    if swap { changed.prepared = Vec::new().into() } else { changed.sender = ReplicaId::new(sender) }
                    *message = std::sync::Arc::new(changed);
                }
                Statement::NewView(message) => {
                    let mut changed = (**message).clone();
                    if swap { changed.proposals = Vec::new().into() } else { changed.view = changed.view.next() }
                    *message = std::sync::Arc::new(changed);
                }
                _ => {}
            }
            statements.insert(place.index(statements.len()), statement);
        }
        let found = audited(&village, &statements);
        prop_assert!(found.forks.is_empty());
        prop_assert_eq!(found.culprits(), ids([]));
    }
}
