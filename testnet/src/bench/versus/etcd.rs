//! etcd: three members on loopback as they come, and a client that puts keys over gRPC.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Uri;
use tokio::runtime::Handle;

use super::ended::Endings;
use super::grpc::{CallError, Channel, PUT, STATUS, is_leader, put_request, status_request};
use super::servers::{Room, Servers};
use super::{MEMBERS, Placement, Spread};
use crate::bench::load::{Ended, Target};
use crate::error::Error;
use crate::process::Programs;

/// Its name in results and errors.
pub(super) const NAME: &str = "etcd";
/// How long the members may take to agree on a leader.
const READY: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

fn failed(what: impl std::fmt::Display) -> Error {
    Error::Compared {
        system: NAME,
        what: what.to_string(),
    }
}

/// What `program` says of its version.
pub(super) fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next()?;
    Some(line.trim_start_matches("etcd Version:").trim().to_owned())
}

/// A cluster that runs.
pub(super) struct Etcd {
    pub(super) servers: Servers,
}

impl Etcd {
    /// Starts a new cluster, with nothing set but names, directories and addresses, and waits until it has a leader.
    ///
    /// # Errors
    /// [`Error::Compared`] if a member ends, [`Error::Timeout`] if they do not get ready.
    pub(super) async fn start(program: &Path, programs: &Programs) -> Result<Self, Error> {
        let room = Room::find(MEMBERS, 2)?;
        let url = |port: &u16| format!("http://127.0.0.1:{port}");
        let peers: Vec<String> = room.port(1).iter().map(url).collect();
        let members: Vec<String> = peers
            .iter()
            .enumerate()
            .map(|(member, peer)| format!("e{member}={peer}"))
            .collect();
        let mut arguments = Vec::new();
        for ((member, client), peer) in room.port(0).iter().map(url).enumerate().zip(&peers) {
            let data = room.directory(member)?.join("data");
            let values: [(&str, OsString); 9] = [
                ("--name", format!("e{member}").into()),
                ("--data-dir", data.into()),
                ("--listen-client-urls", client.clone().into()),
                ("--advertise-client-urls", client.into()),
                ("--listen-peer-urls", peer.into()),
                ("--initial-advertise-peer-urls", peer.into()),
                ("--initial-cluster", members.join(",").into()),
                ("--initial-cluster-state", "new".into()),
                ("--log-level", "error".into()),
            ];
            let flags = values.into_iter().flat_map(|(flag, value)| [flag.into(), value]);
            arguments.push(flags.collect());
        }
        let servers = Servers::start(NAME, programs, program, arguments, room)?;
        let mut etcd = Self { servers };
        let deadline = Instant::now() + READY;
        while let Err(error) = etcd.leader().await {
            etcd.servers.check()?;
            if Instant::now() >= deadline {
                return Err(Error::Timeout {
                    what: "a leader of etcd".to_owned(),
                    seconds: READY.as_secs(),
                    state: error.to_string(),
                });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(etcd)
    }

    /// The port of the member that leads. All members must answer.
    async fn leader(&self) -> Result<u16, Error> {
        let mut leader = None;
        for port in self.servers.room().port(0) {
            let channel = Channel::connect(port).await.map_err(failed)?;
            let method = channel.method(STATUS).map_err(failed)?;
            let answer = channel.call(method, status_request()).await.map_err(failed)?;
            if is_leader(&answer).map_err(failed)? {
                leader = Some(port);
            }
        }
        leader.ok_or_else(|| failed("no member leads"))
    }

    /// A client with connections as `spread` says, that puts `value` under one new key after the other.
    ///
    /// # Errors
    /// [`Error::Compared`] if a connection cannot be made.
    pub(super) async fn client(&self, spread: Spread, value: Bytes) -> Result<EtcdClient, Error> {
        let ports = match spread.placement {
            Placement::Leader => vec![self.leader().await?],
            Placement::Spread => self.servers.room().port(0),
        };
        let mut channels = Vec::new();
        for port in ports.iter().cycle().take(spread.connections) {
            let channel = Channel::connect(*port).await.map_err(failed)?;
            let put = channel.method(PUT).map_err(failed)?;
            channels.push((channel, put));
        }
        Ok(EtcdClient {
            channels,
            runtime: Handle::current(),
            value,
            // Distinct keys, also of clients that come one after the other.
            run: rand::random(),
            next: 0,
            endings: Endings::new(),
        })
    }
}

/// A client that puts.
pub(super) struct EtcdClient {
    channels: Vec<(Channel, Uri)>,
    runtime: Handle,
    value: Bytes,
    run: u64,
    next: u64,
    endings: Endings,
}

impl Target for EtcdClient {
    type Id = u64;

    fn begin(&mut self) -> Option<u64> {
        let number = self.next;
        let place = usize::try_from(number).unwrap_or(0) % self.channels.len().max(1);
        let (channel, put) = self.channels.get(place)?;
        self.next += 1;
        let key = format!("tagma/{:016x}/{number:012}", self.run);
        let message = put_request(key.as_bytes(), &self.value);
        let call = channel.clone().call(put.clone(), message);
        let teller = self.endings.teller();
        self.runtime.spawn(async move {
            let result = call.await.map(drop).map_err(|error| match error {
                CallError::Refused { .. } => "refused",
                _ => "connection",
            });
            teller.tell(number, result);
        });
        Some(number)
    }

    fn ended(&mut self) -> Option<Ended<u64>> {
        self.endings.next_now()
    }

    async fn next_ended(&mut self) -> Option<Ended<u64>> {
        self.endings.next().await
    }
}
