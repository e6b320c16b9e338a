//! Reads: what f + 1 replicas say alike, without ordering. At least one of them is correct, so the answer was true at the
//! height that stands with it; it may be stale (protocol: clients, replies, receipts).

use std::time::Duration;

use tagma_crypto::{Digest, PublicKey};
use tagma_ledger::BlockHeader;
use tagma_ledger::block::receipts_root;
use tagma_wire::client_protocol::{
    AccountReport, Answer, BlockReport, Query, StatusReport, TransactionReport,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::client::Client;
use crate::error::{QueryError, ReadError};

/// What each replica answered, in order of number.
pub type Answers<T> = Vec<(u16, Result<T, QueryError>)>;

/// Once f + 1 answers are alike, how long further ones are waited for: later ones may be of a greater height.
const GRACE: Duration = Duration::from_millis(150);

/// First pause before the replicas are asked again.
const PAUSE: Duration = Duration::from_millis(20);

/// Longest pause before the replicas are asked again.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// An account as f + 1 replicas have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRead {
    /// The least height of the matching answers: the account was so at this height or a later one.
    pub height: u64,
    /// The account; none if it does not exist.
    pub account: Option<AccountReport>,
    /// The replicas that say so.
    pub supporters: Vec<u16>,
}

/// A block whose header f + 1 replicas have, with a body that fits it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRead {
    /// The block. Its receipts are those of the header, its requests those of the receipts; the signatures of the
    /// requests are one replica's word.
    pub block: BlockReport,
    /// The header's digest.
    pub hash: Digest,
    /// The replicas that have this header.
    pub supporters: Vec<u16>,
    /// The replicas that have another header, or a body that does not fit theirs: they are faulty.
    pub liars: Vec<u16>,
}

/// What f + 1 replicas know of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionRead {
    /// It was executed.
    Executed {
        /// Where, and with what outcome.
        report: TransactionReport,
        /// The replicas that say so.
        supporters: Vec<u16>,
        /// The replicas that say something else, or that it was not executed although they are as far as that: they are faulty.
        liars: Vec<u16>,
    },
    /// f + 1 replicas have not executed it, as of this height or a later one.
    NotExecuted {
        /// The least of their heights.
        height: u64,
    },
}

impl Client {
    /// Asks every replica how it is: each answer is that replica's own word.
    pub async fn status(&self, within: Duration) -> Answers<StatusReport> {
        let take = |answer| match answer {
            Answer::Status(status) => Some(status),
            _ => None,
        };
        let deadline = Instant::now() + within;
        self.gather(&Query::Status, deadline, take, |_| false).await
    }

    /// Reads an account at a height of at least `min_height`; asks again until there are f + 1 alike.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn account(
        &self,
        key: PublicKey,
        min_height: u64,
        within: Duration,
    ) -> Result<AccountRead, ReadError> {
        let needed = self.network().weak_quorum();
        let take = |answer| match answer {
            Answer::Account { height, account } => Some((height, account)),
            _ => None,
        };
        let choose = |answers: &Answers<(u64, Option<AccountReport>)>| {
            let recent = answers
                .iter()
                .filter_map(|(id, answer)| answer.as_ref().ok().map(|answer| (*id, *answer)))
                .filter(|(_, (height, _))| *height >= min_height);
            best_account(recent.collect(), needed)
        };
        self.read(Query::Account(key), within, take, choose, |answers| {
            let mut heights: Vec<u64> = heard(answers).map(|(height, _)| *height).collect();
            heights.sort_unstable_by(|a, b| b.cmp(a));
            let reached = heights.iter().filter(|height| **height >= min_height).count();
            if reached < needed {
                return ReadError::BelowMinHeight {
                    needed,
                    min_height,
                    heights,
                };
            }
            no_match(needed, answers, |(height, account)| match account {
                Some(account) => format!(
                    "balance {} next nonce {} at height {height}",
                    account.balance, account.next_nonce
                ),
                None => format!("no such account at height {height}"),
            })
        })
        .await
        .map(|(read, _)| read)
    }

    /// The nonce of an account's next transaction; none if f + 1 replicas say that there is no such account.
    ///
    /// # Errors
    /// As [`Client::account`].
    pub async fn next_nonce(
        &self,
        key: PublicKey,
        within: Duration,
    ) -> Result<Option<AccountRead>, ReadError> {
        let read = self.account(key, 0, within).await?;
        Ok(read.account.is_some().then_some(read))
    }

    /// Reads the block of a height; none if f + 1 replicas do not have it.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn block(&self, height: u64, within: Duration) -> Result<Option<BlockRead>, ReadError> {
        let needed = self.network().weak_quorum();
        let chain = self.network().chain();
        let take = |answer| match answer {
            Answer::Block(block) => Some(block),
            _ => None,
        };
        let choose = |answers: &Answers<Option<BlockReport>>| {
            let blocks: Vec<(u16, &BlockReport)> = answers
                .iter()
                .filter_map(|(id, answer)| Some((*id, answer.as_ref().ok()?.as_ref()?)))
                .collect();
            if let Some(read) = matching_block(&blocks, height, &chain, needed) {
                return Some(Some(read));
            }
            let without = heard(answers).filter(|block| block.is_none()).count();
            (without >= needed).then_some(None)
        };
        self.read(Query::Block(height), within, take, choose, |answers| {
            no_match(needed, answers, |block| match block {
                Some(block) => format!("block {} with header {}", height, block.header.digest()),
                None => format!("no block {height}"),
            })
        })
        .await
        .map(|(read, _)| read)
    }

    /// Asks what became of a request.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn transaction(&self, hash: Digest, within: Duration) -> Result<TransactionRead, ReadError> {
        let needed = self.network().weak_quorum();
        let take = |answer| match answer {
            Answer::Transaction { height, found } => Some((height, found)),
            _ => None,
        };
        let choose =
            |answers: &Answers<(u64, Option<TransactionReport>)>| choose_transaction(answers, needed);
        self.read(Query::Transaction(hash), within, take, choose, |answers| {
            no_match(needed, answers, |(height, found)| match found {
                Some(found) => format!("executed at height {}: {:?}", found.height, found.outcome),
                None => format!("not executed as of height {height}"),
            })
        })
        .await
        .map(|(read, _)| read)
    }

    /// Asks all replicas until `choose` finds an answer that can be believed, and gives that with all answers.
    pub(crate) async fn read<T: Send + 'static, R>(
        &self,
        query: Query,
        within: Duration,
        take: impl Fn(Answer) -> Option<T> + Copy,
        choose: impl Fn(&Answers<T>) -> Option<R>,
        explain: impl Fn(&Answers<T>) -> ReadError,
    ) -> Result<(R, Answers<T>), ReadError> {
        let deadline = Instant::now() + within;
        let mut pause = PAUSE;
        loop {
            let enough = |answers: &Answers<T>| choose(answers).is_some();
            let answers = self.gather(&query, deadline, take, enough).await;
            if let Some(chosen) = choose(&answers) {
                return Ok((chosen, answers));
            }
            let answered = heard(&answers).count();
            let unreachable = answers
                .iter()
                .filter(|(_, answer)| matches!(answer, Err(QueryError::Unreachable(_))))
                .count();
            let needed = self.network().weak_quorum();
            // Connections that have failed will not come up soon: who waits for a dead network wants to hear so.
            let hopeless = self.network().n() - unreachable < needed;
            if Instant::now() + pause >= deadline || hopeless {
                return Err(if answered < needed {
                    too_few(&answers, self.network().n(), needed)
                } else {
                    explain(&answers)
                });
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Asks all replicas at once. Once `enough`, waits for no more than 2f + 1 answers and not longer than the grace.
    async fn gather<T: Send + 'static>(
        &self,
        query: &Query,
        deadline: Instant,
        take: impl Fn(Answer) -> Option<T>,
        enough: impl Fn(&Answers<T>) -> bool,
    ) -> Answers<T> {
        let mut asked = JoinSet::new();
        for replica in self.network().replicas() {
            let (client, query, id) = (self.clone(), query.clone(), replica.id);
            let within = deadline.saturating_duration_since(Instant::now());
            asked.spawn(async move { (id, client.query(id, query, within).await) });
        }
        let mut answers: Answers<T> = Vec::new();
        let mut until = None;
        while !asked.is_empty() {
            let next = match until {
                Some(until) => timeout_at(until, asked.join_next()).await.unwrap_or_default(),
                None => asked.join_next().await,
            };
            // None: the grace is over. An error: the task was cancelled with the runtime.
            let Some(Ok((id, answer))) = next else { break };
            let answer = answer.and_then(|answer| take(answer).ok_or(QueryError::Mismatched));
            answers.push((id, answer));
            answers.sort_by_key(|(id, _)| *id);
            if enough(&answers) {
                if heard(&answers).count() >= self.network().quorum() {
                    break;
                }
                until = until.or(Some(Instant::now() + GRACE));
            }
        }
        answers
    }
}

/// The answers without the errors.
pub(crate) fn heard<T>(answers: &Answers<T>) -> impl Iterator<Item = &T> {
    answers.iter().filter_map(|(_, answer)| answer.as_ref().ok())
}

/// The account of `needed` matching answers, at the greatest height there is.
fn best_account(mut answers: Vec<(u16, (u64, Option<AccountReport>))>, needed: usize) -> Option<AccountRead> {
    answers.sort_by_key(|(id, (height, _))| (std::cmp::Reverse(*height), *id));
    let sets = answers.iter().map(|(_, (_, account))| {
        let same = answers.iter().filter(|(_, (_, other))| other == account);
        // The highest answers first: the fewer are counted, the greater the height that all of them have reached.
        let counted: Vec<(u16, u64)> = same.map(|(id, (height, _))| (*id, *height)).collect();
        let height = counted.get(needed.checked_sub(1)?)?.1;
        let mut supporters: Vec<u16> = counted
            .iter()
            .filter(|(_, of)| *of >= height)
            .map(|(id, _)| *id)
            .collect();
        supporters.sort_unstable();
        Some(AccountRead {
            height,
            account: *account,
            supporters,
        })
    });
    sets.flatten().max_by_key(|read| read.height)
}

fn matching_block(
    blocks: &[(u16, &BlockReport)],
    height: u64,
    chain: &Digest,
    needed: usize,
) -> Option<BlockRead> {
    let fits = |block: &BlockReport| fits_header(block, height, chain);
    let header = blocks.iter().map(|(_, block)| &block.header).find(|header| {
        let same = blocks.iter().filter(|(_, block)| block.header == **header);
        same.count() >= needed
    })?;
    let same = |block: &BlockReport| block.header == *header && fits(block);
    let (_, block) = blocks.iter().find(|(_, block)| same(block))?;
    let ids = |good: bool| {
        let of_kind = blocks.iter().filter(|(_, block)| same(block) == good);
        of_kind.map(|(id, _)| *id).collect()
    };
    Some(BlockRead {
        hash: header.digest(),
        block: (*block).clone(),
        supporters: ids(true),
        liars: ids(false),
    })
}

/// Whether a block is of the height asked for, its receipts are those of its header and its requests those of the receipts.
fn fits_header(block: &BlockReport, height: u64, chain: &Digest) -> bool {
    let header: &BlockHeader = &block.header;
    let pairs = block.requests.iter().zip(block.receipts.iter());
    header.height == height
        && block.requests.len() == block.receipts.len()
        && receipts_root(&block.receipts) == header.receipts_root
        && pairs
            .into_iter()
            .all(|(request, receipt)| request.digest(chain) == receipt.request())
}

/// The height that `needed` of those answers have reached that find nothing.
pub(crate) fn height_without<'a>(heights: impl Iterator<Item = &'a u64>, needed: usize) -> Option<u64> {
    let mut heights: Vec<u64> = heights.copied().collect();
    heights.sort_unstable_by(|a, b| b.cmp(a));
    heights.get(needed.checked_sub(1)?).copied()
}

/// Whether somebody who has not found at `height` what was executed at height `executed` denies it, and does not merely lag behind.
pub(crate) const fn denies(height: u64, executed: u64) -> bool {
    height >= executed
}

fn choose_transaction(
    answers: &Answers<(u64, Option<TransactionReport>)>,
    needed: usize,
) -> Option<TransactionRead> {
    let found: Vec<(u16, TransactionReport)> = answers
        .iter()
        .filter_map(|(id, answer)| Some((*id, answer.as_ref().ok()?.1?)))
        .collect();
    for (_, report) in &found {
        let same = found.iter().filter(|(_, other)| other == report);
        let supporters: Vec<u16> = same.map(|(id, _)| *id).collect();
        if supporters.len() >= needed {
            let lies = |height: u64, found: Option<&TransactionReport>| match found {
                Some(other) => other != report,
                None => denies(height, report.height),
            };
            let told = answers
                .iter()
                .filter_map(|(id, answer)| Some((*id, answer.as_ref().ok()?)));
            let liars = told.filter(|(_, (height, found))| lies(*height, found.as_ref()));
            return Some(TransactionRead::Executed {
                report: *report,
                supporters,
                liars: liars.map(|(id, _)| id).collect(),
            });
        }
    }
    let without = heard(answers).filter(|(_, found)| found.is_none());
    let height = height_without(without.map(|(height, _)| height), needed)?;
    Some(TransactionRead::NotExecuted { height })
}

fn too_few<T>(answers: &Answers<T>, replicas: usize, needed: usize) -> ReadError {
    let errors = answers
        .iter()
        .filter_map(|(id, answer)| answer.as_ref().err().map(|error| (*id, error.clone())));
    ReadError::TooFew {
        answered: heard(answers).count(),
        replicas,
        needed,
        errors: errors.collect(),
    }
}

pub(crate) fn no_match<T>(needed: usize, answers: &Answers<T>, describe: impl Fn(&T) -> String) -> ReadError {
    let answers = answers.iter().map(|(id, answer)| match answer {
        Ok(answer) => format!("n{id}: {}", describe(answer)),
        Err(error) => format!("n{id}: {error}"),
    });
    ReadError::NoMatch {
        needed,
        answers: answers.collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use tagma_ledger::Outcome;

    use super::*;

    #[test]
    fn who_lags_behind_is_no_liar_and_who_denies_is() {
        let report = |height| TransactionReport {
            height,
            position: 0,
            outcome: Outcome::Transferred,
        };
        let answers = vec![
            (0, Ok((9, Some(report(5))))),
            (1, Ok((7, Some(report(5))))),
            (2, Ok((4, None))),
            (3, Ok((5, None))),
            (4, Ok((9, Some(report(6))))),
            (
                5,
                Err(QueryError::Unavailable("it does not have all blocks".to_owned())),
            ),
        ];
        assert_eq!(
            choose_transaction(&answers, 2).unwrap(),
            TransactionRead::Executed {
                report: report(5),
                supporters: vec![0, 1],
                liars: vec![3, 4],
            }
        );
    }
}
