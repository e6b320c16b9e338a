//! TLS 1.3 with raw public keys (RFC 7250), pinned to the network keys of genesis. No certificates, no names, no 0-RTT,
//! no resumption.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime, alg_id,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved,
    SignatureScheme,
};
use tagma_crypto::{Digest, PublicKey, SecretKey};

/// Application protocol between replicas.
pub(crate) const PEER_ALPN: &[u8] = b"tagma-peer/1";
/// Application protocol between a client and a replica.
pub(crate) const CLIENT_ALPN: &[u8] = b"tagma-client/1";

/// The server name a dialer sends: enough of the chain id for the acceptor's log to name both chains when it refuses the
/// dialer's key. It authenticates nothing. A DNS label holds 63 characters, hence half of the digest.
pub(crate) fn chain_name(chain: &Digest) -> String {
    let mut name = chain.to_string();
    name.truncate(32);
    name.push_str(".tagma");
    name
}

/// The key as SubjectPublicKeyInfo (RFC 8410), which stands where a certificate would.
pub(crate) fn spki(key: &PublicKey) -> SubjectPublicKeyInfoDer<'static> {
    rustls::sign::public_key_to_spki(&alg_id::ED25519, key.as_bytes())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn identity(secret: &SecretKey) -> Result<Arc<CertifiedKey>, Error> {
    let der = secret.to_pkcs8_der();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.to_vec()));
    let key = provider().key_provider.load_private_key(private)?;
    let public = CertificateDer::from(spki(&secret.public()).to_vec());
    Ok(Arc::new(CertifiedKey::new(vec![public], key)))
}

/// TLS for a replica's socket for peers: only the keys in `allowed` get in.
pub(crate) fn peer_server(
    secret: &SecretKey,
    chain: Digest,
    allowed: impl Iterator<Item = PublicKey>,
) -> Result<rustls::ServerConfig, Error> {
    let verifier = GenesisPeers {
        allowed: allowed.map(|key| spki(&key).to_vec()).collect(),
        chain,
        signatures: HandshakeSignatures::new(),
    };
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(identity(
            secret,
        )?)));
    Ok(without_resumption(config, PEER_ALPN))
}

/// TLS for a replica's socket for clients: it shows its key and asks for none.
pub(crate) fn client_server(secret: &SecretKey) -> Result<rustls::ServerConfig, Error> {
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(identity(
            secret,
        )?)));
    Ok(without_resumption(config, CLIENT_ALPN))
}

fn without_resumption(mut config: rustls::ServerConfig, alpn: &[u8]) -> rustls::ServerConfig {
    config.alpn_protocols = vec![alpn.to_vec()];
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config
}

/// TLS for dialing the replica whose network key is `expected`. With `secret` the dialer shows its own (replicas do,
/// clients do not).
pub(crate) fn dialer(
    expected: PublicKey,
    chain: Digest,
    secret: Option<&SecretKey>,
    alpn: &[u8],
) -> Result<rustls::ClientConfig, Error> {
    let verifier = PinnedServer {
        expected: spki(&expected),
        key: expected,
        chain,
        signatures: HandshakeSignatures::new(),
    };
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match secret {
        Some(secret) => builder.with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
            identity(secret)?,
        ))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

/// The check that the other side holds the secret of the key it shows: Ed25519 over the handshake's transcript.
#[derive(Debug)]
struct HandshakeSignatures(WebPkiSupportedAlgorithms);

impl HandshakeSignatures {
    fn new() -> Self {
        Self(provider().signature_verification_algorithms)
    }

    fn verify(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if signed.scheme != SignatureScheme::ED25519 {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(key.as_ref()),
            signed,
            &self.0,
        )
    }
}

fn no_tls12() -> Error {
    Error::General("TLS 1.2 is not spoken here".into())
}

/// A key that is not the right one. Its text crosses the wire as the reason of the close, so that both sides can say it.
struct WrongKey(String);

impl WrongKey {
    fn error(text: String) -> Error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Self(text)))))
    }
}

impl fmt::Display for WrongKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// rustls prints the error inside a certificate error in its Debug form.
impl fmt::Debug for WrongKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongKey {}

/// Accepts exactly one server key.
#[derive(Debug)]
struct PinnedServer {
    expected: SubjectPublicKeyInfoDer<'static>,
    key: PublicKey,
    chain: Digest,
    signatures: HandshakeSignatures,
}

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if intermediates.is_empty() && end_entity.as_ref() == self.expected.as_ref() {
            return Ok(ServerCertVerified::assertion());
        }
        Err(WrongKey::error(format!(
            "the server's network key is not {}, which the genesis of chain {} names",
            self.key, self.chain
        )))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Accepts the network keys of genesis.
#[derive(Debug)]
struct GenesisPeers {
    allowed: BTreeSet<Vec<u8>>,
    chain: Digest,
    signatures: HandshakeSignatures,
}

impl ClientCertVerifier for GenesisPeers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.is_empty() && self.allowed.contains(end_entity.as_ref()) {
            return Ok(ClientCertVerified::assertion());
        }
        Err(WrongKey::error(format!(
            "the network key is not in the genesis of chain {}",
            self.chain
        )))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_name_is_a_dns_name() {
        let name = chain_name(&Digest::from_bytes([0xab; 32]));
        assert_eq!(name.len(), 38);
        assert!(ServerName::try_from(name).is_ok());
    }

    #[test]
    fn a_public_key_is_44_bytes_of_spki() {
        let key = SecretKey::from_seed([1; 32]).public();
        let der = spki(&key);
        assert_eq!(der.len(), 44);
        assert!(der.ends_with(key.as_bytes()));
    }
}
