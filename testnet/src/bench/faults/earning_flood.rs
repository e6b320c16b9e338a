//! A client that behaves until a replica trusts it, and then does not.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use tagma_client::Network as Replicas;
use tagma_crypto::encode::encode;
use tagma_ledger::SignedTransaction;
use tagma_wire::client_protocol::ClientRequest;
use tagma_wire::{ClientConfig, ClientConnection, ClientEndpoint};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::error::Error;
use crate::network::Network;

/// So often the good one first: as many as the most that a replica allows is earned with, and those it reads meanwhile.
const GOOD: usize = 1024;
/// And then so many bad ones, which is the most that a replica allows.
const BAD: usize = 512;
/// How long it waits for the connection to be closed on it.
const CLOSED: Duration = Duration::from_millis(500);
/// The pause before it comes back, also when nobody accepts it.
const PAUSE: Duration = Duration::from_millis(20);

/// The flood of all replicas, each on a connection of its own that is made again whenever the replica closes it.
pub(super) struct EarningFlood {
    endpoint: ClientEndpoint,
    replicas: Replicas,
    good: Bytes,
    bad: Arc<Vec<Bytes>>,
    stopping: Arc<AtomicBool>,
}

impl EarningFlood {
    pub(super) fn new(
        network: &Network,
        good: &SignedTransaction,
        bad: &[SignedTransaction],
        stopping: Arc<AtomicBool>,
    ) -> Result<Self, Error> {
        let failed = |message: String| Error::Client {
            message,
            code: tagma_client::ExitCode::Internal.code(),
        };
        let mut config = ClientConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        config.queue_frames = config.queue_frames.max(GOOD + BAD);
        let frame =
            |request: &SignedTransaction| Bytes::from(encode(&ClientRequest::Submit(request.to_request())));
        Ok(Self {
            endpoint: ClientEndpoint::bind(config).map_err(|error| failed(error.to_string()))?,
            replicas: Replicas::from_genesis(network.genesis()).map_err(|error| failed(error.to_string()))?,
            good: frame(good),
            bad: Arc::new(bad.iter().take(BAD).map(frame).collect()),
            stopping,
        })
    }

    pub(super) async fn run(self) {
        let mut floods = JoinSet::new();
        for replica in self.replicas.replicas().iter().cloned() {
            let (endpoint, chain) = (self.endpoint.clone(), self.replicas.chain());
            let (good, bad) = (self.good.clone(), self.bad.clone());
            let stopping = self.stopping.clone();
            floods.spawn(async move {
                while !stopping.load(SeqCst) {
                    let connecting = endpoint.connect(replica.address, replica.network_key, chain);
                    if let Ok(connection) = connecting.await {
                        earn_and_spend(connection, &good, &bad).await;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        floods.join_all().await;
        self.endpoint.close("the flood is over").await;
    }
}

/// One connection, from its trust to its end. An error of sending means that the replica has closed it, which is what ends it anyway.
async fn earn_and_spend(mut connection: ClientConnection, good: &Bytes, bad: &[Bytes]) {
    for frame in std::iter::repeat_n(good, GOOD).chain(bad) {
        let _ = connection.send(frame.clone());
    }
    while let Ok(Some(_)) = timeout(CLOSED, connection.recv()).await {}
}
