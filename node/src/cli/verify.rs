//! `tagma-node verify`

use tagma_crypto::encode::decode;
use tagma_crypto::verify_batch;
use tagma_ledger::store::StoreError;
use tagma_ledger::{BlockHeader, ledger_store};
use tagma_pbft::KeyRing;
use tagma_pbft::certificate::CommitCertificate;

use super::offline::Offline;
use super::{HomeArgs, print};
use crate::core::key_ring;
use crate::exit::{Exit, Failure};

pub(super) fn run(home: &HomeArgs) -> Result<(), Failure> {
    let data = Offline::open(home)?;
    let ring = key_ring(&data.genesis).map_err(Failure::with(Exit::Config))?;
    let wrong = |error: StoreError| {
        match error {
        StoreError::Missing { table: ledger_store::BODIES, .. } => Failure::new(Exit::Verification, error)
            .hint("a replica that prunes (`storage.keep_blocks`) or fetched its state has no whole chain: verify another's"),
        error => Failure::new(Exit::Verification, error),
    }
    };
    let replayed = data.ledger.replay_from_genesis(&data.genesis).map_err(wrong)?;
    let height = replayed.tip.height;
    data.ledger
        .verify_chain(0, height, |header, certificate| {
            check_certificate(&ring, header, certificate)
        })
        .map_err(wrong)?;
    let supply = data.genesis.supply();
    let balances: u128 = replayed
        .state
        .iter()
        .map(|(_, account)| u128::from(account.balance))
        .sum();
    if supply.map(u128::from) != Some(balances) {
        return Err(Failure::new(
            Exit::Verification,
            format!("the balances add up to {balances}, genesis has {supply:?}"),
        ));
    }
    print(&format!(
        "valid height={height} tip={} supply={balances}\n",
        replayed.tip.digest()
    ))
}

/// Whether Q replicas have committed to this header's batch at its height.
fn check_certificate(ring: &KeyRing, header: &BlockHeader, bytes: &[u8]) -> Result<(), String> {
    let certificate: CommitCertificate = decode(bytes, bytes.len()).map_err(|error| error.to_string())?;
    if certificate.seq.get() != header.height || certificate.digest != header.batch {
        return Err("it certifies another batch".to_owned());
    }
    let mut claims = Vec::new();
    certificate
        .check_form(ring, &mut claims)
        .map_err(|error| error.to_string())?;
    if verify_batch(&claims).into_iter().all(|good| good) {
        Ok(())
    } else {
        Err("a signature does not verify".to_owned())
    }
}
