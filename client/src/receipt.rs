//! Portable receipts, gathered from f + 1 replicas: what each of them adds is verified by itself, so that a liar adds nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use tagma_crypto::Digest;
use tagma_crypto::encode::decode;
use tagma_evidence::Judge;
use tagma_evidence::receipt::{Inclusion, PortableReceipt, attests};
use tagma_pbft::ReplicaId;
use tagma_pbft::certificate::{CommitCertificate, Endorsement};
use tagma_wire::client_protocol::{Answer, Query, ReceiptReport};

use crate::client::Client;
use crate::error::ReadError;
use crate::read::{Answers, denies, heard, height_without, no_match};

/// What is known of a request's receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptRead {
    /// It was executed.
    Receipt(Box<Gathered>),
    /// f + 1 replicas have not executed it, as of this height or a later one.
    NotExecuted {
        /// The least of their heights.
        height: u64,
    },
}

/// A receipt, and who would rather have had another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathered {
    /// Proves to everybody that the request was executed, and with what outcome.
    pub receipt: PortableReceipt,
    /// The replicas whose answer is of another header or does not hold, or who have not executed the request although they are as far
    /// as that: they are faulty.
    pub liars: Vec<u16>,
}

impl Gathered {
    fn of(judge: &Judge, hash: &Digest, receipt: PortableReceipt, answers: &Answers<Part>) -> Self {
        let liars = liars(judge, hash, answers, &receipt);
        Self { receipt, liars }
    }
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
        let choose = |answers: &Answers<Part>| {
            if let Some(receipt) = join(judge, &hash, answers, needed) {
                return Some(Ok(receipt));
            }
            let without = heard(answers).filter(|(_, found)| found.is_none());
            let height = height_without(without.map(|(height, _)| height), needed)?;
            Some(Err(height))
        };
        let explain = |answers: &Answers<Part>| explain(judge, &hash, answers, needed);
        let (read, answers) = self
            .read(Query::Receipt(hash), within, take, choose, explain)
            .await?;
        Ok(match read {
            Ok(receipt) => ReceiptRead::Receipt(Box::new(Gathered::of(judge, &hash, receipt, &answers))),
            Err(height) => ReceiptRead::NotExecuted { height },
        })
    }

    /// As [`Client::receipt`], of a request that is known to be executed: that others have not got there is no answer.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn receipt_of_executed(
        &self,
        judge: &Judge,
        hash: Digest,
        within: Duration,
    ) -> Result<Gathered, ReadError> {
        let needed = self.network().weak_quorum();
        let choose = |answers: &Answers<Part>| join(judge, &hash, answers, needed);
        let explain = |answers: &Answers<Part>| explain(judge, &hash, answers, needed);
        let (receipt, answers) = self
            .read(Query::Receipt(hash), within, take, choose, explain)
            .await?;
        Ok(Gathered::of(judge, &hash, receipt, &answers))
    }
}

fn take(answer: Answer) -> Option<Part> {
    match answer {
        Answer::Receipt { height, found } => Some((height, found)),
        _ => None,
    }
}

/// Why these answers make no receipt.
fn explain(judge: &Judge, hash: &Digest, answers: &Answers<Part>, needed: usize) -> ReadError {
    no_match(needed, answers, |(height, found)| match found {
        Some(report) => describe(judge, hash, report),
        None => format!("not executed as of height {height}"),
    })
}

/// The receipt that the good ones of these answers make, if there are `needed` for one header.
fn join(judge: &Judge, hash: &Digest, answers: &Answers<Part>, needed: usize) -> Option<PortableReceipt> {
    let mut headers: BTreeMap<Digest, Vec<(Endorsement, &ReceiptReport)>> = BTreeMap::new();
    // In order of number, as attestations have to be.
    for (id, answer) in answers {
        if let Ok((_, Some(report))) = answer
            && let Some(signature) = report.attestation
        {
            let sender = ReplicaId::new(*id);
            let attestation = Endorsement { sender, signature };
            let parts = headers.entry(report.header.digest()).or_default();
            parts.push((attestation, report));
        }
    }
    // Nothing is verified for a header that too few stand for.
    headers.retain(|_, parts| parts.len() >= needed);
    headers.into_iter().find_map(|(header, mut parts)| {
        parts.retain(|(attestation, _)| attests(judge.ring(), &header, attestation));
        if parts.len() < needed {
            return None;
        }
        let good = |report: &ReceiptReport| part(judge, hash, report).ok();
        let inclusion = parts.iter().find_map(|(_, report)| good(report))?;
        let attestations = parts.into_iter().take(needed);
        Some(PortableReceipt {
            inclusion,
            attestations: attestations.map(|(attestation, _)| attestation).collect(),
        })
    })
}

/// Who contradicts a receipt that f + 1 replicas attest.
fn liars(judge: &Judge, hash: &Digest, answers: &Answers<Part>, receipt: &PortableReceipt) -> Vec<u16> {
    let accepted = &receipt.inclusion.header;
    let digest = accepted.digest();
    let lies = |id: u16, (height, found): &Part| match found {
        None => denies(*height, accepted.height),
        Some(report) => {
            let sender = ReplicaId::new(id);
            let signed = report
                .attestation
                .is_none_or(|signature| attests(judge.ring(), &digest, &Endorsement { sender, signature }));
            report.header != *accepted || !signed || part(judge, hash, report).is_err()
        }
    };
    let told = answers
        .iter()
        .filter_map(|(id, answer)| Some((*id, answer.as_ref().ok()?)));
    told.filter(|(id, part)| lies(*id, part))
        .map(|(id, _)| id)
        .collect()
}

/// What a replica shows, if every hash and every signature of it holds; else what is wrong with it.
fn part(judge: &Judge, hash: &Digest, report: &ReceiptReport) -> Result<Inclusion, String> {
    let certificate = &report.certificate;
    let order: CommitCertificate =
        decode(certificate, certificate.len()).map_err(|error| error.to_string())?;
    let inclusion = Inclusion {
        header: report.header.clone(),
        transaction: report.transaction.clone(),
        order,
    };
    if inclusion.transaction.receipt.request() != *hash {
        return Err("it is about another request".to_owned());
    }
    let checked = inclusion.check(judge);
    checked.map_err(|refuted| refuted.to_string())?;
    Ok(inclusion)
}

/// What a replica has answered, for those who wonder why there is no receipt.
fn describe(judge: &Judge, hash: &Digest, report: &ReceiptReport) -> String {
    let height = report.header.height;
    match (part(judge, hash, report), report.attestation) {
        (Err(why), _) => format!("its proof does not hold: {why}"),
        (Ok(_), None) => format!("executed at height {height}, and it signs nothing"),
        (Ok(_), Some(_)) => format!(
            "executed at height {height}, header {}",
            report.header.digest().short()
        ),
    }
}
