//! What the wire of nodes can carry over loopback: one stream between two endpoints in this process, small frames and large ones.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use tagma_crypto::{Digest, SecretKey};
use tagma_wire::{
    Identity, Lane, PeerConfig, PeerEndpoint, PeerEvent, PeerEvents, PeerId, PeerInfo, WireCounters,
};
use tokio::time::timeout_at;

use super::machine::process_time;
use crate::error::Error;

/// Bytes of a frame about as long as a vote.
const SMALL: usize = 200;
/// Bytes of a frame about as long as a batch.
const LARGE: usize = 64 << 10;
/// How long the endpoints may take to connect.
const CONNECTING: Duration = Duration::from_secs(10);
/// Between two attempts to send while the queue is full.
const FULL: Duration = Duration::from_micros(100);

/// What one stream carries. Both ends are in this process, so a core's share covers sending and receiving.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quic {
    /// Frames of 200 bytes a second.
    pub small_frames: f64,
    /// The same per second of processor time.
    pub small_frames_per_core: f64,
    /// Bytes a second in frames of 64 KiB.
    pub bytes: f64,
    /// The same per second of processor time.
    pub bytes_per_core: f64,
}

struct Flow {
    frames: f64,
    seconds: f64,
    processor: f64,
}

impl Quic {
    /// Measures each for so long. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If no socket can be had, or the endpoints do not connect.
    pub async fn measure(each: Duration) -> Result<Self, Error> {
        let (ours, theirs) = (socket()?, socket()?);
        let addresses = [address(&ours)?, address(&theirs)?];
        // The sender's own events are of no interest, but must have somebody who could take them.
        let (sender, _sender_events) = endpoint(0, ours, addresses)?;
        let (receiver, mut events) = endpoint(1, theirs, addresses)?;
        let deadline = Instant::now() + CONNECTING;
        while !sender.is_connected(1) || !receiver.is_connected(0) {
            if Instant::now() >= deadline {
                return Err(Error::NothingMeasured(
                    "two endpoints on loopback did not connect".to_owned(),
                ));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let small = flow(&sender, &mut events, Lane::Votes, SMALL, each).await?;
        let large = flow(&sender, &mut events, Lane::Bulk, LARGE, each).await?;
        sender.close("measured", CONNECTING).await;
        receiver.close("measured", CONNECTING).await;
        #[expect(clippy::cast_precision_loss, reason = "64 KiB")]
        let length = LARGE as f64;
        Ok(Self {
            small_frames: small.frames / small.seconds,
            small_frames_per_core: small.frames / small.processor,
            bytes: large.frames * length / large.seconds,
            bytes_per_core: large.frames * length / large.processor,
        })
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::io(
        "use",
        Path::new("loopback"),
        std::io::Error::other(error.to_string()),
    )
}

fn socket() -> Result<UdpSocket, Error> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)
}

fn address(socket: &UdpSocket) -> Result<SocketAddr, Error> {
    socket.local_addr().map_err(failed)
}

fn endpoint(
    id: PeerId,
    socket: UdpSocket,
    addresses: [SocketAddr; 2],
) -> Result<(PeerEndpoint, PeerEvents), Error> {
    let secret = |id: PeerId| {
        SecretKey::from_seed(*Digest::of("tagma/bench/network", &[&id.to_le_bytes()]).as_bytes())
    };
    let peers: Vec<PeerInfo> = (0..)
        .zip(addresses)
        .map(|(id, address)| PeerInfo {
            id,
            address,
            network_key: secret(id).public(),
        })
        .collect();
    let identity = Identity {
        id,
        network_secret: secret(id),
        chain: Digest::of("tagma/bench/chain", &[]),
    };
    let config = PeerConfig::new(address(&socket)?);
    let counters = Arc::new(WireCounters::new([0, 1]));
    PeerEndpoint::with_socket(socket, config, &identity, peers, counters).map_err(failed)
}

/// Sends as fast as the other side takes, for so long, and counts what arrives meanwhile.
async fn flow(
    sender: &PeerEndpoint,
    events: &mut PeerEvents,
    lane: Lane,
    length: usize,
    time: Duration,
) -> Result<Flow, Error> {
    let frame = Bytes::from(vec![7; length]);
    let (began, used) = (Instant::now(), process_time());
    let end = tokio::time::Instant::now() + time;
    let send = async {
        loop {
            if sender.send(1, lane, frame.clone()).is_err() {
                tokio::time::sleep(FULL).await;
            }
        }
    };
    let receive = async {
        let mut frames = 0_u32;
        while let Ok(Some(event)) = timeout_at(end, events.recv()).await {
            if let PeerEvent::Frame { payload, .. } = event
                && payload.len() == length
            {
                frames += 1;
            }
        }
        frames
    };
    tokio::pin!(send);
    let frames = tokio::select! {
        frames = receive => frames,
        () = &mut send => 0,
    };
    if frames == 0 {
        return Err(Error::NothingMeasured("no frame crossed loopback".to_owned()));
    }
    Ok(Flow {
        frames: f64::from(frames),
        seconds: began.elapsed().as_secs_f64(),
        processor: process_time().saturating_sub(used).as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn frames_and_bytes_cross_loopback() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let quic = runtime
            .block_on(Quic::measure(Duration::from_millis(200)))
            .unwrap();
        assert!(quic.small_frames > 0.0 && quic.bytes > 0.0, "{quic:?}");
        assert!(
            quic.small_frames_per_core > 0.0 && quic.bytes_per_core > 0.0,
            "{quic:?}"
        );
    }
}
