//! QUIC endpoints with every limit set: quinn's defaults are generous.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    AckFrequencyConfig, ConnectionError, ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout,
    MtuDiscoveryConfig, NoneTokenStore, TokioRuntime, TransportConfig, TransportErrorCode,
    ValidationTokenConfig, VarInt,
};
use ring::hmac;
use rustls::AlertDescription;
use tagma_crypto::SecretKey;

use crate::config::TransportLimits;
use crate::counters::{Refusal, Refusals};
use crate::error::BindError;
use crate::sources::{Place, Sources};

/// Bytes of datagrams kept for a handshake that waits to be accepted, one and all.
const INCOMING_BUFFER: u64 = 64 << 10;
const INCOMING_BUFFER_TOTAL: u64 = 4 << 20;

/// The round trip assumed before one is measured. Short, because it spaces the first packets of a dial to a peer that is
/// about to come up; where it is too short, a packet or two is sent twice.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// The largest datagram that the search for what a path carries tries, in bytes: every datagram costs the same few microseconds, however long it is.
/// Ethernet's usual frames carry 1,472, jumbo frames 8,972, loopback 65,507. Ten of them, which is what the system is handed
/// at once, must fit into the 65,507 bytes of one call.
const LARGEST_DATAGRAM: u16 = 6_500;

/// Bytes that may be under way before the first acknowledgement: ten datagrams, as RFC 9002 §7.2 has it for those of usual
/// length. quinn counts with the usual length only, in which two of ours would not fit. The second waited for the
/// acknowledgement of the first, and a close that followed one was not sent at all.
const INITIAL_WINDOW: u64 = 10 * LARGEST_DATAGRAM as u64;

/// So many packets are acknowledged by one; most acknowledgements then travel with what is sent the other way anyway.
const ACKNOWLEDGED_TOGETHER: u32 = 10;

/// QUIC's limits for a connection on which the other side may open so many streams of either kind.
pub(crate) fn transport(
    limits: &TransportLimits,
    bidirectional: u32,
    unidirectional: u32,
) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    let mut congestion = CubicConfig::default();
    congestion.initial_window(INITIAL_WINDOW);
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements.ack_eliciting_threshold(ACKNOWLEDGED_TOGETHER.into());
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(LARGEST_DATAGRAM);
    // Beyond what QUIC can express is as good as its longest.
    let idle = IdleTimeout::try_from(limits.idle_timeout).unwrap_or_else(|_| VarInt::MAX.into());
    transport
        .max_concurrent_bidi_streams(bidirectional.into())
        .max_concurrent_uni_streams(unidirectional.into())
        .stream_receive_window(limits.stream_receive_window.into())
        .receive_window(limits.receive_window.into())
        .send_window(limits.send_window)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(limits.keep_alive))
        .initial_rtt(INITIAL_RTT)
        .ack_frequency_config(Some(acknowledgements))
        .mtu_discovery_config(Some(discovery))
        .congestion_controller_factory(Arc::new(congestion))
        .allow_spin(false)
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0);
    Arc::new(transport)
}

/// A QUIC server of `tls`, with at most `max_incoming` handshakes waiting to be accepted.
pub(crate) fn server(
    tls: rustls::ServerConfig,
    transport: Arc<TransportConfig>,
    max_incoming: usize,
) -> Result<quinn::ServerConfig, BindError> {
    let crypto = QuicServerConfig::try_from(tls).map_err(|error| BindError::Key(error.to_string()))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let mut tokens = ValidationTokenConfig::default();
    tokens.sent(0);
    config
        .transport_config(transport)
        .migration(false)
        .max_incoming(max_incoming)
        .incoming_buffer_size(INCOMING_BUFFER)
        .incoming_buffer_size_total(INCOMING_BUFFER_TOTAL)
        .validation_token_config(tokens);
    Ok(config)
}

/// A QUIC dialer of `tls`.
pub(crate) fn dialer(
    tls: rustls::ClientConfig,
    transport: Arc<TransportConfig>,
) -> Result<quinn::ClientConfig, BindError> {
    let crypto = QuicClientConfig::try_from(tls).map_err(|error| BindError::Key(error.to_string()))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config
        .transport_config(transport)
        .token_store(Arc::new(NoneTokenStore));
    Ok(config)
}

/// Binds a UDP socket.
pub(crate) fn bind(address: SocketAddr) -> Result<UdpSocket, BindError> {
    UdpSocket::bind(address).map_err(|source| BindError::Address { address, source })
}

/// A QUIC endpoint on a bound socket.
///
/// With `reset` (the network secret and the socket's purpose) the endpoint's stateless reset key is derived
/// from the secret and so outlives the process: after a kill and restart the other sides of old connections are
/// told at once that these are gone, instead of finding out by the idle timeout.
pub(crate) fn endpoint(
    socket: UdpSocket,
    server: Option<quinn::ServerConfig>,
    reset: Option<(&SecretKey, &str)>,
) -> Result<quinn::Endpoint, BindError> {
    let mut config = match reset {
        Some((secret, purpose)) => endpoint_config(secret, purpose),
        None => EndpointConfig::default(),
    };
    let accepted = config.max_udp_payload_size(LARGEST_DATAGRAM);
    assert!(
        accepted.is_ok(),
        "the largest datagram is larger than the smallest that QUIC allows"
    );
    quinn::Endpoint::new(config, server, socket, Arc::new(TokioRuntime)).map_err(BindError::Socket)
}

fn endpoint_config(secret: &SecretKey, purpose: &str) -> EndpointConfig {
    let root = hmac::Key::new(hmac::HMAC_SHA256, &secret.to_pkcs8_der());
    let reset = hmac::sign(&root, format!("tagma-wire stateless reset {purpose}").as_bytes());
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, reset.as_ref())));
    config.cid_generator(|| Box::new(RandomIds));
    config
}

/// Random connection ids that say nothing of the process that made them. quinn's default ones are checked against a key of
/// the process, so that after a restart old ones would be dropped in silence instead of being reset.
struct RandomIds;

impl RandomIds {
    const LEN: usize = 8;
}

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&rand::random::<[u8; Self::LEN]>())
    }

    fn cid_len(&self) -> usize {
        Self::LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Lets an incoming handshake in, asks it to prove its address first, or refuses it.
pub(crate) fn admit(
    incoming: quinn::Incoming,
    sources: &Arc<Sources>,
    retry_above: usize,
    refusals: &Refusals,
) -> Option<(quinn::Incoming, Place)> {
    if !incoming.remote_address_validated() && sources.total() >= retry_above {
        refusals.add_retried();
        // Not validated means that a retry is possible; if not, dropping it refuses it.
        let _ = incoming.retry();
        return None;
    }
    let remote = incoming.remote_address();
    match sources.enter(remote.ip()) {
        Some(place) => Some((incoming, place)),
        None => {
            if refusals.add(
                Refusal::Overloaded,
                &format!("too many connections from {}", remote.ip()),
            ) {
                tracing::warn!(%remote, "refused: too many connections from this source or in all");
            }
            incoming.refuse();
            None
        }
    }
}

/// What kind of refusal a failed handshake was, seen from the accepting side.
pub(crate) fn classify(error: &ConnectionError) -> Refusal {
    let alert = |alert: AlertDescription| TransportErrorCode::crypto(alert.into());
    match error {
        ConnectionError::TransportError(error) => match error.code {
            code if code == alert(AlertDescription::CertificateUnknown) => Refusal::UnknownKey,
            code if code == alert(AlertDescription::DecryptError) => Refusal::BadSignature,
            code if code == alert(AlertDescription::CertificateRequired)
                || code == alert(AlertDescription::UnsupportedCertificate) =>
            {
                Refusal::NoKey
            }
            code if code == alert(AlertDescription::NoApplicationProtocol) => Refusal::WrongProtocol,
            _ => Refusal::Handshake,
        },
        ConnectionError::TimedOut => Refusal::HandshakeTimeout,
        ConnectionError::ConnectionClosed(_)
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset => Refusal::RefusedByDialer,
        _ => Refusal::Handshake,
    }
}
