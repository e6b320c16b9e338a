//! What anybody in the process may look at without asking the loop.

use std::sync::{Arc, Mutex, PoisonError};

use tagma_crypto::{Digest, List, PublicKey, SecretKey, Text};
use tagma_evidence::Judge;
use tagma_evidence::receipt::attest;
use tagma_ledger::store::StoreError;
use tagma_ledger::{Block, BlockHeader, Genesis, LedgerStore, TransactionProof};
use tagma_pbft::evidence::Evidence;
use tagma_pbft::{Duty, Replica, ReplicaId, SeqNum, Standing, View};
use tagma_wire::WireCounters;
use tagma_wire::client_protocol::{
    AccountReport, Answer, BlockReport, Query, ReceiptReport, StatusReport, TransactionReport,
};

use super::Clock;
use super::quota::Place;
use crate::core::{Core, LedgerView, records};
use crate::metrics::Metrics;
use crate::storage::RocksStore;

/// The replica as of its last turn.
#[derive(Clone, Debug)]
pub struct Published {
    /// The last view entered.
    pub view: u64,
    /// The view wanted.
    pub target: u64,
    /// The primary of the view wanted.
    pub primary: ReplicaId,
    /// What it may do.
    pub standing: Standing,
    /// h
    pub stable: u64,
    /// Requests waiting.
    pub pending: u64,
    /// Which requests of proposals it has to check.
    pub duty: Duty,
    /// The ledger after the last block.
    pub ledger: LedgerView,
    /// Height and state root of the last checkpoint executed.
    pub checkpoint: (u64, Digest),
}

impl Published {
    /// Sets the gauges to what this says.
    pub(super) fn count(&self, metrics: &Metrics) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        metrics.view.set(gauge(self.view));
        metrics.executed.set(gauge(self.ledger.header.height));
        metrics.stable.set(gauge(self.stable));
        metrics.pending.set(gauge(self.pending));
        metrics.standing(self.standing_name());
    }

    /// What is to be seen of a core; `last` is the checkpoint seen before.
    pub(super) fn of(core: &Core, last: (u64, Digest)) -> Self {
        let replica: &Replica = core.replica();
        let ledger = core.view().clone();
        let checkpoint = ledger
            .header
            .state_root
            .map_or(last, |root| (ledger.header.height, root));
        Self {
            view: replica.view().get(),
            target: replica.target().get(),
            primary: replica.primary(),
            standing: replica.standing().clone(),
            stable: replica.stable_seq().get(),
            pending: core.waiting() as u64,
            duty: replica.duty(),
            ledger,
            checkpoint,
        }
    }

    /// Whether the header of `height` may be attested: by who votes, once its core has compared it with what others say
    /// (it may halt on that), and with a state that is not behind what is stable.
    fn attests(&self, height: u64) -> bool {
        let executed = self.ledger.header.height;
        self.standing == Standing::Voting && height <= executed && self.stable <= executed
    }

    /// Where the protocol stands.
    pub(super) fn place(&self) -> Place {
        Place {
            view: View::new(self.view),
            target: View::new(self.target),
            stable: SeqNum::new(self.stable),
        }
    }

    /// The name of the standing in metrics.
    pub fn standing_name(&self) -> &'static str {
        match self.standing {
            Standing::Starting => "starting",
            Standing::Voting => "voting",
            Standing::Learner => "learner",
            Standing::Halted(_) => "halted",
        }
    }

    /// The standing for people, with the reason of a halt.
    pub fn standing_text(&self) -> String {
        match &self.standing {
            Standing::Halted(reason) => format!("halted: {reason}"),
            _ => self.standing_name().to_owned(),
        }
    }
}

/// Why a question about a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// It was executed, in a block whose body was dropped (`storage.keep_blocks`).
    #[error("executed at height {0}, whose block is not kept here any more")]
    NotKept(u64),
    /// It may have been executed in a block that this replica has never seen: it took over the state of a later one.
    #[error(
        "unknown: this replica took over the state of height {0} from others and does not have all blocks below it"
    )]
    TakenOver(u64),
    /// The store failed, or a record is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What answers questions: the last turn's replica, the stored blocks, the wire's counters.
pub struct Shared {
    me: ReplicaId,
    /// Signs attestations.
    key: SecretKey,
    genesis: Arc<Genesis>,
    chain: Digest,
    judge: Judge,
    clock: Clock,
    wire: Arc<WireCounters>,
    ledger: LedgerStore<Arc<RocksStore>>,
    published: Mutex<Arc<Published>>,
}

impl Shared {
    pub(super) fn new(
        (me, key): (ReplicaId, SecretKey),
        genesis: Arc<Genesis>,
        judge: Judge,
        clock: Clock,
        wire: Arc<WireCounters>,
        ledger: LedgerStore<Arc<RocksStore>>,
        published: Published,
    ) -> Self {
        Self {
            me,
            key,
            chain: genesis.chain_id(),
            genesis,
            judge,
            clock,
            wire,
            ledger,
            published: Mutex::new(Arc::new(published)),
        }
    }

    pub(super) fn publish(&self, published: Published) {
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(published);
    }

    /// The replica as of its last turn.
    pub fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Which replica this is.
    pub fn me(&self) -> ReplicaId {
        self.me
    }

    /// The chain's genesis.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The chain id.
    pub fn chain(&self) -> &Digest {
        &self.chain
    }

    /// The stored blocks.
    pub fn ledger(&self) -> &LedgerStore<Arc<RocksStore>> {
        &self.ledger
    }

    /// Whether each replica is connected, by number; true for this one.
    pub fn connected(&self) -> Vec<bool> {
        let snapshot = self.wire.snapshot();
        (0..self.genesis.replica_count())
            .map(|id| {
                id == u64::from(self.me.get())
                    || snapshot
                        .peers
                        .iter()
                        .any(|peer| u64::from(peer.id) == id && peer.connected)
            })
            .collect()
    }

    /// How this replica is.
    pub fn status(&self) -> StatusReport {
        let published = self.published();
        let (state_height, state_root) = published.checkpoint;
        StatusReport {
            replica: self.me.get(),
            chain: self.chain,
            version: Text::from(env!("CARGO_PKG_VERSION")),
            view: published.view,
            target: published.target,
            primary: published.primary.get(),
            standing: Text::from(published.standing_text()),
            stable: published.stable,
            executed: published.ledger.header.height,
            tip: published.ledger.tip,
            state_root,
            state_height,
            pending: published.pending,
            connected: List::from(self.connected()),
            uptime_ms: u64::try_from(self.clock.uptime().as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// An account and the height this is of.
    pub fn account(&self, key: &PublicKey) -> (u64, Option<AccountReport>) {
        let published = self.published();
        let account = published.ledger.state.account(key).map(|account| AccountReport {
            balance: account.balance,
            next_nonce: account.next_nonce,
        });
        (published.ledger.header.height, account)
    }

    /// A block; height 0 has a header alone.
    ///
    /// # Errors
    /// If the store fails or the block is damaged.
    pub fn block(&self, height: u64) -> Result<Option<BlockReport>, StoreError> {
        stored_block(&self.ledger, height)
    }

    /// The provable faults that this replica has stored.
    ///
    /// # Errors
    /// If the store fails or a record is damaged.
    pub fn evidence(&self) -> Result<Vec<Evidence>, StoreError> {
        records::evidence(&**self.ledger.store())
    }

    /// What judges evidence of this chain.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// The block in which a request was executed and its position there, and the height this is of. Nothing only if it is certain that
    /// it was not executed up to there.
    fn executed(&self, request: &Digest) -> Result<(u64, Option<(Block, u32)>), NoAnswer> {
        let height = self.published().ledger.header.height;
        let Some(location) = self.ledger.transaction(request)? else {
            return match self.ledger.taken_over()? {
                Some(taken_over) => Err(NoAnswer::TakenOver(taken_over)),
                None => Ok((height, None)),
            };
        };
        let block = self.ledger.block(location.height)?;
        let block = block.ok_or(NoAnswer::NotKept(location.height))?;
        Ok((height.max(location.height), Some((block, location.position))))
    }

    /// Where a request was executed and with what outcome, and the height this is of.
    ///
    /// # Errors
    /// If this replica cannot know, the store fails or a record is damaged.
    pub fn transaction(&self, request: &Digest) -> Result<(u64, Option<TransactionReport>), NoAnswer> {
        let (height, found) = self.executed(request)?;
        let report = found.and_then(|(block, position)| {
            let receipt = block.receipts.get(usize::try_from(position).ok()?)?;
            Some(TransactionReport {
                height: block.header.height,
                position,
                outcome: receipt.executed()?.outcome,
            })
        });
        Ok((height, report))
    }

    /// What this replica adds to a request's receipt, and the height this is of. Nothing is signed ahead: most requests are never
    /// asked for.
    ///
    /// # Errors
    /// As [`Shared::transaction`].
    pub fn receipt(&self, request: &Digest) -> Result<(u64, Option<Box<ReceiptReport>>), NoAnswer> {
        let (height, found) = self.executed(request)?;
        let Some((block, position)) = found else {
            return Ok((height, None));
        };
        let at = block.header.height;
        let position = usize::try_from(position).unwrap_or(usize::MAX);
        let transaction = TransactionProof::of(&block, position, &self.chain);
        let certificate = self.ledger.certificate(at)?;
        let (transaction, certificate) = transaction.zip(certificate).ok_or(NoAnswer::NotKept(at))?;
        let attests = self.published().attests(at);
        let attestation = attests.then(|| attest(&self.chain, &block.header, self.me, &self.key));
        let report = ReceiptReport {
            header: block.header,
            transaction,
            certificate,
            attestation,
        };
        Ok((height, Some(Box::new(report))))
    }

    /// The answer to a client's question.
    pub fn answer(&self, query: &Query) -> Answer {
        let failed = |error: StoreError| {
            tracing::error!(%error, "cannot answer a query from the store");
            Answer::Unavailable(Text::from("the store of this replica is damaged"))
        };
        let unanswered = |why: NoAnswer| match why {
            NoAnswer::Store(error) => failed(error),
            NoAnswer::NotKept(_) | NoAnswer::TakenOver(_) => Answer::Unavailable(Text::from(why.to_string())),
        };
        match query {
            Query::Status => Answer::Status(self.status()),
            Query::Account(key) => {
                let (height, account) = self.account(key);
                Answer::Account { height, account }
            }
            Query::Block(height) => self.block(*height).map_or_else(failed, Answer::Block),
            Query::Transaction(request) => {
                self.transaction(request)
                    .map_or_else(unanswered, |(height, found)| Answer::Transaction {
                        height,
                        found,
                    })
            }
            Query::Receipt(request) => self
                .receipt(request)
                .map_or_else(unanswered, |(height, found)| Answer::Receipt { height, found }),
        }
    }
}

/// A stored block; height 0 has a header alone.
///
/// # Errors
/// If the store fails or the block is damaged.
pub fn stored_block(
    ledger: &LedgerStore<Arc<RocksStore>>,
    height: u64,
) -> Result<Option<BlockReport>, StoreError> {
    let empty = |header: BlockHeader| BlockReport {
        header,
        requests: List::new(),
        receipts: List::new(),
    };
    if height == 0 {
        return Ok(ledger.header(0)?.map(empty));
    }
    Ok(ledger.block(height)?.map(|block| BlockReport {
        header: block.header,
        requests: block.requests,
        receipts: block.receipts,
    }))
}
