//! `bench compare`: the numbers of two results of the same benchmark side by side, and conditions on how they may differ.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

use super::report::number;
use crate::error::Error;

/// What `bench compare` can be asked for.
#[derive(Args)]
pub(super) struct CompareArgs {
    /// The results to compare with
    a: PathBuf,
    /// The results to judge
    b: PathBuf,
    /// Exit 9 if this holds for any number of that name: 'p99>+10%' and 'acknowledged<-5%' are of B against A, 'p99>25' and
    /// 'share_of_bound<0.5' of B alone
    #[arg(long, value_name = "CONDITION")]
    fail_if: Vec<Condition>,
}

/// Parts of results that are courses over time, which have no counterpart in another run.
const COURSES: [&str; 2] = ["series", "memory"];

/// Prints the numbers of both with their ratios.
///
/// # Errors
/// [`Error::Verdict`] if a condition holds; [`Error::Usage`] if the files are not results of the same benchmark, or a condition is
/// about a number that they do not have.
pub(super) fn run(args: &CompareArgs) -> Result<(), Error> {
    let (a, b) = (load(&args.a)?, load(&args.b)?);
    let schema = |results: &Value| results.get("schema").cloned();
    if schema(&a) != schema(&b) || schema(&a).is_none() {
        return Err(Error::usage(
            format!(
                "{} and {} are not results of the same benchmark",
                args.a.display(),
                args.b.display()
            ),
            "compare two files that the same `bench` command has written",
        ));
    }
    let (a, b) = (numbers(&a), numbers(&b));
    println!("{}", table(&a, &b));
    let alone = only_in_one(&a, &b);
    if let Some(example) = alone.first() {
        println!(
            "{} numbers are in one of them only, such as {example}",
            alone.len()
        );
    }
    let mut held = Vec::new();
    for condition in &args.fail_if {
        held.extend(condition.held(&a, &b)?);
    }
    if held.is_empty() {
        return Ok(());
    }
    Err(Error::Verdict(held.join("; ")))
}

fn load(path: &Path) -> Result<Value, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::io("read", path, source))?;
    serde_json::from_str(&text).map_err(|error| Error::io("read", path, error.into()))
}

/// All numbers of results by where they stand, `runs.500/s.latency.p99` for example, but for courses over time.
fn numbers(results: &Value) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    collect(results, String::new(), &mut found);
    found
}

fn collect(value: &Value, place: String, found: &mut BTreeMap<String, f64>) {
    let below = |part: &str| {
        if place.is_empty() {
            part.to_owned()
        } else {
            format!("{place}.{part}")
        }
    };
    match value {
        Value::Number(number) => {
            found.extend(number.as_f64().map(|number| (place, number)));
        }
        Value::Object(fields) => {
            for (name, field) in fields
                .iter()
                .filter(|(name, _)| !COURSES.contains(&name.as_str()))
            {
                collect(field, below(name), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, below(&name(index, item)), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// What stands for an item of a list: what it is of, where it says so.
fn name(index: usize, item: &Value) -> String {
    let of = |path: &str| item.pointer(path).map(ToString::to_string);
    if let Some(rate) = item.pointer("/pace/open/rate").and_then(Value::as_f64) {
        return format!("{rate}/s");
    }
    if let Some(in_flight) = of("/pace/closed/in_flight") {
        return format!("{in_flight} in flight");
    }
    if let Some(nodes) = of("/nodes") {
        return format!("n={nodes}");
    }
    // A fraction of a peak is the same load in both, though the rates differ.
    match of("/fraction") {
        Some(fraction) => format!("at {fraction}"),
        None => index.to_string(),
    }
}

fn table(a: &BTreeMap<String, f64>, b: &BTreeMap<String, f64>) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_MARKDOWN)
        .set_header(["number", "A", "B", "B ÷ A"]);
    for (name, of_a) in a {
        if let Some(of_b) = b.get(name) {
            let ratio = if *of_a == 0.0 {
                "-".to_owned()
            } else {
                format!("{:.3}", of_b / of_a)
            };
            table.add_row([name.clone(), number(*of_a), number(*of_b), ratio]);
        }
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn only_in_one<'a>(a: &'a BTreeMap<String, f64>, b: &'a BTreeMap<String, f64>) -> Vec<&'a String> {
    let missing = |one: &'a BTreeMap<String, f64>, other: &'a BTreeMap<String, f64>| {
        one.keys().filter(|name| !other.contains_key(*name))
    };
    missing(a, b).chain(missing(b, a)).collect()
}

/// What a number must not be.
#[derive(Clone, Debug, PartialEq)]
struct Condition {
    /// The last part of the number's place, or more of its parts.
    name: String,
    above: bool,
    limit: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    /// B itself.
    Value(f64),
    /// B against A, in percent of A.
    Percent(f64),
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no condition: expected for example 'p99>+10%' or 'share_of_bound<0.5'");
        let at = text.find(['<', '>']).ok_or_else(wrong)?;
        let (name, rest) = text.split_at(at);
        let above = rest.starts_with('>');
        let limit = rest.get(1..).ok_or_else(wrong)?.trim();
        let number = |text: &str| {
            let number: f64 = text.parse().map_err(|_| wrong())?;
            if number.is_finite() {
                Ok(number)
            } else {
                Err(wrong())
            }
        };
        let limit = match limit.strip_suffix('%') {
            Some(percent) => Limit::Percent(number(percent)?),
            None => Limit::Value(number(limit)?),
        };
        let name = name.trim().to_owned();
        if name.is_empty() {
            return Err(wrong());
        }
        Ok(Self { name, above, limit })
    }
}

impl Condition {
    /// The numbers for which it holds, in words.
    fn held(&self, a: &BTreeMap<String, f64>, b: &BTreeMap<String, f64>) -> Result<Vec<String>, Error> {
        let concerned: Vec<(&String, f64, f64)> = a
            .iter()
            .filter(|(place, _)| self.concerns(place))
            .filter_map(|(place, of_a)| Some((place, *of_a, *b.get(place)?)))
            .collect();
        if concerned.is_empty() {
            return Err(Error::usage(
                format!("no number of both results is called {:?}", self.name),
                "the first column of the table names them; the last part of a name is enough",
            ));
        }
        let holds = |of_a: f64, of_b: f64| {
            let limit = match self.limit {
                Limit::Value(value) => value,
                Limit::Percent(percent) => of_a * (1.0 + percent / 100.0),
            };
            if self.above { of_b > limit } else { of_b < limit }
        };
        let held = concerned
            .into_iter()
            .filter(|(_, of_a, of_b)| holds(*of_a, *of_b));
        Ok(held
            .map(|(place, of_a, of_b)| format!("{place} is {}, in A it was {}", number(of_b), number(of_a)))
            .collect())
    }

    fn concerns(&self, place: &str) -> bool {
        place
            .strip_suffix(&self.name)
            .is_some_and(|before| before.is_empty() || before.ends_with('.'))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use serde_json::json;

    fn results(p99: f64, share: f64) -> BTreeMap<String, f64> {
        numbers(&json!({
            "schema": "bench-load/v2",
            "share_of_bound": share,
            "runs": [
                { "pace": { "open": { "rate": 500.0 } }, "latency": { "p50": 1.0, "p99": p99 }, "series": [{ "p99": 1e9 }] },
                { "pace": { "closed": { "in_flight": 8 } }, "latency": { "p99": 2.0 } },
            ],
        }))
    }

    fn held(condition: &str, a: &BTreeMap<String, f64>, b: &BTreeMap<String, f64>) -> usize {
        let condition: Condition = condition.parse().unwrap();
        condition.held(a, b).unwrap().len()
    }

    #[test]
    fn numbers_are_named_by_what_they_are_of_and_courses_are_left_out() {
        let names: Vec<String> = results(4.0, 0.6).into_keys().collect();
        assert_eq!(
            names,
            [
                "runs.500/s.latency.p50",
                "runs.500/s.latency.p99",
                "runs.500/s.pace.open.rate",
                "runs.8 in flight.latency.p99",
                "runs.8 in flight.pace.closed.in_flight",
                "share_of_bound",
            ]
        );
    }

    #[test]
    fn percentages_are_of_a_and_values_of_b() {
        let (a, b) = (results(10.0, 0.6), results(11.5, 0.5));
        assert_eq!(held("p99>+10%", &a, &b), 1);
        assert_eq!(held("p99>+20%", &a, &b), 0);
        assert_eq!(held("p99 > 1", &a, &b), 2);
        assert_eq!(held("8 in flight.latency.p99>1", &a, &b), 1);
        assert_eq!(held("share_of_bound<-5%", &a, &b), 1);
        assert_eq!(held("share_of_bound<0.5", &a, &b), 0);
    }

    #[test]
    fn a_condition_about_nothing_is_an_error() {
        let a = results(1.0, 1.0);
        let condition: Condition = "p98>1".parse().unwrap();
        assert_eq!(condition.held(&a, &a).unwrap_err().exit_code(), 2);
        // Part of a word is not its name.
        let condition: Condition = "99>1".parse().unwrap();
        assert!(condition.held(&a, &a).is_err());
        for text in ["p99", ">1", "p99>x", "p99>", "p99>NaN"] {
            assert!(text.parse::<Condition>().is_err(), "{text}");
        }
    }
}
