//! Transfers without end, in the background, and what was acknowledged of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use tagma_testnet::Network;
use tagma_testnet::payments::{Paid, Payer};
use tagma_testnet::plan::ACCOUNT_NAMES;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::support::PATIENCE;

/// Requests in flight at once; below the look-ahead of an account times the accounts.
const IN_FLIGHT: usize = 24;

/// A load that goes on until it is stopped.
pub(crate) struct Load {
    acknowledged: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    task: JoinHandle<Vec<Paid>>,
}

impl Load {
    pub(crate) fn start(runtime: &Runtime, network: &Network) -> Self {
        let _context = runtime.enter();
        let payer = Payer::new(network).unwrap();
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let stopping = Arc::new(AtomicBool::new(false));
        let task = runtime.spawn(run(payer, acknowledged.clone(), stopping.clone()));
        Self {
            acknowledged,
            stopping,
            task,
        }
    }

    /// How many transfers were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.load(SeqCst)
    }

    /// Sends nothing new, waits for the outcome of everything in flight, and gives all that was acknowledged.
    pub(crate) fn finish(self, runtime: &Runtime) -> Vec<Paid> {
        self.stopping.store(true, SeqCst);
        runtime.block_on(self.task).unwrap()
    }
}

async fn run(mut payer: Payer, acknowledged: Arc<AtomicUsize>, stopping: Arc<AtomicBool>) -> Vec<Paid> {
    let (sender, mut completions) = mpsc::unbounded_channel();
    let mut accounts: VecDeque<&str> = ACCOUNT_NAMES.into();
    let mut in_flight = 0;
    let mut paid = Vec::new();
    loop {
        while in_flight < IN_FLIGHT && !stopping.load(SeqCst) {
            accounts.rotate_left(1);
            let transaction = payer.sign(accounts[0], accounts[1], 1).await.unwrap();
            payer.client().submit_to(&transaction, PATIENCE, &sender);
            in_flight += 1;
        }
        if in_flight == 0 {
            return paid;
        }
        let completion = completions.recv().await.expect("this task holds a sender");
        in_flight -= 1;
        paid.push(Paid::from(completion.result.unwrap()));
        acknowledged.fetch_add(1, SeqCst);
    }
}
