//! What was counted of one network, against the model.

use std::collections::BTreeMap;

use serde::Serialize;
use tagma_sim::sent::Sent;

use crate::error::Error;
use crate::observe::Metrics;
use crate::plan;

const MESSAGES: &str = "tagma_messages_sent_total";
const BYTES: &str = "tagma_message_sent_bytes_total";

/// Messages, one for each receiver, and their encoded length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// How many.
    pub messages: u64,
    /// Their bytes, without those of framing and QUIC.
    pub bytes: u64,
}

impl Traffic {
    fn plus(self, other: Self) -> Self {
        Self {
            messages: self.messages + other.messages,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// What all replicas together have sent each other, by kind and whether it was sent again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<(String, bool), Traffic>);

impl Tally {
    /// By the counters of real replicas.
    #[must_use]
    pub fn of_metrics(replicas: &[Metrics]) -> Self {
        let mut tally = BTreeMap::new();
        for metrics in replicas {
            for kind in metrics.label_values(MESSAGES, "kind") {
                for resend in [false, true] {
                    let labels = [
                        ("kind", kind.as_str()),
                        ("resend", if resend { "true" } else { "false" }),
                    ];
                    let traffic = Traffic {
                        messages: whole(metrics.sum(MESSAGES, &labels)),
                        bytes: whole(metrics.sum(BYTES, &labels)),
                    };
                    let sum: &mut Traffic = tally.entry((kind.clone(), resend)).or_default();
                    *sum = sum.plus(traffic);
                }
            }
        }
        Self(tally)
    }

    /// By the count of the simulator.
    #[must_use]
    pub fn of_simulation(sent: &Sent) -> Self {
        let entry = |(kind, resend, traffic): (&str, bool, tagma_sim::sent::Traffic)| {
            let traffic = Traffic {
                messages: traffic.messages,
                bytes: traffic.bytes,
            };
            ((kind.to_owned(), resend), traffic)
        };
        Self(sent.iter().map(entry).collect())
    }

    /// What was sent since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let entry = |(key, now): (&(String, bool), &Traffic)| {
            let then = before.0.get(key).copied().unwrap_or_default();
            let difference = Traffic {
                messages: now.messages.saturating_sub(then.messages),
                bytes: now.bytes.saturating_sub(then.bytes),
            };
            (key.clone(), difference)
        };
        Self(self.0.iter().map(entry).collect())
    }

    /// All messages of the normal case, those sent again too.
    pub(super) fn votes(&self) -> u64 {
        self.sum(|kind, _| is_normal(kind)).messages
    }

    fn sum(&self, counts: impl Fn(&str, bool) -> bool) -> Traffic {
        let chosen = self.0.iter().filter(|((kind, resend), _)| counts(kind, *resend));
        chosen.fold(Traffic::default(), |sum, (_, traffic)| sum.plus(*traffic))
    }
}

/// The kinds of the normal case, as the counters name them.
fn is_normal(kind: &str) -> bool {
    matches!(kind, "pre_prepare" | "prepare" | "commit")
}

/// A counter: whole, not negative, and far below 2^53.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters are whole, not negative, and far below 2^53"
)]
pub(super) fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// A ratio of counts.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of one measurement are far below 2^53"
)]
pub(super) fn per(count: u64, of: u64) -> f64 {
    count as f64 / of as f64
}

/// Where a network ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Real processes on this machine.
    Processes,
    /// The simulator: the same replica, in simulated time.
    Simulator,
}

/// What only real processes can be asked, over all replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Work {
    /// Messages of peers whose signatures were verified.
    pub peer_verifications: u64,
    /// Requests of clients whose signatures were verified, when they came from a client or in a message of a peer.
    pub client_verifications: u64,
    /// Writes with a sync.
    pub syncs: u64,
    /// Frames between clients and replicas, the questions of this measurement among them.
    pub client_frames: u64,
}

impl Work {
    /// By the counters of real replicas.
    #[must_use]
    pub fn of_metrics(replicas: &[Metrics]) -> Self {
        let sum = |name: &str, labels: &[(&str, &str)]| {
            replicas
                .iter()
                .map(|metrics| whole(metrics.sum(name, labels)))
                .sum()
        };
        let verified = |path| sum("tagma_signature_verifications_total", &[("path", path)]);
        Self {
            peer_verifications: verified("peers"),
            client_verifications: verified("clients") + verified("peer_requests"),
            syncs: sum("tagma_storage_sync_seconds_count", &[]),
            client_frames: sum("tagma_wire_frames_total", &[("socket", "clients")]),
        }
    }

    /// What was done since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            peer_verifications: self.peer_verifications.saturating_sub(before.peer_verifications),
            client_verifications: self
                .client_verifications
                .saturating_sub(before.client_verifications),
            syncs: self.syncs.saturating_sub(before.syncs),
            client_frames: self.client_frames.saturating_sub(before.client_frames),
        }
    }
}

/// What was measured of one network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Counts {
    /// N.
    pub nodes: u16,
    /// Where it ran.
    pub place: Place,
    /// Batches committed while counting.
    pub batches: u64,
    /// Requests executed with them.
    pub transfers: u64,
    /// Views entered while counting. The model is that of the normal case: it holds where this is 0.
    pub view_changes: u64,
    /// PRE-PREPAREs sent for the first time, to each receiver.
    pub pre_prepares: u64,
    /// PREPAREs, likewise.
    pub prepares: u64,
    /// COMMITs, likewise.
    pub commits: u64,
    /// Bytes of these three.
    pub normal_bytes: u64,
    /// The first sends of these three per batch.
    pub per_batch: f64,
    /// The same per transfer.
    pub per_transfer: f64,
    /// Their bytes per batch.
    pub bytes_per_batch: f64,
    /// What the model says: 2n(n - 1).
    pub model: u64,
    /// Messages of these three sent again.
    pub resends: Traffic,
    /// CHECKPOINTs and stable certificates.
    pub checkpoints: Traffic,
    /// STATUS messages.
    pub status: Traffic,
    /// All other messages between replicas: requests forwarded, bodies and blocks fetched, view changes.
    pub other: Traffic,
    /// What a simulation does not count.
    pub work: Option<Work>,
}

/// How much was counted over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// N.
    pub nodes: u16,
    /// Batches committed.
    pub batches: u64,
    /// Requests executed with them.
    pub transfers: u64,
    /// Views entered.
    pub view_changes: u64,
}

impl Counts {
    /// From what was sent within a span.
    ///
    /// # Errors
    /// [`Error::NothingMeasured`] if nothing was committed in it.
    pub fn new(place: Place, span: Span, sent: &Tally, work: Option<Work>) -> Result<Self, Error> {
        if span.batches == 0 || span.transfers == 0 {
            return Err(Error::NothingMeasured(format!(
                "no batch was committed by {} replicas while counting",
                span.nodes
            )));
        }
        let first = |wanted: &str| sent.sum(|kind, resend| kind == wanted && !resend);
        let is_checkpoint = |kind: &str| matches!(kind, "checkpoint" | "stable");
        let normal = sent.sum(|kind, resend| is_normal(kind) && !resend);
        Ok(Self {
            nodes: span.nodes,
            place,
            batches: span.batches,
            transfers: span.transfers,
            view_changes: span.view_changes,
            pre_prepares: first("pre_prepare").messages,
            prepares: first("prepare").messages,
            commits: first("commit").messages,
            normal_bytes: normal.bytes,
            per_batch: per(normal.messages, span.batches),
            per_transfer: per(normal.messages, span.transfers),
            bytes_per_batch: per(normal.bytes, span.batches),
            model: model(span.nodes),
            resends: sent.sum(|kind, resend| is_normal(kind) && resend),
            checkpoints: sent.sum(|kind, _| is_checkpoint(kind)),
            status: sent.sum(|kind, _| kind == "status"),
            other: sent.sum(|kind, _| !is_normal(kind) && !is_checkpoint(kind) && kind != "status"),
            work,
        })
    }

    /// Whether the first sends of each phase are exactly those of the model.
    #[must_use]
    pub fn is_as_modelled(&self) -> bool {
        let n = u64::from(self.nodes);
        let others = n.saturating_sub(1);
        self.pre_prepares == self.batches * others
            && self.prepares == self.batches * others * others
            && self.commits == self.batches * n * others
    }
}

/// 2n(n - 1)
#[must_use]
pub fn model(nodes: u16) -> u64 {
    let n = u64::from(nodes);
    2 * n * n.saturating_sub(1)
}

/// 2(2f + 1)(n - 1): what is left of [`model`] if only 2f + 1 replicas vote.
#[must_use]
pub fn standby_model(nodes: u16) -> u64 {
    2 * u64::from(plan::quorum(nodes)) * u64::from(nodes).saturating_sub(1)
}

/// How fast `messages` grow between two sizes: d log(messages) / d log(n).
#[must_use]
pub fn exponent(smaller: (u16, f64), larger: (u16, f64)) -> f64 {
    let sizes = (f64::from(larger.0) / f64::from(smaller.0)).ln();
    (larger.1 / smaller.1).ln() / sizes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panic")]

    use super::*;

    #[test]
    fn the_model_is_the_sum_of_the_three_phases() {
        for n in [4, 7, 10, 31] {
            let others = u64::from(n) - 1;
            assert_eq!(model(n), others + others * others + u64::from(n) * others);
            let (f, voters) = (others / 3, 2 * (others / 3) + 1);
            assert_eq!(
                standby_model(n),
                others + 2 * f * others + voters * others,
                "PRE-PREPAREs, PREPAREs and COMMITs"
            );
        }
    }

    #[test]
    fn exponents_are_those_of_powers_and_the_models_comes_down_to_2() {
        assert!((exponent((4, 16.0), (8, 64.0)) - 2.0).abs() < 1e-12);
        assert!((exponent((10, 10.0), (20, 80.0)) - 3.0).abs() < 1e-12);
        let of_model = |a: u16, b: u16| exponent((a, per(model(a), 1)), (b, per(model(b), 1)));
        assert!(of_model(4, 7) > of_model(28, 31) && of_model(28, 31) > 2.0);
        assert!(of_model(970, 1000) - 2.0 < 0.002);
    }

    fn replica(votes: u64) -> Metrics {
        Metrics::parse(&format!(
            "tagma_messages_sent_total{{kind=\"prepare\",resend=\"false\"}} {votes}\n\
             tagma_messages_sent_total{{kind=\"prepare\",resend=\"true\"}} 2\n\
             tagma_message_sent_bytes_total{{kind=\"prepare\",resend=\"false\"}} {}\n\
             tagma_messages_sent_total{{kind=\"status\",resend=\"false\"}} 7\n\
             tagma_signature_verifications_total{{path=\"clients\"}} 3\n\
             tagma_signature_verifications_total{{path=\"peer_requests\"}} 1\n\
             tagma_storage_sync_seconds_count 3\n",
            votes * 100
        ))
    }

    #[test]
    fn counters_of_all_replicas_are_added_and_the_earlier_ones_taken_off() {
        let before = Tally::of_metrics(&[replica(10), replica(20)]);
        let after = [replica(13), replica(26)];
        let sent = Tally::of_metrics(&after).since(&before);
        let work = Work::of_metrics(&after).since(&Work::default());
        let span = Span {
            nodes: 4,
            batches: 3,
            transfers: 6,
            view_changes: 0,
        };
        let counts = Counts::new(Place::Processes, span, &sent, Some(work)).unwrap();
        assert_eq!((counts.prepares, counts.normal_bytes), (9, 900));
        assert_eq!(counts.resends.messages, 0, "they were there before");
        assert!((counts.per_batch - 3.0).abs() < 1e-12 && (counts.per_transfer - 1.5).abs() < 1e-12);
        assert_eq!((work.client_verifications, work.syncs), (8, 6));
        assert!(!counts.is_as_modelled());
        let nothing = Span { batches: 0, ..span };
        assert!(Counts::new(Place::Processes, nothing, &sent, None).is_err());
    }
}
