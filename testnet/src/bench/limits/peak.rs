//! What a network really carries, and how long it takes at fractions of that.

use std::time::Duration;

use serde::Serialize;

use super::machine::{Material, SignatureCosts};
use crate::bench::load::{Arrival, Bed, Bench, Measured, Pace, Span};
use crate::bench::median;
use crate::bench::quiet::Quiet;
use crate::bench::usage::Shares;
use crate::error::Error;
use crate::plan;
use crate::process::Programs;

/// Outstanding transfers of the closed loops whose best is the peak.
const CLOSED: [usize; 3] = [512, 2048, 8192];
/// Fractions of the peak at which latency is measured in an open loop.
const FRACTIONS: [f64; 6] = [0.1, 0.25, 0.5, 0.7, 0.85, 1.0];

/// So often a network without crashes and one with are loaded in turns.
const TURNS: usize = 3;

/// A load at a fraction of the peak.
#[derive(Clone, Debug, Serialize)]
pub struct AtFraction {
    /// Of the peak.
    pub fraction: f64,
    /// What it showed.
    pub run: Measured,
}

/// The same closed loop on a network without crashes and, right after it, on one with: a machine that others share changes its
/// speed within a minute, so that only what is measured side by side can be compared.
#[derive(Clone, Debug, Serialize)]
pub struct Turn {
    /// Every replica runs.
    pub whole: Measured,
    /// Some were killed before.
    pub crashed: Measured,
}

/// What a network with crashed replicas carries, compared with one without crashes.
#[derive(Clone, Debug, Serialize)]
pub struct Crashed {
    /// How many were killed before the load.
    pub crashed: u16,
    /// Transfers a second with crashes ÷ without: the median of the turns.
    pub ratio: f64,
    /// The turns, one after the other.
    pub turns: Vec<Turn>,
}

impl Crashed {
    /// Starts both networks and loads them in turns, at the pace at which the one without crashes carried the most.
    async fn measure(
        bench: &Bench,
        crashed: u16,
        pace: Pace,
        programs: &Programs,
        span: Span,
    ) -> Result<Self, Error> {
        let with = |crashed| Bench {
            crashed,
            quiet: Quiet::default(),
            ..bench.clone()
        };
        let mut whole = Bed::start(&with(0), programs.giving_way()).await?;
        let mut broken = Bed::start(&with(crashed), programs.giving_way()).await?;
        let mut turns = Vec::new();
        for turn in 1..=TURNS {
            eprintln!(
                "n = {}, without and with {crashed} crashed, {turn} of {TURNS} …",
                bench.nodes
            );
            // Both again if one was spoilt: only what is measured side by side can be compared.
            let side_by_side = async || {
                Ok(Turn {
                    whole: whole.measure(pace, span).await?,
                    crashed: broken.measure(pace, span).await?,
                })
            };
            let (mut turn, spoilt) = bench.quiet.measure(Turn::cores, side_by_side).await?;
            turn.whole.views += spoilt.iter().map(|turn| turn.whole.views).sum::<u64>();
            turns.push(turn);
        }
        whole.stop()?;
        broken.stop()?;
        Ok(Self {
            crashed,
            ratio: median(turns.iter().map(Turn::ratio)).unwrap_or_default(),
            turns,
        })
    }
}

impl Turn {
    /// How the processors' time was divided in the one of which the host took more.
    fn cores(&self) -> Option<Shares> {
        let both = [self.whole.cores, self.crashed.cores].into_iter().flatten();
        both.max_by(|one, other| one.stolen.total_cmp(&other.stolen))
    }

    /// Transfers a second with crashes ÷ without.
    pub fn ratio(&self) -> f64 {
        self.crashed.acknowledged / self.whole.acknowledged
    }

    pub(super) fn in_words(&self) -> String {
        format!(
            "{:.0} with and {:.0} without",
            self.crashed.acknowledged, self.whole.acknowledged
        )
    }
}

/// What a network of one size showed.
#[derive(Clone, Debug, Serialize)]
pub struct Carried {
    /// N.
    pub nodes: u16,
    /// What signatures cost before the closed loops and after them: the speed of a machine that others share changes.
    pub costs: [SignatureCosts; 2],
    /// Transfers a second that this machine could carry if signatures were all that costs and each replica verified each transfer, the mean
    /// of before and after.
    pub bound: f64,
    /// f + 1: so many replicas verify a transfer while f stand by and the other backups share out what is to be verified.
    pub verifiers: u16,
    /// `bound` if only these verify it.
    pub bound_of_verifiers: f64,
    /// The same with what signatures cost while every core is busy.
    pub bound_on_all_cores: f64,
    /// The most transfers a second that were acknowledged, in a closed or an open loop.
    pub peak: f64,
    /// `peak` ÷ `bound`.
    pub share_of_bound: f64,
    /// One client with one transfer outstanding.
    pub alone: Measured,
    /// Closed loops, with more and more outstanding.
    pub closed: Vec<Measured>,
    /// Open loops at fractions of the best closed loop.
    pub open: Vec<AtFraction>,
    /// The same size with crashed replicas.
    pub crashed: Option<Crashed>,
}

impl Carried {
    /// Finds the peak of a network, then loads it with fractions of that.
    ///
    /// # Errors
    /// As [`Bed::start`] and [`Bed::measure`].
    pub async fn measure(
        bench: &Bench,
        crashed: u16,
        programs: &Programs,
        span: Span,
        machine: (&Material, usize, Duration),
    ) -> Result<Self, Error> {
        let (material, cores, each) = machine;
        let healthy = Bench {
            crashed: 0,
            ..bench.clone()
        };
        let mut bed = Bed::start(&healthy, programs.giving_way()).await?;
        eprintln!("n = {} …", bench.nodes);
        // Nothing else is done meanwhile: the replicas have no request.
        let before = material.costs(each);
        let closed = closed_loops(&mut bed, span).await?;
        let costs = [before, material.costs(each)];
        bed.stop()?;
        let best = busiest(&closed).map_or(0.0, |run| run.acknowledged);
        let mut bed = Bed::start(&healthy, programs.clone()).await?;
        eprintln!("n = {}: one client …", bench.nodes);
        let alone = bed.measure(Pace::Closed { in_flight: 1 }, span).await?;
        let mut open = Vec::new();
        for fraction in FRACTIONS {
            eprintln!("n = {}: open loop at {:.0}/s …", bench.nodes, fraction * best);
            let pace = Pace::Open {
                rate: fraction * best,
                arrival: Arrival::Poisson,
            };
            open.push(AtFraction {
                fraction,
                run: bed.measure(pace, span).await?,
            });
        }
        bed.stop()?;
        // A closed loop that is too short or too long may carry less than the open loop at its rate.
        let peak = open.iter().map(|at| at.run.acknowledged).fold(best, f64::max);
        let crashed = match busiest(&closed) {
            Some(best) if crashed > 0 => {
                Some(Crashed::measure(bench, crashed, best.pace, programs, span).await?)
            }
            _ => None,
        };
        let mean = |bound: fn(&SignatureCosts, usize, u16) -> f64, verifying: u16| {
            let [before, after] = costs.map(|costs| bound(&costs, cores, verifying));
            f64::midpoint(before, after)
        };
        let bound = mean(SignatureCosts::bound, bench.nodes);
        let verifiers = plan::faults(bench.nodes) + 1;
        Ok(Self {
            nodes: bench.nodes,
            costs,
            bound,
            verifiers,
            bound_of_verifiers: mean(SignatureCosts::bound, verifiers),
            bound_on_all_cores: mean(SignatureCosts::bound_on_all_cores, bench.nodes),
            peak,
            share_of_bound: peak / bound,
            alone,
            closed,
            open,
            crashed,
        })
    }

    /// The load at this fraction of the peak.
    #[must_use]
    pub fn at(&self, fraction: f64) -> Option<&Measured> {
        let at = self
            .open
            .iter()
            .find(|at| (at.fraction - fraction).abs() < 1e-9)?;
        Some(&at.run)
    }

    /// The closed loop that carried the most.
    #[must_use]
    pub fn busiest(&self) -> Option<&Measured> {
        busiest(&self.closed)
    }

    /// Views that replicas entered in all loads without crashes, in which there is no reason for any.
    #[must_use]
    pub fn views(&self) -> u64 {
        let open = self.open.iter().map(|at| &at.run);
        let turns = self.crashed.iter().flat_map(|crashed| &crashed.turns);
        let all = self.closed.iter().chain(open).chain([&self.alone]);
        let all = all.chain(turns.map(|turn| &turn.whole));
        all.map(|run| run.views).sum()
    }
}

async fn closed_loops(bed: &mut Bed, span: Span) -> Result<Vec<Measured>, Error> {
    let mut runs = Vec::new();
    for in_flight in CLOSED {
        eprintln!("closed loop, {in_flight} outstanding …");
        runs.push(bed.measure(Pace::Closed { in_flight }, span).await?);
    }
    Ok(runs)
}

fn busiest(runs: &[Measured]) -> Option<&Measured> {
    runs.iter()
        .max_by(|one, other| one.acknowledged.total_cmp(&other.acknowledged))
}

/// How long all loads of one size take without what they have to wait for, to be said beforehand.
pub(super) fn expected(span: Span, crashed: u16) -> Duration {
    let turns = if crashed > 0 { 2 * TURNS } else { 0 };
    span.end() * u32::try_from(1 + CLOSED.len() + FRACTIONS.len() + turns).unwrap_or(u32::MAX)
}
