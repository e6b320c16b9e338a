//! What a replica has sent and received of signed protocol messages, kept for an audit: a bounded log in segments.
//!
//! ```text
//! transcript/00000001.log, 00000002.log, …   frames: length (u32, little endian), then an entry in canonical encoding
//! ```
//!
//! The log is no part of the protocol's memory: it is not synced, loses what a crash tears off, forgets its oldest
//! segments, and every statement in it proves itself or is worth nothing.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tagma_crypto::Signature;
use tagma_crypto::encode::{Decode, Encode, decode, encode};
use tagma_pbft::certificate::{CommitCertificate, StableCertificate};
use tagma_pbft::message::{Checkpoint, NewView, ViewChange, Vote};
use tagma_pbft::verify::Incoming;
use tagma_pbft::{Message, ReplicaId};

/// How many segments share the bytes that a log may take.
const SEGMENTS: u64 = 4;
/// Most bytes of one entry; the largest NEW-VIEW fits.
const MAX_ENTRY: usize = 64 << 20;
/// Statements written lately, in each of two generations: what is sent again and again is written once.
const RECENT: usize = 1 << 13;

/// A signed statement of the protocol, without bodies.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub enum Statement {
    /// A PRE-PREPARE, PREPARE or COMMIT.
    Vote(Vote),
    /// A CHECKPOINT.
    Checkpoint(Checkpoint),
    /// Q CHECKPOINTs.
    Stable(StableCertificate),
    /// A VIEW-CHANGE.
    ViewChange(Arc<ViewChange>),
    /// A NEW-VIEW.
    NewView(Arc<NewView>),
    /// Q COMMITs.
    Committed(CommitCertificate),
}

impl Statement {
    /// The signed statements that a message consists of; none of an unsigned kind.
    pub fn of_message(message: &Message) -> Vec<Self> {
        match message {
            Message::PrePrepare { vote, .. } | Message::Vote(vote) => vec![Self::Vote(vote.clone())],
            Message::Checkpoint(checkpoint) => vec![Self::Checkpoint(checkpoint.clone())],
            Message::Stable(certificate) => vec![Self::Stable(certificate.clone())],
            Message::ViewChange(message) => vec![Self::ViewChange(Arc::clone(message))],
            Message::NewView(message) => vec![Self::NewView(Arc::clone(message))],
            Message::Blocks { blocks, .. } => {
                let certificates = blocks.iter().map(|block| block.certificate.clone());
                certificates.map(Self::Committed).collect()
            }
            Message::Status(_)
            | Message::Forward(_)
            | Message::FetchBody { .. }
            | Message::Body(_)
            | Message::FetchBlocks { .. }
            | Message::FetchState { .. }
            | Message::StatePart { .. } => Vec::new(),
        }
    }

    /// As [`Statement::of_message`], of a message that was verified.
    pub fn of_incoming(incoming: &Incoming) -> Vec<Self> {
        match incoming {
            Incoming::PrePrepare(vote, _)
            | Incoming::Shared(vote, _)
            | Incoming::Unchecked(vote, _)
            | Incoming::FaultyBatch(vote, ..)
            | Incoming::Vote(vote) => vec![Self::Vote(vote.clone())],
            Incoming::Checkpoint(checkpoint) => vec![Self::Checkpoint(checkpoint.clone())],
            Incoming::Stable(certificate) => vec![Self::Stable(certificate.clone())],
            Incoming::ViewChange(message) => vec![Self::ViewChange(Arc::clone(message))],
            Incoming::NewView(message) => vec![Self::NewView(Arc::clone(message))],
            Incoming::Blocks(_, blocks) => {
                let certificates = blocks.iter().map(|(certificate, _)| certificate.clone());
                certificates.map(Self::Committed).collect()
            }
            Incoming::Status(_)
            | Incoming::Body(..)
            | Incoming::FetchBody(..)
            | Incoming::Forward(_)
            | Incoming::Application(_) => Vec::new(),
        }
    }

    /// Tells statements apart: a signature is good for one content.
    fn signature(&self) -> Option<Signature> {
        match self {
            Self::Vote(vote) => Some(vote.signature),
            Self::Checkpoint(checkpoint) => Some(checkpoint.signature),
            Self::ViewChange(message) => Some(message.signature),
            Self::NewView(message) => Some(message.signature),
            Self::Stable(certificate) => certificate.checkpoints.first().map(|one| one.signature),
            Self::Committed(certificate) => certificate.commits.first().map(|one| one.signature),
        }
    }
}

/// A statement and how the replica came to it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[bincode(crate = "tagma_crypto::encode::bincode")]
pub struct Entry {
    /// Whose connection it came over; none if the replica sent it itself.
    pub from: Option<ReplicaId>,
    /// The statement.
    pub statement: Statement,
}

/// Appends to the log of one replica.
pub struct TranscriptWriter {
    directory: PathBuf,
    segment_bytes: u64,
    segment: u64,
    file: BufWriter<File>,
    written: u64,
    young: HashSet<(bool, Signature)>,
    old: HashSet<(bool, Signature)>,
}

impl TranscriptWriter {
    /// Opens the log in `directory`, which is made if it is not there, and begins a new segment: the last one may end in
    /// the middle of an entry. It will take at most about `max_bytes`, and the largest entry.
    ///
    /// # Errors
    /// If the directory or the segment cannot be made.
    pub fn open(directory: &Path, max_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let segment = segments(directory)?.last().map_or(1, |(number, _)| number + 1);
        let mut writer = Self {
            directory: directory.to_owned(),
            segment_bytes: (max_bytes / SEGMENTS).max(1),
            segment,
            file: create(directory, segment)?,
            written: 0,
            young: HashSet::new(),
            old: HashSet::new(),
        };
        writer.drop_oldest()?;
        Ok(writer)
    }

    /// Appends an entry, unless the same was written lately. It is in the hands of the system after
    /// [`TranscriptWriter::flush`].
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let is_certificate = matches!(entry.statement, Statement::Stable(_) | Statement::Committed(_));
        if let Some(signature) = entry.statement.signature() {
            let key = (is_certificate, signature);
            if self.old.contains(&key) || self.young.contains(&key) {
                return Ok(());
            }
            if self.young.len() >= RECENT {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(key);
        }
        let bytes = encode(entry);
        let Ok(length) = u32::try_from(bytes.len()) else {
            return Ok(());
        };
        if self.written >= self.segment_bytes {
            self.file.flush()?;
            self.segment += 1;
            self.file = create(&self.directory, self.segment)?;
            self.written = 0;
            self.drop_oldest()?;
        }
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(&bytes)?;
        self.written += 4 + u64::from(length);
        Ok(())
    }

    /// Hands everything to the system, so that the end of the process does not lose it.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn drop_oldest(&mut self) -> io::Result<()> {
        let all = segments(&self.directory)?;
        let kept = usize::try_from(SEGMENTS).unwrap_or(usize::MAX);
        for (_, path) in all.iter().rev().skip(kept) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn create(directory: &Path, segment: u64) -> io::Result<BufWriter<File>> {
    Ok(BufWriter::new(File::create(
        directory.join(format!("{segment:08}.log")),
    )?))
}

/// The segments of a log with their numbers, the oldest first.
fn segments(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(".log"))
            .and_then(|number| number.parse().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort_unstable();
    Ok(found)
}

/// Gives every entry of the log in `directory` to `take`, the oldest first; says how many there were. A segment ends where an
/// entry is cut off or is none: the log of a running or crashed replica does. Without a directory there is nothing.
///
/// # Errors
/// If a file cannot be read.
pub fn read(directory: &Path, mut take: impl FnMut(Entry)) -> io::Result<usize> {
    let segments = match segments(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    let mut count = 0;
    for (_, path) in segments {
        let mut bytes = Vec::new();
        match File::open(&path) {
            // The replica may have dropped it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?.read_to_end(&mut bytes)?,
        };
        let mut rest = bytes.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
            let Some((frame, next)) = after.split_at_checked(length) else {
                break;
            };
            let Ok(entry) = decode::<Entry>(frame, MAX_ENTRY) else {
                break;
            };
            take(entry);
            count += 1;
            rest = next;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panic")]
    use tagma_crypto::{Digest, SecretKey};
    use tagma_pbft::message::Phase;
    use tagma_pbft::{SeqNum, View};

    use super::*;

    fn entry(seq: u64) -> Entry {
        let key = SecretKey::from_seed([1; 32]);
        let (chain, id) = (Digest::ZERO, ReplicaId::new(1));
        let (view, seq) = (View::ZERO, SeqNum::new(seq));
        let vote = Vote::sign(Phase::Commit, view, seq, Digest::ZERO, id, &chain, &key);
        Entry {
            from: Some(id),
            statement: Statement::Vote(vote),
        }
    }

    fn all(directory: &Path) -> Vec<Entry> {
        let mut entries = Vec::new();
        assert_eq!(
            read(directory, |entry| entries.push(entry)).unwrap(),
            entries.len()
        );
        entries
    }

    #[test]
    fn what_was_written_is_read_in_order_and_once() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("transcript");
        assert!(all(&directory).is_empty());
        for start in [1, 4] {
            let mut writer = TranscriptWriter::open(&directory, 1 << 20).unwrap();
            for seq in [start, start + 1, start, start + 2] {
                writer.append(&entry(seq)).unwrap();
            }
            writer.flush().unwrap();
        }
        assert_eq!(all(&directory), (1..=6).map(entry).collect::<Vec<_>>());
    }

    #[test]
    fn a_torn_end_costs_the_last_entry_only() {
        let home = tempfile::tempdir().unwrap();
        let mut writer = TranscriptWriter::open(home.path(), 1 << 20).unwrap();
        for seq in 1..=3 {
            writer.append(&entry(seq)).unwrap();
        }
        drop(writer);
        let path = home.path().join("00000001.log");
        let bytes = fs::read(&path).unwrap();
        for cut in 1..bytes.len() / 3 {
            fs::write(&path, bytes.get(..bytes.len() - cut).unwrap()).unwrap();
            assert_eq!(all(home.path()), [entry(1), entry(2)], "{cut} bytes are missing");
        }
        // A segment of its own follows, whatever the end of the last one is.
        let mut writer = TranscriptWriter::open(home.path(), 1 << 20).unwrap();
        writer.append(&entry(9)).unwrap();
        drop(writer);
        assert_eq!(all(home.path()), [entry(1), entry(2), entry(9)]);
    }

    #[test]
    fn the_oldest_segments_go() {
        let home = tempfile::tempdir().unwrap();
        let max = 16 << 10;
        let mut writer = TranscriptWriter::open(home.path(), max).unwrap();
        for seq in 1..=1000 {
            writer.append(&entry(seq)).unwrap();
        }
        writer.flush().unwrap();
        let entries = all(home.path());
        let first = 1001 - u64::try_from(entries.len()).unwrap();
        assert!(
            first > 1 && entries.len() > 50,
            "{} entries are left",
            entries.len()
        );
        assert_eq!(entries, (first..=1000).map(entry).collect::<Vec<_>>());
        let sizes = segments(home.path()).unwrap().into_iter();
        let bytes: u64 = sizes.map(|(_, path)| fs::metadata(path).unwrap().len()).sum();
        assert!(bytes <= max + 1024, "{bytes} bytes");
    }
}
