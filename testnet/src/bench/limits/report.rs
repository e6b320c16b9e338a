//! The report of `bench limits`.

use std::path::Path;

use super::{Results, machine_rows, profile, sentences};
use crate::bench::load::{self, Measured, Span};
use crate::bench::report::{Axis, Grid, Plot, Report, Section, Series, Stroke, write_text};
use crate::error::Error;

/// Writes `report-limits.html`, its plots as SVG, and `limits.csv`.
pub(super) fn write(results: &Results, span: Span, out: &Path) -> Result<(), Error> {
    let mut report = Report::new(
        "Tagma: the limits of this machine, and the share of them that a network reaches",
        "Every transfer is signed by its client, verified by f + 1 replicas at least, ordered and executed by all, written to disk with a sync, and \
         counts once f + 1 replicas report the same outcome. All replicas and the client share one machine. What signatures alone cost \
         there bounds what any such system can carry; this report says how near this one comes.",
        vec![
            results.configuration.to_string(),
            load::describe(&results.bench, span),
        ],
    );
    let mut machine = Grid::new(["This machine", "Measured now"]);
    for row in machine_rows(
        &results.signatures,
        &results.processor,
        &results.disk,
        &results.quic,
    ) {
        machine.row(row);
    }
    let mut sizes = Grid::new([
        "Replicas",
        "Bound, transfers/s",
        "Peak, transfers/s",
        "Share of the bound",
        "Share of the bound with every core busy",
        "Share of the bound with f + 1 verifications",
    ]);
    for network in &results.networks {
        sizes.row([
            network.nodes.to_string(),
            format!("{:.0}", network.bound),
            format!("{:.0}", network.peak),
            format!("{:.2}", network.share_of_bound),
            format!("{:.2}", network.peak / network.bound_on_all_cores),
            format!("{:.2}", network.peak / network.bound_of_verifiers),
        ]);
    }
    report.section(
        Section::new("What the machine can do")
            .prose("Signatures and hashes are per microsecond of one core's time; syncs are one after the other, by the clock.")
            .grid(machine),
    );
    if !results.networks.is_empty() {
        report.section(
            Section::new("How near the network comes")
                .prose(
                    "The bound is cores ÷ (replicas × one batched verification + one signature): what the machine could carry if \
                     nothing but signatures cost anything. While all goes well f + 1 replicas verify a transfer: f backups stand by, and the others each \
                     verify half of a batch. So the bound of what is really verified is higher, and the share of it lower: the last column.",
                )
                .grid(sizes),
        );
    }
    let mut all = Vec::new();
    for network in &results.networks {
        let mut section = Section::new(format!("{} replicas", network.nodes));
        for sentence in sentences(network, results.configuration.cores) {
            section = section.prose(sentence);
        }
        let open: Vec<Measured> = network.open.iter().map(|at| at.run.clone()).collect();
        section = section
            .plot(load::latency_plot(&open))
            .plot(load::achieved_plot(&open, Some(network.bound)))
            .plot(closed_plot(&network.closed));
        if let Some(run) = network.busiest() {
            let mut grid = Grid::new(profile::HEADER);
            for row in profile::rows(&network.alone, run) {
                grid.row(row);
            }
            section = section
                .prose("Where the processor time of a transfer goes, by the counters of the kernel's scheduler, all replicas together:")
                .grid(grid)
                .plot(load::memory_plot(run));
        }
        let mut runs = vec![network.alone.clone()];
        runs.extend(network.closed.iter().cloned());
        runs.extend(open);
        section = section.grid(load::grid(&runs));
        report.section(section);
        all.extend(runs);
    }
    write_text(out, "limits.csv", &load::grid(&all).csv())?;
    report.write(out, "report-limits")
}

/// Throughput and latency over the number of transfers outstanding.
fn closed_plot(runs: &[Measured]) -> Plot {
    let points = |value: &dyn Fn(&Measured) -> f64| {
        runs.iter()
            .filter_map(|run| Some((load::in_flight(run)?, value(run))))
            .collect()
    };
    Plot {
        title: "Throughput of a closed loop against the number of transfers outstanding".to_owned(),
        see: "Where the line stops rising, the machine is full: more transfers outstanding only wait longer."
            .to_owned(),
        x: Axis::logarithmic("transfers outstanding at any time"),
        y: Axis::linear("acknowledged, transfers/s"),
        series: vec![Series::new(
            "acknowledged",
            Stroke::Marked,
            points(&|run| run.acknowledged),
        )],
    }
}
