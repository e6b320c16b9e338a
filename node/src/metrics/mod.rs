//! What a replica counts, for Prometheus. Labels take few values, all of them fixed by the program or by genesis.

mod wire;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::time::Duration;
use tagma_pbft::{Kind, ReplicaId};
use tagma_wire::WireCounters;

use crate::storage::StorageMemory;

/// One label that says what a message is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SentLabels {
    kind: &'static str,
    resend: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RejectedLabels {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabel {
    peer: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartLabel {
    part: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PathLabel {
    path: &'static str,
}

/// Which signatures were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Messages of peers.
    Peers,
    /// Requests of clients.
    Clients,
    /// Requests of clients in messages of peers: in proposals, for the most part.
    PeerRequests,
    /// The certificates inside VIEW-CHANGEs and NEW-VIEWs.
    ViewChanges,
}

impl Path {
    const fn name(self) -> &'static str {
        match self {
            Self::Peers => "peers",
            Self::Clients => "clients",
            Self::PeerRequests => "peer_requests",
            Self::ViewChanges => "view_changes",
        }
    }
}

/// What a batch is doing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Proposed here, until it is prepared; seen at the primary alone.
    Prepare,
    /// Prepared, until it is final.
    Commit,
    /// Final, until it is executed.
    Execute,
}

impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Commit => "commit",
            Self::Execute => "execute",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabel {
    phase: &'static str,
}

/// Buckets from a tenth of a millisecond to several seconds.
fn phase_histogram() -> Histogram {
    Histogram::new(exponential_buckets(100e-6, 2.0, 17))
}

/// The counters of one replica. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    sent: Family<SentLabels, Counter>,
    sent_bytes: Family<SentLabels, Counter>,
    received: Family<KindLabel, Counter>,
    received_bytes: Family<KindLabel, Counter>,
    rejected: Family<RejectedLabels, Counter>,
    equivocations: Family<PeerLabel, Counter>,
    view_changes: Family<ReasonLabel, Counter>,
    admission_rejected: Family<ReasonLabel, Counter>,
    verifications: Family<PathLabel, Counter>,
    status: Family<StandingLabel, Gauge>,
    /// Those of the status, in the order of [`STANDINGS`]: they are set in every turn of the loop.
    standings: [Gauge; 4],
    storage_memory: Family<PartLabel, Gauge>,
    phases: Family<PhaseLabel, Histogram, fn() -> Histogram>,
    /// The view this replica is in.
    pub view: Gauge,
    /// The last height executed.
    pub executed: Gauge,
    /// h
    pub stable: Gauge,
    /// Requests waiting here to be ordered.
    pub pending: Gauge,
    /// Batches that became final here.
    pub committed_batches: Counter,
    /// Proposals that were left to others and late.
    pub late_proposals: Counter,
    /// Requests executed here.
    pub executed_requests: Counter,
    /// How many requests the batches proposed here had.
    pub batch_requests: Histogram,
    /// How long syncs took.
    pub sync_seconds: Histogram,
    /// How many groups of records one sync covered.
    pub sync_groups: Histogram,
    /// States of checkpoints that came from peers and were switched to.
    pub states_installed: Counter,
    /// Answers to peers that were not given because too many were asked for at once.
    pub unserved: Counter,
    /// Statements left out of the transcript because its disk did not keep up.
    pub unrecorded: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StandingLabel {
    standing: &'static str,
}

const STANDINGS: [&str; 4] = ["starting", "voting", "learner", "halted"];

impl Metrics {
    /// Counters at zero, those of the wire among them.
    pub fn new(wire: Arc<WireCounters>) -> Self {
        let mut registry = Registry::with_prefix("tagma");
        let status = Family::<StandingLabel, Gauge>::default();
        let gauge = |standing| status.get_or_create(&StandingLabel { standing }).clone();
        let mut metrics = Self {
            registry: Arc::default(),
            sent: Family::default(),
            sent_bytes: Family::default(),
            received: Family::default(),
            received_bytes: Family::default(),
            rejected: Family::default(),
            equivocations: Family::default(),
            view_changes: Family::default(),
            admission_rejected: Family::default(),
            verifications: Family::default(),
            standings: STANDINGS.map(gauge),
            status,
            storage_memory: Family::default(),
            phases: Family::new_with_constructor(phase_histogram),
            view: Gauge::default(),
            executed: Gauge::default(),
            stable: Gauge::default(),
            pending: Gauge::default(),
            committed_batches: Counter::default(),
            late_proposals: Counter::default(),
            executed_requests: Counter::default(),
            batch_requests: Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            sync_seconds: Histogram::new(exponential_buckets(50e-6, 2.0, 16)),
            sync_groups: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            states_installed: Counter::default(),
            unserved: Counter::default(),
            unrecorded: Counter::default(),
        };
        metrics.register_agreement(&mut registry);
        metrics.register_rest(&mut registry);
        let build = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The program.", Info::new(build));
        registry.register_collector(Box::new(wire::WireCollector(wire)));
        metrics.registry = Arc::new(registry);
        metrics
    }

    fn register_agreement(&self, registry: &mut Registry) {
        registry.register(
            "messages_sent",
            "Messages to peers, one for each receiver; resend tells answers to STATUS from first sends.",
            self.sent.clone(),
        );
        registry.register(
            "message_sent_bytes",
            "Bytes of the messages sent to peers.",
            self.sent_bytes.clone(),
        );
        registry.register(
            "messages_received",
            "Messages of peers that could be decoded.",
            self.received.clone(),
        );
        registry.register(
            "message_received_bytes",
            "Bytes of the messages of peers.",
            self.received_bytes.clone(),
        );
        registry.register(
            "messages_rejected",
            "Messages of peers that were not accepted.",
            self.rejected.clone(),
        );
        registry.register(
            "equivocations",
            "Provable faults of a peer.",
            self.equivocations.clone(),
        );
        registry.register(
            "view_changes",
            "Views this replica wanted to leave.",
            self.view_changes.clone(),
        );
        registry.register(
            "replica_status",
            "1 for what this replica may do.",
            self.status.clone(),
        );
        registry.register("view", "The last view entered.", self.view.clone());
        registry.register(
            "executed_sequence",
            "The last sequence number executed.",
            self.executed.clone(),
        );
        registry.register(
            "stable_checkpoint_sequence",
            "The low water mark h.",
            self.stable.clone(),
        );
        registry.register(
            "phase_duration_seconds",
            "Time a batch spends in a phase here.",
            self.phases.clone(),
        );
        registry.register(
            "committed_batches",
            "Batches that became final here.",
            self.committed_batches.clone(),
        );
        registry.register(
            "late_proposals",
            "Proposals that this replica had left to others and that were late.",
            self.late_proposals.clone(),
        );
        registry.register(
            "executed_requests",
            "Requests executed here, those without effect left out.",
            self.executed_requests.clone(),
        );
        registry.register(
            "batch_requests",
            "Requests in the batches proposed here.",
            self.batch_requests.clone(),
        );
    }

    fn register_rest(&self, registry: &mut Registry) {
        registry.register(
            "pending_requests",
            "Requests that wait here.",
            self.pending.clone(),
        );
        registry.register(
            "admission_rejected",
            "Requests of clients that were not admitted.",
            self.admission_rejected.clone(),
        );
        registry.register(
            "signature_verifications",
            "Items whose signatures were checked: messages of peers and the requests in them, requests of clients, view changes.",
            self.verifications.clone(),
        );
        registry.register(
            "storage_sync_seconds",
            "Time of a write with its sync.",
            self.sync_seconds.clone(),
        );
        registry.register(
            "storage_sync_groups",
            "Groups of records that shared one sync.",
            self.sync_groups.clone(),
        );
        registry.register(
            "storage_memory_bytes",
            "Memory that the database holds: blocks of files, writes not in files yet, readers of files.",
            self.storage_memory.clone(),
        );
        registry.register(
            "states_installed",
            "States of checkpoints taken over from peers.",
            self.states_installed.clone(),
        );
        registry.register(
            "serves_refused",
            "Questions of peers left unanswered because they asked too many at once.",
            self.unserved.clone(),
        );
        registry.register(
            "transcript_dropped",
            "Statements left out of the transcript because its disk did not keep up.",
            self.unrecorded.clone(),
        );
    }

    /// The database holds so much memory.
    pub fn storage_memory(&self, memory: StorageMemory) {
        for (part, bytes) in [
            ("block_cache", memory.block_cache),
            ("memtables", memory.memtables),
            ("table_readers", memory.table_readers),
        ] {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.storage_memory.get_or_create(&PartLabel { part }).set(bytes);
        }
    }

    /// A message of this kind and size was handed to the wire for one receiver.
    pub fn sent(&self, kind: Kind, resend: bool, bytes: usize) {
        let labels = SentLabels {
            kind: kind.name(),
            resend: if resend { "true" } else { "false" },
        };
        self.sent.get_or_create(&labels).inc();
        self.sent_bytes.get_or_create(&labels).inc_by(bytes as u64);
    }

    /// A message of this kind and size came from a peer.
    pub fn received(&self, kind: Kind, bytes: usize) {
        let label = KindLabel { kind: kind.name() };
        self.received.get_or_create(&label).inc();
        self.received_bytes.get_or_create(&label).inc_by(bytes as u64);
    }

    /// A message of a peer was not accepted; `kind` is `undecodable` where it has none.
    pub fn rejected(&self, kind: &'static str, reason: &'static str) {
        self.rejected
            .get_or_create(&RejectedLabels { kind, reason })
            .inc();
    }

    /// A provable fault of a peer was recorded.
    pub fn fault(&self, culprit: ReplicaId) {
        self.equivocations
            .get_or_create(&PeerLabel { peer: culprit.get() })
            .inc();
    }

    /// This replica wants another view.
    pub fn view_change(&self, reason: &'static str) {
        self.view_changes.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// A client's request was not admitted.
    pub fn not_admitted(&self, reason: &'static str) {
        self.admission_rejected
            .get_or_create(&ReasonLabel { reason })
            .inc();
    }

    /// So many items had their signatures checked.
    pub fn verified(&self, path: Path, items: usize) {
        self.verifications
            .get_or_create(&PathLabel { path: path.name() })
            .inc_by(items as u64);
    }

    /// A batch was so long in this phase.
    pub fn phase(&self, phase: Phase, took: Duration) {
        self.phases
            .get_or_create(&PhaseLabel { phase: phase.name() })
            .observe(took.as_secs_f64());
    }

    /// What this replica may do; `standing` is one of the four names of [`tagma_pbft::Standing`].
    pub fn standing(&self, standing: &str) {
        for (name, gauge) in STANDINGS.iter().zip(&self.standings) {
            gauge.set(i64::from(standing == *name));
        }
    }

    /// All counters in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let written = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        assert!(written.is_ok(), "writing into a string cannot fail");
        text
    }
}
