//! What was measured, as a page with plots.

use super::results::{Results, Round, Sample, SystemResult};
use crate::bench::median;
use crate::bench::report::{Axis, Grid, Plot, Report, Section, Series, Stroke};

/// The page.
pub(super) fn report(results: &Results) -> Report {
    let mut report = Report::new(
        "Against systems that tolerate crashes only",
        "What it costs to tolerate replicas that lie, instead of replicas that merely crash: the same load on Tagma and on replicated \
         stores that people use where nobody lies, one at a time on the same machine, every write synced.",
        vec![
            results.configuration.to_string(),
            format!(
                "values of {} bytes, as long as a signed transfer; each measurement {} s after {} s of warm-up; medians over the rounds, \
                 ratios round by round; seed {}{}",
                results.value_bytes, results.seconds, results.warm_up_seconds, results.seed, results.quiet
            ),
        ],
    );
    report.section(figures(results));
    report.section(curves(results));
    report.section(descriptions(&results.systems));
    report
}

fn figures(results: &Results) -> Section {
    let mut peaks = Grid::new([
        "system",
        "servers",
        "peak, requests/s",
        "lowest–highest round",
        "in flight there",
        "servers, µs/request",
        "client, µs/request",
        "stolen by the host at the peak · one client · half, %",
        "failed or unfinished",
    ]);
    let mut latencies = Grid::new([
        "system",
        "one client, p50 ms",
        "p99 ms",
        "half of the peak, requests/s",
        "p50 ms there",
        "p99 ms there",
    ]);
    for system in &results.systems {
        let name = system.name.to_string();
        let Some(of) = &system.summary else {
            let mut cells = vec![name, system.servers.to_string()];
            cells.push(system.absent.unwrap_or("not measured").to_owned());
            cells.resize(peaks.header.len(), String::new());
            peaks.row(cells);
            continue;
        };
        peaks.row([
            name.clone(),
            system.servers.to_string(),
            format!("{:.0}", of.peak),
            format!("{:.0}–{:.0}", of.peaks.0, of.peaks.1),
            of.peak_in_flight.to_string(),
            format!("{:.1}", of.servers_cpu),
            format!("{:.1}", of.client_cpu),
            of.stolen_percent(),
            of.lost.to_string(),
        ]);
        latencies.row([
            name,
            format!("{:.2}", of.one_p50),
            format!("{:.2}", of.one_p99),
            format!("{:.0}", of.half),
            format!("{:.2}", of.half_p50),
            format!("{:.2}", of.half_p99),
        ]);
    }
    let mut ratios = Grid::new([
        "tagma ÷",
        "peak",
        "median latency of one client",
        "processor time per request",
    ]);
    for ratio in &results.ratios {
        ratios.row([
            ratio.other.to_string(),
            format!("{:.2}", ratio.peak),
            format!("{:.2}", ratio.one_p50),
            format!("{:.2}", ratio.cpu),
        ]);
    }
    Section::new("Figures")
        .prose(
            "The peak is the best closed loop of a round. One client sends its next request when the one before is done. Half of the peak is \
             an open loop: requests come by chance (Poisson) whatever the system does, and latency counts from when each was meant to be \
             sent. Processor time is that at the peak: of all servers together, and of the load with the system's client library. What the host of the machine stole was used by \
             others: where that is more than one or two percent, latency is the host's rather than the system's.",
        )
        .grid(peaks)
        .grid(latencies)
        .prose("Above 1, Tagma's figure is the larger one: good for the peak, bad for latency and processor time.")
        .grid(ratios)
}

/// The median over the rounds of what a sample of each says.
fn over(
    rounds: &[Round],
    sample: impl Fn(&Round) -> Option<&Sample>,
    value: fn(&Sample) -> f64,
) -> Option<f64> {
    median(rounds.iter().filter_map(|round| sample(round).map(value)))
}

/// Throughput and median latency of one client and of each closed loop.
fn curve(system: &SystemResult) -> Vec<(f64, f64)> {
    let rounds = &system.rounds;
    let levels = rounds.iter().map(|round| round.levels.len()).max().unwrap_or(0);
    let at = |sample: &dyn Fn(&Round) -> Option<&Sample>| {
        Some((
            over(rounds, sample, |sample| sample.per_second)?,
            over(rounds, sample, |sample| sample.latency.p50)?,
        ))
    };
    let one = at(&|round| Some(&round.one_client));
    let more = (0..levels).filter_map(|level| at(&|round| round.levels.get(level).map(|(_, sample)| sample)));
    one.into_iter().chain(more).collect()
}

fn curves(results: &Results) -> Section {
    let measured = results.systems.iter().filter(|system| !system.rounds.is_empty());
    let series = measured.map(|system| Series::new(system.name.to_string(), Stroke::Marked, curve(system)));
    Section::new("Throughput and latency").plot(Plot {
        title: "Median latency against throughput, closed loops".to_owned(),
        see: "Each line begins with one request at a time, and each further mark has more in flight: a system is better the further its \
              line runs to the right before it rises."
            .to_owned(),
        x: Axis::linear("requests per second"),
        y: Axis::logarithmic("median latency, ms"),
        series: series.collect(),
    })
}

fn descriptions(systems: &[SystemResult]) -> Section {
    let mut section = Section::new("What each does, and does not");
    for system in systems {
        section = section.prose(system.describe());
        if let Some(spread) = system.spread {
            let tried: Vec<String> = system
                .tried
                .iter()
                .map(|tried| format!("{}: {:.0}/s", tried.spread, tried.per_second))
                .collect();
            section = section.prose(format!(
                "The client of {} has {spread}, the fastest of those tried before the first round: {}.",
                system.name,
                tried.join(", ")
            ));
        }
    }
    section
}
