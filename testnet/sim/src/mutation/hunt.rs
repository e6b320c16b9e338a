//! Hunting for planted bugs, and the table of what came of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tagma_crypto::mutants::{Mutant, plant};

use crate::hunts;
use crate::run::run;

/// How many points "what is most often got wrong" of the protocol's text has: each must have a planted bug.
const RULES: u32 = 13;
/// The fewest planted bugs that will do.
const FEWEST: usize = 25;

/// A run that saw a planted bug.
#[derive(Clone, Debug)]
pub struct Sight {
    /// How many runs it took.
    pub runs: u64,
    /// The invariant that did not hold.
    pub invariant: String,
    /// What was seen, and when.
    pub failure: String,
}

/// What became of one planted bug.
#[derive(Clone, Debug)]
pub struct Catch {
    /// The bug.
    pub mutant: Mutant,
    /// How it was seen; none if it survived all runs.
    pub seen: Option<Sight>,
    /// How long the runs took.
    pub took: Duration,
}

/// Plants one bug and runs plans from seed `first` on until one fails, at most `runs`.
#[must_use]
pub fn hunt(mutant: Mutant, first: u64, runs: u64) -> Catch {
    let begun = Instant::now();
    plant(Some(mutant));
    let seen = (first..first.saturating_add(runs)).find_map(|seed| {
        let failure = run(&hunts::plan(seed), false).failure?;
        // "12.345 s: invariant: what was seen"
        let invariant = failure.split(": ").nth(1).unwrap_or_default().to_owned();
        Some(Sight {
            runs: seed - first + 1,
            invariant,
            failure,
        })
    });
    plant(None);
    Catch {
        mutant,
        seen,
        took: begun.elapsed(),
    }
}

/// Hunts for all of `mutants` on `jobs` threads; `told` hears of each as soon as it is done.
pub fn hunt_all(
    mutants: &[Mutant],
    first: u64,
    runs: u64,
    jobs: usize,
    told: impl Fn(&Catch) + Sync,
) -> Vec<Catch> {
    let next = AtomicUsize::new(0);
    let caught = Mutex::new(BTreeMap::new());
    // A mutant that panics is a failed run like any other, and told in the table.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let catch = hunt(*mutant, first, runs);
                    told(&catch);
                    if let Ok(mut caught) = caught.lock() {
                        caught.insert(*mutant, catch);
                    }
                }
            });
        }
    });
    std::panic::set_hook(hook);
    caught.into_inner().unwrap_or_default().into_values().collect()
}

/// The points of "what is most often got wrong" that no planted bug is about.
#[must_use]
pub fn rules_without() -> Vec<String> {
    let names = |mutant: &Mutant, rule: &str| mutant.rule().split(", ").any(|named| named == rule);
    let all = (1..=RULES).map(|rule| format!("9.{rule}"));
    all.filter(|rule| !Mutant::ALL.iter().any(|mutant| names(mutant, rule)))
        .collect()
}

/// What is wrong with the list of planted bugs itself, if anything is.
#[must_use]
pub fn gaps() -> Option<String> {
    let (without, count) = (rules_without(), Mutant::ALL.len());
    if count < FEWEST {
        return Some(format!(
            "only {count} planted bugs, at least {FEWEST} there must be"
        ));
    }
    (!without.is_empty()).then(|| format!("rules without a planted bug: {}", without.join(", ")))
}

/// The table as it stands in the documentation.
#[must_use]
pub fn table(caught: &[Catch], first: u64, runs: u64) -> String {
    let mut text = format!(
        "Every planted bug, in a build that has them (feature `mutants`), was hunted with the plans of [`hunts`](crate::hunts) \
         from seed {first} on, at most {runs} of them, until a run failed. Without a planted bug none of these plans fails.\n\n\
         `make mutants WRITE=1` measures it anew and writes this table; `make mutants` fails if a bug survives, or if a point \
         of section 9 of the protocol (\"9.k\") has none.\n\n\
         | planted bug | what is broken | rules, faults | runs | seen by |\n| --- | --- | --- | ---: | --- |\n"
    );
    for catch in caught {
        let (runs, seen) = match &catch.seen {
            Some(sight) => (sight.runs.to_string(), sight.invariant.as_str()),
            None => ("—".to_owned(), "**nobody**"),
        };
        let (name, what, rule) = (catch.mutant, catch.mutant.what(), catch.mutant.rule());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| `{name:?}` | {what} | {rule} | {runs} | {seen} |");
    }
    let survivors = caught.iter().filter(|catch| catch.seen.is_none()).count();
    let _ = writeln!(text, "\n{} planted, {survivors} survived.", caught.len());
    text
}

#[cfg(test)]
mod tests {
    use super::gaps;

    #[test]
    fn every_point_of_what_is_most_often_got_wrong_has_a_planted_bug() {
        assert_eq!(gaps(), None);
    }
}
