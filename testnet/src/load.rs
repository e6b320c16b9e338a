//! Transfers without end, in the background, and what was acknowledged of them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::check::Report;
use crate::error::Error;
use crate::network::Network;
use crate::payments::{Paid, Payer};
use crate::plan::ACCOUNT_NAMES;

/// How much is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Most requests in flight at once; below the look-ahead of an account times the accounts.
    pub in_flight: usize,
    /// The shortest time from one request to the next; zero sends as fast as acknowledgements come back.
    pub pause: Duration,
    /// How long one request may take: longer than any outage it is to survive.
    pub patience: Duration,
}

impl Pace {
    /// As fast as acknowledgements come back, 24 in flight.
    #[must_use]
    pub fn full(patience: Duration) -> Self {
        Self {
            in_flight: 24,
            pause: Duration::ZERO,
            patience,
        }
    }
}

/// A transfer that f + 1 replicas reported alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// What they reported.
    pub paid: Paid,
    /// When the reply came that decided.
    pub at: Instant,
}

/// A load that goes on until it is stopped: each account pays the next one, 1 at a time.
pub struct Load {
    acknowledged: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    failure: Arc<OnceLock<String>>,
    task: JoinHandle<Result<Vec<Acknowledged>, Error>>,
}

impl Load {
    /// Begins. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// See [`Payer::new`].
    pub fn start(network: &Network, pace: Pace) -> Result<Self, Error> {
        let payer = Payer::new(network)?;
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let stopping = Arc::new(AtomicBool::new(false));
        let failure = Arc::new(OnceLock::new());
        let running = run(payer, pace, acknowledged.clone(), stopping.clone());
        let failed = failure.clone();
        let task = tokio::spawn(async move {
            let result = running.await;
            if let Err(error) = &result {
                failed.get_or_init(|| error.to_string());
            }
            result
        });
        Ok(Self {
            acknowledged,
            stopping,
            failure,
            task,
        })
    }

    /// How many transfers were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(SeqCst)
    }

    /// Why it has ended by itself, which it does only when a request failed.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Sends nothing new, waits for the outcome of everything in flight, and gives all that was acknowledged, in the
    /// order of its coming.
    ///
    /// # Errors
    /// [`Error::Client`] if a request was refused or its outcome did not become known.
    pub async fn finish(self) -> Result<Vec<Acknowledged>, Error> {
        self.stopping.store(true, SeqCst);
        self.task.await.map_err(|error| Error::Client {
            message: format!("the load failed: {error}"),
            code: tagma_client::ExitCode::Internal.code(),
        })?
    }
}

async fn run(
    mut payer: Payer,
    pace: Pace,
    acknowledged: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
) -> Result<Vec<Acknowledged>, Error> {
    let (sender, mut completions) = mpsc::unbounded_channel();
    let mut accounts: VecDeque<&str> = ACCOUNT_NAMES.into();
    let mut in_flight = 0;
    let mut all = Vec::new();
    let mut next = Instant::now();
    loop {
        let open = !stopping.load(SeqCst) && in_flight < pace.in_flight;
        if open && Instant::now() >= next {
            accounts.rotate_left(1);
            if let (Some(from), Some(to)) = (accounts.front(), accounts.get(1)) {
                let transaction = payer.sign(from, to, 1).await?;
                payer.client().submit_to(&transaction, pace.patience, &sender);
                in_flight += 1;
                next = Instant::now() + pace.pause;
            }
            continue;
        }
        if in_flight == 0 && !open {
            return Ok(all);
        }
        let completion = tokio::select! {
            completion = completions.recv() => completion,
            () = tokio::time::sleep_until(next.into()), if open => continue,
        };
        // This task holds a sender, so there is always another one.
        let Some(completion) = completion else { continue };
        in_flight -= 1;
        let accepted = completion
            .result
            .map_err(|error| crate::payments::refused(&error))?;
        all.push(Acknowledged {
            paid: Paid::from(accepted),
            at: Instant::now(),
        });
        acknowledged.fetch_add(1, SeqCst);
    }
}

/// What was acknowledged of a load against what the chain holds, which a check has found to be the same at all replicas: what
/// is lost, different, or there without having been sent. Nothing but the load may have been executed.
#[must_use]
pub fn discrepancies(report: &Report, acknowledged: &[Acknowledged]) -> Vec<String> {
    let mut wrong = Vec::new();
    for one in acknowledged {
        let paid = &one.paid;
        let found = report.outcomes.get(&paid.request);
        if found != Some(&(paid.height, paid.outcome)) {
            wrong.push(format!(
                "{} was acknowledged as {:?} at height {}, the chain has {found:?}",
                paid.request.short(),
                paid.outcome,
                paid.height
            ));
        }
    }
    // Everything that was sent was acknowledged, so there is nothing else that the chain could hold.
    if report.executed != acknowledged.len() {
        wrong.push(format!(
            "{} requests were executed, {} acknowledged",
            report.executed,
            acknowledged.len()
        ));
    }
    wrong
}
