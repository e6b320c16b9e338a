//! What must be on disk before what leaves (protocol: durability), looked up on the disk itself at the moment a message
//! leaves: (v, n) → d and the body before PRE-PREPARE and PREPARE, the prepared certificate before COMMIT, the exact bytes
//! before VIEW-CHANGE and NEW-VIEW. The own COMMIT counts towards a certificate no sooner.

use tagma_crypto::encode::{Decode, decode, encode};
use tagma_crypto::{Digest, Signature};
use tagma_ledger::store::{Store, Table};
use tagma_pbft::certificate::{CommitCertificate, PreparedCertificate};
use tagma_pbft::message::{NewView, Phase, ViewChange, Vote};
use tagma_pbft::record::{ACCEPTED, BODIES, Change, PREPARED, Record};
use tagma_pbft::{Message, ReplicaId, SeqNum, View};

use super::{Checked, Violation};

fn read(disk: &dyn Store, table: &'static str, key: &[u8]) -> Option<Vec<u8>> {
    disk.get(Table(table), key).ok().flatten()
}

fn read_as<T: Decode<()>>(disk: &dyn Store, table: &'static str, key: &[u8]) -> Option<T> {
    let value = read(disk, table, key)?;
    decode(&value, value.len()).ok()
}

/// Whether the disk holds what this record writes first: its key, with this end of its value.
fn holds(disk: &dyn Store, record: &Record, end: &[u8]) -> bool {
    record.changes().into_iter().any(|change| match change {
        Change::Put(table, key, _) => read(disk, table, &key).is_some_and(|value| value.ends_with(end)),
        Change::Delete(..) | Change::DeleteBelow(..) => false,
    })
}

fn is_accepted(disk: &dyn Store, vote: &Vote, null: &Digest) -> bool {
    let mut key = vote.seq.get().to_be_bytes().to_vec();
    key.extend_from_slice(&vote.view.get().to_be_bytes());
    let accepted: Option<(Digest, Signature)> = read_as(disk, ACCEPTED, &key);
    let has_body = vote.digest == *null || read(disk, BODIES, vote.digest.as_bytes()).is_some();
    accepted.is_some_and(|(digest, _)| digest == vote.digest) && has_body
}

fn is_prepared(disk: &dyn Store, view: View, seq: SeqNum, digest: &Digest) -> bool {
    let held: Option<PreparedCertificate> = read_as(disk, PREPARED, &seq.get().to_be_bytes());
    held.is_some_and(|held| held.view > view || (held.view == view && held.digest == *digest))
}

pub(super) fn new_view(disk: &dyn Store, view: View) -> Option<NewView> {
    read_as(disk, tagma_pbft::record::NEW_VIEWS, &view.get().to_be_bytes())
}

/// h as it is on disk: at or below it nothing has to be kept any more.
pub(super) fn stable(disk: &dyn Store) -> SeqNum {
    let certificate: Option<tagma_pbft::certificate::StableCertificate> =
        read_as(disk, tagma_pbft::record::SINGLES, b"stable");
    certificate.map_or(SeqNum::ZERO, |certificate| certificate.seq)
}

fn violation(id: ReplicaId, what: &str, at: impl std::fmt::Debug) -> Violation {
    let detail = format!("replica {id}: {what} {at:?}, which is not on its disk");
    Violation::new("on disk before it leaves", detail)
}

fn vote_left(id: ReplicaId, disk: &dyn Store, null: &Digest, vote: &Vote) -> Checked {
    let kept = match vote.phase {
        // What a NEW-VIEW chose has left with it, and is on disk with it.
        Phase::PrePrepare => {
            let chosen = |new: NewView| new.proposals.iter().any(|entry| entry.digest == vote.digest);
            is_accepted(disk, vote, null) || new_view(disk, vote.view).is_some_and(chosen)
        }
        Phase::Prepare => is_accepted(disk, vote, null),
        Phase::Commit => is_prepared(disk, vote.view, vote.seq, &vote.digest),
    };
    if kept || vote.seq <= stable(disk) {
        return Ok(());
    }
    let at = (vote.view, vote.seq, vote.digest);
    Err(violation(id, &format!("sends {:?}", vote.phase), at))
}

fn view_change_left(id: ReplicaId, disk: &dyn Store, change: &std::sync::Arc<ViewChange>) -> Checked {
    let record = Record::LeftView {
        view: View::ZERO,
        message: std::sync::Arc::clone(change),
    };
    // Whoever enters the view in the same turn keeps its NEW-VIEW instead: the message has served its end.
    if holds(disk, &record, &encode(change)) || new_view(disk, change.target).is_some() {
        return Ok(());
    }
    Err(violation(id, "sends a VIEW-CHANGE for", change.target))
}

/// A message of `id`, whose disk this is, leaves.
pub(super) fn left(
    id: ReplicaId,
    primary: bool,
    disk: &dyn Store,
    null: &Digest,
    message: &Message,
) -> Checked {
    match message {
        Message::PrePrepare { vote, .. } | Message::Vote(vote) if vote.sender == id => {
            vote_left(id, disk, null, vote)
        }
        Message::ViewChange(change) if change.sender == id => view_change_left(id, disk, change),
        Message::NewView(new) if primary && new_view(disk, new.view).as_ref() != Some(&**new) => {
            Err(violation(id, "sends a NEW-VIEW for", new.view))
        }
        _ => Ok(()),
    }
}

/// `id`, whose disk this is, takes this certificate for the proof that its batch is final.
pub(super) fn relied_on(id: ReplicaId, disk: &dyn Store, certificate: &CommitCertificate) -> Checked {
    let own = certificate.commits.iter().any(|commit| commit.sender == id);
    let (view, seq, digest) = (certificate.view, certificate.seq, certificate.digest);
    if !own || is_prepared(disk, view, seq, &digest) || seq <= stable(disk) {
        return Ok(());
    }
    Err(violation(id, "counts its own COMMIT for", (view, seq)))
}
