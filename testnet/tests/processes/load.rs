//! `bench load`: a short load on a real network gives numbers that fit together.

use std::process::Command;
use std::time::Duration;

use tagma_testnet::bench::load::{Arrival, Bed, Bench, Pace, Span};
use tagma_testnet::bench::quiet::Quiet;

use crate::support::{programs, runtime, testnet_program, turn};

#[test]
fn a_short_load_is_acknowledged_counted_and_timed_from_when_it_was_due() {
    let _turn = turn();
    let bench = Bench {
        nodes: 4,
        crashed: 0,
        accounts: 20,
        lookahead: 32,
        seed: 1,
        quiet: Quiet::default(),
    };
    let span = Span {
        warm_up: Duration::from_millis(500),
        duration: Duration::from_secs(2),
    };
    let open = Pace::Open {
        rate: 100.0,
        arrival: Arrival::Uniform,
    };
    let (open, closed) = runtime()
        .block_on(async {
            let mut bed = Bed::start(&bench, programs()).await?;
            let open = bed.measure(open, span).await?;
            let closed = bed.measure(Pace::Closed { in_flight: 8 }, span).await?;
            bed.stop()?;
            Ok::<_, tagma_testnet::Error>((open, closed))
        })
        .unwrap();
    for run in [&open, &closed] {
        assert_eq!((run.errors(), run.unfinished), (0, 0), "{run:?}");
        assert!(run.acknowledged > 0.0 && run.batch >= 1.0, "{run:?}");
        let latency = run.latency;
        assert!(
            0.0 < latency.p50 && latency.p50 <= latency.p99 && latency.p99 <= latency.max,
            "{run:?}"
        );
        assert_eq!(run.replica_cpu.len(), 4);
        assert!(
            run.replicas_cpu() > 0.0 && run.peak_rss.iter().all(|rss| *rss > 0),
            "{run:?}"
        );
        let sent: u64 = run.series.iter().map(|second| second.sent).sum();
        let acknowledged: u64 = run.series.iter().map(|second| second.acknowledged).sum();
        assert_eq!(sent, acknowledged);
        assert!(run.memory.len() >= 2, "{run:?}");
    }
    // 2 s at 100 a second, each due 10 ms after the one before.
    assert!((open.offered - 100.0).abs() < 1.0, "{open:?}");
}

#[test]
fn a_program_that_is_to_give_way_to_the_load_does() {
    let nice = |told: &[&str]| -> i32 {
        let output = Command::new(testnet_program())
            .arg("hold")
            .args(told)
            .args(["--", "nice"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim().parse().unwrap()
    };
    assert_eq!(nice(&["--nice", "1"]), nice(&[]) + 1);
}
