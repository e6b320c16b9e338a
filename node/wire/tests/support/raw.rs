//! A QUIC dialer and server made straight from quinn and rustls, which can break any rule of the wire.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime, alg_id};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, public_key_to_spki};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use tagma_crypto::encode::{Encode, encode};
use tagma_crypto::{Digest, PublicKey, SecretKey};

use super::soon;

/// `secret` signs; `shown` is what is said to be its public key.
pub fn certified(secret: &SecretKey, shown: PublicKey) -> Arc<CertifiedKey> {
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(secret.to_pkcs8_der().to_vec()));
    let key = default_provider().key_provider.load_private_key(private).unwrap();
    let spki = public_key_to_spki(&alg_id::ED25519, shown.as_bytes());
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki.to_vec())], key))
}

/// Believes every server.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Credulous {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Offers to show a raw public key, and then has none.
#[derive(Debug)]
struct Keyless;

impl ResolvesClientCert for Keyless {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// What a dialer shows.
pub enum Shown {
    Key(Arc<CertifiedKey>),
    /// Nothing, although it offered to.
    Nothing,
    /// Nothing, and it never offered to.
    NotOffered,
}

/// A dialer that keeps no rules.
pub struct RawDialer {
    endpoint: quinn::Endpoint,
    config: quinn::ClientConfig,
}

impl RawDialer {
    pub fn new(shown: Shown, alpn: &str) -> Self {
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous));
        let mut tls = match shown {
            Shown::Key(key) => {
                builder.with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key)))
            }
            Shown::Nothing => builder.with_client_cert_resolver(Arc::new(Keyless)),
            Shown::NotOffered => builder.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        Self {
            endpoint: quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap(),
            config,
        }
    }

    /// An honest replica's key and protocol; what comes after is up to the test.
    pub fn replica(secret: &SecretKey) -> Self {
        Self::new(Shown::Key(certified(secret, secret.public())), "tagma-peer/1")
    }

    pub fn client() -> Self {
        Self::new(Shown::NotOffered, "tagma-client/1")
    }

    pub async fn connect(&self, address: SocketAddr) -> Result<Connection, ConnectionError> {
        soon(
            "the handshake",
            self.endpoint
                .connect_with(self.config.clone(), address, "raw.tagma")
                .unwrap(),
        )
        .await
    }

    /// Dials and waits for the refusal that must follow, at once or after the dialer's side seemed complete.
    pub async fn refusal(&self, address: SocketAddr) -> String {
        match self.connect(address).await {
            Err(error) => error.to_string(),
            Ok(connection) => soon("a refusal", connection.closed()).await.to_string(),
        }
    }
}

/// A server that shows `shown` and signs with `secret`, and takes any key. Its endpoint must be kept.
pub fn server(secret: &SecretKey, shown: PublicKey, alpn: &str) -> (quinn::Endpoint, SocketAddr) {
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(Credulous))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(
            secret, shown,
        ))));
    tls.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = endpoint.local_addr().unwrap();
    (endpoint, address)
}

/// The peer hello as the wire has it, written down here once more: version, chain, from, to, lane.
pub fn peer_hello(chain: Digest, from: u32, to: u32, lane: u32) -> Vec<u8> {
    encoded(&(1_u32, chain, (from, to), lane))
}

/// The client hello: version, chain.
pub fn client_hello(chain: Digest) -> Vec<u8> {
    encoded(&(1_u32, chain))
}

fn encoded<T: Encode>(value: &T) -> Vec<u8> {
    encode(value)
}

pub fn framed(payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_le_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame
}

/// Sends a hello frame on a new stream and reads the answer's payload.
pub async fn greet(connection: &Connection, hello: &[u8]) -> (SendStream, RecvStream, Vec<u8>) {
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&framed(hello)).await.unwrap();
    let mut header = [0; 4];
    soon("an answer", recv.read_exact(&mut header)).await.unwrap();
    let mut payload = vec![0; u32::from_le_bytes(header) as usize];
    soon("an answer", recv.read_exact(&mut payload)).await.unwrap();
    (send, recv, payload)
}

/// Both lanes of replica `from` to the replica `to` at `address`, accepted: votes, bulk.
pub async fn join(
    dialer: &RawDialer,
    address: SocketAddr,
    chain: Digest,
    from: u32,
    to: u32,
) -> [Connection; 2] {
    let mut lanes = Vec::new();
    for lane in [0, 1] {
        let connection = dialer.connect(address).await.unwrap();
        let (_, _, answer) = greet(&connection, &peer_hello(chain, from, to, lane)).await;
        assert_eq!(answer[..4], [0; 4], "accepted");
        lanes.push(connection);
    }
    lanes.try_into().unwrap()
}
