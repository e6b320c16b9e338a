//! What was counted, as a page with plots.

use super::counts::{Place, per};
use super::tables::{sizes, standby};
use super::{Results, Row, model};
use crate::bench::report::{Axis, Grid, Plot, Report, Section, Series, Stroke};

/// The page.
pub(super) fn report(results: &Results) -> Report {
    let mut report = Report::new(
        "Messages per batch",
        "How many messages n replicas send each other until a batch of transfers is final and executed by all of them, counted by the \
         replicas' own counters, against what the protocol says: n − 1 PRE-PREPAREs, (n − 1)² PREPAREs and n(n − 1) COMMITs, \
         together 2n(n − 1). That is the protocol of the paper, in which everybody takes part in everything; f of the backups stand \
         by unless they are told not to, and were told so here but where it says otherwise. Messages sent again, checkpoints, STATUS \
         and what passes between clients and replicas are counted apart.",
        vec![
            format!(
                "tagma {}, {} cores, every write synced",
                results.version, results.cores
            ),
            format!(
                "on processes: n = {}; in the simulator: n = {}",
                sizes(&places(&results.runs, Place::Processes)),
                sizes(&places(&results.runs, Place::Simulator))
            ),
            format!(
                "timers raised, so that no replica is suspected for want of cores: {}",
                results.timers
            ),
        ],
    );
    report.section(by_size(&results.runs).prose(standby(&results.runs, results.standby.as_ref())));
    if !results.batching.is_empty() {
        report.section(by_batch(results));
    }
    report
}

fn places(runs: &[Row], place: Place) -> Vec<u16> {
    let there = runs.iter().filter(|row| row.counts.place == place);
    there.map(|row| row.counts.nodes).collect()
}

fn series(runs: &[Row], value: impl Fn(&Row) -> f64) -> Vec<Series> {
    let of = |place: Place, name: &str| {
        let there = runs.iter().filter(|row| row.counts.place == place);
        let points: Vec<(f64, f64)> = there
            .map(|row| (f64::from(row.counts.nodes), value(row)))
            .collect();
        (!points.is_empty()).then(|| Series::new(name, Stroke::Marked, points))
    };
    let both = [
        of(Place::Processes, "real processes"),
        of(Place::Simulator, "simulated"),
    ];
    both.into_iter().flatten().collect()
}

fn by_size(runs: &[Row]) -> Section {
    let modelled = runs
        .iter()
        .map(|row| (f64::from(row.counts.nodes), per(model(row.counts.nodes), 1)));
    let mut messages = series(runs, |row| row.counts.per_batch);
    messages.push(Series::new("model 2n(n − 1)", Stroke::Dashed, modelled.collect()));
    let mut grid = Grid::new([
        "n",
        "on",
        "batches",
        "PRE-PREPARE",
        "PREPARE",
        "COMMIT",
        "messages/batch",
        "2n(n − 1)",
        "exponent",
        "of 2n(n − 1)",
        "bytes/batch",
        "messages verified/batch",
        "requests verified/batch",
        "syncs/batch",
        "sent again",
        "checkpoints",
        "STATUS",
        "other",
        "view changes",
    ]);
    for row in runs {
        let counts = &row.counts;
        let optional = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
        };
        let work = |count: fn(&super::Work) -> u64| {
            let per_batch = counts.work.map(|work| per(count(&work), counts.batches));
            optional(per_batch, 1)
        };
        grid.row([
            counts.nodes.to_string(),
            match counts.place {
                Place::Processes => "processes".to_owned(),
                Place::Simulator => "simulator".to_owned(),
            },
            counts.batches.to_string(),
            counts.pre_prepares.to_string(),
            counts.prepares.to_string(),
            counts.commits.to_string(),
            format!("{:.2}", counts.per_batch),
            counts.model.to_string(),
            optional(row.exponent, 3),
            optional(row.model_exponent, 3),
            format!("{:.0}", counts.bytes_per_batch),
            work(|work| work.peer_verifications),
            work(|work| work.client_verifications),
            work(|work| work.syncs),
            counts.resends.messages.to_string(),
            counts.checkpoints.messages.to_string(),
            counts.status.messages.to_string(),
            counts.other.messages.to_string(),
            counts.view_changes.to_string(),
        ]);
    }
    let verdict = if runs.iter().all(|row| row.as_modelled) {
        "Every phase of every size was exactly as modelled."
    } else {
        "Not every size was as modelled: compare the columns, and look at the view changes."
    };
    Section::new("By size of the network")
        .prose(
            "Each batch held one transfer, sent when the one before it was done. The exponent is the slope of the plot between a size and \
             the next smaller one, d log(messages) ÷ d log(n). It is above 2, because of the n − 1 in the model, and comes down to 2 as n \
             grows: twice as many replicas cost four times as many messages.",
        )
        .plot(Plot {
            title: "Messages per batch against the number of replicas".to_owned(),
            see: "Both axes are logarithmic. The marks lie on the dashed line: what was counted is what the protocol says.".to_owned(),
            x: Axis::logarithmic("replicas, n"),
            y: Axis::logarithmic("messages between replicas per batch"),
            series: messages,
        })
        .prose(verdict)
        .grid(grid)
        .plot(Plot {
            title: "Bytes per batch against the number of replicas".to_owned(),
            see: "Almost all are votes, which have the same length whatever n is: bytes grow as messages do.".to_owned(),
            x: Axis::logarithmic("replicas, n"),
            y: Axis::logarithmic("bytes of these messages per batch"),
            series: series(runs, |row| row.counts.bytes_per_batch),
        })
}

fn by_batch(results: &Results) -> Section {
    let mut grid = Grid::new([
        "most in a batch",
        "transfers",
        "batches",
        "mean in a batch",
        "messages/transfer",
        "2n(n − 1) ÷ mean",
        "bytes/transfer",
        "verifications/transfer",
        "syncs/transfer",
    ]);
    for size in &results.batching {
        grid.row(size.cells());
    }
    let points = |value: fn(&super::Batching) -> f64| {
        let points = results.batching.iter().map(|size| (size.mean, value(size)));
        points.collect::<Vec<_>>()
    };
    let nodes = results
        .batching_nodes
        .map_or_else(String::new, |nodes| format!(", n = {nodes}"));
    Section::new(format!("What batching does to the cost of one transfer{nodes}"))
        .prose(
            "Many transfers were submitted at once to networks that differ in the most that a batch may hold. Batches are not always full: \
             what counts is how many transfers they held on average. Messages and syncs are shared by all transfers of a batch; each \
             transfer's own signature and bytes are not, so these come down to a floor.",
        )
        .plot(Plot {
            title: "Messages per transfer against transfers per batch".to_owned(),
            see: "Both axes are logarithmic: ten times as many transfers in a batch make each ten times cheaper in messages.".to_owned(),
            x: Axis::logarithmic("transfers in a batch, on average"),
            y: Axis::logarithmic("per transfer, all replicas together"),
            series: vec![
                Series::new("messages", Stroke::Marked, points(|size| size.messages_per_transfer)),
                Series::new("2n(n − 1) ÷ mean", Stroke::Dashed, points(|size| size.model_per_transfer)),
                Series::new("verifications", Stroke::Marked, points(|size| size.verifications_per_transfer)),
                Series::new("syncs", Stroke::Marked, points(|size| size.syncs_per_transfer)),
            ],
        })
        .grid(grid)
}
