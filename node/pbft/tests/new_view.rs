//! The choice of a new view, the pure function V → O (OSDI '99 §4.4): every V out of a small set, compared with a
//! definition that is computed apart from it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

mod common;

use std::sync::Arc;

use tagma_crypto::Digest;
use tagma_pbft::error::BadNewView;
use tagma_pbft::message::ViewChange;
use tagma_pbft::new_view::decide;

use common::{Cluster, id, n, parameters, tuning, v};

/// What a replica may have at one number: nothing, or a certificate of a view for a digest.
type Held = Option<(u64, Digest)>;

/// Every VIEW-CHANGE over h in {0, 4}, numbers 4 and 5, views 0 and 1, and two digests in view 0.
fn view_changes(cluster: &Cluster, sender: u16, digests: [Digest; 2]) -> Vec<Arc<ViewChange>> {
    let [a, b] = digests;
    let held: [Held; 4] = [None, Some((0, a)), Some((0, b)), Some((1, a))];
    let mut all = Vec::new();
    for stable in [None, Some(cluster.stable(&[0, 1, 2], 4, a))] {
        for fourth in held {
            for fifth in held {
                if stable.is_some() && fourth.is_some() {
                    continue;
                }
                let certificates = [(4, fourth), (5, fifth)];
                let prepared = certificates
                    .into_iter()
                    .filter_map(|(seq, held)| held.map(|(view, digest)| (seq, view, digest)))
                    .map(|(seq, view, digest)| cluster.prepared(&[2, 3], view, seq, digest))
                    .collect();
                all.push(cluster.view_change(sender, 2, stable.clone(), prepared));
            }
        }
    }
    all
}

/// O by its definition, number by number; none if V contradicts itself.
fn expected(v_set: &[Arc<ViewChange>], null: Digest) -> Option<(u64, Vec<(u64, Digest)>)> {
    let min_s = v_set
        .iter()
        .map(|message| message.stable_seq().get())
        .max()
        .unwrap();
    let mut o = Vec::new();
    for seq in min_s + 1..=5 {
        let at = v_set.iter().flat_map(|message| message.prepared.iter());
        let at: Vec<_> = at.filter(|certificate| certificate.seq == n(seq)).collect();
        for one in &at {
            if at
                .iter()
                .any(|other| other.view == one.view && other.digest != one.digest)
            {
                return None;
            }
        }
        let highest = at.iter().max_by_key(|certificate| certificate.view);
        o.push((seq, highest.map(|certificate| certificate.digest)));
    }
    while o.last().is_some_and(|(_, digest)| digest.is_none()) {
        o.pop();
    }
    let o = o
        .into_iter()
        .map(|(seq, digest)| (seq, digest.unwrap_or(null)))
        .collect();
    Some((min_s, o))
}

#[test]
fn every_small_v_gives_what_the_definition_says_in_any_order() {
    let mut cluster = Cluster::unstarted(4, parameters(), tuning());
    let digests = [cluster.digest(&["a"]), cluster.digest(&["b"])];
    let null = cluster.null();
    let by_sender: Vec<_> = (0..3)
        .map(|sender| view_changes(&cluster, sender, digests))
        .collect();
    let (mut sets, mut contradictions) = (0, 0);
    for first in &by_sender[0] {
        for second in &by_sender[1] {
            for third in &by_sender[2] {
                sets += 1;
                let [x, y, z] = [first, second, third].map(Arc::clone);
                let decided = decide(&[x.clone(), y.clone(), z.clone()], null);
                match (expected(&[x.clone(), y.clone(), z.clone()], null), &decided) {
                    (Some((min_s, o)), Ok(decision)) => {
                        assert_eq!(decision.min_s, n(min_s));
                        let stable = decision.stable.as_ref().map_or(0, |stable| stable.seq.get());
                        assert_eq!(stable, min_s);
                        let found: Vec<_> = decision
                            .choices
                            .iter()
                            .map(|(seq, digest)| (seq.get(), *digest))
                            .collect();
                        assert_eq!(found, o);
                        assert_eq!(decision.max_s, n(o.last().map_or(min_s, |(seq, _)| *seq)));
                    }
                    (None, Err(BadNewView::Contradiction(_, view))) => {
                        assert_eq!(*view, v(0));
                        contradictions += 1;
                    }
                    (expected, found) => panic!("{expected:?} expected, {found:?} found"),
                }
                for order in [
                    [&x, &z, &y],
                    [&y, &x, &z],
                    [&y, &z, &x],
                    [&z, &x, &y],
                    [&z, &y, &x],
                ] {
                    let again = decide(&order.map(Arc::clone), null);
                    match (&decided, again) {
                        (Ok(first), Ok(again)) => assert_eq!(*first, again),
                        (Err(_), Err(_)) => {}
                        _ => panic!("the order of V changes the verdict"),
                    }
                }
            }
        }
    }
    assert!(
        sets == 8_000 && contradictions > 1_000,
        "{sets} sets, {contradictions} contradictions"
    );
}

#[test]
fn an_empty_v_chooses_nothing() {
    let cluster = Cluster::unstarted(4, parameters(), tuning());
    let v_set: Vec<_> = (0..3)
        .map(|i| cluster.view_change(i, 1, None, Vec::new()))
        .collect();
    let decision = decide(&v_set, cluster.null()).unwrap();
    assert_eq!(
        (decision.min_s, decision.max_s, decision.choices.len()),
        (n(0), n(0), 0)
    );
    assert_eq!(v_set[0].sender, id(0));
}
