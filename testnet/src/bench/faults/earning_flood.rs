//! A client that behaves until a replica trusts it, and then does not.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use tagma_client::Client;
use tagma_crypto::encode::encode;
use tagma_crypto::{Digest, SecretKey};
use tagma_ledger::SignedTransaction;
use tagma_wire::client_protocol::ClientRequest;
use tagma_wire::{ClientConfig, ClientConnection, ClientEndpoint};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::client_flood::transfer;
use crate::error::Error;
use crate::network::Network;
use crate::observe::connect;

/// So often each good one in turn: as many as a replica allows at first, and twice as many each time it might allow more.
const COPIES: [usize; 6] = [16, 32, 64, 128, 256, 512];
/// And then so many bad ones, which is the most that a replica allows.
const BAD: usize = 512;
/// How long it asks for its next nonce.
const READING: Duration = Duration::from_secs(1);
/// How long it waits for an answer before it begins again.
const ANSWER: Duration = Duration::from_millis(100);
/// The pause before it comes back, also when nobody accepts it.
const PAUSE: Duration = Duration::from_millis(20);

/// The flood of all replicas, each on a connection of its own that is made again whenever the replica closes it.
pub(super) struct EarningFlood {
    endpoint: ClientEndpoint,
    source: Arc<Source>,
    stopping: Arc<AtomicBool>,
}

/// What the connections send.
struct Source {
    client: Client,
    key: SecretKey,
    bad: Vec<Bytes>,
}

impl EarningFlood {
    pub(super) fn new(
        network: &Network,
        key: &SecretKey,
        bad: &[SignedTransaction],
        stopping: Arc<AtomicBool>,
    ) -> Result<Self, Error> {
        let failed = |message: String| Error::Client {
            message,
            code: tagma_client::ExitCode::Internal.code(),
        };
        let mut config = ClientConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        config.queue_frames = config.queue_frames.max(COPIES.iter().sum::<usize>() + BAD);
        Ok(Self {
            endpoint: ClientEndpoint::bind(config).map_err(|error| failed(error.to_string()))?,
            source: Arc::new(Source {
                client: connect(network.genesis())?,
                key: key.clone(),
                bad: bad.iter().take(BAD).map(frame).collect(),
            }),
            stopping,
        })
    }

    pub(super) async fn run(self) {
        let network = self.source.client.network();
        let mut floods = JoinSet::new();
        for replica in network.replicas().iter().cloned() {
            let (endpoint, chain) = (self.endpoint.clone(), network.chain());
            let (source, stopping) = (self.source.clone(), self.stopping.clone());
            floods.spawn(async move {
                while !stopping.load(SeqCst) {
                    let nonce = source.next_nonce().await;
                    let connecting = endpoint.connect(replica.address, replica.network_key, chain);
                    if let (Some(nonce), Ok(connection)) = (nonce, connecting.await) {
                        source.earn_and_spend(connection, chain, nonce).await;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        floods.join_all().await;
        self.endpoint.close("the flood is over").await;
    }
}

impl Source {
    /// Its transfers are executed: a client whose requests are refused is soon not listened to.
    async fn next_nonce(&self) -> Option<u64> {
        let read = self.client.next_nonce(self.key.public(), READING).await;
        Some(read.ok()??.account?.next_nonce)
    }

    /// One connection, from its trust to the last answer. An error of sending means that the replica has closed it, which is what ends it anyway.
    async fn earn_and_spend(&self, mut connection: ClientConnection, chain: Digest, first: u64) {
        for (nonce, copies) in (first..).zip(COPIES) {
            let good = frame(&transfer(chain, &self.key, nonce).sign(&self.key));
            for _ in 0..copies {
                let _ = connection.send(good.clone());
            }
        }
        for bad in &self.bad {
            let _ = connection.send(bad.clone());
        }
        let sent = COPIES.iter().sum::<usize>() + self.bad.len();
        for _ in 0..sent {
            let Ok(Some(_)) = timeout(ANSWER, connection.recv()).await else {
                break;
            };
        }
    }
}

fn frame(request: &SignedTransaction) -> Bytes {
    Bytes::from(encode(&ClientRequest::Submit(request.to_request())))
}
