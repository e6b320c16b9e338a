//! The signed statements in a replica's store, for an audit. They alone explain most forks: every block has its commit
//! certificate, and a NEW-VIEW holds its VIEW-CHANGEs with their certificates.

use tagma_crypto::encode::{MAX_INPUT, decode};
use tagma_evidence::forensics::Statements;
use tagma_ledger::LedgerStore;
use tagma_ledger::store::{Store, StoreError};
use tagma_pbft::certificate::CommitCertificate;
use tagma_pbft::message::{Phase, Vote};

use super::records;

/// Adds everything signed that a store holds.
///
/// # Errors
/// If the store fails or holds what this program did not write.
pub fn hear_store<S: Store>(ledger: &LedgerStore<S>, statements: &mut Statements) -> Result<(), StoreError> {
    let ring = statements.judge().ring().clone();
    let tip = ledger.tip()?.map_or(0, |header| header.height);
    for height in 1..=tip {
        let Some(bytes) = ledger.certificate(height)? else {
            continue;
        };
        let certificate: CommitCertificate =
            decode(&bytes, MAX_INPUT).map_err(|why| StoreError::Corrupt {
                table: tagma_ledger::ledger_store::CERTIFICATES,
                key: height.to_be_bytes().to_vec(),
                why: why.to_string(),
            })?;
        statements.hear_committed(&certificate);
    }
    let recovered = records::load(ledger.store(), &ring.chain)?;
    let accepted = recovered
        .accepted
        .into_iter()
        .map(|((seq, view), accepted)| Vote {
            phase: Phase::PrePrepare,
            view,
            seq,
            digest: accepted.digest,
            sender: ring.quorum.primary(view),
            signature: accepted.signature,
        });
    statements.hear_votes(accepted.collect());
    for certificate in recovered.prepared.values() {
        statements.hear_prepared(certificate);
    }
    if let Some(stable) = &recovered.stable {
        statements.hear_stable(stable);
    }
    for message in recovered.new_views.values() {
        statements.hear_new_view(message);
    }
    if let Some(message) = &recovered.left_by {
        statements.hear_view_change(message);
    }
    for evidence in records::evidence(ledger.store())? {
        statements.hear_evidence(&evidence);
    }
    Ok(())
}
