//! What was measured of each system, and the ratios.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::Spread;
use super::systems::{Name, Setting};
use crate::bench::configuration::Configuration;
use crate::bench::load::{Measured, Quantiles, Span, Tally};
use crate::bench::median;
use crate::bench::quiet::Quiet;
use crate::bench::usage::{Shares, percent};

/// One load on one system.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// Requests a second that were due.
    pub offered: f64,
    /// Requests a second that the client counts as done.
    pub per_second: f64,
    /// From the intended sending on, milliseconds.
    pub latency: Quantiles,
    /// Processor time of all servers together per request, microseconds.
    pub servers_cpu: f64,
    /// Processor time of the client per request, microseconds.
    pub client_cpu: f64,
    /// How the time of all cores was divided; none where the kernel does not say.
    pub cores: Option<Shares>,
    /// How often the same was measured and does not count, as the host took more of the processors' time.
    pub spoilt: usize,
    /// Requests that failed, in times that do not count as well.
    pub failed: u64,
    /// Requests that were due and whose end was not seen, likewise.
    pub unfinished: u64,
}

impl Sample {
    pub(super) fn of_measured(measured: &Measured) -> Self {
        Self {
            offered: measured.offered,
            per_second: measured.acknowledged,
            latency: measured.latency,
            servers_cpu: measured.replicas_cpu(),
            client_cpu: measured.generator_cpu,
            cores: measured.cores,
            spoilt: measured.spoilt,
            failed: measured.errors(),
            unfinished: measured.unfinished,
        }
    }

    pub(super) fn of_tally(
        tally: &Tally,
        span: Span,
        [servers_cpu, client_cpu]: [Duration; 2],
        cores: Option<Shares>,
    ) -> Self {
        let seconds = span.duration.as_secs_f64();
        let done = count(tally.acknowledged);
        let failed = tally.failed.values().sum();
        Self {
            offered: count(tally.offered) / seconds,
            per_second: done / seconds,
            latency: Quantiles::from(&tally.latency),
            servers_cpu: servers_cpu.as_secs_f64() * 1e6 / done,
            client_cpu: client_cpu.as_secs_f64() * 1e6 / done,
            cores,
            spoilt: 0,
            failed,
            unfinished: tally.offered.saturating_sub(tally.latency.len() + failed),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of one measurement are far below 2^53"
)]
fn count(count: u64) -> f64 {
    count as f64
}

/// How fast a system was with a client's connections made so.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// The connections.
    pub spread: Spread,
    /// Requests a second.
    pub per_second: f64,
}

/// One round of one system.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Round {
    /// Closed loop, by requests in flight.
    pub levels: Vec<(usize, Sample)>,
    /// Closed loop, one request at a time.
    pub one_client: Sample,
    /// Open loop at half of this round's peak.
    pub half_peak: Sample,
}

impl Round {
    pub(super) fn new(levels: Vec<(usize, Sample)>, one_client: Sample, half_peak: Sample) -> Self {
        Self {
            levels,
            one_client,
            half_peak,
        }
    }

    /// The most that was done in a second, with how many in flight.
    #[must_use]
    pub fn peak(&self) -> Option<&(usize, Sample)> {
        let by_speed =
            |(_, a): &&(usize, Sample), (_, b): &&(usize, Sample)| a.per_second.total_cmp(&b.per_second);
        self.levels.iter().max_by(by_speed)
    }
}

/// Medians over the rounds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Requests a second at the peak.
    pub peak: f64,
    /// The lowest and the highest of the rounds' peaks.
    pub peaks: (f64, f64),
    /// Requests in flight at the peak of the round in the middle.
    pub peak_in_flight: usize,
    /// Median latency at the peak, milliseconds.
    pub peak_p50: f64,
    /// Median latency of one request at a time, milliseconds.
    pub one_p50: f64,
    /// Its 99th percentile.
    pub one_p99: f64,
    /// Requests a second at half of the peak, as done.
    pub half: f64,
    /// Median latency there, milliseconds.
    pub half_p50: f64,
    /// The 99th percentile there.
    pub half_p99: f64,
    /// Processor time per request at the peak of all servers together, microseconds.
    pub servers_cpu: f64,
    /// The same of the client.
    pub client_cpu: f64,
    /// The share of the processors' time that the host of the machine gave to others: at the peak, with one client, at half of the peak. None
    /// where the kernel does not say.
    pub stolen: [Option<f64>; 3],
    /// Requests that failed or whose end was not seen, in all rounds.
    pub lost: u64,
}

impl Summary {
    /// Of so many rounds; none of none.
    #[must_use]
    pub fn of(rounds: &[Round]) -> Option<Self> {
        let peaks: Vec<&(usize, Sample)> = rounds.iter().filter_map(Round::peak).collect();
        let at_peak = |of: &dyn Fn(&Sample) -> f64| median(peaks.iter().map(|(_, sample)| of(sample)));
        let over = |of: &dyn Fn(&Round) -> f64| median(rounds.iter().map(of));
        let speeds = || peaks.iter().map(|(_, sample)| sample.per_second);
        let peak = at_peak(&|sample| sample.per_second)?;
        let samples = rounds.iter().flat_map(|round| {
            let levels = round.levels.iter().map(|(_, sample)| sample);
            levels.chain([&round.one_client, &round.half_peak])
        });
        Some(Self {
            peak,
            peaks: (
                speeds().fold(f64::INFINITY, f64::min),
                speeds().fold(0.0, f64::max),
            ),
            peak_in_flight: peaks
                .iter()
                .min_by(|(_, a), (_, b)| {
                    let far = |sample: &Sample| (sample.per_second - peak).abs();
                    far(a).total_cmp(&far(b))
                })
                .map(|(in_flight, _)| *in_flight)?,
            peak_p50: at_peak(&|sample| sample.latency.p50)?,
            one_p50: over(&|round| round.one_client.latency.p50)?,
            one_p99: over(&|round| round.one_client.latency.p99)?,
            half: over(&|round| round.half_peak.per_second)?,
            half_p50: over(&|round| round.half_peak.latency.p50)?,
            half_p99: over(&|round| round.half_peak.latency.p99)?,
            servers_cpu: at_peak(&|sample| sample.servers_cpu)?,
            client_cpu: at_peak(&|sample| sample.client_cpu)?,
            stolen: [
                stolen(&mut peaks.iter().map(|(_, sample)| sample)),
                stolen(&mut rounds.iter().map(|round| &round.one_client)),
                stolen(&mut rounds.iter().map(|round| &round.half_peak)),
            ],
            lost: samples.map(|sample| sample.failed + sample.unfinished).sum(),
        })
    }
}

impl Summary {
    /// `stolen` in percent, for a table.
    pub(super) fn stolen_percent(&self) -> String {
        self.stolen.map(percent).join(" · ")
    }
}

fn stolen(samples: &mut dyn Iterator<Item = &Sample>) -> Option<f64> {
    median(samples.filter_map(|sample| Some(sample.cores?.stolen)))
}

/// What is known of one system.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SystemResult {
    /// Which.
    pub name: Name,
    /// How many servers.
    pub servers: u16,
    /// What one request is.
    pub request: &'static str,
    /// What the system does for it.
    pub does: &'static str,
    /// What it does not do, or has against it.
    pub does_not: &'static str,
    /// Why it was not measured, and how it can be.
    pub absent: Option<&'static str>,
    /// Its version.
    pub version: Option<String>,
    /// The client's connections, the fastest of those tried.
    pub spread: Option<Spread>,
    /// What was tried.
    pub tried: Vec<Tried>,
    /// In the order of time.
    pub rounds: Vec<Round>,
    /// Of the rounds.
    pub summary: Option<Summary>,
}

impl SystemResult {
    /// A line that tells what the system is.
    #[must_use]
    pub fn describe(&self) -> String {
        if let Some(absent) = self.absent {
            return format!("{}: {absent}", self.name);
        }
        let version = self.version.as_ref();
        format!(
            "{}{}, {} servers, each request {}: {}; {}",
            self.name,
            version.map_or_else(String::new, |version| format!(" {version}")),
            self.servers,
            self.request,
            self.does,
            self.does_not
        )
    }
}

/// Tagma against another system: medians of the ratios of each round.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ratios {
    /// The other one.
    pub other: Name,
    /// Tagma's peak divided by its.
    pub peak: f64,
    /// Tagma's median latency of one request at a time divided by its.
    pub one_p50: f64,
    /// Tagma's processor time per request, servers and client together, divided by its.
    pub cpu: f64,
}

impl Ratios {
    /// Round by round, as noise that lasts hits both of one round.
    #[must_use]
    pub fn of(tagma: &[Round], other: Name, others: &[Round]) -> Option<Self> {
        let ratio = |of: &dyn Fn(&Round) -> Option<f64>| {
            let pairs = tagma.iter().zip(others);
            median(pairs.filter_map(|(ours, theirs)| Some(of(ours)? / of(theirs)?)))
        };
        let at_peak = |of: fn(&Sample) -> f64| move |round: &Round| Some(of(&round.peak()?.1));
        Some(Self {
            other,
            peak: ratio(&at_peak(|sample| sample.per_second))?,
            one_p50: ratio(&|round| Some(round.one_client.latency.p50))?,
            cpu: ratio(&at_peak(|sample| sample.servers_cpu + sample.client_cpu))?,
        })
    }
}

/// What `results-versus.json` holds.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    schema: &'static str,
    pub(super) configuration: Configuration,
    pub(super) value_bytes: usize,
    accounts: u64,
    #[serde(flatten)]
    pub(super) quiet: Quiet,
    pub(super) seed: u64,
    pub(super) seconds: f64,
    pub(super) warm_up_seconds: f64,
    /// As asked for.
    pub systems: Vec<SystemResult>,
    /// Tagma against each of the others.
    pub ratios: Vec<Ratios>,
}

impl Results {
    pub(super) fn new(
        configuration: Configuration,
        setting: &Setting,
        duration: Duration,
        warm_up: Duration,
        systems: Vec<SystemResult>,
    ) -> Self {
        let tagma = systems.iter().find(|system| system.name == Name::Tagma);
        let others = systems.iter().filter(|system| system.name != Name::Tagma);
        let ratios = others
            .filter_map(|other| Ratios::of(&tagma?.rounds, other.name, &other.rounds))
            .collect();
        Self {
            schema: "bench-versus/v2",
            configuration,
            value_bytes: setting.value_bytes,
            accounts: setting.bench.accounts,
            quiet: setting.quiet,
            seed: setting.bench.seed,
            seconds: duration.as_secs_f64(),
            warm_up_seconds: warm_up.as_secs_f64(),
            systems,
            ratios,
        }
    }

    /// One row for each system.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_header([
            "system",
            "servers",
            "peak/s",
            "lowest–highest",
            "in flight",
            "p50 ms there",
            "one client p50",
            "p99",
            "half peak/s",
            "p50",
            "p99",
            "servers µs/op",
            "client µs/op",
            "stolen %",
            "lost",
        ]);
        for system in &self.systems {
            let mut row = vec![system.name.to_string(), system.servers.to_string()];
            match &system.summary {
                Some(of) => row.extend([
                    format!("{:.0}", of.peak),
                    format!("{:.0}–{:.0}", of.peaks.0, of.peaks.1),
                    of.peak_in_flight.to_string(),
                    format!("{:.1}", of.peak_p50),
                    format!("{:.2}", of.one_p50),
                    format!("{:.2}", of.one_p99),
                    format!("{:.0}", of.half),
                    format!("{:.2}", of.half_p50),
                    format!("{:.2}", of.half_p99),
                    format!("{:.1}", of.servers_cpu),
                    format!("{:.1}", of.client_cpu),
                    of.stolen_percent(),
                    of.lost.to_string(),
                ]),
                None => row.push("not measured".to_owned()),
            }
            table.add_row(row);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    /// What the table does not say.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for system in &self.systems {
            if let Some(absent) = system.absent {
                lines.push(format!("{}: {absent}", system.name));
            }
            if let Some(spread) = system.spread {
                let tried: Vec<String> = system
                    .tried
                    .iter()
                    .map(|tried| format!("{}: {:.0}/s", tried.spread, tried.per_second))
                    .collect();
                lines.push(format!(
                    "{}: its client has {spread}, the fastest of {}",
                    system.name,
                    tried.join(" · ")
                ));
            }
        }
        for ratios in &self.ratios {
            lines.push(format!(
                "tagma ÷ {}: peak {:.2} · median latency of one client {:.2} · processor time per request {:.2}",
                ratios.other, ratios.peak, ratios.one_p50, ratios.cpu
            ));
        }
        lines.push(
            "peak: the best closed loop of a round; medians over the rounds, ratios round by round. Latency counts from the intended \
             sending. µs/op: processor time of all servers together, and of this process with the load and the system's client in it, \
             at the peak. stolen: processor time that the host of this machine gave to others while the peak, one client and half of the \
             peak were measured; where it is more than one or two percent, latency is the host's."
                .to_owned(),
        );
        lines
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn sample(per_second: f64, p50: f64, cpu: f64) -> Sample {
        Sample {
            offered: per_second,
            per_second,
            latency: Quantiles {
                p50,
                ..Quantiles::default()
            },
            servers_cpu: cpu,
            client_cpu: 1.0,
            cores: None,
            spoilt: 0,
            failed: 0,
            unfinished: 1,
        }
    }

    fn round(levels: &[f64], one: f64, cpu: f64) -> Round {
        let levels = levels.iter().enumerate();
        Round::new(
            levels
                .map(|(level, speed)| (level, sample(*speed, 9.0, cpu)))
                .collect(),
            sample(1.0 / one, one, cpu),
            sample(1.0, 2.0, cpu),
        )
    }

    #[test]
    fn a_peak_is_the_best_level_and_medians_are_over_rounds() {
        let rounds = [
            round(&[10.0, 40.0, 20.0], 1.0, 3.0),
            round(&[90.0, 80.0], 2.0, 3.0),
            round(&[50.0], 4.0, 3.0),
        ];
        let summary = Summary::of(&rounds).unwrap();
        assert!((summary.peak - 50.0).abs() < 1e-9 && (summary.one_p50 - 2.0).abs() < 1e-9);
        assert_eq!((summary.peaks, summary.peak_in_flight), ((40.0, 90.0), 0));
        assert_eq!(summary.lost, 12);
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // The machine was twice as slow in the second round, for both.
        let ours = [round(&[100.0], 1.0, 3.0), round(&[50.0], 2.0, 3.0)];
        let theirs = [round(&[200.0], 0.5, 1.0), round(&[100.0], 1.0, 1.0)];
        let ratios = Ratios::of(&ours, Name::Etcd, &theirs).unwrap();
        assert!((ratios.peak - 0.5).abs() < 1e-9 && (ratios.one_p50 - 2.0).abs() < 1e-9);
        assert!((ratios.cpu - 2.0).abs() < 1e-9);
        assert_eq!(Ratios::of(&ours, Name::Etcd, &[]), None);
    }
}
