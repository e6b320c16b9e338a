//! Evidence as files in the home, so that it can be taken away without a database. They are copies: what counts is in the
//! store, and what is missing here is written at the next start.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::Receiver;

use tagma_evidence::{EvidenceFile, Judge};
use tagma_pbft::evidence::Evidence;

/// Writes files until nobody has evidence any more.
pub(super) fn run(judge: &Judge, directory: &Path, found: &Receiver<Evidence>) {
    while let Ok(evidence) = found.recv() {
        let file = EvidenceFile::new(judge, &evidence);
        // A full disk here is no reason to stop: the store has the evidence.
        if let Err(error) = write(directory, &file) {
            tracing::warn!(directory = %directory.display(), name = file.name, %error, "cannot write evidence");
        }
    }
}

/// Writes a file whole or not at all; one that is there already stays.
fn write(directory: &Path, file: &EvidenceFile) -> io::Result<()> {
    let path = directory.join(&file.name);
    if path.exists() {
        return Ok(());
    }
    fs::create_dir_all(directory)?;
    let unfinished = directory.join(format!(".{}", file.name));
    let mut handle = fs::File::create(&unfinished)?;
    handle.write_all(file.text.as_bytes())?;
    handle.sync_all()?;
    fs::rename(&unfinished, &path)
}
