//! Portable receipts, gathered from f + 1 replicas: what each of them adds is verified by itself, so that a liar adds nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use tagma_crypto::Digest;
use tagma_crypto::encode::{List, decode};
use tagma_evidence::Judge;
use tagma_evidence::receipt::{Inclusion, PortableReceipt};
use tagma_pbft::ReplicaId;
use tagma_pbft::certificate::{CommitCertificate, Endorsement};
use tagma_wire::client_protocol::{Answer, Query, ReceiptReport};

use crate::client::Client;
use crate::error::ReadError;
use crate::read::{Answers, heard, height_without, no_match};

/// What is known of a request's receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptRead {
    /// It was executed, which this proves to everybody.
    Receipt(Box<PortableReceipt>),
    /// f + 1 replicas have not executed it, as of this height or a later one.
    NotExecuted {
        /// The least of their heights.
        height: u64,
    },
}

/// The height an answer is of, and what the replica adds.
type Part = (u64, Option<Box<ReceiptReport>>);

impl Client {
    /// Gathers the receipt of a request; asks again until f + 1 replicas have executed it and attest the same header, or f + 1 have not
    /// executed it. `judge` is that of the client's chain.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn receipt(
        &self,
        judge: &Judge,
        hash: Digest,
        within: Duration,
    ) -> Result<ReceiptRead, ReadError> {
        let needed = self.network().weak_quorum();
        let take = |answer| match answer {
            Answer::Receipt { height, found } => Some((height, found)),
            _ => None,
        };
        let choose = |answers: &Answers<Part>| {
            if let Some(receipt) = join(judge, &hash, answers, needed) {
                return Some(ReceiptRead::Receipt(Box::new(receipt)));
            }
            let without = heard(answers).filter(|(_, found)| found.is_none());
            let height = height_without(without.map(|(height, _)| height), needed)?;
            Some(ReceiptRead::NotExecuted { height })
        };
        self.read(Query::Receipt(hash), within, take, choose, |answers| {
            no_match(needed, answers, |(height, found)| match found {
                Some(found) if found.attestation.is_none() => {
                    format!("executed at height {}, and it signs nothing", found.header.height)
                }
                Some(found) => format!("executed at height {}", found.header.height),
                None => format!("not executed as of height {height}"),
            })
        })
        .await
    }
}

/// The receipt that the good ones of these answers make, if there are `needed` for one header.
fn join(judge: &Judge, hash: &Digest, answers: &Answers<Part>, needed: usize) -> Option<PortableReceipt> {
    let mut parts: BTreeMap<Digest, (Inclusion, Vec<Endorsement>)> = BTreeMap::new();
    // In order of number, as attestations have to be.
    for (id, answer) in answers {
        let Ok((_, Some(report))) = answer else { continue };
        if let Some((inclusion, attestation)) = part(judge, hash, *id, report) {
            let header = inclusion.header.digest();
            let (_, attestations) = parts.entry(header).or_insert((inclusion, Vec::new()));
            attestations.push(attestation);
        }
    }
    let complete = parts.into_values().find(|(_, parts)| parts.len() >= needed);
    let (inclusion, mut attestations) = complete?;
    attestations.truncate(needed);
    Some(PortableReceipt {
        inclusion,
        attestations: List::from(attestations),
    })
}

/// What a replica adds, if every hash and every signature of it holds.
fn part(judge: &Judge, hash: &Digest, id: u16, report: &ReceiptReport) -> Option<(Inclusion, Endorsement)> {
    let certificate = &report.certificate;
    let order: CommitCertificate = decode(certificate, certificate.len()).ok()?;
    let inclusion = Inclusion {
        header: report.header.clone(),
        transaction: report.transaction.clone(),
        order,
    };
    let attestation = Endorsement {
        sender: ReplicaId::new(id),
        signature: report.attestation?,
    };
    let asked_for = inclusion.transaction.receipt.request() == *hash;
    let good = asked_for && inclusion.check_attested(judge, &attestation).is_ok();
    good.then_some((inclusion, attestation))
}
