//! The processes of a system that is compared: in a directory of their own, on ports of their own, gone with the value.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::bench::usage::Usage;
use crate::error::Error;
use crate::network::temporary_directory;
use crate::plan::PORT_STEP;
use crate::ports::{self, Lease, Protocol};
use crate::process::{Lifetime, Programs, hold_command};

/// Blocks of ports looked at before giving up.
const ATTEMPTS: u32 = 50;
/// So much of the end of a log is told when a server has ended.
const LOG_LINES: usize = 12;

/// Ports and a directory for servers that are about to be started.
pub(super) struct Room {
    directory: TempDir,
    _lease: Lease,
    /// The ports of each server.
    pub(super) ports: Vec<Vec<u16>>,
}

impl Room {
    /// Room for so many servers with so many TCP ports each.
    ///
    /// # Errors
    /// If there are no such ports, or no directory can be made.
    pub(super) fn find(servers: u16, each: u16) -> Result<Self, Error> {
        let directory = temporary_directory()?;
        let is_free =
            |port: &u16| ports::is_free(SocketAddr::from((Ipv4Addr::LOCALHOST, *port)), Protocol::Tcp);
        for _ in 0..ATTEMPTS {
            let lease = Lease::find(servers)?;
            let of = |server: u16| (0..each.min(PORT_STEP)).map(move |port| server * PORT_STEP + port);
            let ports: Vec<Vec<u16>> = (0..servers)
                .map(|server| of(server).map(|port| lease.base + port).collect())
                .collect();
            if ports.iter().flatten().all(is_free) {
                return Ok(Self {
                    directory,
                    _lease: lease,
                    ports,
                });
            }
        }
        Err(Error::NoFreePorts {
            wanted: u32::from(servers) * u32::from(each),
        })
    }

    /// The so manieth port of each server.
    pub(super) fn port(&self, which: usize) -> Vec<u16> {
        self.ports
            .iter()
            .filter_map(|ports| ports.get(which).copied())
            .collect()
    }

    /// The directory of one server, made if it is not there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(super) fn directory(&self, server: usize) -> Result<PathBuf, Error> {
        let path = self.directory.path().join(server.to_string());
        fs::create_dir_all(&path).map_err(|source| Error::io("create", &path, source))?;
        Ok(path)
    }
}

/// Servers that run. They are killed, by their ids, when this is dropped, and by the kernel should this process die.
pub(super) struct Servers {
    system: &'static str,
    room: Room,
    children: Vec<Child>,
}

impl Servers {
    /// Starts one server with each list of arguments.
    ///
    /// # Errors
    /// If one cannot be started; those that were are killed then.
    pub(super) fn start(
        system: &'static str,
        programs: &Programs,
        program: &Path,
        arguments: Vec<Vec<OsString>>,
        room: Room,
    ) -> Result<Self, Error> {
        let mut servers = Self {
            system,
            room,
            children: Vec::new(),
        };
        for (server, arguments) in arguments.into_iter().enumerate() {
            let log = servers.log(server)?;
            let failed = |source| Error::io("open", &log, source);
            let output = File::create(&log).map_err(failed)?;
            let errors = output.try_clone().map_err(failed)?;
            // The kernel kills it when the thread that starts it ends, so it cannot outlive this command however that ends.
            let child = hold_command(programs, Lifetime::WithParent)
                .arg(program)
                .args(arguments)
                .current_dir(servers.room.directory(server)?)
                .stdin(Stdio::null())
                .stdout(output)
                .stderr(errors)
                .spawn()
                .map_err(|source| Error::io("run", program, source))?;
            servers.children.push(child);
        }
        Ok(servers)
    }

    fn log(&self, server: usize) -> Result<PathBuf, Error> {
        Ok(self.room.directory(server)?.join("log"))
    }

    /// Where they are and listen.
    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    /// Whether all of them still run.
    ///
    /// # Errors
    /// [`Error::Compared`] with the end of its log if one does not.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        for server in 0..self.children.len() {
            let ended = match self.children.get_mut(server).map(Child::try_wait) {
                Some(Ok(None)) => continue,
                Some(Ok(Some(status))) => status.to_string(),
                Some(Err(error)) => error.to_string(),
                None => "gone".to_owned(),
            };
            let text = fs::read_to_string(self.log(server)?).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let end = lines
                .get(lines.len().saturating_sub(LOG_LINES)..)
                .unwrap_or_default();
            return Err(Error::Compared {
                system: self.system,
                what: format!("server {server} has ended ({ended}):\n{}", end.join("\n")),
            });
        }
        Ok(())
    }

    /// The processor time that all of them together have used.
    ///
    /// # Errors
    /// As [`Servers::check`].
    pub(super) fn cpu(&mut self) -> Result<Duration, Error> {
        self.check()?;
        let pids = self
            .children
            .iter()
            .map(|child| i32::try_from(child.id()).unwrap_or(-1));
        Ok(pids.filter_map(Usage::of).map(|usage| usage.cpu).sum())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It fails only if the process has been waited for.
            drop(child.kill());
        }
        for child in &mut self.children {
            drop(child.wait());
        }
    }
}

/// The program of this name in the directories where programs are looked for.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}
