//! The plots and tables of loads, and the report of `bench load`.

use std::path::Path;

use super::{Measured, Pace, Results, describe, name};
use crate::bench::load::Span;
use crate::bench::report::{Axis, Grid, Plot, Report, Section, Series, Stroke, write_text};
use crate::bench::usage::Shares;
use crate::error::Error;

/// Writes `report.html`, its plots as SVG, `load.csv`, and the seconds of each load as `load-seconds.csv`.
pub(super) fn write(results: &Results, span: Span, out: &Path) -> Result<(), Error> {
    let runs = &results.runs;
    let mut report = Report::new(
        "Tagma: latency and throughput under load",
        "Signed transfers between funded accounts, sent through the client library to a network of real processes on this machine. \
         A transfer counts once f + 1 replicas report the same outcome; its latency counts from the moment it was meant to be sent.",
        vec![results.configuration.to_string(), describe(&results.bench, span)],
    );
    let mut overview = Section::new("All loads").grid(grid(runs));
    if runs.iter().any(|run| rate(run).is_some()) {
        overview = overview.plot(latency_plot(runs)).plot(achieved_plot(runs, None));
    }
    report.section(overview);
    for run in runs {
        let section = Section::new(format!("Load of {}", name(&run.pace)))
            .plot(course_plot(run))
            .plot(memory_plot(run));
        report.section(section);
    }
    write_text(out, "load.csv", &grid(runs).csv())?;
    write_text(out, "load-seconds.csv", &seconds(runs).csv())?;
    report.write(out, "report")
}

/// The rate of an open loop.
fn rate(run: &Measured) -> Option<f64> {
    match run.pace {
        Pace::Open { rate, .. } => Some(rate),
        Pace::Closed { .. } => None,
    }
}

/// The transfers outstanding of a closed loop.
pub(in crate::bench) fn in_flight(run: &Measured) -> Option<f64> {
    match run.pace {
        Pace::Open { .. } => None,
        #[expect(
            clippy::cast_precision_loss,
            reason = "transfers outstanding are far below 2^53"
        )]
        Pace::Closed { in_flight } => Some(in_flight as f64),
    }
}

/// Percentiles of latency against the rate of open loops.
pub(in crate::bench) fn latency_plot(runs: &[Measured]) -> Plot {
    let line = |name: &str, value: &dyn Fn(&Measured) -> f64| {
        let points = runs
            .iter()
            .filter_map(|run| Some((rate(run)?, value(run))))
            .collect();
        Series::new(name, Stroke::Marked, points)
    };
    Plot {
        title: "Latency against the rate of an open loop".to_owned(),
        see: "How long a transfer takes, from its intended sending to the deciding reply, the more of them come per second; a line \
              that turns upwards has reached what the machine carries."
            .to_owned(),
        x: Axis::linear("offered, transfers/s"),
        y: Axis::logarithmic("latency, ms"),
        series: vec![
            line("median", &|run| run.latency.p50),
            line("90th percentile", &|run| run.latency.p90),
            line("99th percentile", &|run| run.latency.p99),
            line("99.9th percentile", &|run| run.latency.p999),
            line("longest", &|run| run.latency.max),
        ],
    }
}

/// What was acknowledged against what was offered, with the bound of the machine where it is known.
pub(in crate::bench) fn achieved_plot(runs: &[Measured], bound: Option<f64>) -> Plot {
    let open: Vec<(f64, f64)> = runs
        .iter()
        .filter(|run| rate(run).is_some())
        .map(|run| (run.offered, run.acknowledged))
        .collect();
    let end = open.iter().map(|(offered, _)| *offered).fold(0.0, f64::max);
    let mut series = vec![
        Series::new("acknowledged", Stroke::Marked, open),
        Series::new(
            "all that is offered",
            Stroke::Dashed,
            vec![(0.0, 0.0), (end, end)],
        ),
    ];
    if let Some(bound) = bound {
        series.push(Series::new(
            "bound by signatures",
            Stroke::Dashed,
            vec![(0.0, bound), (end, bound)],
        ));
    }
    Plot {
        title: "Achieved against offered".to_owned(),
        see: "As long as the points lie on the dashed diagonal, everything offered is acknowledged in time."
            .to_owned(),
        x: Axis::linear("offered, transfers/s"),
        y: Axis::linear("acknowledged, transfers/s"),
        series,
    }
}

/// Latency, second by second.
fn course_plot(run: &Measured) -> Plot {
    let line = |name: &str, value: &dyn Fn(&super::SecondPoint) -> Option<f64>| {
        let points = run
            .series
            .iter()
            .filter_map(|point| Some((index(point.second), value(point)?)))
            .collect();
        Series::new(name, Stroke::Line, points)
    };
    Plot {
        title: "Latency over the run".to_owned(),
        see: "Of the transfers acknowledged in each second, warm-up included; a steady system gives level lines.".to_owned(),
        x: Axis::linear("time since the load began, s"),
        y: Axis::logarithmic("latency, ms"),
        series: vec![
            line("median", &|point| point.p50),
            line("99th percentile", &|point| point.p99),
        ],
    }
}

/// Resident memory of each replica and of the client process, second by second.
pub(in crate::bench) fn memory_plot(run: &Measured) -> Plot {
    let replicas = run.memory.first().map_or(0, |sample| sample.replicas.len());
    let mut series: Vec<Series> = (0..replicas)
        .map(|replica| {
            let points = run
                .memory
                .iter()
                .filter_map(|sample| Some((sample.second, mebibytes(*sample.replicas.get(replica)?))))
                .collect();
            Series::new(format!("replica {replica}"), Stroke::Line, points)
        })
        .collect();
    let own = run
        .memory
        .iter()
        .map(|sample| (sample.second, mebibytes(sample.generator)));
    series.push(Series::new("client process", Stroke::Line, own.collect()));
    Plot {
        title: "Resident memory over the run".to_owned(),
        see: "Sampled every second; a level line means that nothing piles up.".to_owned(),
        x: Axis::linear("time since the load began, s"),
        y: Axis::linear("resident memory, MiB"),
        series,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sizes of memory are far below 2^53 bytes"
)]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^53 seconds")]
fn index(second: usize) -> f64 {
    second as f64
}

/// One row for each load, for people and as CSV.
pub(in crate::bench) fn grid(runs: &[Measured]) -> Grid {
    let mut grid = Grid::new([
        "load",
        "offered/s",
        "sent/s",
        "acknowledged/s",
        "failed",
        "unfinished",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "p99.9 ms",
        "max ms",
        "send lag p50 ms",
        "send lag p99 ms",
        "views entered",
        "requests/batch",
        "CPU µs/transfer, all replicas",
        "CPU µs/transfer, client",
        "stolen by the host %",
        "largest replica MiB",
        "disk bytes/transfer",
        "written bytes/transfer",
        "syncs/s",
    ]);
    for run in runs {
        let latency = &run.latency;
        let most = run.peak_rss.iter().max().copied().unwrap_or_default();
        let mut row = vec![name(&run.pace)];
        row.extend([run.offered, run.sent, run.acknowledged].map(|rate| format!("{rate:.0}")));
        row.extend([run.errors(), run.unfinished].map(|count| count.to_string()));
        let times = [
            latency.p50,
            latency.p90,
            latency.p99,
            latency.p999,
            latency.max,
            run.lag.p50,
            run.lag.p99,
        ];
        row.extend(times.map(|millis| format!("{millis:.2}")));
        row.push(run.views.to_string());
        row.extend([run.batch, run.replicas_cpu(), run.generator_cpu].map(|value| format!("{value:.1}")));
        row.push(Shares::stolen_percent(run.cores));
        row.push(format!("{:.1}", mebibytes(most)));
        row.extend([run.disk_growth, run.disk_written, run.syncs].map(|value| format!("{value:.0}")));
        grid.row(row);
    }
    grid
}

/// Every second of every load.
fn seconds(runs: &[Measured]) -> Grid {
    let replicas = runs
        .iter()
        .flat_map(|run| &run.memory)
        .map(|sample| sample.replicas.len())
        .max()
        .unwrap_or_default();
    let mut header: Vec<String> = ["load", "second", "sent", "acknowledged", "p50 ms", "p99 ms"]
        .map(str::to_owned)
        .to_vec();
    header.extend((0..replicas).map(|replica| format!("replica {replica} bytes")));
    header.push("client bytes".to_owned());
    let mut grid = Grid::new(header);
    let optional = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.3}"));
    for run in runs {
        for point in &run.series {
            let mut row = vec![
                name(&run.pace),
                point.second.to_string(),
                point.sent.to_string(),
                point.acknowledged.to_string(),
                optional(point.p50),
                optional(point.p99),
            ];
            let (from, to) = (index(point.second), index(point.second + 1));
            let sample = run
                .memory
                .iter()
                .find(|sample| sample.second >= from && sample.second < to);
            let bytes = |value: Option<u64>| value.map_or_else(String::new, |bytes| bytes.to_string());
            row.extend(
                (0..replicas)
                    .map(|replica| bytes(sample.and_then(|sample| sample.replicas.get(replica).copied()))),
            );
            row.push(bytes(sample.map(|sample| sample.generator)));
            grid.row(row);
        }
    }
    grid
}
