//! Requests whose outcome is known, remembered for a while so that late replies can be held against it.

use std::collections::{HashMap, VecDeque};

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

/// The last accepted requests, and the contradictions seen. Both are bounded: the oldest are forgotten.
#[derive(Debug)]
pub(crate) struct Settled {
    remembered: usize,
    requests: HashMap<Digest, (Verdict, Tally)>,
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
    pub(crate) fn insert(&mut self, request: Digest, verdict: Verdict, tally: Tally) {
        for (replica, said) in tally.contradicting(&verdict) {
            self.contradict(Contradiction {
                replica,
                request,
                accepted: verdict,
                said,
            });
        }
        if self.requests.insert(request, (verdict, tally)).is_none() {
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
        let Some((verdict, tally)) = self.requests.get_mut(request) else {
            return false;
        };
        let accepted = *verdict;
        let new = tally.vote(replica, said);
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
        let (verdict, tally) = self.requests.get(request)?;
        Some(Standing {
            verdict: *verdict,
            supporters: tally.supporters(verdict),
            liars: tally.liars(verdict),
        })
    }

    /// Whether the replica has replied to a remembered request.
    pub(crate) fn has_voted(&self, request: &Digest, replica: u16) -> bool {
        self.requests
            .get(request)
            .is_some_and(|(_, tally)| tally.has_voted(replica))
    }

    pub(crate) fn take_contradictions(&mut self) -> Vec<Contradiction> {
        self.contradictions.drain(..).collect()
    }
}
