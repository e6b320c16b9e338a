//! Ports of a network: which are free, who holds those that are not, and a free block of them.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::path::PathBuf;

use nix::fcntl::{Flock, FlockArg};
use tagma_ledger::Genesis;

use crate::error::Error;
use crate::plan::PORT_STEP;

/// Automatic blocks lie in here: above the registered ports people know, below those that systems hand out themselves.
const AUTOMATIC: std::ops::Range<u16> = 10_000..32_000;
/// Blocks looked at before giving up.
const ATTEMPTS: u32 = 500;

/// How a port is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Replicas and clients, over QUIC.
    Udp,
    /// HTTP.
    Tcp,
}

/// A port that one replica needs.
#[derive(Clone, Debug)]
pub struct Need {
    /// The replica.
    pub node: u16,
    /// What for.
    pub purpose: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// How.
    pub protocol: Protocol,
}

/// Every port that the replicas of `genesis` listen on.
#[must_use]
pub fn needs(genesis: &Genesis) -> Vec<Need> {
    let mut needs = Vec::new();
    for replica in genesis.replicas.iter() {
        let addresses = [
            ("replicas", &replica.peer_address, Protocol::Udp),
            ("clients", &replica.client_address, Protocol::Udp),
            ("http", &replica.http_address, Protocol::Tcp),
        ];
        for (purpose, address, protocol) in addresses {
            // A validated genesis has no other addresses.
            if let Ok(address) = address.parse() {
                needs.push(Need {
                    node: replica.id,
                    purpose,
                    address,
                    protocol,
                });
            }
        }
    }
    needs
}

/// Checks that every port in `needs` is free now.
///
/// # Errors
/// [`Error::PortsTaken`] with one line for each that is not.
pub fn check(needs: &[Need]) -> Result<(), Error> {
    let taken: Vec<String> = needs
        .iter()
        .filter(|need| !is_free(need.address, need.protocol))
        .map(describe)
        .collect();
    if taken.is_empty() {
        Ok(())
    } else {
        Err(Error::PortsTaken { taken })
    }
}

pub(crate) fn is_free(address: SocketAddr, protocol: Protocol) -> bool {
    match protocol {
        Protocol::Udp => UdpSocket::bind(address).is_ok(),
        Protocol::Tcp => TcpListener::bind(address).is_ok(),
    }
}

fn describe(need: &Need) -> String {
    let kind = match need.protocol {
        Protocol::Udp => "UDP",
        Protocol::Tcp => "TCP",
    };
    let holder = holder(need.address.port(), need.protocol).map_or_else(
        || "its holder is not visible".to_owned(),
        |holder| format!("held by {holder}"),
    );
    format!(
        "{kind} port {} (n{}, for {}) is in use, {holder}",
        need.address, need.node, need.purpose
    )
}

/// The process that listens on `port` of loopback or all addresses, as far as /proc shows it to this user.
#[must_use]
pub fn holder(port: u16, protocol: Protocol) -> Option<String> {
    let tables = match protocol {
        Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        Protocol::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
    };
    let inode = tables
        .iter()
        .find_map(|table| inode_of(&fs::read_to_string(table).ok()?, port, protocol))?;
    let wanted = PathBuf::from(format!("socket:[{inode}]"));
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = descriptors
            .flatten()
            .any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == wanted));
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", name.trim()));
        }
    }
    None
}

/// The inode of the socket that listens on `port`, from a table of /proc/net: column 1 is `address:port` in hex, column 3
/// the state (0A: a TCP listener), column 9 the inode.
fn inode_of(table: &str, port: u16, protocol: Protocol) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (_, hex) = columns.get(1)?.rsplit_once(':')?;
        let listens = protocol == Protocol::Udp || *columns.get(3)? == "0A";
        (listens && u16::from_str_radix(hex, 16).ok()? == port)
            .then(|| columns.get(9)?.parse().ok())
            .flatten()
    })
}

/// A block of ports found by [`Lease::find`]. While it lives no other network of this machine is given any of them, also
/// when replicas are down for a while.
pub struct Lease {
    /// The first port.
    pub base: u16,
    _locks: Vec<Flock<File>>,
}

impl Lease {
    /// A block of free ports for `replicas` replicas, chosen at random.
    ///
    /// # Errors
    /// [`Error::NoFreePorts`] if none is found, [`Error::Io`] if the locks cannot be kept.
    pub fn find(replicas: u16) -> Result<Self, Error> {
        let locks = lock_directory();
        fs::create_dir_all(&locks).map_err(|source| Error::io("create", &locks, source))?;
        let bases = ((AUTOMATIC.end - AUTOMATIC.start) / PORT_STEP).saturating_sub(replicas);
        for _ in 0..ATTEMPTS {
            let base = AUTOMATIC.start + rand::random_range(0..bases.max(1)) * PORT_STEP;
            if let Some(lease) = Self::take(base, replicas)? {
                return Ok(lease);
            }
        }
        Err(Error::NoFreePorts {
            wanted: u32::from(replicas) * u32::from(PORT_STEP),
        })
    }

    /// The block of `replicas` replicas from `base` on, if nobody else has a part of it.
    fn take(base: u16, replicas: u16) -> Result<Option<Self>, Error> {
        let mut locks = Vec::new();
        for first in (0..replicas).map(|replica| base + replica * PORT_STEP) {
            let path = lock_directory().join(first.to_string());
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(|source| Error::io("open", &path, source))?;
            let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
                return Ok(None);
            };
            locks.push(lock);
            let uses = [Protocol::Udp, Protocol::Udp, Protocol::Tcp];
            let free = (first..).zip(uses).all(|(port, protocol)| {
                is_free(
                    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)),
                    protocol,
                )
            });
            if !free {
                return Ok(None);
            }
        }
        Ok(Some(Self { base, _locks: locks }))
    }
}

fn lock_directory() -> PathBuf {
    std::env::temp_dir().join("tagma-testnet-ports")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panic")]

    use super::*;

    #[test]
    fn the_holder_of_a_busy_port_is_named() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let need = Need {
            node: 2,
            purpose: "clients",
            address,
            protocol: Protocol::Udp,
        };
        let Err(Error::PortsTaken { taken }) = check(&[need]) else {
            panic!("port {address} is taken by this test");
        };
        let line = taken.concat();
        assert!(
            line.contains(&address.to_string()) && line.contains("n2"),
            "{line}"
        );
        assert!(line.contains(&format!("pid {}", std::process::id())), "{line}");
    }

    #[test]
    fn a_leased_block_is_not_given_twice() {
        let lease = Lease::find(4).unwrap();
        // Not whole, and not in part.
        assert!(Lease::take(lease.base, 4).unwrap().is_none());
        assert!(Lease::take(lease.base + 3 * PORT_STEP, 1).unwrap().is_none());
    }

    #[test]
    fn listening_sockets_are_found_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:1CEA 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 11 1\n   \
                     1: 0100007F:1CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1\n";
        assert_eq!(inode_of(table, 7402, Protocol::Tcp), Some(12));
        assert_eq!(inode_of(table, 7402, Protocol::Udp), Some(11));
        assert_eq!(inode_of(table, 7403, Protocol::Tcp), None);
    }
}
