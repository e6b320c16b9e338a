//! Every bound of this crate, with the relations between them checked before anything is bound.

use std::{net::SocketAddr, time::Duration};

use crate::error::BindError;

/// The bounds of one lane between two replicas, each way.
#[derive(Clone, Debug)]
pub struct LaneLimits {
    /// Longest frame, in bytes. A longer one closes the connection.
    pub max_frame: usize,
    /// Most frames that wait to be sent to one peer; further ones are dropped and counted.
    pub queue_frames: usize,
    /// Most bytes that wait to be sent to one peer.
    pub queue_bytes: usize,
    /// Most frames of one peer that the owner of the endpoint has not finished with.
    pub inbound_frames: usize,
    /// Most bytes of one peer that the owner of the endpoint has not finished with.
    pub inbound_bytes: usize,
}

impl LaneLimits {
    fn check(&self, name: &str) -> Result<(), BindError> {
        if self.max_frame == 0 || self.max_frame > u32::MAX as usize {
            return Err(BindError::Config(format!(
                "{name}: max_frame must be 1 to 2^32 - 1 bytes"
            )));
        }
        if self.queue_frames == 0 || self.inbound_frames == 0 {
            return Err(BindError::Config(format!(
                "{name}: frame counts must not be zero"
            )));
        }
        if self.queue_bytes < self.max_frame || self.inbound_bytes < self.max_frame {
            return Err(BindError::Config(format!(
                "{name}: byte budgets must hold a frame of max_frame"
            )));
        }
        if self.inbound_bytes > u32::MAX as usize {
            return Err(BindError::Config(format!(
                "{name}: inbound_bytes must be below 2^32"
            )));
        }
        Ok(())
    }
}

/// QUIC's own windows and idle limits. One stream of frames a direction and the hello stream are all there is.
#[derive(Clone, Debug)]
pub struct TransportLimits {
    /// Bytes the other side may have in flight on one stream.
    pub stream_receive_window: u32,
    /// Bytes the other side may have in flight on one connection.
    pub receive_window: u32,
    /// Bytes of ours that QUIC keeps until they are acknowledged. Above the stream window, so that no write of a
    /// small frame waits behind this connection-wide limit.
    pub send_window: u64,
    /// A connection that hears nothing for so long is lost.
    pub idle_timeout: Duration,
    /// How often a silent connection is kept alive.
    pub keep_alive: Duration,
}

impl TransportLimits {
    fn check(&self) -> Result<(), BindError> {
        if u64::from(self.stream_receive_window) >= self.send_window {
            return Err(BindError::Config(
                "stream_receive_window must be below send_window".into(),
            ));
        }
        if self.stream_receive_window == 0 || self.receive_window < self.stream_receive_window {
            return Err(BindError::Config(
                "receive_window must hold a full stream window".into(),
            ));
        }
        if self.keep_alive >= self.idle_timeout {
            return Err(BindError::Config(
                "keep_alive must be shorter than idle_timeout".into(),
            ));
        }
        Ok(())
    }
}

/// What a socket accepts from sources that have not yet proved who they are.
#[derive(Clone, Debug)]
pub struct AcceptLimits {
    /// Most connections at once (client socket), or most handshakes at once (peer socket).
    pub max_total: usize,
    /// Most of these from one source: an IPv4 address or an IPv6 /64.
    pub max_per_source: usize,
    /// From so many on, a source must prove its address first (QUIC Retry).
    pub retry_above: usize,
    /// Deadline of the QUIC and TLS handshake.
    pub handshake_timeout: Duration,
    /// Deadline of the hello after it, and of its answer.
    pub hello_timeout: Duration,
    /// A begun frame must be complete after this, plus the time its length takes at `min_rate`.
    pub frame_timeout: Duration,
    /// Slowest acceptable rate of a begun frame, in bytes per second.
    pub min_rate: u32,
}

impl AcceptLimits {
    fn check(&self) -> Result<(), BindError> {
        if self.max_total == 0 || self.max_per_source == 0 || self.min_rate == 0 {
            return Err(BindError::Config(
                "max_total, max_per_source and min_rate must not be zero".into(),
            ));
        }
        Ok(())
    }
}

/// How a replica talks to the other replicas.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// UDP address to bind.
    pub listen: SocketAddr,
    /// Agreement messages, small.
    pub votes: LaneLimits,
    /// Batches, certificates and state, large.
    pub bulk: LaneLimits,
    /// QUIC windows.
    pub transport: TransportLimits,
    /// Limits on handshakes.
    pub accept: AcceptLimits,
    /// First pause before dialing again.
    pub reconnect_min: Duration,
    /// Longest pause before dialing again.
    pub reconnect_max: Duration,
}

impl PeerConfig {
    /// Defaults for a socket at `listen`.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            votes: LaneLimits {
                max_frame: 64 << 10,
                queue_frames: 8192,
                queue_bytes: 8 << 20,
                inbound_frames: 1024,
                inbound_bytes: 2 << 20,
            },
            bulk: LaneLimits {
                max_frame: 32 << 20,
                queue_frames: 1024,
                queue_bytes: 64 << 20,
                inbound_frames: 128,
                inbound_bytes: 64 << 20,
            },
            transport: TransportLimits {
                stream_receive_window: 4 << 20,
                receive_window: 5 << 20,
                send_window: 8 << 20,
                // Short, so that one that was killed soon counts as gone. Who was only paused finds its connections lost
                // and dials again, which costs a handshake; what was queued meanwhile is asked for by STATUS.
                idle_timeout: Duration::from_secs(5),
                keep_alive: Duration::from_secs(1),
            },
            accept: AcceptLimits {
                max_total: 256,
                max_per_source: 128,
                retry_above: 32,
                handshake_timeout: Duration::from_secs(3),
                hello_timeout: Duration::from_secs(5),
                frame_timeout: Duration::from_secs(20),
                min_rate: 64 << 10,
            },
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(1),
        }
    }

    pub(crate) fn check(&self) -> Result<(), BindError> {
        self.votes.check("votes lane")?;
        self.bulk.check("bulk lane")?;
        self.transport.check()?;
        self.accept.check()?;
        if self.reconnect_min.is_zero() || self.reconnect_min > self.reconnect_max {
            return Err(BindError::Config(
                "0 < reconnect_min <= reconnect_max must hold".into(),
            ));
        }
        Ok(())
    }
}

/// How a replica listens to clients.
#[derive(Clone, Debug)]
pub struct ClientListenerConfig {
    /// UDP address to bind.
    pub listen: SocketAddr,
    /// Bounds of one connection: `max_frame` is the longest request; the queue holds replies.
    pub frames: LaneLimits,
    /// Most requests of one client that the owner of the listener has not finished with, once it has widened what `frames` allows.
    pub earned_frames: usize,
    /// Longest reply, in bytes. A longer one is not sent.
    pub max_reply: usize,
    /// QUIC windows.
    pub transport: TransportLimits,
    /// Limits on connections.
    pub accept: AcceptLimits,
    /// A connection without a request for so long is closed.
    pub idle_timeout: Duration,
}

impl ClientListenerConfig {
    /// Defaults for a socket at `listen`.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            frames: LaneLimits {
                max_frame: 64 << 10,
                queue_frames: 1024,
                queue_bytes: 4 << 20,
                inbound_frames: 16,
                inbound_bytes: 256 << 10,
            },
            earned_frames: 512,
            max_reply: 4 << 20,
            transport: TransportLimits {
                stream_receive_window: 256 << 10,
                receive_window: 320 << 10,
                send_window: 1 << 20,
                idle_timeout: Duration::from_secs(30),
                keep_alive: Duration::from_secs(8),
            },
            accept: AcceptLimits {
                max_total: 256,
                max_per_source: 128,
                retry_above: 64,
                handshake_timeout: Duration::from_secs(5),
                hello_timeout: Duration::from_secs(5),
                frame_timeout: Duration::from_secs(10),
                min_rate: 16 << 10,
            },
            idle_timeout: Duration::from_secs(300),
        }
    }

    pub(crate) fn check(&self) -> Result<(), BindError> {
        self.frames.check("client frames")?;
        self.transport.check()?;
        self.accept.check()?;
        if self.earned_frames < self.frames.inbound_frames {
            return Err(BindError::Config(
                "earned_frames must be at least inbound_frames".into(),
            ));
        }
        if self.max_reply == 0 || self.max_reply > self.frames.queue_bytes {
            return Err(BindError::Config("max_reply must be 1 to queue_bytes".into()));
        }
        Ok(())
    }
}

/// How a client talks to replicas.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Local UDP address to bind; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Longest request, in bytes.
    pub max_request: usize,
    /// Longest reply, in bytes. A replica that sends a longer one is disconnected.
    pub max_reply: usize,
    /// Most requests that wait to be sent to one replica.
    pub queue_frames: usize,
    /// Most replies of one replica that have not been taken.
    pub inbound_frames: usize,
    /// QUIC windows.
    pub transport: TransportLimits,
    /// Deadline of the QUIC and TLS handshake and, apart, of the hello.
    pub connect_timeout: Duration,
}

impl ClientConfig {
    /// Defaults for a socket at `bind`.
    pub fn new(bind: SocketAddr) -> Self {
        Self {
            bind,
            max_request: 64 << 10,
            max_reply: 4 << 20,
            queue_frames: 1024,
            inbound_frames: 64,
            transport: TransportLimits {
                stream_receive_window: 1 << 20,
                receive_window: 2 << 20,
                send_window: 4 << 20,
                idle_timeout: Duration::from_secs(30),
                keep_alive: Duration::from_secs(8),
            },
            connect_timeout: Duration::from_secs(5),
        }
    }

    pub(crate) fn check(&self) -> Result<(), BindError> {
        self.transport.check()?;
        let frame = u32::MAX as usize;
        if self.max_request == 0 || self.max_reply == 0 || self.max_request.max(self.max_reply) > frame {
            return Err(BindError::Config(
                "max_request and max_reply must be 1 to 2^32 - 1 bytes".into(),
            ));
        }
        if self.queue_frames == 0 || self.inbound_frames == 0 {
            return Err(BindError::Config("frame counts must not be zero".into()));
        }
        Ok(())
    }
}
