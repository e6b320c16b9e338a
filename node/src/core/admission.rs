//! Admission: which requests wait here to be ordered, in which order they are handed to the protocol, and when their
//! time runs (protocol: clients, replies, receipts). Everything is bounded.

use std::collections::{BTreeMap, BTreeSet};

use tagma_crypto::{Digest, HashedMap, HashedSet, PublicKey};
use tagma_ledger::{NonceStatus, Receipt, SettledRequest, State};
use tagma_pbft::ReplicaId;
use tagma_wire::client_protocol::Refusal;

use super::rules::ValidRequest;

/// Most requests waiting here in all.
const MAX_QUEUED: usize = 1 << 16;

/// What became of a request that asked to be admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// It waits; these (itself among them, or not yet) are to be handed to the protocol, in this order.
    Queued(Vec<Release>),
    /// It waits here already.
    Known,
    /// It was executed: this is its outcome.
    Settled(SettledRequest),
    /// It can not be executed.
    Refused(Refusal),
    /// There is no room for it now.
    Busy,
}

/// A request for the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) request: ValidRequest,
    pub(crate) timed: bool,
}

/// What a block changes for those who wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settlement {
    pub(crate) settled: Vec<Digest>,
    pub(crate) ready: Vec<Digest>,
    pub(crate) retry: Vec<Digest>,
    /// Requests that expired unexecuted.
    pub(crate) expired: Vec<Digest>,
    /// Requests that waited for an earlier nonce of their account, which was executed without ever waiting here.
    pub(crate) releases: Vec<Release>,
}

#[derive(Debug)]
struct Waiting {
    request: ValidRequest,
    /// The backup that forwarded it, whose room it takes.
    source: Option<ReplicaId>,
}

/// The waiting requests of an account.
#[derive(Debug, Default)]
struct Queue {
    by_nonce: BTreeMap<u64, Waiting>,
    /// The first nonce that was not handed to the protocol, if it is not the account's next.
    released: u64,
}

/// The requests that wait at one replica.
#[derive(Debug)]
pub(crate) struct Admission {
    lookahead: u32,
    forward_room: usize,
    /// Accounts that have waiting requests.
    queues: HashedMap<PublicKey, Queue>,
    /// The waiting requests of all accounts.
    digests: HashedSet<Digest>,
    expiries: BTreeSet<(u64, PublicKey, u64)>,
    forwarded: BTreeMap<ReplicaId, usize>,
}

impl Queue {
    /// The requests that follow without a gap on what was executed or handed out before: the protocol orders an account's
    /// requests as it gets them, so it gets them in the order of their nonces.
    fn release(&mut self, next: u64) -> Vec<Release> {
        let mut upto = self.released.max(next);
        let mut releases = Vec::new();
        while let Some(held) = self.by_nonce.get(&upto) {
            releases.push(Release {
                request: held.request.clone(),
                timed: upto == next,
            });
            upto = upto.saturating_add(1);
        }
        self.released = upto;
        releases
    }
}

impl Admission {
    pub(crate) fn new(lookahead: u32, forward_room: usize) -> Self {
        Self {
            lookahead,
            forward_room,
            queues: HashedMap::default(),
            digests: HashedSet::default(),
            expiries: BTreeSet::new(),
            forwarded: BTreeMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.digests.len()
    }

    /// Asks for a valid request to be admitted at the state after block `height`.
    pub(crate) fn admit(
        &mut self,
        request: ValidRequest,
        source: Option<ReplicaId>,
        state: &State,
        height: u64,
    ) -> Admitted {
        let (account, nonce) = (request.account, request.nonce);
        let next = state.account(&account).map_or(0, |account| account.next_nonce);
        match state.nonce_status(&account, nonce, self.lookahead) {
            NonceStatus::UnknownAccount => return Admitted::Refused(Refusal::UnknownAccount),
            NonceStatus::TooFarAhead => return Admitted::Refused(Refusal::NonceTooFar { next }),
            NonceStatus::Settled(settled) if settled.request == request.digest => {
                return Admitted::Settled(*settled);
            }
            NonceStatus::Settled(_) | NonceStatus::Forgotten => {
                return Admitted::Refused(Refusal::NonceConsumed { next });
            }
            NonceStatus::Next | NonceStatus::Ahead { .. } => {}
        }
        if request.expiry_height <= height {
            return Admitted::Refused(Refusal::Expired { height });
        }
        if let Some(held) = self.held(&account, nonce) {
            // Of two requests for one nonce the first one here waits; at most one of them is ever executed.
            return if held.request.digest == request.digest {
                Admitted::Known
            } else {
                Admitted::Busy
            };
        }
        let full = source.is_some_and(|source| {
            self.forwarded
                .get(&source)
                .is_some_and(|count| *count >= self.forward_room)
        });
        if full || self.len() >= MAX_QUEUED {
            return Admitted::Busy;
        }
        if let Some(source) = source {
            *self.forwarded.entry(source).or_default() += 1;
        }
        self.digests.insert(request.digest);
        self.expiries.insert((request.expiry_height, account, nonce));
        let queue = self.queues.entry(account).or_default();
        queue.by_nonce.insert(nonce, Waiting { request, source });
        Admitted::Queued(queue.release(next))
    }

    fn held(&self, account: &PublicKey, nonce: u64) -> Option<&Waiting> {
        self.queues.get(account)?.by_nonce.get(&nonce)
    }

    fn remove(&mut self, account: PublicKey, nonce: u64) -> Option<Digest> {
        let queue = self.queues.get_mut(&account)?;
        let Waiting { request, source } = queue.by_nonce.remove(&nonce)?;
        if queue.by_nonce.is_empty() {
            self.queues.remove(&account);
        }
        self.digests.remove(&request.digest);
        self.expiries.remove(&(request.expiry_height, account, nonce));
        if let Some(count) = source.and_then(|source| self.forwarded.get_mut(&source)) {
            *count = count.saturating_sub(1);
        }
        Some(request.digest)
    }

    /// What a block with these receipts changes, at the state after it.
    pub(crate) fn settle(&mut self, receipts: &[Receipt], state: &State, height: u64) -> Settlement {
        let mut settlement = Settlement::default();
        let mut accounts = BTreeSet::new();
        for receipt in receipts {
            match receipt {
                Receipt::Executed(executed) => {
                    settlement.settled.push(executed.request);
                    // Another request for the same nonce can never execute now.
                    let held = self.remove(executed.account, executed.nonce);
                    settlement
                        .settled
                        .extend(held.filter(|held| *held != executed.request));
                    if self.queues.contains_key(&executed.account) {
                        accounts.insert(executed.account);
                    }
                }
                Receipt::NoOp(no_op) if self.digests.contains(&no_op.request) => {
                    settlement.retry.push(no_op.request);
                }
                Receipt::NoOp(_) => {}
            }
        }
        self.expire(height, &mut settlement);
        for account in accounts {
            let next = state.account(&account).map_or(0, |account| account.next_nonce);
            self.become_next(account, next, &mut settlement);
        }
        settlement
    }

    /// `next` is the account's next nonce now: whoever waits for it here can execute, and those that follow it without a
    /// gap are handed out if they were not yet.
    fn become_next(&mut self, account: PublicKey, next: u64, settlement: &mut Settlement) {
        let Some(queue) = self.queues.get_mut(&account) else {
            return;
        };
        if let Some(held) = queue.by_nonce.get(&next) {
            settlement.ready.push(held.request.digest);
            // One that was handed out before is only timed by this.
            settlement.releases.push(Release {
                request: held.request.clone(),
                timed: true,
            });
            settlement.releases.extend(queue.release(next));
        }
    }

    fn expire(&mut self, height: u64, settlement: &mut Settlement) {
        while let Some((expiry, account, nonce)) = self.expiries.first().copied() {
            if expiry > height {
                return;
            }
            self.expiries.pop_first();
            if let Some(digest) = self.remove(account, nonce) {
                settlement.settled.push(digest);
                settlement.expired.push(digest);
                // Its place in the row of nonces is open again for another request.
                if let Some(queue) = self.queues.get_mut(&account) {
                    queue.released = queue.released.min(nonce);
                }
            }
        }
    }

    /// The state has moved by more than one block: everything that cannot execute any more goes.
    pub(crate) fn rebase(&mut self, state: &State, height: u64) -> Settlement {
        let mut settlement = Settlement::default();
        self.expire(height, &mut settlement);
        let mut keys: Vec<(PublicKey, u64)> = self
            .queues
            .iter()
            .flat_map(|(account, queue)| queue.by_nonce.keys().map(|nonce| (*account, *nonce)))
            .collect();
        // Each run of a simulation must do the same.
        keys.sort_unstable();
        for (account, nonce) in keys {
            match state.nonce_status(&account, nonce, self.lookahead) {
                NonceStatus::Next => self.become_next(account, nonce, &mut settlement),
                NonceStatus::Ahead { .. } => {}
                _ => settlement.settled.extend(self.remove(account, nonce)),
            }
        }
        settlement
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tagma_crypto::{Request, Signature};
    use tagma_ledger::{Account, AccountEntry, ExecutedReceipt, Outcome};

    fn state(account: PublicKey, next_nonce: u64) -> State {
        let account = AccountEntry {
            key: account,
            account: Account {
                next_nonce,
                ..Account::with_balance(10)
            },
        };
        State::from_entries([account], 1)
    }

    fn request(account: PublicKey, nonce: u64) -> ValidRequest {
        let content = nonce.to_le_bytes().to_vec();
        ValidRequest {
            digest: Digest::of("test/request", &[&content]),
            request: Arc::new(Request {
                content: content.into(),
                signature: Signature::from_bytes([0; 64]),
            }),
            account,
            nonce,
            expiry_height: u64::MAX,
        }
    }

    /// A replica that is a block behind gets an account's next request before the one before it has executed here, and
    /// never sees that one: it must still propose or forward the next one afterwards. Found by the simulator.
    #[test]
    fn a_request_is_handed_out_when_the_one_before_it_was_executed_without_waiting_here() {
        let account = PublicKey::from_bytes([7; 32]);
        let mut admission = Admission::new(8, 8);
        let admitted = admission.admit(request(account, 1), None, &state(account, 0), 0);
        assert_eq!(admitted, Admitted::Queued(Vec::new()), "its time has not come");
        let executed = Receipt::Executed(ExecutedReceipt {
            request: request(account, 0).digest,
            account,
            nonce: 0,
            outcome: Outcome::Transferred,
        });
        let settlement = admission.settle(&[executed], &state(account, 1), 1);
        let expected = Release {
            request: request(account, 1),
            timed: true,
        };
        assert!(settlement.releases.contains(&expected));
        let rebased = admission.rebase(&state(account, 1), 2);
        assert!(
            rebased.releases.contains(&expected),
            "after a state transfer as well"
        );
    }
}
