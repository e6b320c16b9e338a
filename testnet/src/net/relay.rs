//! The sockets of the links, and what passes through them.
//!
//! Of a pair of replicas the dialer (the higher number) sends to the *door* and hears from it; the other one (the *host*) is spoken
//! to from the *back* and answers there. Only what comes from their own addresses is passed on.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tagma_ledger::Genesis;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::change::{Change, Links};
use super::path::{Counts, Path};

/// No UDP packet is longer.
const MAX_PACKET: usize = 65_535;
/// Packets taken in before those that are due are passed on.
const BURST: usize = 64;

/// The links of a network while they run.
pub struct Relay {
    links: Links,
    pairs: BTreeMap<(u16, u16), Arc<Pair>>,
}

/// What two replicas say to each other.
struct Pair {
    door: UdpSocket,
    back: UdpSocket,
    /// Where the dialer sends from, and where the host listens.
    dialer: SocketAddr,
    host: SocketAddr,
    paths: Mutex<Paths>,
    /// Something was changed: what is due must be looked at again.
    changed: Notify,
    began: Instant,
}

struct Paths {
    to_host: Path,
    to_dialer: Path,
}

impl Relay {
    /// Opens the sockets of all links and begins to pass packets on, with the chance of this seed. Must be called within a tokio
    /// runtime; it passes packets on as long as that runs.
    ///
    /// # Errors
    /// If the system gives no sockets.
    pub async fn start(genesis: &Genesis, seed: u64) -> io::Result<Self> {
        let mut addresses = Vec::new();
        for replica in genesis.replicas.iter() {
            let address: SocketAddr = replica.peer_address.parse().map_err(io::Error::other)?;
            addresses.push((replica.id, address));
        }
        let mut pairs = BTreeMap::new();
        for (dialer, from) in &addresses {
            for (host, to) in addresses.iter().filter(|(host, _)| host < dialer) {
                let pair = Arc::new(Pair {
                    door: socket().await?,
                    back: socket().await?,
                    dialer: *from,
                    host: *to,
                    paths: Mutex::new(Paths {
                        to_host: Path::new(seed, *dialer, *host),
                        to_dialer: Path::new(seed, *host, *dialer),
                    }),
                    changed: Notify::new(),
                    began: Instant::now(),
                });
                tokio::spawn(Arc::clone(&pair).run());
                pairs.insert((*dialer, *host), pair);
            }
        }
        let nodes: Vec<u16> = addresses.iter().map(|(id, _)| *id).collect();
        Ok(Self {
            links: Links::new(&nodes),
            pairs,
        })
    }

    /// Where each dialer finds each host: dialer, host, address.
    ///
    /// # Errors
    /// If the system cannot tell.
    pub fn doors(&self) -> io::Result<Vec<(u16, u16, SocketAddr)>> {
        let doors = self.pairs.iter();
        doors
            .map(|((dialer, host), pair)| Ok((*dialer, *host, pair.door.local_addr()?)))
            .collect()
    }

    /// Changes links.
    ///
    /// # Errors
    /// In words, if there are no such links.
    pub fn apply(&mut self, change: &Change) -> Result<(), String> {
        let before = self.links.clone();
        self.links.apply(change)?;
        for ((dialer, host), pair) in &self.pairs {
            for (from, to) in [(*dialer, *host), (*host, *dialer)] {
                let fault = self.links.fault(from, to);
                if fault != before.fault(from, to) {
                    let mut paths = pair.paths();
                    paths.of(from == *dialer).set_fault(fault);
                    pair.changed.notify_one();
                }
            }
        }
        Ok(())
    }

    /// What is wrong with the links.
    #[must_use]
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// What became of the packets from one replica to another.
    #[must_use]
    pub fn counts(&self, from: u16, to: u16) -> Counts {
        let pair = self.pairs.get(&(from.max(to), from.min(to)));
        pair.map_or_else(Counts::default, |pair| pair.paths().of(from > to).counts())
    }
}

impl Paths {
    fn of(&mut self, to_host: bool) -> &mut Path {
        if to_host {
            &mut self.to_host
        } else {
            &mut self.to_dialer
        }
    }
}

impl Pair {
    fn paths(&self) -> MutexGuard<'_, Paths> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>) {
        let mut buffer = vec![0; MAX_PACKET];
        loop {
            let due = {
                let paths = self.paths();
                let due = [paths.to_host.next_due(), paths.to_dialer.next_due()];
                due.into_iter().flatten().min()
            };
            let wake = async {
                match due {
                    Some(due) => sleep_until(self.began + due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Errors are those of earlier packets, which nobody took; the next one may be taken.
                _ = self.door.readable() => self.take(true, &mut buffer),
                _ = self.back.readable() => self.take(false, &mut buffer),
                () = wake => {}
                () = self.changed.notified() => {}
            }
            self.pass().await;
        }
    }

    /// Takes in what has arrived at one socket.
    fn take(&self, at_door: bool, buffer: &mut [u8]) {
        let (socket, sender) = if at_door {
            (&self.door, self.dialer)
        } else {
            (&self.back, self.host)
        };
        for _ in 0..BURST {
            match socket.try_recv_from(buffer) {
                Ok((length, from)) if from == sender => {
                    let packet = buffer.get(..length).unwrap_or_default();
                    self.paths().of(at_door).offer(self.began.elapsed(), packet);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::debug!(%error, "a link could not receive");
                    return;
                }
            }
        }
    }

    /// Passes on what is due.
    async fn pass(&self) {
        for to_host in [true, false] {
            let (socket, receiver) = if to_host {
                (&self.back, self.host)
            } else {
                (&self.door, self.dialer)
            };
            loop {
                let due = self.paths().of(to_host).due(self.began.elapsed());
                let Some(packet) = due else { break };
                if let Err(error) = socket.send_to(&packet, receiver).await {
                    // As on any network, what cannot be sent is lost.
                    tracing::debug!(%error, %receiver, "a link could not send");
                }
            }
        }
    }
}

async fn socket() -> io::Result<UdpSocket> {
    UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).await
}
