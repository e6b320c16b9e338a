//! The choice of a new view: the pure function V → O (OSDI '99 §4.4), computed by the new primary and again by every
//! backup.

use std::collections::BTreeMap;
use std::sync::Arc;

use tagma_crypto::Digest;

use crate::certificate::StableCertificate;
use crate::error::BadNewView;
use crate::message::ViewChange;
use crate::types::{SeqNum, View};

/// What V gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The certificate of `min_s`; none if `min_s` is genesis.
    pub stable: Option<StableCertificate>,
    /// The highest h in V.
    pub min_s: SeqNum,
    /// The highest n in any P above `min_s`, else `min_s`.
    pub max_s: SeqNum,
    /// O: the digest chosen for each n in (min_s, max_s], ascending.
    pub choices: Vec<(SeqNum, Digest)>,
}

/// Computes O from V: for each n in (min_s, max_s] the digest of the highest-view certificate in any P, else the null
/// digest.
///
/// A batch that is committed anywhere is prepared at f + 1 correct replicas; any Q VIEW-CHANGEs include one of them,
/// and no later view can have certified another digest for its n: so the highest view wins.
///
/// # Errors
/// [`BadNewView::Contradiction`] if two certificates of one view differ, which needs more than f faulty replicas.
pub fn decide(view_changes: &[Arc<ViewChange>], null: Digest) -> Result<Decision, BadNewView> {
    let stable = view_changes
        .iter()
        .filter_map(|message| message.stable.as_ref())
        .max_by_key(|certificate| {
            let seq = certificate.seq.get();
            if mutant!(LowestMinS) { u64::MAX - seq } else { seq }
        })
        .cloned();
    let min_s = stable
        .as_ref()
        .map_or(SeqNum::ZERO, |certificate| certificate.seq);
    // By view, so that a contradiction is found whatever the order of V, and below a higher certificate too.
    let mut certified: BTreeMap<SeqNum, BTreeMap<View, Digest>> = BTreeMap::new();
    for certificate in view_changes.iter().flat_map(|message| message.prepared.iter()) {
        if certificate.seq <= min_s || mutant!(EmptyNewView) {
            continue;
        }
        let by_view = certified.entry(certificate.seq).or_default();
        let digest = *by_view.entry(certificate.view).or_insert(certificate.digest);
        if digest != certificate.digest {
            return Err(BadNewView::Contradiction(certificate.seq, certificate.view));
        }
    }
    let max_s = certified.last_key_value().map_or(min_s, |(seq, _)| *seq);
    let choose = |seq| {
        let highest = certified.get(&seq).and_then(|by_view| {
            if mutant!(LowestViewWins) {
                by_view.first_key_value()
            } else {
                by_view.last_key_value()
            }
        });
        (seq, highest.map_or(null, |(_, digest)| *digest))
    };
    let choices = min_s.up_to(max_s).map(choose).collect();
    Ok(Decision {
        stable,
        min_s,
        max_s,
        choices,
    })
}
