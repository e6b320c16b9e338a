//! Requests whose outcome is known, remembered for a while so that late replies can be held against it.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use tagma_crypto::Digest;

use crate::matching::{Tally, Verdict};

/// A reply that contradicts what f + 1 replicas replied: its replica is faulty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The replica.
    pub replica: u16,
    /// The request's digest.
    pub request: Digest,
    /// What f + 1 replicas say became of the request.
    pub accepted: Verdict,
    /// What this one says.
    pub said: Verdict,
}

/// Who replied what became of a request whose outcome is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The accepted verdict.
    pub verdict: Verdict,
    /// The replicas that report it, in order of number.
    pub supporters: Vec<u16>,
    /// The replicas that report something else, in order of number.
    pub liars: Vec<u16>,
}

/// An accepted request.
#[derive(Debug)]
struct Accepted {
    verdict: Verdict,
    tally: Tally,
    /// What it was submitted with.
    frame: Bytes,
}

/// The last accepted requests, and the contradictions seen. Both are bounded: the oldest are forgotten.
#[derive(Debug)]
pub(crate) struct Settled {
    remembered: usize,
    requests: HashMap<Digest, Accepted>,
    order: VecDeque<Digest>,
    contradictions: VecDeque<Contradiction>,
}

/// The most contradictions kept until somebody takes them.
const MAX_CONTRADICTIONS: usize = 1024;

impl Settled {
    pub(crate) fn new(remembered: usize) -> Self {
        Self {
            remembered,
            requests: HashMap::new(),
            order: VecDeque::new(),
            contradictions: VecDeque::new(),
        }
    }

    /// Remembers an accepted request with the replies so far, some of which may contradict it.
    pub(crate) fn insert(&mut self, request: Digest, verdict: Verdict, tally: Tally, frame: Bytes) {
        for (replica, said) in tally.contradicting(&verdict) {
            self.contradict(Contradiction {
                replica,
                request,
                accepted: verdict,
                said,
            });
        }
        let accepted = Accepted {
            verdict,
            tally,
            frame,
        };
        if self.requests.insert(request, accepted).is_none() {
            self.order.push_back(request);
        }
        while self.order.len() > self.remembered {
            if let Some(oldest) = self.order.pop_front() {
                self.requests.remove(&oldest);
            }
        }
    }

    /// Takes in a late reply. Returns whether the request is remembered and this tells something new of it.
    pub(crate) fn vote(&mut self, replica: u16, request: &Digest, said: Verdict) -> bool {
        let Some(settled) = self.requests.get_mut(request) else {
            return false;
        };
        let accepted = settled.verdict;
        let new = settled.tally.vote(replica, said);
        if new && said != accepted {
            self.contradict(Contradiction {
                replica,
                request: *request,
                accepted,
                said,
            });
        }
        new
    }

    fn contradict(&mut self, contradiction: Contradiction) {
        tracing::warn!(
            replica = contradiction.replica,
            request = %contradiction.request,
            accepted = ?contradiction.accepted,
            said = ?contradiction.said,
            "a replica contradicts f + 1 others"
        );
        if self.contradictions.len() == MAX_CONTRADICTIONS {
            self.contradictions.pop_front();
        }
        self.contradictions.push_back(contradiction);
    }

    /// Who said what of a request, if it is remembered.
    pub(crate) fn standing(&self, request: &Digest) -> Option<Standing> {
        let Accepted { verdict, tally, .. } = self.requests.get(request)?;
        Some(Standing {
            verdict: *verdict,
            supporters: tally.supporters(verdict),
            liars: tally.liars(verdict),
        })
    }

    /// Which of `replicas` have not replied to a remembered request, and what it was submitted with.
    pub(crate) fn missing(
        &self,
        request: &Digest,
        replicas: impl Iterator<Item = u16>,
    ) -> Option<(Vec<u16>, Bytes)> {
        let Accepted { tally, frame, .. } = self.requests.get(request)?;
        let missing = replicas.filter(|replica| !tally.has_voted(*replica));
        Some((missing.collect(), frame.clone()))
    }

    pub(crate) fn take_contradictions(&mut self) -> Vec<Contradiction> {
        self.contradictions.drain(..).collect()
    }
}
