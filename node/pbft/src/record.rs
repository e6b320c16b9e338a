//! What a replica keeps on disk for the protocol, and what it is started again from.
//!
//! | before this leaves | this is on disk |
//! | --- | --- |
//! | PRE-PREPARE, PREPARE | [`Record::Accepted`] and [`Record::Body`] |
//! | COMMIT | [`Record::Prepared`] |
//! | VIEW-CHANGE | [`Record::LeftView`], its exact bytes |
//! | NEW-VIEW, or the first PREPARE under it | [`Record::EnteredView`] |
//! | CHECKPOINT | the state, by the application |
//!
//! Records map to keys and values of four tables here, so that every store keeps the same bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use tagma_crypto::encode::{self, Decode, DecodeError, Encode};
use tagma_crypto::{Digest, Signature};

use crate::batch::{Batch, Body};
use crate::certificate::{PreparedCertificate, StableCertificate};
use crate::evidence::Evidence;
use crate::message::{NewView, ViewChange};
use crate::types::{ReplicaId, SeqNum, View};

/// The proposals accepted: (n, v) → d and the primary's signature.
pub const ACCEPTED: &str = "pbft.accepted";
/// Bodies by digest.
pub const BODIES: &str = "pbft.bodies";
/// The prepared certificate of the highest view, by n.
pub const PREPARED: &str = "pbft.prepared";
/// View, mode, the own VIEW-CHANGE, the stable certificate, and the like.
pub const SINGLES: &str = "pbft.singles";
/// NEW-VIEWs by view.
pub const NEW_VIEWS: &str = "pbft.new-views";
/// Evidence by culprit and kind.
pub const EVIDENCE: &str = "pbft.evidence";
/// Every table of the protocol.
pub const TABLES: [&str; 6] = [ACCEPTED, BODIES, PREPARED, SINGLES, NEW_VIEWS, EVIDENCE];

const VIEW: &[u8] = b"view";
const STABLE: &[u8] = b"stable";
const VOTER: &[u8] = b"voter";

/// How many NEW-VIEWs are kept for audits; each may take a few megabytes.
const KEPT_NEW_VIEWS: u64 = 16;
/// A stored value may be as large as the largest message.
const VALUE_LIMIT: usize = 256 << 20;

/// One thing to be remembered across a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// (v, n) → d was accepted or proposed here. Kept for every view until n ≤ h.
    Accepted {
        /// v
        view: View,
        /// n
        seq: SeqNum,
        /// d
        digest: Digest,
        /// The primary's PRE-PREPARE signature.
        signature: Signature,
    },
    /// The body of a digest that was accepted.
    Body(SeqNum, Arc<Body>),
    /// A prepared certificate; replaces one of a lower view.
    Prepared(PreparedCertificate),
    /// The view was left for the target of this VIEW-CHANGE.
    LeftView {
        /// The last view this replica was in.
        view: View,
        /// The exact message.
        message: Arc<ViewChange>,
    },
    /// A view was entered by this NEW-VIEW.
    EnteredView(Arc<NewView>),
    /// h has moved.
    Stable(StableCertificate),
    /// Nothing at or below this is needed any more; `bodies` are those not needed for anything above.
    Collect {
        /// The last sequence number to forget.
        through: SeqNum,
        /// Bodies to forget.
        bodies: Vec<Digest>,
    },
    /// A provable fault; `index` below a fixed number per culprit and kind.
    Evidence {
        /// Whose fault.
        culprit: ReplicaId,
        /// The how manieth of this kind.
        index: u32,
        /// The proof.
        evidence: Evidence,
    },
    /// Whether this store may ever vote.
    Voter(Voter),
}

/// Whether the store of a replica remembers all that its key has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub enum Voter {
    /// It does: nothing was ever signed, or all of it is in the store.
    Complete,
    /// It does not: the key has signed things this store does not know. It must never sign again.
    Learner,
}

/// A change of one key of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets a key.
    Put(&'static str, Vec<u8>, Vec<u8>),
    /// Removes a key.
    Delete(&'static str, Vec<u8>),
    /// Removes every key below this one.
    DeleteBelow(&'static str, Vec<u8>),
}

fn seq_key(seq: SeqNum) -> Vec<u8> {
    seq.get().to_be_bytes().to_vec()
}

#[derive(Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
struct StoredView {
    view: View,
    left_by: Option<Arc<ViewChange>>,
}

impl Record {
    /// The key-value changes that store this record.
    pub fn changes(&self) -> Vec<Change> {
        match self {
            Self::Accepted {
                view,
                seq,
                digest,
                signature,
            } => {
                let mut key = seq_key(*seq);
                key.extend_from_slice(&view.get().to_be_bytes());
                vec![Change::Put(ACCEPTED, key, encode::encode(&(*digest, *signature)))]
            }
            Self::Body(seq, body) => {
                let key = body.digest().as_bytes().to_vec();
                vec![Change::Put(BODIES, key, encode::encode(&(*seq, body.batch())))]
            }
            Self::Prepared(certificate) => {
                vec![Change::Put(
                    PREPARED,
                    seq_key(certificate.seq),
                    encode::encode(certificate),
                )]
            }
            Self::LeftView { view, message } => {
                let stored = StoredView {
                    view: *view,
                    left_by: Some(Arc::clone(message)),
                };
                vec![Change::Put(SINGLES, VIEW.to_vec(), encode::encode(&stored))]
            }
            Self::EnteredView(message) => {
                let view = message.view;
                let stored = StoredView { view, left_by: None };
                vec![
                    Change::Put(SINGLES, VIEW.to_vec(), encode::encode(&stored)),
                    Change::Put(
                        NEW_VIEWS,
                        view.get().to_be_bytes().to_vec(),
                        encode::encode(message),
                    ),
                    Change::DeleteBelow(
                        NEW_VIEWS,
                        view.get()
                            .saturating_sub(KEPT_NEW_VIEWS - 1)
                            .to_be_bytes()
                            .to_vec(),
                    ),
                ]
            }
            Self::Stable(certificate) => {
                vec![Change::Put(SINGLES, STABLE.to_vec(), encode::encode(certificate))]
            }
            Self::Collect { through, bodies } => {
                let mut changes = vec![
                    Change::DeleteBelow(ACCEPTED, seq_key(through.next())),
                    Change::DeleteBelow(PREPARED, seq_key(through.next())),
                ];
                changes.extend(
                    bodies
                        .iter()
                        .map(|digest| Change::Delete(BODIES, digest.as_bytes().to_vec())),
                );
                changes
            }
            Self::Evidence {
                culprit,
                index,
                evidence,
            } => {
                let mut key = culprit.get().to_be_bytes().to_vec();
                key.extend_from_slice(evidence.name().as_bytes());
                key.extend_from_slice(&index.to_be_bytes());
                vec![Change::Put(EVIDENCE, key, encode::encode(evidence))]
            }
            Self::Voter(voter) => vec![Change::Put(SINGLES, VOTER.to_vec(), encode::encode(voter))],
        }
    }
}

/// A proposal accepted here, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// d
    pub digest: Digest,
    /// The primary's PRE-PREPARE signature.
    pub signature: Signature,
}

/// What the application found on its own disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Executed {
    /// The last block executed and stored.
    pub tip: SeqNum,
    /// The batch digests of the blocks after the checkpoint below, ascending up to the tip.
    pub recent: Vec<(SeqNum, Digest)>,
    /// The header hashes of stored blocks at checkpoint heights above it, if any.
    pub headers: Vec<(SeqNum, Digest)>,
    /// The last checkpoint whose state is on disk, with the hash of its header; genesis if none.
    pub checkpoint: (SeqNum, Digest),
}

/// What a replica is started from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// Whether the store may vote; a store that does not say so is a learner's.
    pub voter: Option<Voter>,
    /// The last view that was entered.
    pub view: View,
    /// The VIEW-CHANGE by which it was left, if it was.
    pub left_by: Option<Arc<ViewChange>>,
    /// The last NEW-VIEWs by view.
    pub new_views: BTreeMap<View, Arc<NewView>>,
    /// The proof of h.
    pub stable: Option<StableCertificate>,
    /// (n, v) → d
    pub accepted: BTreeMap<(SeqNum, View), Accepted>,
    /// P
    pub prepared: BTreeMap<SeqNum, PreparedCertificate>,
    /// Bodies with the highest sequence number they were accepted for.
    pub bodies: BTreeMap<Digest, (SeqNum, Arc<Body>)>,
    /// How much evidence is stored, per culprit and kind.
    pub evidence: BTreeMap<(ReplicaId, String), u32>,
}

/// A stored record that is not what this program wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("table {table}: {why}")]
pub struct DamagedRecord {
    /// Where.
    pub table: &'static str,
    /// What is wrong with it.
    pub why: String,
}

fn damaged(table: &'static str) -> impl Fn(DecodeError) -> DamagedRecord {
    move |why| DamagedRecord {
        table,
        why: why.to_string(),
    }
}

impl Recovered {
    /// Adds one key and its value, as read from `table`.
    ///
    /// # Errors
    /// If they are not what [`Record::changes`] writes.
    pub fn load(
        &mut self,
        chain: &Digest,
        table: &str,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), DamagedRecord> {
        match table {
            ACCEPTED => {
                let halves = key
                    .split_first_chunk::<8>()
                    .map(|(seq, view)| (seq, <[u8; 8]>::try_from(view)));
                let Some((seq, Ok(view))) = halves else {
                    return Err(DamagedRecord {
                        table: ACCEPTED,
                        why: "a key of the wrong length".into(),
                    });
                };
                let at = (
                    SeqNum::new(u64::from_be_bytes(*seq)),
                    View::new(u64::from_be_bytes(view)),
                );
                let (digest, signature) = encode::decode(value, VALUE_LIMIT).map_err(damaged(ACCEPTED))?;
                self.accepted.insert(at, Accepted { digest, signature });
            }
            BODIES => {
                let (seq, batch): (SeqNum, Batch) =
                    encode::decode(value, VALUE_LIMIT).map_err(damaged(BODIES))?;
                let body = Body::new(chain, batch);
                if body.digest().as_bytes() != key {
                    return Err(DamagedRecord {
                        table: BODIES,
                        why: "a body of another digest".into(),
                    });
                }
                self.bodies.insert(body.digest(), (seq, body));
            }
            PREPARED => {
                let certificate: PreparedCertificate =
                    encode::decode(value, VALUE_LIMIT).map_err(damaged(PREPARED))?;
                self.prepared.insert(certificate.seq, certificate);
            }
            NEW_VIEWS => {
                let message: Arc<NewView> = encode::decode(value, VALUE_LIMIT).map_err(damaged(NEW_VIEWS))?;
                self.new_views.insert(message.view, message);
            }
            EVIDENCE => {
                let evidence: Evidence = encode::decode(value, VALUE_LIMIT).map_err(damaged(EVIDENCE))?;
                if let Some((culprit, _)) = key.split_first_chunk::<2>() {
                    let culprit = ReplicaId::new(u16::from_be_bytes(*culprit));
                    *self
                        .evidence
                        .entry((culprit, evidence.name().to_owned()))
                        .or_default() += 1;
                }
            }
            SINGLES => match key {
                VIEW => {
                    let stored: StoredView = encode::decode(value, VALUE_LIMIT).map_err(damaged(SINGLES))?;
                    self.view = stored.view;
                    self.left_by = stored.left_by;
                }
                STABLE => self.stable = Some(encode::decode(value, VALUE_LIMIT).map_err(damaged(SINGLES))?),
                VOTER => self.voter = Some(encode::decode(value, VALUE_LIMIT).map_err(damaged(SINGLES))?),
                _ => {
                    return Err(DamagedRecord {
                        table: SINGLES,
                        why: "an unknown key".into(),
                    });
                }
            },
            _ => {}
        }
        Ok(())
    }
}
