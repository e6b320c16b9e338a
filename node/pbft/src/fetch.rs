//! Getting what others have: bodies by digest, final batches by sequence number. One source at a time; a source that
//! does not answer in time, or answers wrongly, costs its turn.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tagma_crypto::Digest;

use crate::batch::Body;
use crate::certificate::CommitCertificate;
use crate::error::{BatchFault, Rejection};
use crate::io::{Outputs, Recipient};
use crate::log::Offered;
use crate::message::{Kind, Message};
use crate::peer::Peer;
use crate::replica::Replica;
use crate::timer::Timer;
use crate::types::{ReplicaId, SeqNum, Time};

#[derive(Clone, Debug)]
struct WantedBody {
    /// Every sequence number that waits for it.
    seqs: BTreeSet<SeqNum>,
    sources: BTreeSet<ReplicaId>,
    /// Who was asked last, if anybody was.
    asked: Option<ReplicaId>,
    /// When the next one is asked.
    due: Time,
}

#[derive(Clone, Copy, Debug)]
struct WantedBlocks {
    from: SeqNum,
    asked: ReplicaId,
    at: Time,
}

/// What this replica has asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fetcher {
    bodies: BTreeMap<Digest, WantedBody>,
    blocks: Option<WantedBlocks>,
    last_source: Option<ReplicaId>,
    /// Whether blocks are being fetched until this replica has caught up.
    catching_up: bool,
}

/// The first of `candidates` after `last`, in a circle.
fn after(candidates: &BTreeSet<ReplicaId>, last: Option<ReplicaId>) -> Option<ReplicaId> {
    let next = last.and_then(|last| candidates.iter().find(|id| **id > last));
    next.or_else(|| candidates.first()).copied()
}

impl Replica {
    /// Asks one of `sources` for a body, unless it comes by itself before `patience` is over.
    pub(crate) fn want_body(
        &mut self,
        seq: SeqNum,
        digest: Digest,
        mut sources: BTreeSet<ReplicaId>,
        patience: Duration,
        out: &mut Outputs,
    ) {
        sources.remove(&self.id());
        let (now, due) = (self.now.clock, self.now.clock.plus(patience));
        let wanted = self.fetcher.bodies.entry(digest).or_insert(WantedBody {
            seqs: BTreeSet::new(),
            sources: BTreeSet::new(),
            asked: None,
            due,
        });
        wanted.seqs.insert(seq);
        wanted.sources.append(&mut sources);
        if wanted.sources.is_empty() {
            // A digest of a certificate without known signers here: anybody may have it.
            let me = self.config.id;
            wanted.sources = self.quorum.all().filter(|id| *id != me).collect();
        }
        if wanted.asked.is_none() {
            wanted.due = wanted.due.min(due);
            if wanted.due <= now {
                self.ask_for_body(&digest, out);
            } else {
                self.timers.advance(Timer::Fetch, wanted.due);
            }
        }
    }

    /// Asks the next source of a body that is wanted.
    fn ask_for_body(&mut self, digest: &Digest, out: &mut Outputs) {
        let Some(wanted) = self.fetcher.bodies.get_mut(digest) else {
            return;
        };
        wanted.due = self.now.clock.plus(self.config.tuning.fetch_timeout);
        self.timers.advance(Timer::Fetch, wanted.due);
        let next = after(&wanted.sources, wanted.asked.or(self.fetcher.last_source));
        if let (Some(next), Some(seq)) = (next, wanted.seqs.first().copied()) {
            wanted.asked = Some(next);
            let digest = *digest;
            self.send(Recipient::One(next), Message::FetchBody { seq, digest }, out);
        }
    }

    /// Somebody asks for a body.
    pub(crate) fn on_fetch_body(&mut self, from: ReplicaId, seq: SeqNum, digest: Digest, out: &mut Outputs) {
        match self.find_certified_body(seq, &digest) {
            Some(body) => self.send(Recipient::One(from), Message::Body(body.batch().clone()), out),
            None => out.serve_body.push((from, seq, digest)),
        }
    }

    /// A body came. It was asked for by its digest, so whoever sent it is of no matter.
    pub(crate) fn on_body(
        &mut self,
        from: ReplicaId,
        body: &Arc<Body>,
        fault: Option<BatchFault>,
        out: &mut Outputs,
    ) {
        let digest = body.digest();
        let Some(wanted) = self.fetcher.bodies.remove(&digest) else {
            self.reject(from, Kind::Body, Rejection::Unsolicited, out);
            return;
        };
        for seq in wanted.seqs {
            self.take_body(seq, body, fault.as_ref(), out);
        }
    }

    /// A body that `seq` waits for is here.
    fn take_body(&mut self, seq: SeqNum, body: &Arc<Body>, fault: Option<&BatchFault>, out: &mut Outputs) {
        if seq <= self.log.collected() {
            return;
        }
        let digest = body.digest();
        let slot = self.log.slot(seq);
        let proposal = slot
            .proposals
            .get(&self.view)
            .filter(|vote| vote.digest == digest)
            .cloned();
        let certified = self.choices.get(&seq) == Some(&digest)
            || slot
                .commit_certificates(seq, self.quorum)
                .any(|certificate| certificate.digest == digest);
        if fault.is_some() && !certified {
            // Nobody but the primary has vouched for it: it signed a bad batch.
            if let Some(vote) = proposal {
                self.on_faulty_batch(vote, body.batch().clone(), out);
            }
            return;
        }
        slot.offered = Some(Offered {
            body: Arc::clone(body),
            share_in: None,
        });
        self.consider(seq, out);
        self.progress(seq, out);
    }

    /// Whether this peer was asked for blocks from here on and had none to give, not long ago. It is forgotten only when
    /// everybody has had a turn, or one who never answers would hide from us that nobody has them.
    fn lacks_blocks(&self, peer: &Peer, from: SeqNum) -> bool {
        let tuning = &self.config.tuning;
        let memory = tuning
            .fetch_timeout
            .saturating_mul(u32::from(self.quorum.replicas()));
        peer.lacks_block
            .is_some_and(|(lacks, at)| lacks >= from && self.now.clock.since(at) < memory)
    }

    /// Asks for the next blocks if somebody is known to be ahead.
    pub(crate) fn fetch_blocks_if_behind(&mut self, out: &mut Outputs) {
        if self.fetcher.blocks.is_some() {
            return;
        }
        let from = self.dispatched.next();
        let behind = self.stable_seq() > self.dispatched;
        let ahead: BTreeSet<ReplicaId> = self
            .peers
            .iter()
            .filter(|(id, peer)| {
                **id != self.id() && peer.executed > self.dispatched && !self.lacks_blocks(peer, from)
            })
            .map(|(id, _)| *id)
            .collect();
        let Some(asked) = after(&ahead, self.fetcher.last_source) else {
            self.fetcher.catching_up = false;
            if behind {
                self.consider_transfer(out);
            }
            return;
        };
        self.fetcher.catching_up = true;
        self.fetcher.last_source = Some(asked);
        self.fetcher.blocks = Some(WantedBlocks {
            from,
            asked,
            at: self.now.clock,
        });
        let count = self.config.tuning.fetch_blocks;
        self.send(Recipient::One(asked), Message::FetchBlocks { from, count }, out);
        self.timers.ensure(
            Timer::Fetch,
            self.now.clock.plus(self.config.tuning.fetch_timeout),
        );
    }

    /// Nobody who is ahead has the next block: state transfer is the only way, once enough peers have said so.
    fn consider_transfer(&mut self, out: &mut Outputs) {
        let from = self.dispatched.next();
        let lacking = self
            .peers
            .values()
            .filter(|peer| self.lacks_blocks(peer, from))
            .count();
        // f + 1 who do not have it include a correct one; a liar alone cannot force a transfer.
        if lacking >= self.quorum.weak() && self.dispatched == self.executed {
            out.transfer.clone_from(&self.stable);
        }
    }

    /// Blocks came, or the word that there are none.
    pub(crate) fn on_blocks(
        &mut self,
        from: ReplicaId,
        first: SeqNum,
        blocks: Vec<(CommitCertificate, Arc<Body>)>,
        out: &mut Outputs,
    ) {
        let Some(wanted) = self
            .fetcher
            .blocks
            .filter(|wanted| wanted.asked == from && wanted.from == first)
        else {
            self.reject(from, Kind::Blocks, Rejection::Unsolicited, out);
            return;
        };
        self.fetcher.blocks = None;
        if blocks.is_empty() {
            self.peers.entry(from).or_default().lacks_block = Some((wanted.from, self.now.clock));
            self.fetch_blocks_if_behind(out);
            return;
        }
        for (certificate, body) in blocks {
            let seq = certificate.seq;
            if seq <= self.log.collected() || self.contradicts_history(seq, &certificate.digest, out) {
                continue;
            }
            self.commit(certificate, body, out);
        }
        self.continue_fetching(out);
    }

    /// While catching up the next blocks are asked for as soon as the last ones are on their way to execution.
    pub(crate) fn continue_fetching(&mut self, out: &mut Outputs) {
        let room = self.dispatched.above(self.executed) < u64::from(self.config.tuning.fetch_blocks);
        if self.fetcher.catching_up && room {
            self.fetch_blocks_if_behind(out);
        }
    }

    /// Whether the body is still of use: for a proposal of the present view, or for a batch that is certified.
    fn waits_for_body(&self, seq: SeqNum, digest: &Digest) -> bool {
        self.log.get(seq).is_some_and(|slot| {
            let proposed = slot.proposals.get(&self.view);
            let open = !slot.accepted.contains_key(&self.view) && seq > self.stable_seq();
            let certified = || {
                slot.commit_certificates(seq, self.quorum)
                    .any(|one| one.digest == *digest)
            };
            (open && proposed.is_some_and(|vote| vote.digest == *digest))
                || (slot.committed.is_none() && certified())
        })
    }

    /// Asks others for what did not come in time.
    pub(crate) fn on_fetch_timer(&mut self, out: &mut Outputs) {
        let (now, timeout) = (self.now.clock, self.config.tuning.fetch_timeout);
        let mut bodies = core::mem::take(&mut self.fetcher.bodies);
        bodies.retain(|digest, wanted| {
            wanted.seqs.retain(|seq| self.waits_for_body(*seq, digest));
            !wanted.seqs.is_empty()
        });
        let due: Vec<Digest> = bodies
            .iter()
            .filter(|(_, wanted)| wanted.due <= now)
            .map(|(digest, _)| *digest)
            .collect();
        self.fetcher.bodies = bodies;
        for digest in due {
            self.ask_for_body(&digest, out);
        }
        if let Some(due) = self.fetcher.bodies.values().map(|wanted| wanted.due).min() {
            self.timers.advance(Timer::Fetch, due);
        }
        if let Some(wanted) = self
            .fetcher
            .blocks
            .filter(|wanted| now.since(wanted.at) >= timeout)
        {
            self.fetcher.blocks = None;
            self.peers.entry(wanted.asked).or_default().lacks_block = Some((wanted.from, now));
            self.fetch_blocks_if_behind(out);
        }
        if self.fetcher.blocks.is_some() {
            self.timers.advance(Timer::Fetch, now.plus(timeout / 2));
        }
    }
}
