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
        .max_by_key(|certificate| certificate.seq)
        .cloned();
    let min_s = stable
        .as_ref()
        .map_or(SeqNum::ZERO, |certificate| certificate.seq);
    let mut best: BTreeMap<SeqNum, (View, Digest)> = BTreeMap::new();
    for certificate in view_changes.iter().flat_map(|message| message.prepared.iter()) {
        if certificate.seq <= min_s {
            continue;
        }
        let entry = best
            .entry(certificate.seq)
            .or_insert((certificate.view, certificate.digest));
        if entry.0 == certificate.view && entry.1 != certificate.digest {
            return Err(BadNewView::Contradiction(certificate.seq, certificate.view));
        }
        if entry.0 < certificate.view {
            *entry = (certificate.view, certificate.digest);
        }
    }
    let max_s = best.last_key_value().map_or(min_s, |(seq, _)| *seq);
    let choices = min_s
        .up_to(max_s)
        .map(|seq| (seq, best.get(&seq).map_or(null, |(_, digest)| *digest)))
        .collect();
    Ok(Decision {
        stable,
        min_s,
        max_s,
        choices,
    })
}
