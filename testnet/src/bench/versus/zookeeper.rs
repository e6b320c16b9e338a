//! ZooKeeper: three servers on loopback as they come, and a client that sets the data of nodes over its own protocol.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::ended::{Endings, Teller};
use super::jute::{self, NODE_EXISTS};
use super::servers::{Room, Servers, on_path};
use super::{MEMBERS, Placement, Spread};
use crate::bench::load::{Ended, Target};
use crate::error::Error;
use crate::process::Programs;

/// Its name in results and errors.
pub(super) const NAME: &str = "zookeeper";
/// Where Debian's package puts it, with what it needs named inside.
const JAR: &str = "/usr/share/java/zookeeper.jar";
const MAIN: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
/// How long the servers may take to agree on a leader.
const READY: Duration = Duration::from_secs(90);
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(200);
/// A session is kept so long without a word: the longest that servers grant by default.
const SESSION_MS: i32 = 40_000;
/// How many nodes are set in turn.
pub(super) const NODES: u64 = 1000;
/// So many requests go to the socket at once, if they are there.
const COALESCED: usize = 256;

/// Answers to nobody's request: watches and pings.
const UNASKED: std::ops::RangeInclusive<i32> = -4..=-1;

fn failed(what: impl std::fmt::Display) -> Error {
    Error::Compared {
        system: NAME,
        what: what.to_string(),
    }
}

/// Java, if both it and ZooKeeper are there.
pub(super) fn find() -> Option<PathBuf> {
    Path::new(JAR).is_file().then(|| on_path("java")).flatten()
}

fn node(number: u64) -> String {
    format!("/tagma/{:04}", number % NODES)
}

/// An ensemble that runs.
pub(super) struct ZooKeeper {
    pub(super) servers: Servers,
    /// What it says of its version.
    pub(super) version: Option<String>,
}

impl ZooKeeper {
    /// Starts a new ensemble, with nothing set but directories, addresses and its log, waits until it has a leader, and makes
    /// the nodes that are set later.
    ///
    /// # Errors
    /// [`Error::Compared`] if a server ends, [`Error::Timeout`] if they do not get ready.
    pub(super) async fn start(java: &Path, programs: &Programs, value: &Bytes) -> Result<Self, Error> {
        let room = Room::find(MEMBERS, 3)?;
        let mut ensemble = String::new();
        for (server, ports) in room.ports.iter().enumerate() {
            if let [_, quorum, election] = ports.as_slice() {
                let line = writeln!(ensemble, "server.{}=127.0.0.1:{quorum}:{election}", server + 1);
                assert!(line.is_ok(), "writing into a string cannot fail");
            }
        }
        let mut arguments = Vec::new();
        for (server, client) in room.port(0).iter().enumerate() {
            arguments.push(arrange(&room.directory(server)?, server, *client, &ensemble)?);
        }
        let servers = Servers::start(NAME, programs, java, arguments, room)?;
        let mut zookeeper = Self {
            servers,
            version: None,
        };
        let deadline = Instant::now() + READY;
        while let Err(error) = zookeeper.leader().await {
            zookeeper.servers.check()?;
            if Instant::now() >= deadline {
                return Err(Error::Timeout {
                    what: "a leader of ZooKeeper".to_owned(),
                    seconds: READY.as_secs(),
                    state: error.to_string(),
                });
            }
            tokio::time::sleep(POLL).await;
        }
        zookeeper.make_nodes(value).await?;
        Ok(zookeeper)
    }

    /// The port of the server that leads. All servers must answer.
    async fn leader(&mut self) -> Result<u16, Error> {
        let mut leader = None;
        for port in self.servers.room().port(0) {
            let answer = tokio::time::timeout(PATIENCE, ask(port)).await;
            let answer = answer.map_err(failed)?.map_err(failed)?;
            if answer.contains("Mode: leader") {
                leader = Some(port);
            } else if !answer.contains("Mode: follower") {
                return Err(failed(answer.trim()));
            }
            let said = answer.lines().next().and_then(|line| line.split_once(": "));
            self.version =
                said.map(|(_, version)| version.split([',', '-']).next().unwrap_or(version).to_owned());
        }
        leader.ok_or_else(|| failed("no server leads"))
    }

    async fn make_nodes(&mut self, value: &Bytes) -> Result<(), Error> {
        let (mut reading, mut writing) = session(self.leader().await?).await?;
        let mut out = BytesMut::new();
        jute::put_create(&mut out, 1, "/tagma", b"");
        for (xid, number) in (2..).zip(0..NODES) {
            jute::put_create(&mut out, xid, &node(number), value);
        }
        writing.write_all(&out).await.map_err(failed)?;
        let mut input = BytesMut::new();
        for _ in 0..=NODES {
            let frame = next_frame(&mut reading, &mut input).await?;
            match jute::reply(frame) {
                Some(reply) if reply.error == 0 || reply.error == NODE_EXISTS => {}
                other => return Err(failed(format!("a node could not be made: {other:?}"))),
            }
        }
        Ok(())
    }

    /// A client with connections as `spread` says, that sets one node after the other to `value`.
    ///
    /// # Errors
    /// [`Error::Compared`] if a session cannot be had.
    pub(super) async fn client(&mut self, spread: Spread, value: Bytes) -> Result<ZooKeeperClient, Error> {
        let ports = match spread.placement {
            Placement::Leader => vec![self.leader().await?],
            Placement::Spread => self.servers.room().port(0),
        };
        let endings = Endings::new();
        let mut sessions = Vec::new();
        for port in ports.iter().cycle().take(spread.connections) {
            let (reading, writing) = session(*port).await?;
            sessions.push(Session::begin(reading, writing, endings.teller()));
        }
        Ok(ZooKeeperClient {
            sessions,
            value,
            next: 0,
            endings,
        })
    }
}

/// Writes what a server reads at its start, and gives its arguments.
fn arrange(directory: &Path, server: usize, client: u16, ensemble: &str) -> Result<Vec<OsString>, Error> {
    let data = directory.join("data");
    fs::create_dir_all(&data).map_err(|source| Error::io("create", &data, source))?;
    let write = |path: PathBuf, text: String| {
        fs::write(&path, text).map_err(|source| Error::io("write", &path, source))?;
        Ok::<_, Error>(path)
    };
    write(data.join("myid"), format!("{}\n", server + 1))?;
    write(
        directory.join("log4j.properties"),
        "log4j.rootLogger=ERROR, CONSOLE\nlog4j.appender.CONSOLE=org.apache.log4j.ConsoleAppender\n\
         log4j.appender.CONSOLE.layout=org.apache.log4j.PatternLayout\n"
            .to_owned(),
    )?;
    // tickTime, initLimit and syncLimit are those of the example that comes with it: there is no default for them.
    let settings = write(
        directory.join("zoo.cfg"),
        format!(
            "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={client}\nclientPortAddress=127.0.0.1\n\
             admin.enableServer=false\n{ensemble}",
            data.display()
        ),
    )?;
    let mut path = directory.as_os_str().to_owned();
    path.push(":");
    path.push(JAR);
    Ok(vec!["-cp".into(), path, MAIN.into(), settings.into()])
}

/// What a server says of itself.
async fn ask(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"srvr").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// A new session.
async fn session(port: u16) -> Result<(OwnedReadHalf, OwnedWriteHalf), Error> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let (mut reading, mut writing) = stream.into_split();
    let mut out = BytesMut::new();
    jute::put_connect(&mut out, SESSION_MS);
    writing.write_all(&out).await.map_err(failed)?;
    next_frame(&mut reading, &mut BytesMut::new()).await?;
    Ok((reading, writing))
}

async fn next_frame(reading: &mut OwnedReadHalf, input: &mut BytesMut) -> Result<BytesMut, Error> {
    loop {
        let taken = jute::take_frame(input);
        let length = |length| failed(format!("a frame of {length} bytes"));
        if let Some(frame) = taken.map_err(length)? {
            return Ok(frame);
        }
        if reading.read_buf(input).await.map_err(failed)? == 0 {
            return Err(failed("the server has closed a connection"));
        }
    }
}

/// One connection: requests are answered in their order.
struct Session {
    requests: UnboundedSender<BytesMut>,
    expected: UnboundedSender<(i32, u64)>,
    xid: i32,
}

impl Session {
    fn begin(reading: OwnedReadHalf, writing: OwnedWriteHalf, teller: Teller) -> Self {
        let (requests, to_write) = unbounded_channel();
        let (expected, expecting) = unbounded_channel();
        tokio::spawn(write(writing, to_write));
        tokio::spawn(read(reading, expecting, teller));
        Self {
            requests,
            expected,
            xid: 0,
        }
    }
}

/// Writes whatever waits at once. Ends when the session is dropped or the connection breaks.
async fn write(mut writing: OwnedWriteHalf, mut requests: UnboundedReceiver<BytesMut>) {
    let mut waiting = Vec::new();
    let mut out = BytesMut::new();
    while requests.recv_many(&mut waiting, COALESCED).await > 0 {
        for request in waiting.drain(..) {
            out.extend_from_slice(&request);
        }
        // The reader sees the end of the connection too, and tells of it.
        if writing.write_all(&out).await.is_err() {
            return;
        }
        out.clear();
    }
}

/// Reads answers until the connection or the session ends; what is not answered then has failed.
async fn read(mut reading: OwnedReadHalf, mut expecting: UnboundedReceiver<(i32, u64)>, teller: Teller) {
    let mut input = BytesMut::new();
    while let Ok(frame) = next_frame(&mut reading, &mut input).await {
        let Some(reply) = jute::reply(frame) else { break };
        if UNASKED.contains(&reply.xid) {
            continue;
        }
        let Some((xid, number)) = expecting.recv().await else {
            return;
        };
        let result = match reply.error {
            _ if reply.xid != xid => Err("an answer to another request"),
            0 => Ok(()),
            _ => Err("refused"),
        };
        teller.tell(number, result);
    }
    while let Some((_, number)) = expecting.recv().await {
        teller.tell(number, Err("connection"));
    }
}

/// A client that sets.
pub(super) struct ZooKeeperClient {
    sessions: Vec<Session>,
    value: Bytes,
    next: u64,
    endings: Endings,
}

impl Target for ZooKeeperClient {
    type Id = u64;

    fn begin(&mut self) -> Option<u64> {
        let number = self.next;
        let place = usize::try_from(number).unwrap_or(0) % self.sessions.len().max(1);
        let session = self.sessions.get_mut(place)?;
        self.next += 1;
        // Numbers below zero are the server's own.
        session.xid = session.xid.checked_add(1).unwrap_or(1);
        let mut request = BytesMut::new();
        jute::put_set_data(&mut request, session.xid, &node(number), &self.value);
        // Expected before it is sent: an answer can never come first. Both queues outlive the session.
        let _ = session.expected.send((session.xid, number));
        let _ = session.requests.send(request);
        Some(number)
    }

    fn ended(&mut self) -> Option<Ended<u64>> {
        self.endings.next_now()
    }

    async fn next_ended(&mut self) -> Option<Ended<u64>> {
        self.endings.next().await
    }
}
