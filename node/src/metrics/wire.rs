//! The wire's own counters, read when somebody asks.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tagma_wire::{
    Fault, FaultsSnapshot, Refusal, RefusalsSnapshot, TrafficSnapshot, WireCounters, WireSnapshot,
};

#[derive(Debug)]
pub(super) struct WireCollector(pub(super) Arc<WireCounters>);

type Labels = Vec<(&'static str, String)>;

impl Collector for WireCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let snapshot = self.0.snapshot();
        gauge(
            &mut encoder,
            "peer_connected",
            "1 if both lanes to the peer are up.",
            connected(&snapshot),
        )?;
        let connects = snapshot
            .peers
            .iter()
            .map(|peer| (vec![("peer", peer.id.to_string())], peer.connects));
        counter(
            &mut encoder,
            "peer_connects",
            "How often a peer came up.",
            connects.collect(),
        )?;
        counter(
            &mut encoder,
            "wire_frames",
            "Frames by socket, peer, lane and direction.",
            traffic(&snapshot, |traffic| {
                vec![
                    ("sent", traffic.frames_sent),
                    ("received", traffic.frames_received),
                ]
            }),
        )?;
        counter(
            &mut encoder,
            "wire_bytes",
            "Bytes of frames by socket, peer, lane and direction.",
            traffic(&snapshot, |traffic| {
                vec![("sent", traffic.bytes_sent), ("received", traffic.bytes_received)]
            }),
        )?;
        counter(
            &mut encoder,
            "wire_frames_dropped",
            "Frames that were not sent.",
            dropped(&snapshot),
        )?;
        counter(
            &mut encoder,
            "connections_refused",
            "Connections refused before they counted.",
            refusals(&snapshot),
        )?;
        counter(
            &mut encoder,
            "connections_closed",
            "Connections closed for what came over them.",
            faults(&snapshot),
        )?;
        let open = i64::try_from(snapshot.clients.open).unwrap_or(i64::MAX);
        let help = "Clients connected now.";
        let metric = encoder.encode_descriptor("client_connections", help, None, MetricType::Gauge)?;
        ConstGauge::new(open).encode(metric)
    }
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: Vec<(Labels, u64)>,
) -> Result<(), fmt::Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        let family = metric.encode_family(&labels)?;
        ConstCounter::new(value).encode(family)?;
    }
    Ok(())
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: Vec<(Labels, i64)>,
) -> Result<(), fmt::Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        let family = metric.encode_family(&labels)?;
        ConstGauge::new(value).encode(family)?;
    }
    Ok(())
}

fn connected(snapshot: &WireSnapshot) -> Vec<(Labels, i64)> {
    let peers = snapshot.peers.iter();
    peers
        .map(|peer| (vec![("peer", peer.id.to_string())], i64::from(peer.connected)))
        .collect()
}

/// Every lane's traffic with its labels.
fn lanes(snapshot: &WireSnapshot) -> Vec<(Labels, TrafficSnapshot)> {
    let mut lanes = Vec::new();
    for peer in &snapshot.peers {
        for (lane, traffic) in [("votes", peer.votes), ("bulk", peer.bulk)] {
            let labels = vec![
                ("socket", "peers".to_owned()),
                ("peer", peer.id.to_string()),
                ("lane", lane.to_owned()),
            ];
            lanes.push((labels, traffic));
        }
    }
    lanes.push((vec![("socket", "clients".to_owned())], snapshot.clients.traffic));
    lanes
}

fn traffic(
    snapshot: &WireSnapshot,
    directions: impl Fn(&TrafficSnapshot) -> Vec<(&'static str, u64)>,
) -> Vec<(Labels, u64)> {
    labelled(snapshot, "direction", directions)
}

fn dropped(snapshot: &WireSnapshot) -> Vec<(Labels, u64)> {
    labelled(snapshot, "reason", |traffic| {
        vec![
            ("full", traffic.dropped_full),
            ("disconnected", traffic.dropped_disconnected),
            ("too_large", traffic.dropped_too_large),
        ]
    })
}

fn labelled(
    snapshot: &WireSnapshot,
    label: &'static str,
    values: impl Fn(&TrafficSnapshot) -> Vec<(&'static str, u64)>,
) -> Vec<(Labels, u64)> {
    let lanes = lanes(snapshot);
    lanes
        .iter()
        .flat_map(|(labels, traffic)| {
            values(traffic).into_iter().map(move |(name, value)| {
                let mut labels = labels.clone();
                labels.push((label, name.to_owned()));
                (labels, value)
            })
        })
        .collect()
}

fn refusals(snapshot: &WireSnapshot) -> Vec<(Labels, u64)> {
    let of = |socket: &'static str, refusals: &RefusalsSnapshot| {
        let labels = |reason: &str| vec![("socket", socket.to_owned()), ("reason", reason.to_owned())];
        Refusal::ALL
            .map(|refusal| (labels(refusal.name()), refusals.count(refusal)))
            .to_vec()
    };
    let mut values = of("peers", &snapshot.peer_refusals);
    values.extend(of("clients", &snapshot.clients.refusals));
    values
}

fn faults(snapshot: &WireSnapshot) -> Vec<(Labels, u64)> {
    let of = |labels: Labels, faults: &FaultsSnapshot| {
        Fault::ALL.map(|fault| {
            let mut labels = labels.clone();
            labels.push(("reason", fault.name().to_owned()));
            (labels, faults.count(fault))
        })
    };
    let mut values = Vec::new();
    for peer in &snapshot.peers {
        let labels = vec![("socket", "peers".to_owned()), ("peer", peer.id.to_string())];
        values.extend(of(labels, &peer.faults));
    }
    values.extend(of(
        vec![("socket", "clients".to_owned())],
        &snapshot.clients.faults,
    ));
    values
}
