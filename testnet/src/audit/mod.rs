//! Who can be proved to be faulty, and why the chain forked if it did: the stores, transcripts and evidence files of all homes,
//! judged together by the rules of [`tagma_evidence::forensics`]. Nobody is trusted: a home adds what others have signed, and
//! nothing else counts, so a traitor's home does no harm.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tagma_evidence::forensics::{self, Audit, Explanation, Fork, Statements};
use tagma_evidence::{Conviction, EvidenceFile, Invalid, Judge, file, transcript};
use tagma_ledger::store::StoreError;
use tagma_ledger::{Genesis, LedgerStore};
use tagma_node::core::hear_store;
use tagma_node::driver::tables;
use tagma_node::home::Home;
use tagma_node::storage::{RocksStore, StorageConfig};

use crate::error::Error;
use crate::layout::Layout;

/// How often a store is opened before it counts as unreadable: a running replica may replace a file between the look at the
/// list of files and the look into it.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// What an audit found, and from what.
#[derive(Debug)]
pub struct Report {
    /// The replicas whose stores were read.
    pub stores: Vec<u16>,
    /// How many statements each transcript held; replicas without one are not here.
    pub transcripts: BTreeMap<u16, usize>,
    /// What could not be read.
    pub gaps: Vec<String>,
    /// Forks, and the convicted with their evidence.
    pub audit: Audit,
    judge: Judge,
}

/// An evidence file in a replica's home, judged.
#[derive(Debug)]
pub struct FoundFile {
    /// Whose home it lies in.
    pub node: u16,
    /// Where.
    pub path: PathBuf,
    /// What it proves, or why nothing.
    pub verdict: Result<Conviction, Invalid>,
}

/// Audits the homes of a network, whether its replicas run or not.
///
/// # Errors
/// If genesis is unusable. What cannot be read is a gap in the report.
pub fn audit(layout: &Layout, genesis: &Genesis) -> Result<Report, Error> {
    let judge = judge(genesis)?;
    let mut statements = Statements::new(&judge);
    let mut report = Report {
        stores: Vec::new(),
        transcripts: BTreeMap::new(),
        gaps: Vec::new(),
        audit: Audit::default(),
        judge,
    };
    for replica in genesis.replicas.iter() {
        let home = Home::new(layout.home(replica.id));
        match read_store(&home, genesis, &mut statements) {
            Ok(()) => report.stores.push(replica.id),
            Err(error) => report.gaps.push(format!("the store of n{}: {error}", replica.id)),
        }
        let heard = transcript::read(&home.transcript(), |entry| statements.hear(&entry.statement));
        match heard {
            Ok(0) => {}
            Ok(count) => {
                report.transcripts.insert(replica.id, count);
            }
            Err(error) => report
                .gaps
                .push(format!("the transcript of n{}: {error}", replica.id)),
        }
    }
    for found in evidence_files(layout, genesis)? {
        match found.verdict {
            Ok(conviction) => statements.hear_evidence(&conviction.evidence),
            Err(error) => report.gaps.push(format!("{}: {error}", found.path.display())),
        }
    }
    report.audit = forensics::audit(&statements);
    Ok(report)
}

/// Every evidence file in the homes of a network, verified from scratch.
///
/// # Errors
/// If genesis is unusable or a directory cannot be read.
pub fn evidence_files(layout: &Layout, genesis: &Genesis) -> Result<Vec<FoundFile>, Error> {
    let judge = judge(genesis)?;
    let mut found = Vec::new();
    for replica in genesis.replicas.iter() {
        let directory = Home::new(layout.home(replica.id)).evidence();
        for path in files(&directory).map_err(|source| Error::io("read", &directory, source))? {
            let content = fs::read(&path).map_err(|source| Error::io("read", &path, source))?;
            found.push(FoundFile {
                node: replica.id,
                verdict: file::verify(&judge, &content),
                path,
            });
        }
    }
    Ok(found)
}

fn judge(genesis: &Genesis) -> Result<Judge, Error> {
    Judge::new(genesis).map_err(|error| Error::usage(error.to_string(), "use the genesis of a network"))
}

/// The finished files in a directory, by name; none if it is not there.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        // A name with a dot in front is one that is being written.
        if !entry.file_name().to_string_lossy().starts_with('.') {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Adds what a store holds. What was added before a failure proves itself all the same.
fn read_store(home: &Home, genesis: &Genesis, statements: &mut Statements) -> Result<(), StoreError> {
    let mut attempt = 1;
    loop {
        match try_read_store(home, genesis, statements) {
            Err(_) if attempt < ATTEMPTS => attempt += 1,
            other => return other,
        }
        std::thread::sleep(PAUSE);
    }
}

fn try_read_store(home: &Home, genesis: &Genesis, statements: &mut Statements) -> Result<(), StoreError> {
    let store = RocksStore::open_read_only(&home.database(), tables(), &StorageConfig::default())?;
    hear_store(&LedgerStore::new(Arc::new(store), genesis), statements)
}

impl Report {
    /// Writes the evidence into files of this directory, which is made if it is not there; their paths.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn export(&self, directory: &Path) -> Result<Vec<PathBuf>, Error> {
        fs::create_dir_all(directory).map_err(|source| Error::io("create", directory, source))?;
        let written = self.audit.evidence().map(|evidence| {
            let file = EvidenceFile::new(&self.judge, evidence);
            let path = directory.join(&file.name);
            fs::write(&path, &file.text).map_err(|source| Error::io("write", &path, source))?;
            Ok(path)
        });
        written.collect()
    }

    /// The convicted, by number.
    #[must_use]
    pub fn culprits(&self) -> Vec<u16> {
        self.audit.convicted.keys().map(|culprit| culprit.get()).collect()
    }

    /// Each convicted replica with what it did, a sentence for each proof.
    #[must_use]
    pub fn sentences(&self) -> Vec<(u16, Vec<String>)> {
        let ring = self.judge.ring();
        let sentences = self.audit.convicted.iter().map(|(culprit, evidence)| {
            let each = evidence.iter().map(|one| one.sentence(ring));
            (culprit.get(), each.collect())
        });
        sentences.collect()
    }
}

/// A fork and its cause, as a sentence.
#[must_use]
pub fn fork_sentence(fork: &Fork) -> String {
    let names = |ids: &std::collections::BTreeSet<tagma_pbft::ReplicaId>| {
        let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
        names.join(" ")
    };
    let culprits = names(&fork.culprits);
    let cause = match &fork.explanation {
        Explanation::SameView(view) => format!("{culprits} sent COMMITs for both in view {view}"),
        Explanation::BadNewView(view) => {
            format!("{culprits}, primary of view {view}, chose what its VIEW-CHANGEs do not justify")
        }
        Explanation::HiddenCertificates(view) => {
            format!("{culprits} had committed the first and hid its certificate on the way into view {view}")
        }
        Explanation::Missing { suspects } => format!(
            "the NEW-VIEW that deviates is in no transcript, so nothing is proved; {} signed both",
            names(suspects)
        ),
    };
    format!(
        "FORK at height {}: batch {} (view {}) and batch {} (view {}) are both certified: {cause}",
        fork.seq,
        fork.first.digest.short(),
        fork.first.view,
        fork.second.digest.short(),
        fork.second.view
    )
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statements: usize = self.transcripts.values().sum();
        writeln!(
            f,
            "audit      {} stores, {} transcripts of {statements} statements",
            self.stores.len(),
            self.transcripts.len()
        )?;
        for fork in &self.audit.forks {
            writeln!(f, "✘ {}", fork_sentence(fork))?;
        }
        for (culprit, sentences) in self.sentences() {
            let more = sentences.len().saturating_sub(1);
            let first = sentences.first().map_or("", String::as_str);
            let rest = if more > 0 {
                format!(" (and {more} more)")
            } else {
                String::new()
            };
            writeln!(f, "✘ n{culprit} is proved faulty: {first}{rest}")?;
        }
        for gap in &self.gaps {
            writeln!(f, "! {gap}")?;
        }
        if self.audit.convicted.is_empty() && self.audit.forks.is_empty() {
            write!(f, "✔ nobody can be proved faulty")
        } else {
            write!(
                f,
                "✔ {} proved faulty, each by signatures alone",
                self.culprits().len()
            )
        }
    }
}
