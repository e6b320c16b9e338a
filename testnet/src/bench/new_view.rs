//! What the largest NEW-VIEW costs: its size against the cap of a message, and the time to verify it against the
//! view-change timeout.
//!
//! The NEW-VIEW is the worst that correct replicas can come to: Q VIEW-CHANGEs, each with a stable certificate and a prepared
//! certificate for every sequence number of the window, and each VIEW-CHANGE's certificates of a view of their own, so that no
//! two of them share a signature. It is made with real keys, then encoded, decoded and verified by the code that
//! replicas run, on one thread. No network and no disk takes part.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use tagma_crypto::encode::{decode, encode};
use tagma_crypto::signature::signed_bytes;
use tagma_crypto::{Digest, SecretKey, Signature, verify};
use tagma_ledger::genesis::MAX_MESSAGE_BYTES;
use tagma_pbft::certificate::{Endorsement, KeyRing, PreparedCertificate, StableCertificate};
use tagma_pbft::message::{Checkpoint, Message, NewView, Phase, Reproposal, ViewChange, Vote};
use tagma_pbft::verify::check_new_view;
use tagma_pbft::{Parameters, Quorum, ReplicaId, SeqNum, Tuning, View};

use super::write_results;
use crate::error::Error;
use crate::plan::check_size;

/// What was measured of one NEW-VIEW.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// N.
    pub nodes: u16,
    /// L, the sequence numbers covered.
    pub window: u64,
    /// Its encoded size.
    pub bytes: usize,
    /// The cap of a message, bytes.
    pub cap: u64,
    /// Signatures in it, all of them verified.
    pub signatures: usize,
    /// The median time to decode and verify it on one thread, milliseconds.
    pub verify_ms: f64,
    /// The shortest of all rounds.
    pub verify_min_ms: f64,
    /// The longest of all rounds.
    pub verify_max_ms: f64,
    /// T, the first view-change timeout, milliseconds.
    pub timeout_ms: f64,
}

impl Cost {
    /// Size ÷ cap.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
    pub fn share_of_cap(&self) -> f64 {
        self.bytes as f64 / self.cap as f64
    }

    /// Median time to verify ÷ T; a quarter is what it may take.
    #[must_use]
    pub fn share_of_timeout(&self) -> f64 {
        self.verify_ms / self.timeout_ms
    }
}

#[derive(Serialize)]
struct Results {
    schema: &'static str,
    version: &'static str,
    rounds: u32,
    runs: Vec<Cost>,
}

/// Measures every size with every window, prints a table and writes `results-new-view.json` into `out`.
///
/// # Errors
/// If a size is not 3f + 1, or the results cannot be written.
pub fn run(sizes: &[u16], windows: &[u64], rounds: u32, out: &Path) -> Result<(), Error> {
    for size in sizes {
        check_size(*size)?;
    }
    let version = env!("CARGO_PKG_VERSION");
    println!(
        "largest NEW-VIEW · tagma {version} · one thread · median of {rounds} rounds · no network, no disk"
    );
    let mut runs = Vec::new();
    for size in sizes {
        for window in windows {
            eprintln!("n = {size}, L = {window} …");
            runs.push(measure(*size, *window, rounds)?);
        }
    }
    println!("{}", table(&runs));
    let results = Results {
        schema: "bench-new-view/v1",
        version,
        rounds,
        runs,
    };
    write_results(&results, out, "results-new-view.json")
}

fn table(runs: &[Cost]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header([
        "n",
        "L",
        "bytes",
        "of the cap",
        "signatures",
        "verified in ms",
        "min",
        "max",
        "T ms",
        "of T",
    ]);
    for run in runs {
        table.add_row([
            run.nodes.to_string(),
            run.window.to_string(),
            run.bytes.to_string(),
            format!("{:.3}", run.share_of_cap()),
            run.signatures.to_string(),
            format!("{:.1}", run.verify_ms),
            format!("{:.1}", run.verify_min_ms),
            format!("{:.1}", run.verify_max_ms),
            format!("{:.0}", run.timeout_ms),
            format!("{:.3}", run.share_of_timeout()),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Makes the largest NEW-VIEW of `nodes` replicas and a window of `window`, and takes the time of `rounds` verifications.
///
/// # Errors
/// [`Error::NothingMeasured`] if it does not pass verification.
pub fn measure(nodes: u16, window: u64, rounds: u32) -> Result<Cost, Error> {
    let chain = Chain::new(nodes, window)?;
    let message = chain.new_view();
    let bytes = encode(&Message::NewView(Arc::new(message)));
    let mut times = Vec::new();
    for _ in 0..rounds.max(1) {
        let begun = Instant::now();
        chain.verify(&bytes)?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let milliseconds = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
    Ok(Cost {
        nodes,
        window,
        bytes: bytes.len(),
        cap: MAX_MESSAGE_BYTES,
        signatures: chain.signatures(),
        verify_ms: milliseconds(times.get(times.len() / 2)),
        verify_min_ms: milliseconds(times.first()),
        verify_max_ms: milliseconds(times.last()),
        timeout_ms: Tuning::default().request_timeout.as_secs_f64() * 1e3,
    })
}

/// A chain with all keys at hand.
struct Chain {
    ring: KeyRing,
    keys: Vec<SecretKey>,
    parameters: Parameters,
}

impl Chain {
    fn new(nodes: u16, window: u64) -> Result<Self, Error> {
        let keys: Vec<SecretKey> = (0..nodes).map(|_| SecretKey::generate()).collect();
        let quorum =
            Quorum::new(usize::from(nodes)).map_err(|error| Error::NothingMeasured(error.to_string()))?;
        let ring = KeyRing {
            chain: Digest::of("tagma/bench-chain", &[]),
            quorum,
            keys: keys.iter().map(SecretKey::public).collect(),
        };
        let parameters = Parameters {
            checkpoint_interval: (window / 2).max(1),
            window,
            max_batch_requests: 1,
            max_batch_bytes: 1 << 20,
            max_clock_drift_ms: 1000,
        };
        Ok(Self {
            ring,
            keys,
            parameters,
        })
    }

    /// The view to be entered: VIEW-CHANGE i of V has certificates of view i.
    fn view(&self) -> View {
        View::new(self.ring.quorum.quorum() as u64)
    }

    /// h of every VIEW-CHANGE.
    fn stable(&self) -> SeqNum {
        SeqNum::new(self.parameters.checkpoint_interval * 10)
    }

    fn window(&self) -> impl Iterator<Item = SeqNum> {
        self.stable().up_to(self.stable().plus(self.parameters.window))
    }

    fn batch(seq: SeqNum) -> Digest {
        Digest::of("tagma/bench-batch", &[&seq.get().to_le_bytes()])
    }

    /// The senders of V.
    fn senders(&self) -> impl Iterator<Item = ReplicaId> {
        self.ring.quorum.all().take(self.ring.quorum.quorum())
    }

    fn vote(&self, phase: Phase, view: View, seq: SeqNum, sender: ReplicaId) -> Option<Signature> {
        let key = self.keys.get(sender.index())?;
        let vote = Vote::sign(phase, view, seq, Self::batch(seq), sender, &self.ring.chain, key);
        Some(vote.signature)
    }

    fn prepared(&self, view: View, seq: SeqNum) -> Option<PreparedCertificate> {
        let primary = self.ring.quorum.primary(view);
        let backups = self.ring.quorum.all().filter(|id| *id != primary);
        let prepares: Vec<Endorsement> = backups
            .take(self.ring.quorum.prepares())
            .filter_map(|sender| {
                let signature = self.vote(Phase::Prepare, view, seq, sender)?;
                Some(Endorsement { sender, signature })
            })
            .collect();
        Some(PreparedCertificate {
            view,
            seq,
            digest: Self::batch(seq),
            pre_prepare: self.vote(Phase::PrePrepare, view, seq, primary)?,
            prepares: prepares.into(),
        })
    }

    fn stable_certificate(&self) -> StableCertificate {
        let header = Digest::of("tagma/bench-header", &[]);
        let endorsements = self.senders().zip(&self.keys).map(|(sender, key)| Endorsement {
            sender,
            signature: Checkpoint::sign(self.stable(), header, sender, &self.ring.chain, key).signature,
        });
        StableCertificate {
            seq: self.stable(),
            header,
            checkpoints: endorsements.collect::<Vec<_>>().into(),
        }
    }

    fn new_view(&self) -> NewView {
        let stable = self.stable_certificate();
        let view_changes: Vec<Arc<ViewChange>> = self
            .senders()
            .zip(&self.keys)
            .map(|(sender, key)| {
                let view = View::new(u64::from(sender.get()));
                let prepared = self.window().filter_map(|seq| self.prepared(view, seq)).collect();
                let (stable, chain) = (Some(stable.clone()), &self.ring.chain);
                Arc::new(ViewChange::sign(
                    self.view(),
                    stable,
                    prepared,
                    sender,
                    chain,
                    key,
                ))
            })
            .collect();
        let primary = self.ring.quorum.primary(self.view());
        let proposals: Vec<Reproposal> = self
            .window()
            .filter_map(|seq| {
                let signature = self.vote(Phase::PrePrepare, self.view(), seq, primary)?;
                Some(Reproposal {
                    digest: Self::batch(seq),
                    signature,
                })
            })
            .collect();
        let mut message = NewView {
            view: self.view(),
            view_changes: view_changes.into(),
            proposals: proposals.into(),
            signature: Signature::from_bytes([0; 64]),
        };
        if let Some(key) = self.keys.get(primary.index()) {
            let content = message.content_digest();
            message.signature = key.sign(NewView::DOMAIN, &self.ring.chain, content.as_bytes());
        }
        message
    }

    /// Signatures that a receiver verifies: per VIEW-CHANGE its own, Q CHECKPOINTs and Q votes a certificate; one an entry of
    /// O; the NEW-VIEW's own.
    fn signatures(&self) -> usize {
        let quorum = self.ring.quorum.quorum();
        let window = self.window().count();
        quorum * (1 + quorum + quorum * window) + window + 1
    }

    /// What a backup does with the bytes before it enters the view.
    fn verify(&self, bytes: &[u8]) -> Result<(), Error> {
        let failed = |what: String| Error::NothingMeasured(format!("the NEW-VIEW does not pass: {what}"));
        let cap = usize::try_from(MAX_MESSAGE_BYTES).unwrap_or(usize::MAX);
        let message: Message = decode(bytes, cap).map_err(|error| failed(error.to_string()))?;
        let Message::NewView(message) = message else {
            return Err(failed("another kind".to_owned()));
        };
        let content = message.content_digest();
        let signed = signed_bytes(NewView::DOMAIN, &self.ring.chain, content.as_bytes());
        let primary = self.ring.key(self.ring.quorum.primary(message.view));
        if !primary.is_some_and(|key| verify(key, &signed, &message.signature)) {
            return Err(failed("its signature".to_owned()));
        }
        let decision = check_new_view(&self.ring, &self.parameters, &message)
            .map_err(|error| failed(error.to_string()))?;
        if decision.choices.len() as u64 == self.parameters.window {
            Ok(())
        } else {
            Err(failed("it does not cover the window".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;

    #[test]
    fn what_is_measured_is_a_full_window_that_verifies_and_a_changed_bit_does_not() {
        let chain = Chain::new(7, 8).unwrap();
        let mut bytes = encode(&Message::NewView(Arc::new(chain.new_view())));
        chain.verify(&bytes).unwrap();
        // Within the last entry of O, before the NEW-VIEW's own signature.
        let place = bytes.len() - 64 - 10;
        *bytes.get_mut(place).unwrap() ^= 1;
        assert!(chain.verify(&bytes).is_err());
    }

    #[test]
    fn every_signature_of_the_largest_new_view_is_another() {
        let chain = Chain::new(4, 8).unwrap();
        let message = chain.new_view();
        let mut seen = std::collections::BTreeSet::new();
        for view_change in message.view_changes.iter() {
            for certificate in view_change.prepared.iter() {
                assert!(seen.insert(*certificate.pre_prepare.as_bytes()));
                for prepare in certificate.prepares.iter() {
                    assert!(seen.insert(*prepare.signature.as_bytes()));
                }
            }
        }
        assert_eq!(seen.len(), 3 * 8 * 3);
    }
}
