//! The scenarios that come with the program, as files in `testnet/scenarios`.

use super::file::Scenario;
use crate::error::Error;

macro_rules! files {
    ($($name:literal,)*) => {
        /// Name and text of each.
        const FILES: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../scenarios/", $name, ".toml"))),)*
        ];
    };
}

files! {
    "calm",
    "backup-crash",
    "primary-crash",
    "primaries-crash-in-a-row",
    "two-crash-at-once",
    "too-many-crashes",
    "power-cut",
    "rolling-restart",
    "frozen-primary",
    "too-many-frozen",
    "halves",
    "three-against-one",
    "four-against-three",
    "isolated-primary",
    "one-way-primary",
    "star",
    "loss",
    "bad-weather",
    "wiped-backup",
    "disk-full",
    "slow-disk",
    "silent-backup",
    "equivocating-primary",
    "withheld-commits",
    "lying-replies",
    "liar-and-crash",
    "view-change-spam",
    "two-liars",
}

/// All of them.
///
/// # Errors
/// If one of them is no scenario.
pub fn all() -> Result<Vec<Scenario>, Error> {
    FILES.iter().map(|(name, text)| read(name, text)).collect()
}

/// The one of this name.
///
/// # Errors
/// [`Error::Usage`] if there is none.
pub fn named(wanted: &str) -> Result<Scenario, Error> {
    let found = FILES.iter().find(|(name, _)| *name == wanted);
    let Some((name, text)) = found else {
        return Err(Error::usage(
            format!("{wanted:?} is no file, and no scenario has this name"),
            "tagma-testnet run --list names those that come with the program",
        ));
    };
    read(name, text)
}

fn read(name: &str, text: &str) -> Result<Scenario, Error> {
    Scenario::parse(text).map_err(|why| Error::usage(format!("scenario {name}: {why}"), "mend the file"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panic")]

    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    #[test]
    fn every_file_is_in_the_library_under_its_name() {
        // From the folder of the package, where cargo runs its tests.
        let files: BTreeSet<String> = fs::read_dir("scenarios")
            .unwrap()
            .map(|entry| {
                entry
                    .unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        let names: BTreeSet<String> = all().unwrap().into_iter().map(|scenario| scenario.name).collect();
        assert_eq!(files, names);
        assert!(names.len() >= 20, "{} scenarios", names.len());
    }
}
