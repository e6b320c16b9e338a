//! What processes use, and what the machine has left for them, by the kernel's own counters.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

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

/// Ticks of all cores together since the machine was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    total: u64,
    idle: u64,
    stolen: u64,
}

/// How the cores' time was divided between two moments. What is neither idle nor stolen was used here.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Shares {
    /// The part in which nothing was to be done, 0 to 1.
    pub idle: f64,
    /// The part, 0 to 1, in which something was to be done and the host of this virtual machine did not let it run: it had others to run.
    /// Always 0 on a machine of one's own. A replica is held up by it for milliseconds at a time, so latencies measured while it is
    /// more than a hundredth or two are the host's rather than the system's.
    pub stolen: f64,
}

impl Cores {
    /// Up to now; none where the kernel does not say.
    #[must_use]
    pub fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// The first line: user, nice, system, idle, iowait, irq, softirq, steal; what comes after is part of user already.
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Option<Vec<u64>> = line
            .split_whitespace()
            .take(8)
            .map(|field| field.parse().ok())
            .collect();
        let ticks = ticks?;
        let [_, _, _, idle, waiting, _, _, stolen] = *ticks.as_slice() else {
            return None;
        };
        Some(Self {
            total: ticks.iter().sum(),
            idle: idle.saturating_add(waiting),
            stolen,
        })
    }

    /// How the time since `earlier` was divided; none if no tick has passed.
    fn since(&self, earlier: &Self) -> Option<Shares> {
        let total = self.total.checked_sub(earlier.total).filter(|ticks| *ticks > 0)?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "ticks of one measurement are far below 2^53"
        )]
        let share = |now: u64, before: u64| now.saturating_sub(before) as f64 / total as f64;
        Some(Shares {
            idle: share(self.idle, earlier.idle),
            stolen: share(self.stolen, earlier.stolen),
        })
    }
}

impl Shares {
    /// How the time between two moments was divided; none where it is not known.
    #[must_use]
    pub fn between(before: Option<Cores>, after: Option<Cores>) -> Option<Self> {
        after?.since(&before?)
    }

    /// What was stolen, in percent, for a table; a dash where it is not known.
    #[must_use]
    pub fn stolen_percent(shares: Option<Self>) -> String {
        percent(shares.map(|shares| shares.stolen))
    }
}

/// A share in percent, for a table; a dash where it is not known.
#[must_use]
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1}", share * 100.0))
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
    fn the_time_of_the_cores_is_what_was_used_idle_or_stolen() {
        let at = |line: &str| Cores::parse(&format!("{line}\ncpu0 1 2 3\n"));
        let before = at("cpu  100 20 30 400 50 6 7 10 99 99").unwrap();
        let after = at("cpu  130 20 40 440 60 6 7 20 500 500").unwrap();
        let shares = Shares::between(Some(before), Some(after)).unwrap();
        assert!((shares.idle - 0.5).abs() < 1e-9 && (shares.stolen - 0.1).abs() < 1e-9);
        assert_eq!(Shares::stolen_percent(Some(shares)), "10.0");
        assert_eq!((before.since(&before), before.since(&after)), (None, None));
        assert_eq!(Shares::stolen_percent(None), "-");
        for unknown in [
            "",
            "cpu0 1 2 3 4 5 6 7 8",
            "cpu  1 2 3 4 5 6 7",
            "cpu  1 2 3 4 x 6 7 8",
        ] {
            assert_eq!(Cores::parse(unknown), None);
        }
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
