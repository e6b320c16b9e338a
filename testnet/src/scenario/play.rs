//! The course of a scenario, the same wherever it takes place.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::action::{Action, names_primary, with_primary};
use super::file::Scenario;
use super::verdict::Verdict;
use crate::error::Error;

/// Between two looks at something that is waited for.
const POLL: Duration = Duration::from_millis(20);

/// Where a scenario takes place: real processes, or the simulator.
pub trait Field {
    /// Lets time pass.
    ///
    /// # Errors
    /// If something happened meanwhile that must not.
    fn pass(&mut self, time: Duration) -> Result<(), Error>;

    /// The time since the beginning.
    fn now(&self) -> Duration;

    /// How many requests clients were told the outcome of.
    fn acknowledged(&self) -> u64;

    /// The primary of the highest view that an honest replica is in.
    ///
    /// # Errors
    /// If nobody knows.
    fn primary(&mut self) -> Result<u16, Error>;

    /// Does something. Demands are none of its business.
    ///
    /// # Errors
    /// If it cannot be done.
    fn act(&mut self, action: &Action) -> Result<(), Error>;

    /// A number that is the same if everything was the same so far, where that can be said at all.
    fn digest(&self) -> Option<String>;

    /// Has clients begin nothing new, waits until all they asked for is done everywhere, and tells what there is then.
    ///
    /// # Errors
    /// If nobody can tell.
    fn end(self: Box<Self>) -> Result<Facts, Error>;
}

/// What there is in the end.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What two honest replicas, or an honest replica and a client, were told differently; none is as it must be.
    pub unsafe_because: Option<String>,
    /// What is not done everywhere where it must be; none is as it must be.
    pub missing: Option<String>,
    /// In a word or two how far things came.
    pub reached: String,
    /// The highest view of an honest replica.
    pub view: u64,
    /// Of whom an honest replica can prove which faults.
    pub blamed: BTreeMap<u16, BTreeSet<String>>,
    /// Replicas that follow and have no vote.
    pub learners: BTreeSet<u16>,
}

/// A step as it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// When.
    pub at: Duration,
    /// What, with numbers for all replicas.
    pub words: String,
    /// The field's digest just before.
    pub digest: Option<String>,
}

/// What came of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// All claims.
    pub verdict: Verdict,
    /// What happened when.
    pub happened: Vec<Happened>,
    /// How long it took there.
    pub took: Duration,
    /// The field's digest after the last step.
    pub digest: Option<String>,
}

/// Plays a scenario to its end, and tells each step.
///
/// # Errors
/// If a step cannot be done. What does not hold is in the verdict.
pub fn play(
    scenario: &Scenario,
    mut field: Box<dyn Field>,
    mut tell: impl FnMut(&Happened),
) -> Result<Played, Error> {
    let mut verdict = Verdict::default();
    let mut happened = Vec::new();
    let mut liars = BTreeSet::new();
    let mut broken = None;
    for (number, step) in (1..).zip(&scenario.steps) {
        if let Err(error) = field.pass(step.after) {
            broken = Some(error);
            break;
        }
        let words = if names_primary(&step.words) {
            with_primary(&step.words, field.primary()?)
        } else {
            step.words.clone()
        };
        let action =
            Action::parse(&words, scenario.nodes).map_err(|why| Error::usage(why, "mend the scenario"))?;
        let now = Happened {
            at: field.now(),
            words,
            digest: field.digest(),
        };
        tell(&now);
        happened.push(now);
        if let Action::Lie { node, .. } = &action {
            liars.insert(*node);
        }
        let done = match action {
            Action::ExpectProgress(within) => {
                let what = format!("step {number}: progress");
                progress(field.as_mut(), within).map(|(holds, seen)| verdict.add(what, holds, seen))
            }
            Action::ExpectNoProgress(lasting) => {
                let what = format!("step {number}: no progress");
                no_progress(field.as_mut(), lasting).map(|(holds, seen)| verdict.add(what, holds, seen))
            }
            action => field.act(&action),
        };
        match done {
            Err(Error::Verdict(why)) => {
                broken = Some(Error::Verdict(why));
                break;
            }
            other => other?,
        }
    }
    let (took, digest) = (field.now(), field.digest());
    match broken {
        Some(Error::Verdict(why)) => verdict.add("safety", false, why),
        Some(error) => return Err(error),
        None => conclude(scenario, &field.end()?, &liars, &mut verdict),
    }
    Ok(Played {
        verdict,
        happened,
        took,
        digest,
    })
}

fn progress(field: &mut dyn Field, within: Duration) -> Result<(bool, String), Error> {
    let (before, began) = (field.acknowledged(), field.now());
    loop {
        field.pass(POLL)?;
        let waited = field.now().saturating_sub(began);
        if field.acknowledged() > before {
            return Ok((true, format!("after {:.1} s", waited.as_secs_f64())));
        }
        if waited >= within {
            return Ok((
                false,
                format!("nothing acknowledged for {:.1} s", waited.as_secs_f64()),
            ));
        }
    }
}

fn no_progress(field: &mut dyn Field, lasting: Duration) -> Result<(bool, String), Error> {
    let before = field.acknowledged();
    field.pass(lasting)?;
    let more = field.acknowledged().saturating_sub(before);
    Ok((
        more == 0,
        format!("{more} acknowledged within {:.1} s", lasting.as_secs_f64()),
    ))
}

/// The claims about the end.
fn conclude(scenario: &Scenario, facts: &Facts, liars: &BTreeSet<u16>, verdict: &mut Verdict) {
    let or = |wrong: &Option<String>, good: &str| wrong.clone().unwrap_or_else(|| good.to_owned());
    verdict.add(
        "safety",
        facts.unsafe_because.is_none(),
        or(
            &facts.unsafe_because,
            "one chain, nothing acknowledged is lost, all money is there",
        ),
    );
    verdict.add(
        "in the end all that was asked for is done everywhere",
        facts.missing.is_none(),
        or(&facts.missing, &facts.reached),
    );
    let expect = &scenario.expect;
    if let Some(most) = expect.views_at_most {
        verdict.add(
            format!("views at most {most}"),
            facts.view <= most,
            format!("view {}", facts.view),
        );
    }
    if let Some(least) = expect.views_at_least {
        verdict.add(
            format!("views at least {least}"),
            facts.view >= least,
            format!("view {}", facts.view),
        );
    }
    let wronged: Vec<String> = facts
        .blamed
        .iter()
        .filter(|(node, _)| !liars.contains(node))
        .map(|(node, faults)| format!("n{node} of {faults:?}"))
        .collect();
    let blamed: Vec<String> = facts.blamed.keys().map(|node| format!("n{node}")).collect();
    let seen = match (wronged.is_empty(), blamed.is_empty()) {
        (false, _) => wronged.join(", "),
        (true, true) => "nobody is".to_owned(),
        (true, false) => blamed.join(", "),
    };
    verdict.add("no honest replica is blamed", wronged.is_empty(), seen);
    for node in &expect.blamed {
        let faults = facts.blamed.get(node);
        let seen = faults.map_or_else(
            || "nobody can prove anything".to_owned(),
            |faults| faults.iter().cloned().collect::<Vec<_>>().join(", "),
        );
        verdict.add(format!("n{node} is blamed"), faults.is_some(), seen);
    }
    if !expect.learners.is_empty() || !facts.learners.is_empty() {
        let names = |nodes: &BTreeSet<u16>| {
            let names: Vec<String> = nodes.iter().map(|node| format!("n{node}")).collect();
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        };
        verdict.add(
            format!("without a vote: {}", names(&expect.learners)),
            facts.learners == expect.learners,
            names(&facts.learners),
        );
    }
}
