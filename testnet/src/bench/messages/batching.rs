//! What batching does to the cost of one transfer: many transfers at once, on networks that differ in the most a batch may hold.

use serde::Serialize;

use super::counts::{Counts, per};
use super::real;
use crate::error::Error;
use crate::plan::ACCOUNT_NAMES;
use crate::process::Programs;

/// The most nonces that an account may be ahead: genesis allows no more.
const LOOKAHEAD: u32 = 1 << 10;
/// Transfers are enough for so many full batches, if the accounts' nonces allow it.
const FULL_BATCHES: u32 = 16;

/// What was measured with one size of batches.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Batching {
    /// The most transfers that a batch may hold.
    pub most: u32,
    /// How many it held on average.
    pub mean: f64,
    /// Messages of the normal case per transfer.
    pub messages_per_transfer: f64,
    /// The model: 2n(n - 1) divided by the mean.
    pub model_per_transfer: f64,
    /// Bytes of these messages per transfer.
    pub bytes_per_transfer: f64,
    /// Signatures verified per transfer, over all replicas: of messages and of requests.
    pub verifications_per_transfer: f64,
    /// Syncs per transfer, over all replicas.
    pub syncs_per_transfer: f64,
    /// Everything that was counted.
    pub counts: Counts,
}

impl Batching {
    /// What stands of it in every table: the most in a batch, transfers, batches, the mean, and the costs of a transfer.
    pub(super) fn cells(&self) -> [String; 9] {
        [
            self.most.to_string(),
            self.counts.transfers.to_string(),
            self.counts.batches.to_string(),
            format!("{:.2}", self.mean),
            format!("{:.3}", self.messages_per_transfer),
            format!("{:.3}", self.model_per_transfer),
            format!("{:.0}", self.bytes_per_transfer),
            format!("{:.2}", self.verifications_per_transfer),
            format!("{:.3}", self.syncs_per_transfer),
        ]
    }

    fn new(most: u32, counts: Counts) -> Self {
        let work = counts.work.unwrap_or_default();
        let mean = per(counts.transfers, counts.batches);
        Self {
            most,
            mean,
            messages_per_transfer: counts.per_transfer,
            model_per_transfer: per(counts.model, 1) / mean,
            bytes_per_transfer: per(counts.normal_bytes, counts.transfers),
            verifications_per_transfer: per(
                work.peer_verifications + work.client_verifications,
                counts.transfers,
            ),
            syncs_per_transfer: per(work.syncs, counts.transfers),
            counts,
        }
    }
}

/// Measures a network of `size` whose batches hold `most` transfers.
///
/// # Errors
/// See [`real::measure`].
pub(super) async fn measure(size: u16, most: u32, programs: Programs) -> Result<Batching, Error> {
    let mut parameters = real::parameters(size);
    parameters.max_batch_requests = most;
    parameters.lookahead = LOOKAHEAD;
    let accounts = u32::try_from(ACCOUNT_NAMES.len()).unwrap_or(1);
    // Three nonces are left for the transfers before the count, and some room.
    let transfers = most
        .saturating_mul(FULL_BATCHES)
        .clamp(96, accounts * (LOOKAHEAD - 8));
    let network = real::network(size, programs, parameters, false)?;
    let counts = real::measure_together(network, transfers).await?;
    Ok(Batching::new(most, counts))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panic")]

    use super::super::counts::{Place, Span, Tally, Work};
    use super::*;

    #[test]
    fn what_a_batch_costs_is_shared_by_its_transfers() {
        let work = Work {
            peer_verifications: 30,
            client_verifications: 50,
            syncs: 20,
            client_frames: 0,
        };
        let span = Span {
            nodes: 4,
            batches: 5,
            transfers: 40,
            view_changes: 0,
        };
        let counts = Counts::new(Place::Processes, span, &Tally::default(), Some(work)).unwrap();
        let batching = Batching::new(8, counts);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(batching.mean, 8.0) && close(batching.model_per_transfer, 3.0));
        assert!(close(batching.verifications_per_transfer, 2.0) && close(batching.syncs_per_transfer, 0.5));
    }
}
