//! Many transfers at once, each account's in order.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tagma_client::{Client, Completion, ExitCode, SubmitError, Verdict};
use tagma_crypto::{Digest, PublicKey, SecretKey};
use tagma_ledger::{Operation, SignedTransaction};
use tokio::sync::mpsc;

use super::BatchArgs;
use super::context::Context;
use super::failure::Failure;
use super::output::warn;
use super::submit::{CONNECTIONS, EXPIRES_IN, End, end_of, merged, place, sign, warn_of_liars};

/// The longest input, in bytes.
const MAX_INPUT: u64 = 64 << 20;

/// One line.
struct Line {
    number: usize,
    from: String,
    to: PublicKey,
    amount: u64,
}

/// What is left to send of an account.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<(usize, SignedTransaction)>,
    in_flight: usize,
    /// Whether it stands in the list of accounts that have something to send.
    listed: bool,
    /// After a request that was not executed, those behind it have a gap in their nonces.
    broken: bool,
}

/// What came of a line.
struct Done {
    number: usize,
    hash: Digest,
    /// None if it was not sent.
    end: Option<End>,
}

pub(crate) async fn run(args: &BatchArgs, context: Context) -> Result<ExitCode, Failure> {
    let lines = parse(&read(&args.file)?, &context)?;
    let client = context.client()?;
    let queues = queues(lines, &context, &client).await?;
    client.connected(client.network().quorum(), CONNECTIONS).await;
    let mut batch = Batch {
        context: &context,
        client: &client,
        window: (context.genesis.parameters.lookahead as usize / 2).max(1),
        room: usize::from(args.in_flight),
        queues,
        ready: VecDeque::new(),
        sent: BTreeMap::new(),
        done: Vec::new(),
    };
    let started = Instant::now();
    batch.work().await?;
    let elapsed = started.elapsed();
    let mut done = batch.done;
    done.sort_by_key(|done| done.number);
    let liars: BTreeSet<u16> = client
        .take_contradictions()
        .iter()
        .map(|lie| lie.replica)
        .collect();
    warn_of_liars(&liars.into_iter().collect::<Vec<_>>());
    let summary = Summary::of(&done);
    context.format.emit(
        || summary.json(&done, elapsed, client.network().weak_quorum()),
        || summary.text(elapsed),
    )?;
    for done in &done {
        if let Some(end) = done.end.as_ref().filter(|end| end.exit() != ExitCode::Ok) {
            let text = end.text(client.network().weak_quorum());
            warn(&format!("line {}: tx {}: {text}", done.number, done.hash));
        }
    }
    client.close().await;
    summary.exit()
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let outcome = if file == Path::new("-") {
        std::io::stdin().take(MAX_INPUT).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_INPUT).read_to_string(&mut text))
    };
    match outcome {
        Ok(length) if (length as u64) < MAX_INPUT => Ok(text),
        Ok(_) => Err(Failure::new(
            ExitCode::Usage,
            format!("{} is over {MAX_INPUT} bytes", file.display()),
        )),
        Err(error) => Err(Failure::new(
            ExitCode::Usage,
            format!("cannot read {}: {error}", file.display()),
        )),
    }
}

fn parse(text: &str, context: &Context) -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let content = line.split('#').next().unwrap_or_default();
        let fields: Vec<&str> = content.split_whitespace().collect();
        let wrong = |what: String| {
            Failure::new(ExitCode::Usage, format!("line {number}: {what}"))
                .hint("a line is \"FROM TO AMOUNT\"")
        };
        match fields.as_slice() {
            [] => {}
            [from, to, amount] => lines.push(Line {
                number,
                from: (*from).to_owned(),
                to: context.account(to)?,
                amount: amount
                    .parse()
                    .map_err(|_| wrong(format!("{amount:?} is no amount")))?,
            }),
            _ => return Err(wrong(format!("{} fields", fields.len()))),
        }
    }
    Ok(lines)
}

/// Signs every line at its account's next nonces.
async fn queues(
    lines: Vec<Line>,
    context: &Context,
    client: &Client,
) -> Result<BTreeMap<PublicKey, Queue>, Failure> {
    let mut queues: BTreeMap<PublicKey, Queue> = BTreeMap::new();
    let mut keys: BTreeMap<String, SecretKey> = BTreeMap::new();
    let mut places = BTreeMap::new();
    for line in lines {
        let key = match keys.get(&line.from) {
            Some(key) => key.clone(),
            None => {
                let key = context.keystore.signer(&line.from)?;
                keys.insert(line.from.clone(), key.clone());
                key
            }
        };
        let account = key.public();
        if let Entry::Vacant(vacant) = places.entry(account) {
            vacant.insert(place(context, client, account).await?);
        }
        let Some(place) = places.get_mut(&account) else {
            continue;
        };
        let operation = Operation::Transfer {
            to: line.to,
            amount: line.amount,
        };
        let signed = sign(context, &key, place, operation, EXPIRES_IN);
        place.nonce = place.nonce.saturating_add(1);
        let queue = queues.entry(account).or_default();
        queue.waiting.push_back((line.number, signed));
    }
    Ok(queues)
}

struct Batch<'a> {
    context: &'a Context,
    client: &'a Client,
    /// The most requests of one account in flight: what the replicas look ahead, with room for some that lag.
    window: usize,
    /// The most requests in flight.
    room: usize,
    queues: BTreeMap<PublicKey, Queue>,
    /// The accounts that may send now, in turn.
    ready: VecDeque<PublicKey>,
    sent: BTreeMap<Digest, (usize, PublicKey)>,
    done: Vec<Done>,
}

impl Batch<'_> {
    async fn work(&mut self) -> Result<(), Failure> {
        let (completions, mut completed) = mpsc::unbounded_channel();
        let accounts: Vec<PublicKey> = self.queues.keys().copied().collect();
        for account in accounts {
            self.list(account);
        }
        self.fill(&completions)?;
        while !self.sent.is_empty() {
            let Some(Completion { hash, result }) = completed.recv().await else {
                break;
            };
            let Some((number, account)) = self.sent.remove(&hash) else {
                continue;
            };
            let end = match result {
                Ok(accepted) => Some(End::Executed {
                    verdict: Verdict {
                        outcome: accepted.outcome,
                        height: accepted.height,
                    },
                    supporters: accepted.supporters,
                    liars: accepted.liars,
                    latency: Some(accepted.latency),
                }),
                Err(SubmitError::Unreachable { .. }) => None,
                Err(error) => Some(end_of(error)?),
            };
            if end.as_ref().is_none_or(End::is_known) {
                self.context.pending.remove(&hash)?;
            }
            if let Some(queue) = self.queues.get_mut(&account) {
                queue.in_flight -= 1;
                queue.broken |= !matches!(end, Some(End::Executed { .. }));
            }
            self.done.push(Done { number, hash, end });
            self.list(account);
            self.fill(&completions)?;
        }
        for queue in std::mem::take(&mut self.queues).into_values() {
            self.done
                .extend(queue.waiting.into_iter().map(|(number, signed)| Done {
                    number,
                    hash: signed.transaction.digest(),
                    end: None,
                }));
        }
        Ok(())
    }

    /// Lists an account that may send.
    fn list(&mut self, account: PublicKey) {
        if let Some(queue) = self.queues.get_mut(&account)
            && queue.may_send(self.window)
            && !queue.listed
        {
            queue.listed = true;
            self.ready.push_back(account);
        }
    }

    /// Sends what may be sent, the accounts in turn.
    fn fill(&mut self, completions: &mpsc::UnboundedSender<Completion>) -> Result<(), Failure> {
        while self.sent.len() < self.room
            && let Some(account) = self.ready.pop_front()
        {
            let Some(queue) = self.queues.get_mut(&account) else {
                continue;
            };
            queue.listed = false;
            if !queue.may_send(self.window) {
                continue;
            }
            if let Some((number, signed)) = queue.waiting.pop_front() {
                queue.in_flight += 1;
                self.context.pending.save(&signed)?;
                let hash = self.client.submit_to(&signed, self.context.timeout, completions);
                self.sent.insert(hash, (number, account));
            }
            self.list(account);
        }
        Ok(())
    }
}

impl Queue {
    fn may_send(&self, window: usize) -> bool {
        !self.broken && self.in_flight < window && !self.waiting.is_empty()
    }
}

/// Counts of what came of the lines.
#[derive(Default)]
struct Summary {
    lines: usize,
    committed: usize,
    failed: usize,
    rejected: usize,
    unknown: usize,
    unsent: usize,
}

impl Summary {
    fn of(done: &[Done]) -> Self {
        let mut summary = Self {
            lines: done.len(),
            ..Self::default()
        };
        for done in done {
            match &done.end {
                Some(End::Executed { verdict, .. }) if verdict.outcome.is_success() => summary.committed += 1,
                Some(End::Executed { .. }) => summary.failed += 1,
                Some(End::Rejected { .. }) => summary.rejected += 1,
                Some(End::Unknown(_)) => summary.unknown += 1,
                None => summary.unsent += 1,
            }
        }
        summary
    }

    fn text(&self, elapsed: Duration) -> String {
        let Self {
            lines,
            committed,
            failed,
            rejected,
            unknown,
            unsent,
        } = self;
        let mut text = format!(
            "{committed} of {lines} committed in {:.2} s",
            elapsed.as_secs_f64()
        );
        let others = [
            (failed, "executed without effect"),
            (rejected, "rejected"),
            (unknown, "of unknown outcome"),
            (unsent, "not sent"),
        ];
        for (count, what) in others {
            if *count > 0 {
                text.push_str(&format!(" · {count} {what}"));
            }
        }
        text
    }

    fn json(&self, done: &[Done], elapsed: Duration, needed: usize) -> Value {
        let results: Vec<Value> = done
            .iter()
            .map(|done| {
                let base = json!({ "line": done.number, "hash": done.hash });
                match &done.end {
                    Some(end) => merged(base, end.json(needed)),
                    None => merged(base, json!({ "state": "unsent" })),
                }
            })
            .collect();
        json!({
            "schema": "batch/v1", "lines": self.lines, "committed": self.committed, "failed": self.failed,
            "rejected": self.rejected, "unknown": self.unknown, "unsent": self.unsent,
            "elapsed_ms": elapsed.as_secs_f64() * 1e3, "results": results,
        })
    }

    fn exit(&self) -> Result<ExitCode, Failure> {
        if self.unknown > 0 {
            let message = format!("the outcome of {} requests is unknown", self.unknown);
            return Err(Failure::new(ExitCode::OutcomeUnknown, message)
                .hint("`tagma tx wait HASH` finds out for each, and cannot pay twice"));
        }
        Ok(if self.failed + self.rejected > 0 {
            ExitCode::Rejected
        } else if self.unsent > 0 {
            ExitCode::NoQuorum
        } else {
            ExitCode::Ok
        })
    }
}
