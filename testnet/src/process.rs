//! The process of one replica: started, signalled, and recognised again by a later command.
//!
//! A node's `run/pid` holds its process id and the time the kernel says it started, which no later process with the same id
//! shares. A signal is sent only to a process that matches both and whose command line names the node's home.
//!
//! Nodes are started through `tagma-testnet hold`, which arranges in the new process what only that process can arrange
//! for itself, and then becomes the node: a session of its own, so that Ctrl-C in a terminal reaches only the command in
//! front and not the nodes behind it; for networks that live no longer than their command, death with the parent; and for some
//! measurements a lower priority than the load's.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tagma_node::home::Home;

use crate::byzantine::traitor;
use crate::disk;
use crate::error::Error;
use crate::layout::Layout;

/// The command of `tagma-testnet` that runs a node that can lie.
const TRAITOR: &str = "traitor";

/// More bytes than the command line of anything that is started here has: two paths, each of at most 4,096, and a few words.
const MAX_COMMAND_LINE: usize = 16 << 10;

/// The programs that a network is made of.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `tagma-node`
    pub node: PathBuf,
    /// `tagma-testnet`
    pub testnet: PathBuf,
    /// `tagma`
    pub client: PathBuf,
    /// How far what is started with [`hold_command`] gives way to the command that starts it: its nice value above this one's.
    pub gives_way: u8,
}

/// The nice value of servers that give way to the load. With an equal share of the cores its few threads, among dozens, cannot keep as many
/// requests in flight as a closed loop says.
pub const GIVES_WAY: u8 = 5;

impl Programs {
    /// The programs next to this one.
    ///
    /// # Errors
    /// [`Error::NoProgram`] if one of them is not there.
    pub fn find() -> Result<Self, Error> {
        let own = std::env::current_exe()
            .map_err(|source| Error::io("find", Path::new("/proc/self/exe"), source))?;
        Self::beside(&own)
    }

    /// The programs in the directory of `testnet`, which is `tagma-testnet` itself.
    ///
    /// # Errors
    /// [`Error::NoProgram`] if one of them is not there.
    pub fn beside(testnet: &Path) -> Result<Self, Error> {
        let beside = |name: &'static str| {
            let path = testnet.with_file_name(name);
            if path.is_file() {
                Ok(path)
            } else {
                Err(Error::NoProgram { name, path })
            }
        };
        Ok(Self {
            node: beside("tagma-node")?,
            testnet: testnet.to_owned(),
            client: beside("tagma")?,
            gives_way: 0,
        })
    }

    /// The same programs, as servers that give way to the load.
    #[must_use]
    pub fn giving_way(&self) -> Self {
        Self {
            gives_way: GIVES_WAY,
            ..self.clone()
        }
    }
}

/// How long a node's process is to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// It is killed by the kernel when the thread that started it ends, however that ends.
    WithParent,
    /// Until it is stopped.
    Detached,
}

/// What a node's process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It runs.
    Running {
        /// Its process.
        pid: i32,
    },
    /// It is stopped by a signal and may continue.
    Paused {
        /// Its process.
        pid: i32,
    },
    /// There is no process of it.
    Down,
}

impl Activity {
    /// The process, if there is one.
    #[must_use]
    pub fn pid(self) -> Option<i32> {
        match self {
            Self::Running { pid } | Self::Paused { pid } => Some(pid),
            Self::Down => None,
        }
    }
}

/// What the kernel says of a process.
struct Kernel {
    /// One letter: R, S, D, T, Z, …
    state: char,
    /// How many threads are left, the first one among them even when it has ended.
    threads: u32,
    /// In clock ticks after boot.
    started: u64,
}

impl Kernel {
    fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The second field is the name in parentheses, which may hold anything, parentheses too: what follows the last one is
    /// regular. State is field 3, the number of threads field 20, start time field 22.
    fn parse(stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let threads = fields.nth(16)?.parse().ok()?;
        let started = fields.nth(1)?.parse().ok()?;
        Some(Self {
            state,
            threads,
            started,
        })
    }

    /// Whether it has ended: sockets and files are closed when the last thread has, and the first may end before others.
    /// The kernel's own number is asked for, as a list of threads that is read while they end may miss some.
    fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }
}

/// What the process of a node does now.
#[must_use]
pub fn activity(layout: &Layout, node: u16) -> Activity {
    activity_of(&layout.pid(node), &layout.home(node))
}

/// What the process that carries the links of a network does now.
#[must_use]
pub fn links_activity(layout: &Layout) -> Activity {
    activity_of(&layout.links_pid(), layout.root())
}

/// What the process that `pid` records does, if its command line names `directory`.
fn activity_of(pid: &Path, directory: &Path) -> Activity {
    let Some((pid, started)) = recorded(pid) else {
        return Activity::Down;
    };
    match Kernel::of(pid) {
        Some(kernel) if kernel.started == started && serves(pid, directory) => match kernel.state {
            _ if kernel.has_ended() => Activity::Down,
            'T' | 't' => Activity::Paused { pid },
            _ => Activity::Running { pid },
        },
        _ => Activity::Down,
    }
}

fn recorded(pid: &Path) -> Option<(i32, u64)> {
    let text = fs::read_to_string(pid).ok()?;
    let (pid, started) = text.trim().split_once(' ')?;
    Some((pid.parse().ok()?, started.parse().ok()?))
}

/// Whether the command line of `pid` names a directory. A process that has just died has no command line left and is
/// told by its state instead.
fn serves(pid: i32, directory: &Path) -> bool {
    let Some(line) = command_line(pid) else {
        return false;
    };
    let Ok(directory) = fs::canonicalize(directory) else {
        return false;
    };
    line.is_empty()
        || line
            .split(|byte| *byte == 0)
            .any(|argument| argument == directory.as_os_str().as_encoded_bytes())
}

fn command_line(pid: i32) -> Option<Vec<u8>> {
    let file = fs::File::open(format!("/proc/{pid}/cmdline")).ok()?;
    read_at_once(file).ok()
}

/// Reads with one call. The kernel gives what the process has at that moment; of one that dies between two calls the second one gives
/// nothing, and half a command line is that of no node.
fn read_at_once(mut file: impl Read) -> io::Result<Vec<u8>> {
    let mut line = vec![0; MAX_COMMAND_LINE];
    let length = file.read(&mut line)?;
    line.truncate(length);
    Ok(line)
}

/// Whether the process of a node is one that can lie.
#[must_use]
pub fn is_traitor(layout: &Layout, node: u16) -> bool {
    let Some(pid) = activity(layout, node).pid() else {
        return false;
    };
    let line = command_line(pid).unwrap_or_default();
    line.split(|byte| *byte == 0)
        .any(|argument| argument == TRAITOR.as_bytes())
}

/// Starts the process of a node: `tagma-node start`, or one that can lie if the node is ordered to. It has not done anything yet
/// when this returns.
///
/// # Errors
/// If it runs already, or cannot be started or recorded; nothing is left running then.
pub fn spawn(programs: &Programs, layout: &Layout, node: u16, lifetime: Lifetime) -> Result<Child, Error> {
    if let Some(pid) = activity(layout, node).pid() {
        return Err(Error::Running {
            path: layout.root().to_owned(),
            running: vec![format!("n{node} (pid {pid})")],
        });
    }
    let home = layout.home(node);
    let home = fs::canonicalize(&home).map_err(|source| Error::io("find", &home, source))?;
    let run = layout.run(node);
    fs::create_dir_all(&run).map_err(|source| Error::io("create", &run, source))?;
    let mut held = hold_command(programs, lifetime);
    let ordered = Home::new(layout.home(node));
    if traitor::order_file(&ordered).exists() || disk::is_slow(layout, node) {
        held.arg(&programs.testnet).arg(TRAITOR);
    } else {
        held.arg(&programs.node).arg("start");
    }
    held.arg("--home").arg(home);
    let child = spawn_recorded(held, &programs.testnet, &layout.log(node), &layout.pid(node))?;
    disk::started(layout, node, child.id())?;
    Ok(child)
}

/// Starts the process that carries the links of a network; its directory must be there.
///
/// # Errors
/// If it cannot be started or recorded; nothing is left running then.
pub fn spawn_links(
    programs: &Programs,
    layout: &Layout,
    seed: u64,
    lifetime: Lifetime,
) -> Result<Child, Error> {
    let root = layout.root();
    let root = fs::canonicalize(root).map_err(|source| Error::io("find", root, source))?;
    let mut held = hold_command(programs, lifetime);
    held.arg(&programs.testnet).arg("--dir").arg(root);
    held.arg("links").arg("--seed").arg(seed.to_string());
    spawn_recorded(held, &programs.testnet, &layout.links_log(), &layout.links_pid())
}

/// `tagma-testnet hold`, to which the program it is to become must be added.
pub(crate) fn hold_command(programs: &Programs, lifetime: Lifetime) -> Command {
    let mut command = Command::new(&programs.testnet);
    command.env_remove("TAGMA_HOME").arg("hold");
    if lifetime == Lifetime::WithParent {
        command.arg("--parent").arg(std::process::id().to_string());
    }
    if programs.gives_way > 0 {
        command.arg("--nice").arg(programs.gives_way.to_string());
    }
    command.arg("--");
    command
}

/// Starts `command`, which runs `program`, with its output added to `log`, and records it in `pid`.
fn spawn_recorded(mut command: Command, program: &Path, log: &Path, pid: &Path) -> Result<Child, Error> {
    let opened = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .map_err(|source| Error::io("open", log, source))?;
    let errors = opened
        .try_clone()
        .map_err(|source| Error::io("open", log, source))?;
    command.stdin(Stdio::null()).stdout(opened).stderr(errors);
    let mut child = command
        .spawn()
        .map_err(|source| Error::io("run", program, source))?;
    match record(pid, &child) {
        Ok(()) => Ok(child),
        Err(error) => {
            // A process that could not be found again must not stay; a failure here means that it is gone already.
            drop(child.kill());
            drop(child.wait());
            Err(error)
        }
    }
}

fn record(path: &Path, child: &Child) -> Result<(), Error> {
    let failed = |source| Error::io("write", path, source);
    let pid = i32::try_from(child.id()).map_err(|error| failed(io::Error::other(error)))?;
    let kernel = Kernel::of(pid).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    fs::write(path, format!("{pid} {}\n", kernel.started)).map_err(failed)
}

/// Kills the process that carries the links. False if there is none.
///
/// # Errors
/// If the system refuses.
pub fn kill_links(layout: &Layout) -> Result<bool, Error> {
    let Some(pid) = links_activity(layout).pid() else {
        return Ok(false);
    };
    match signal::kill(Pid::from_raw(pid), Signal::SIGKILL) {
        Ok(()) => Ok(true),
        Err(nix::Error::ESRCH) => Ok(false),
        Err(source) => Err(Error::io("kill the links in", &layout.links(), source.into())),
    }
}

/// Sends a signal to the process of a node. False if there is none.
///
/// # Errors
/// [`Error::Signal`] if the system refuses.
pub fn send(layout: &Layout, node: u16, what: Signal) -> Result<bool, Error> {
    let Some(pid) = activity(layout, node).pid() else {
        return Ok(false);
    };
    match signal::kill(Pid::from_raw(pid), what) {
        Ok(()) => Ok(true),
        Err(nix::Error::ESRCH) => Ok(false),
        Err(source) => Err(Error::Signal { node, pid, source }),
    }
}

/// The end of a node's log: at most `lines` lines.
#[must_use]
pub fn log_tail(layout: &Layout, node: u16, lines: usize) -> String {
    const MOST: u64 = 64 << 10;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(layout.log(node))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(MOST)))?;
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = match read() {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => return format!("(no log: {error})"),
    };
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..)
        .unwrap_or_default()
        .join("\n")
}

/// The `hold` command: arranges this process as the module says and becomes `program`. Returns only if that fails.
#[must_use]
pub fn hold(parent: Option<u32>, nice: Option<u8>, program: &[std::ffi::OsString]) -> io::Error {
    let Some((program, arguments)) = program.split_first() else {
        return io::Error::new(io::ErrorKind::InvalidInput, "no program to become");
    };
    if let Err(error) = nix::unistd::setsid() {
        return error.into();
    }
    if let Some(parent) = parent {
        if let Err(error) = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL) {
            return error.into();
        }
        // The parent may have died before the line above; then there is no signal any more to wait for.
        if u32::try_from(nix::unistd::getppid().as_raw()) != Ok(parent) {
            return io::Error::other("the command that started this node is gone");
        }
    }
    if let Some(nice) = nice
        && let Err(error) = rustix::process::nice(i32::from(nice))
    {
        return error.into();
    }
    Command::new(program).args(arguments).exec()
}

/// Appends a line to a node's log that tells what was done to it.
///
/// # Errors
/// If the log cannot be written.
pub fn note(layout: &Layout, node: u16, text: &str) -> Result<(), Error> {
    let path = layout.log(node);
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|source| Error::io("open", &path, source))?;
    writeln!(file, "--- testnet: {text}").map_err(|source| Error::io("write", &path, source))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panic")]

    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse_the_kernels_line() {
        let stat = "4121 (a) b (c)) T 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 987654 20 21";
        let kernel = Kernel::parse(stat).unwrap();
        assert_eq!((kernel.state, kernel.threads, kernel.started), ('T', 17, 987_654));
    }

    #[test]
    fn a_process_is_there_until_its_last_thread_has_ended() {
        let ended = |state, threads| {
            let kernel = Kernel {
                state,
                threads,
                started: 1,
            };
            kernel.has_ended()
        };
        assert!(ended('Z', 1) && ended('Z', 0) && ended('X', 1));
        assert!(!ended('Z', 2) && !ended('R', 1) && !ended('T', 1));
    }

    /// A command line of a process that is gone after the first look at it.
    struct Dying(Vec<u8>);

    impl Read for Dying {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let line = std::mem::take(&mut self.0);
            (&*line).read(buffer)
        }
    }

    /// A node that ended between two reads was taken for one that is down, though it was still about to end: a start after
    /// that found it running.
    #[test]
    fn the_command_line_of_a_dying_process_is_whole_or_empty() {
        let line = b"/some/where/tagma-node\0start\0--home\0/some/where/else/n2\0".to_vec();
        assert_eq!(read_at_once(Dying(line.clone())).unwrap(), line);
        assert!(read_at_once(Dying(Vec::new())).unwrap().is_empty());
        let mut in_parts = Vec::new();
        Dying(line.clone()).read_to_end(&mut in_parts).unwrap();
        assert_ne!(in_parts, line, "the first read is a short one");
    }

    #[test]
    fn another_process_with_the_recorded_id_is_not_taken_for_the_node() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path());
        fs::create_dir_all(layout.run(0)).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let started = Kernel::of(own).unwrap().started;
        // The id alone, then id and start time with another command line: both are this test and no node.
        for text in [format!("{own} {}\n", started + 1), format!("{own} {started}\n")] {
            fs::write(layout.pid(0), text).unwrap();
            assert_eq!(activity(&layout, 0), Activity::Down);
            assert!(!send(&layout, 0, Signal::SIGKILL).unwrap());
        }
    }
}
