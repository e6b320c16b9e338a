//! Where a transfer's microseconds go: the processor time of the replicas' threads, each of which has one purpose.

use crate::bench::load::Measured;

/// What the threads of a replica do, by their names.
const PURPOSES: [(&str, &str); 7] = [
    (
        "loop",
        "the protocol, the sockets (QUIC and its cryptography), votes verified and signed; and what is small: requests, syncs and \
         blocks while little is to be done",
    ),
    (
        "verifier",
        "signatures of proposed batches, and their decoding and hashing",
    ),
    (
        "admission",
        "signatures of requests that clients submit; at the primary",
    ),
    (
        "executor",
        "execution of larger blocks, and these written to the database",
    ),
    (
        "sync",
        "the protocol's records written to the database and synced, under load",
    ),
    ("rocksdb:high", "the database: tables from memory to files"),
    ("rocksdb:low", "the database: files merged"),
];
const OTHERS: &str = "others";

/// The header of [`rows`].
pub(super) const HEADER: [&str; 5] = [
    "thread of a replica",
    "what it does",
    "one transfer at a time, µs/tx",
    "busiest closed loop, µs/tx",
    "share there",
];

/// For each thread, the processor time per transfer of all replicas together when one transfer is under way at a time, and in the
/// busiest closed loop; and its share of all that processes of the network and of the load used there.
pub(super) fn rows(alone: &Measured, busiest: &Measured) -> Vec<[String; 5]> {
    let known = |name: &str| PURPOSES.iter().any(|(known, _)| *known == name);
    let of = |run: &Measured, wanted: &str| -> f64 {
        let threads = run.threads.iter();
        let wanted = threads.filter(|(name, _)| {
            let name = if known(name) { name.as_str() } else { OTHERS };
            name == wanted
        });
        wanted.map(|(_, micros)| micros).sum()
    };
    let all = busiest.threads.values().sum::<f64>() + busiest.generator_cpu;
    let row = |name: &str, purpose: &str, alone: f64, busy: f64| {
        [
            name.to_owned(),
            purpose.to_owned(),
            format!("{alone:.1}"),
            format!("{busy:.1}"),
            format!("{:.1} %", 100.0 * busy / all),
        ]
    };
    let others = (OTHERS, "start, HTTP, transcript, questions");
    let mut rows: Vec<[String; 5]> = PURPOSES
        .into_iter()
        .chain([others])
        .map(|(name, purpose)| row(name, purpose, of(alone, name), of(busiest, name)))
        .collect();
    rows.push(row(
        "the client process",
        "signing, the client library, this measurement",
        alone.generator_cpu,
        busiest.generator_cpu,
    ));
    rows
}
