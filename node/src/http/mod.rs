//! What a browser, a monitor or a script sees of one replica: JSON, health and metrics. For reading only.

mod routes;
mod views;

use std::net::SocketAddr;
use std::sync::Arc;

use tagma_wire::client_protocol::BlockReport;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::driver::Shared;
use crate::exit::{Exit, Failure};
use crate::metrics::Metrics;

/// A block as the JSON document that `/v1/blocks` answers with.
pub fn block_json(block: BlockReport) -> String {
    let text = serde_json::to_string(&views::Block::from(block));
    assert!(text.is_ok(), "a block has nothing JSON cannot express");
    text.unwrap_or_default()
}

/// How many requests are answered at once; further ones wait in their connections.
const MAX_CONCURRENT: usize = 32;

/// The HTTP server of a replica.
pub struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    /// Binds the address and begins to answer.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn bind(address: SocketAddr, shared: Arc<Shared>, metrics: Metrics) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(Exit::Internal, format!("cannot listen on tcp {address}: {error}"))
                .hint("is another process using the port?")
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let app = routes::router(shared, metrics, MAX_CONCURRENT);
        let task = tokio::spawn(async move {
            let served = axum::serve(listener, app).with_graceful_shutdown(async {
                // Stopped, or the owner is gone: both mean the end.
                let _ = stopped.await;
            });
            if let Err(error) = served.await {
                tracing::error!(%error, "HTTP has ended");
            }
        });
        Ok(Self { address, stop, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers nothing new and ends. Connections that stay open are cut.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let mut task = self.task;
        if tokio::time::timeout(std::time::Duration::from_millis(200), &mut task)
            .await
            .is_err()
        {
            task.abort();
        }
    }
}
