//! What processes use, by the kernel's own counters.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Clock ticks a second in /proc: USER_HZ, a constant of the kernel's interface on every architecture in use.
const TICKS: u64 = 100;

/// What a process has used since it started, and how much memory it takes now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time, user and system together, all threads; in steps of 10 ms.
    pub cpu: Duration,
    /// Resident memory now, in bytes.
    pub rss: u64,
    /// The most resident memory it ever had, in bytes.
    pub peak_rss: u64,
    /// Bytes it caused to be written to the disk.
    pub written: u64,
}

impl Usage {
    /// Of a process; none if it is gone.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        Self::read(&format!("/proc/{pid}"))
    }

    /// Of this process.
    #[must_use]
    pub fn own() -> Option<Self> {
        Self::read("/proc/self")
    }

    fn read(directory: &str) -> Option<Self> {
        let text = |name: &str| fs::read_to_string(format!("{directory}/{name}")).ok();
        let status = text("status")?;
        // Not every system lets processes read this of each other; then it is unknown, which is no reason to fail.
        let io = text("io").unwrap_or_default();
        Some(Self {
            cpu: cpu(&text("stat")?)?,
            rss: field(&status, "VmRSS:")?.saturating_mul(1024),
            peak_rss: field(&status, "VmHWM:")?.saturating_mul(1024),
            written: field(&io, "write_bytes:").unwrap_or_default(),
        })
    }
}

/// Processor time that the threads of a process have used, by their names; those of one name together. Threads that have ended are
/// not among them.
#[must_use]
pub fn threads(pid: i32) -> BTreeMap<String, Duration> {
    let mut threads = BTreeMap::new();
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    for task in tasks.into_iter().flatten().flatten() {
        let text = |name: &str| fs::read_to_string(task.path().join(name)).ok();
        // The scheduler's own figure is in nanoseconds; where it keeps none there are the ticks.
        let used = text("schedstat")
            .and_then(|schedule| schedule.split_whitespace().next()?.parse().ok())
            .map(Duration::from_nanos)
            .or_else(|| cpu(&text("stat")?));
        if let (Some(name), Some(used)) = (text("comm"), used) {
            *threads.entry(name.trim_end().to_owned()).or_default() += used;
        }
    }
    threads
}

/// Fields 14 and 15, counted from 1; the second field is a name in parentheses that may hold anything.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis(
        user.saturating_add(system).saturating_mul(1000 / TICKS),
    ))
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The length of all files below a directory, in bytes: what was written, not what the system has set aside for more. Files that
/// go away meanwhile count as nothing.
#[must_use]
pub fn disk_bytes(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn processor_time_is_read_behind_a_name_with_parentheses() {
        let stat = "42 (a) b) c) S 1 42 42 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 3 0 99";
        assert_eq!(cpu(stat), Some(Duration::from_secs(3)));
    }

    #[test]
    fn this_process_uses_memory_and_its_peak_is_no_less() {
        let usage = Usage::own().unwrap();
        assert!(usage.rss > 0 && usage.peak_rss >= usage.rss);
        assert_eq!(Usage::of(-1), None);
    }

    #[test]
    fn a_thread_is_found_by_its_name_with_the_time_it_used() {
        let own = i32::try_from(std::process::id()).unwrap();
        let (ready, go) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            let spin = || {
                let begun = std::time::Instant::now();
                while begun.elapsed() < Duration::from_millis(30) {}
                ready.wait();
                go.wait();
            };
            std::thread::Builder::new()
                .name("spinner".to_owned())
                .spawn_scoped(scope, spin)
                .unwrap();
            ready.wait();
            let used = threads(own).get("spinner").copied();
            go.wait();
            assert!(used.unwrap() > Duration::ZERO);
        });
        assert!(threads(-1).is_empty());
    }

    #[test]
    fn the_length_of_a_directory_is_that_of_all_files_below() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("below");
        fs::create_dir(&below).unwrap();
        assert_eq!(disk_bytes(directory.path()), 0);
        fs::write(below.join("file"), vec![1; 100_000]).unwrap();
        fs::write(directory.path().join("other"), "abc").unwrap();
        assert_eq!(disk_bytes(directory.path()), 100_003);
    }
}
