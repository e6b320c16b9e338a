//! How the links of a network are told what to do: one line of JSON there, one back, over a socket in the network's directory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tagma_ledger::Genesis;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::change::{Change, Link};
use super::path::Counts;
use super::relay::Relay;
use crate::error::Error;
use crate::layout::Layout;

/// The longest order or answer: what 31 replicas' links need is far below.
const MAX_LINE: u64 = 4 << 20;
/// How long an order or an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the process looks whether its network is still there.
const LOOK: Duration = Duration::from_secs(2);

/// How the links are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The seed of their chance.
    pub seed: u64,
    /// Every direction of every link.
    pub links: Vec<Link>,
    /// What became of the packets of each, in the same order.
    pub counts: Vec<Counts>,
    /// Dialer, host, and where the one finds the other.
    pub doors: Vec<(u16, u16, SocketAddr)>,
}

impl State {
    /// Each link with what became of its packets.
    pub fn each(&self) -> impl Iterator<Item = (&Link, &Counts)> {
        self.links.iter().zip(&self.counts)
    }
}

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    Show,
    Change(Change),
}

type Answer = Result<State, String>;

/// Where the links of a network listen. A socket's path may only be 108 bytes long, so it is reached through its directory, which
/// must stay open until then.
struct Place {
    _directory: File,
    socket: PathBuf,
}

impl Place {
    fn of(layout: &Layout) -> io::Result<Self> {
        let directory = File::open(layout.links())?;
        let socket = format!("/proc/self/fd/{}/control", directory.as_raw_fd());
        Ok(Self {
            _directory: directory,
            socket: socket.into(),
        })
    }
}

/// Asks the links of a network how they are.
///
/// # Errors
/// If they do not answer.
pub fn show(layout: &Layout) -> Result<State, Error> {
    order(layout, &Order::Show)
}

/// Changes links, and says how they are then.
///
/// # Errors
/// If they do not answer, or there are no such links.
pub fn change(layout: &Layout, change: Change) -> Result<State, Error> {
    order(layout, &Order::Change(change))
}

fn order(layout: &Layout, order: &Order) -> Result<State, Error> {
    let path = layout.links();
    let answer = ask(layout, order).map_err(|source| Error::io("ask the links in", &path, source))?;
    answer.map_err(|why| Error::usage(why, "tagma-testnet net show lists the links there are"))
}

fn ask(layout: &Layout, order: &Order) -> io::Result<Answer> {
    let stream = UnixStream::connect(Place::of(layout)?.socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_string(order)?;
    line.push('\n');
    (&stream).write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(io::Read::take(&stream, MAX_LINE)).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

/// The `links` command: carries the links of a network and does as it is told, until it is killed or the network is removed.
///
/// # Errors
/// If the network cannot be read, or the system gives no sockets.
pub async fn serve(layout: &Layout, seed: u64) -> Result<(), Error> {
    let genesis = Genesis::load(&layout.genesis())?;
    let path = layout.links();
    let failed = |source| Error::io("carry the links in", &path, source);
    let relay = Relay::start(&genesis, seed).await.map_err(failed)?;
    let listener = listen(layout).map_err(failed)?;
    answer_orders(listener, relay, seed, &layout.genesis())
        .await
        .map_err(failed)
}

fn listen(layout: &Layout) -> io::Result<UnixListener> {
    let place = Place::of(layout)?;
    // One of a process that was killed. Only one at a time is started.
    match std::fs::remove_file(&place.socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(&place.socket)
}

async fn answer_orders(
    listener: UnixListener,
    mut relay: Relay,
    seed: u64,
    genesis: &Path,
) -> io::Result<()> {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = tokio::time::sleep(LOOK) => {
                if genesis.exists() {
                    continue;
                }
                return Ok(());
            }
        };
        let (mut stream, _) = accepted?;
        let exchange = async {
            let (read, mut write) = stream.split();
            let mut line = String::new();
            let mut reader = tokio::io::BufReader::new(read.take(MAX_LINE));
            reader.read_line(&mut line).await?;
            let answer: Answer = match serde_json::from_str(&line) {
                Ok(Order::Show) => Ok(state(&relay, seed)?),
                Ok(Order::Change(change)) => match relay.apply(&change) {
                    Ok(()) => Ok(state(&relay, seed)?),
                    Err(why) => Err(why),
                },
                Err(error) => Err(error.to_string()),
            };
            let mut text = serde_json::to_string(&answer)?;
            text.push('\n');
            write.write_all(text.as_bytes()).await
        };
        // One who asks and does not listen is not waited for.
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "an order was not answered"),
            Err(_) => tracing::warn!("an order took too long"),
        }
    }
}

fn state(relay: &Relay, seed: u64) -> io::Result<State> {
    let links = relay.links().all();
    let counts = links
        .iter()
        .map(|link| relay.counts(link.from, link.to))
        .collect();
    Ok(State {
        seed,
        links,
        counts,
        doors: relay.doors()?,
    })
}
