//! Faults of a replica's disk, without root.
//!
//! *Full*: the kernel refuses to let any file of the process grow beyond a limit (RLIMIT_FSIZE, set from outside with prlimit).
//! The limit is where the log of its database ends at that moment, so the next record that the replica must keep finds no room; or a little
//! behind the end of what it has said, if that is longer, so that it can say why it ends.
//! It sees a write that fails, as on a full disk: all it does about it is its own.
//!
//! *Slow*: whoever wants every write of a process to be slow needs root (a slow device, or a control group). What a replica
//! waits for is one thing, though: the sync of its records, before which nothing that depends on them may leave. So a replica with a
//! slow disk runs as a process that can be told to take longer over each sync, the one that can also be told to lie
//! ([`traitor`](crate::byzantine::traitor)); everything else about it is the production node's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::error::Error;
use crate::layout::Layout;
use crate::network::{GRACE, Network};
use crate::process::{self, Activity};

/// What a process that starts on a full disk may still write into a file: less than a database needs.
const NO_ROOM: u64 = 1 << 10;
/// What a replica that finds no room may still say of it: what it says goes into a file too.
const LAST_WORDS: u64 = 1 << 10;

/// Its presence says that the disk of a replica is full.
fn marker(layout: &Layout, node: u16) -> PathBuf {
    layout.run(node).join("disk-full")
}

/// Takes all room from a replica's disk, or gives it back. One that runs ends when it next writes, and does not come back by
/// itself; one that is started while there is no room ends at once.
///
/// # Errors
/// If the system refuses.
pub fn set_full(network: &mut Network, node: u16, full: bool) -> Result<(), Error> {
    let layout = network.layout().clone();
    let path = marker(&layout, node);
    if full {
        fs::write(&path, "").map_err(|source| Error::io("write", &path, source))?;
    } else {
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &path, source));
            }
            _ => {}
        }
    }
    let Some(pid) = network.activity(node).pid() else {
        return Ok(());
    };
    let limit = full.then(|| room(&layout, node));
    limit_files(node, pid, limit)?;
    process::note(
        &layout,
        node,
        if full {
            "no room on its disk from here on"
        } else {
            "room on its disk again"
        },
    )
}

/// How much longer each sync takes, in microseconds; no file is none.
fn slow_file(run: &Path) -> PathBuf {
    run.join("disk-slow")
}

/// Whether a replica has a slow disk, and so runs as a process that can be told so.
#[must_use]
pub fn is_slow(layout: &Layout, node: u16) -> bool {
    slow_file(&layout.run(node)).exists()
}

/// How much longer each sync is to take, by what stands in the `run` directory of a replica's home.
#[must_use]
pub fn sync_delay(run: &Path) -> Duration {
    let text = fs::read_to_string(slow_file(run)).unwrap_or_default();
    Duration::from_micros(text.trim().parse().unwrap_or(0))
}

/// Has each sync of a replica's records take this much longer; zero is a good disk again. A replica that runs as the production
/// program, which cannot be told so, is restarted on its own home.
///
/// # Errors
/// If the replica cannot be restarted.
pub fn set_slow(network: &mut Network, node: u16, sync: Duration) -> Result<(), Error> {
    let run = network.layout().run(node);
    let path = slow_file(&run);
    if sync.is_zero() {
        return match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", &path, source))
            }
            _ => Ok(()),
        };
    }
    // In one step: the process may be reading it.
    let draft = run.join("disk-slow.new");
    fs::write(&draft, sync.as_micros().to_string())
        .and_then(|()| fs::rename(&draft, &path))
        .map_err(|source| Error::io("write", &path, source))?;
    if network.activity(node) != Activity::Down && !process::is_traitor(network.layout(), node) {
        network.stop(&[node], GRACE)?;
        network.start(node)?;
    }
    Ok(())
}

/// A process of a replica has just been started: it finds its disk as it is.
pub(crate) fn started(layout: &Layout, node: u16, pid: u32) -> Result<(), Error> {
    if !marker(layout, node).exists() {
        return Ok(());
    }
    let pid = i32::try_from(pid).unwrap_or_default();
    limit_files(node, pid, Some(NO_ROOM))
}

/// How long the files of a replica may be that is to have no more room.
fn room(layout: &Layout, node: u16) -> u64 {
    let said = fs::metadata(layout.log(node)).map_or(0, |log| log.len());
    log_end(layout, node).max(said + LAST_WORDS)
}

/// Where the newest log of a replica's database ends.
fn log_end(layout: &Layout, node: u16) -> u64 {
    let database = layout.home(node).join("data").join("db");
    let Ok(entries) = fs::read_dir(database) else {
        return NO_ROOM;
    };
    let logs = entries.flatten().filter_map(|entry| {
        let name = entry.file_name();
        let number: u64 = name.to_str()?.strip_suffix(".log")?.parse().ok()?;
        Some((number, entry.metadata().ok()?.len()))
    });
    logs.max().map_or(NO_ROOM, |(_, length)| length)
}

/// Lets no file of a process grow beyond `limit`; none lets them grow as far as those of this process.
fn limit_files(node: u16, pid: i32, limit: Option<u64>) -> Result<(), Error> {
    let own = getrlimit(Resource::Fsize);
    let new = Rlimit {
        current: limit.or(own.current),
        // Kept, as only root could raise it again.
        maximum: own.maximum,
    };
    let Some(process) = Pid::from_raw(pid) else {
        return Ok(());
    };
    match prlimit(Some(process), Resource::Fsize, new) {
        Ok(_) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(Error::Signal {
            node,
            pid,
            source: nix::Error::from_raw(error.raw_os_error()),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    /// A replica whose database was shorter than its log could not say why it ended.
    #[test]
    fn a_full_disk_has_no_room_but_for_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path());
        let database = layout.home(2).join("data").join("db");
        for path in [&database, &layout.run(2)] {
            fs::create_dir_all(path).unwrap();
        }
        fs::write(database.join("000004.log"), [0; 9000]).unwrap();
        fs::write(database.join("000012.log"), [0; 3000]).unwrap();
        fs::write(layout.log(2), [0; 100]).unwrap();
        assert_eq!(room(&layout, 2), 3000);
        fs::write(layout.log(2), [0; 2900]).unwrap();
        assert_eq!(room(&layout, 2), 2900 + LAST_WORDS);
    }
}
