//! The table of what covers which fault names nothing that does not exist, and leaves no row out.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed expectation is a failed test"
)]

use std::fs;
use std::path::Path;

const TABLE: &str = include_str!("../src/coverage.md");
/// How many rows each group of the fault list has.
const GROUPS: [(&str, usize); 9] = [
    ("PS", 12),
    ("VC", 21),
    ("CP", 11),
    ("CD", 11),
    ("NW", 7),
    ("BP", 6),
    ("BB", 6),
    ("BC", 6),
    ("TR", 7),
];

/// The folder of the workspace, seen from that of the package, where cargo runs its tests.
const ROOT: &str = "../..";

/// All Rust files under a directory, as one text.
fn sources(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    text
}

/// The cells of every row.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let lines = TABLE.lines().filter(|line| line.starts_with("| ")).skip(2);
    lines.map(|line| line.split('|').map(str::trim).collect())
}

#[test]
fn every_row_of_the_fault_list_is_there() {
    let ids: Vec<&str> = rows().filter_map(|cells| cells.get(1).copied()).collect();
    let expected: Vec<String> = GROUPS
        .iter()
        .flat_map(|(group, count)| (1..=*count).map(move |row| format!("{group}{row}")))
        .collect();
    assert_eq!(ids, expected);
}

#[test]
fn what_covers_a_fault_exists() {
    let simulator = sources(&Path::new(ROOT).join("testnet/sim/src"));
    let mutants = sources(&Path::new(ROOT).join("crypto/src/mutants"));
    let mut seen = 0;
    for cells in rows() {
        let (id, covered) = (cells[1], cells[3]);
        let spans = covered
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|span| !span.ends_with(".txt"));
        for span in spans {
            seen += 1;
            if let Some(fault) = span.strip_prefix("sim: ") {
                assert!(
                    simulator.contains(&format!("\"{fault}\"")),
                    "{id}: no fault {fault:?} in the simulator"
                );
            } else if let Some(mutant) = span.strip_prefix("mutant: ") {
                assert!(
                    mutants.contains(&format!("    {mutant}: ")),
                    "{id}: no mutant {mutant}"
                );
            } else {
                let (file, test) = span
                    .split_once("::")
                    .unwrap_or_else(|| panic!("{id}: {span} is no test"));
                let source = fs::read_to_string(Path::new(ROOT).join(file));
                let source = source.unwrap_or_else(|error| panic!("{id}: {file}: {error}"));
                let is_test = source.contains(&format!("fn {test}("));
                assert!(is_test, "{id}: no test {test} in {file}");
            }
        }
    }
    assert!(seen > 100, "the table names {seen} things only");
}
