//! Faults of a replica's disk, without root.
//!
//! *Full*: the kernel refuses to let any file of the process grow beyond a limit (RLIMIT_FSIZE, set from outside with prlimit).
//! The limit is where the log of its database ends at that moment, so the next record that the replica must keep finds no room.
//! It sees a write that fails, as on a full disk: all it does about it is its own.

use std::fs;
use std::io;
use std::path::PathBuf;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::error::Error;
use crate::layout::Layout;
use crate::network::Network;
use crate::process;

/// What a process that starts on a full disk may still write into a file: less than a database needs.
const NO_ROOM: u64 = 1 << 10;

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
    let limit = full.then(|| log_end(&layout, node));
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

/// A process of a replica has just been started: it finds its disk as it is.
pub(crate) fn started(layout: &Layout, node: u16, pid: u32) -> Result<(), Error> {
    if !marker(layout, node).exists() {
        return Ok(());
    }
    let pid = i32::try_from(pid).unwrap_or_default();
    limit_files(node, pid, Some(NO_ROOM))
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
