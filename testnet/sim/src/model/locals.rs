//! Every state that one host was ever in, by number, and every step between them, computed once.
//!
//! What a host does with what happens to it depends on nothing but its own state. So however many states of the whole
//! there are, each step of one host is computed once, and a state of the whole is a few numbers.
//!
//! States are told apart by what they hold, not by what led to them: a third of all steps lead to a state that was known.
//! The replicas themselves take far more room than all else, so those that nothing leads on from are
//! forgotten; if one is wanted again, it is made again from the one it came from.

use std::collections::HashMap;
use std::sync::Arc;

use tagma_crypto::Digest;
use tagma_pbft::{Message, Recipient, ReplicaId, View};

use super::REQUESTS;
use super::instance::{LEAP, TICK};
use super::local::{Local, World};
use super::messages::ListId;
use crate::check::{Checked, Violation};

/// A state of one host, by number.
pub(super) type LocalId = u32;

/// What happens to one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Happening {
    /// It hears these messages; whatever it had sent is gone.
    Hears(ListId),
    /// Half a second passes in silence.
    Tick,
    /// So much time passes in silence that every timer is due.
    Leap,
}

/// What is asked of a state again and again.
#[derive(Clone, Copy)]
pub(super) struct Facts {
    /// Which replica it is.
    pub(super) id: ReplicaId,
    /// The hash of the header after all that it has executed: equal ones are equal chains.
    pub(super) chain: Digest,
    /// A number for all that it has said: equal ones are equal.
    pub(super) said: u32,
    /// Whether it has sent nothing since it last listened.
    pub(super) is_quiet: bool,
    /// Whether it has executed all that clients want.
    pub(super) is_done: bool,
    /// The last view that it entered.
    pub(super) view: View,
    /// The view that it wants.
    pub(super) target: View,
}

struct Entry {
    facts: Facts,
    /// None if it is forgotten.
    local: Option<Arc<Local>>,
    /// From what it came first, and how; none for what a search begins with, which is never forgotten.
    origin: Option<(LocalId, Happening)>,
}

/// The states and steps of all hosts of a search. The maps are looked up in and never iterated, but to tell of a failure.
pub(super) struct Locals {
    pub(super) world: World,
    entries: Vec<Entry>,
    /// Those that are not forgotten but could be.
    held: Vec<LocalId>,
    said: HashMap<Digest, u32>,
    chains: HashMap<Digest, Arc<[Digest]>>,
    ids: HashMap<Digest, LocalId>,
    steps: HashMap<(LocalId, Happening), LocalId>,
    posts: HashMap<(LocalId, ReplicaId, bool), ListId>,
}

impl Locals {
    pub(super) fn new(world: World) -> Self {
        Self {
            world,
            entries: Vec::new(),
            held: Vec::new(),
            said: HashMap::new(),
            chains: HashMap::new(),
            ids: HashMap::new(),
            steps: HashMap::new(),
            posts: HashMap::new(),
        }
    }

    /// How many different states of one host there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many steps of one host were computed.
    pub(super) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// The number of a state that a search begins with.
    pub(super) fn begin(&mut self, local: Local) -> LocalId {
        let id = self.id(local, None);
        self.entries[id as usize].origin = None;
        id
    }

    fn id(&mut self, local: Local, origin: Option<(LocalId, Happening)>) -> LocalId {
        let fingerprint = local.fingerprint();
        if let Some(known) = self.ids.get(&fingerprint) {
            return *known;
        }
        let id = u32::try_from(self.entries.len())
            .unwrap_or_else(|_| unreachable!("a search ends before it has made 2^32 of anything"));
        self.ids.insert(fingerprint, id);
        let next = u32::try_from(self.said.len()).unwrap_or(u32::MAX);
        let said = *self.said.entry(local.said.fingerprint()).or_insert(next);
        let chain = local.app.header();
        self.chains
            .entry(chain)
            .or_insert_with(|| local.app.batches().collect());
        let instance = &self.world.instance;
        let mut wanted = REQUESTS.iter();
        let facts = Facts {
            id: local.replica.id(),
            chain,
            said,
            is_quiet: local.outbox.is_empty(),
            is_done: wanted.all(|text| local.app.has_executed(&instance.request_digest(text))),
            view: local.replica.view(),
            target: local.replica.target(),
        };
        self.held.push(id);
        self.entries.push(Entry {
            facts,
            local: Some(Arc::new(local)),
            origin,
        });
        id
    }

    /// What is known of a state without looking into it.
    pub(super) fn facts(&self, id: LocalId) -> &Facts {
        &self.entries[id as usize].facts
    }

    /// A state itself.
    ///
    /// # Errors
    /// None that its first making did not have.
    pub(super) fn get(&mut self, id: LocalId) -> Result<Arc<Local>, Violation> {
        // Back to the last one that is not forgotten, and from there on again.
        let mut way = Vec::new();
        let mut at = id;
        let mut local = loop {
            let entry = &self.entries[at as usize];
            match (&entry.local, entry.origin) {
                (Some(local), _) => break Arc::clone(local),
                (None, Some((from, happening))) => {
                    way.push((at, happening));
                    at = from;
                }
                (None, None) => unreachable!("what a search begins with is never forgotten"),
            }
        };
        while let Some((to, happening)) = way.pop() {
            local = Arc::new(self.happens(&local, happening)?);
            self.entries[to as usize].local = Some(Arc::clone(&local));
            self.held.push(to);
        }
        Ok(local)
    }

    /// A point to go back to with [`Locals::forget_since`].
    pub(super) fn mark(&self) -> usize {
        self.held.len()
    }

    /// Forgets what was made since then, but for what is to be kept.
    pub(super) fn forget_since(&mut self, mark: usize, keep: impl Fn(LocalId) -> bool) {
        let since = self.held.split_off(mark.min(self.held.len()));
        for id in since {
            let entry = &mut self.entries[id as usize];
            if entry.origin.is_none() {
                continue;
            }
            if keep(id) {
                self.held.push(id);
            } else {
                entry.local = None;
            }
        }
    }

    /// What becomes of a host.
    ///
    /// # Errors
    /// If it breaks its word, halts, accuses an honest one, or does not come to rest.
    pub(super) fn step(&mut self, from: LocalId, happening: Happening) -> Result<LocalId, Violation> {
        if let Some(known) = self.steps.get(&(from, happening)) {
            return Ok(*known);
        }
        let local = self.get(from)?;
        let next = self.happens(&local, happening)?;
        let to = self.id(next, Some((from, happening)));
        self.steps.insert((from, happening), to);
        Ok(to)
    }

    fn happens(&mut self, local: &Local, happening: Happening) -> Result<Local, Violation> {
        let mut local = local.clone();
        match happening {
            Happening::Hears(list) => {
                let list = Arc::clone(self.world.messages.listed(list));
                local.hears(&mut self.world, &list)?;
            }
            Happening::Tick => local.waits(&mut self.world, TICK)?,
            Happening::Leap => local.waits(&mut self.world, LEAP)?,
        }
        Ok(local)
    }

    /// What host `from` has in its outbox for replica `to`. Without `repairs` those messages are left out that only say
    /// again what was lost.
    pub(super) fn post(&mut self, from: LocalId, to: ReplicaId, repairs: bool) -> Result<ListId, Violation> {
        if let Some(known) = self.posts.get(&(from, to, repairs)) {
            return Ok(*known);
        }
        let local = self.get(from)?;
        let sender = local.replica.id();
        let meant = local.outbox.iter().filter(|(recipient, message)| {
            let again = matches!(
                self.world.messages.get(*message),
                Message::Status(_) | Message::Forward(_)
            );
            let addressed = match recipient {
                Recipient::Others => to != sender,
                Recipient::One(one) => *one == to,
            };
            addressed && (repairs || !again)
        });
        let list: Vec<_> = meant.map(|(_, message)| (sender, *message)).collect();
        let id = self.world.messages.list(&list);
        self.posts.insert((from, to, repairs), id);
        Ok(id)
    }

    /// S1: no two of these have executed different batches at one number.
    pub(super) fn agreement(&self, hosts: &[LocalId]) -> Checked {
        for (index, first) in hosts.iter().enumerate() {
            for second in hosts.iter().skip(index + 1) {
                let (a, b) = (self.facts(*first), self.facts(*second));
                if a.chain == b.chain {
                    continue;
                }
                let (chain_a, chain_b) = (&self.chains[&a.chain], &self.chains[&b.chain]);
                if chain_a.iter().zip(chain_b.iter()).any(|(a, b)| a != b) {
                    let detail = format!("{} executed {chain_a:?}, {} executed {chain_b:?}", a.id, b.id);
                    return Err(Violation::new("S1 agreement", detail));
                }
            }
        }
        Ok(())
    }

    /// What led from one state to another, in one step or two.
    pub(super) fn between(&self, from: LocalId, to: LocalId) -> Vec<Happening> {
        let mut ways: Vec<Vec<Happening>> = Vec::new();
        for ((_, happening), middle) in self.steps.iter().filter(|((start, _), _)| *start == from) {
            if *middle == to {
                ways.push(vec![*happening]);
            } else if self.steps.get(&(*middle, Happening::Leap)) == Some(&to) {
                ways.push(vec![*happening, Happening::Leap]);
            }
        }
        ways.sort_by_key(|way| (way.len(), way.clone()));
        ways.into_iter().next().unwrap_or_default()
    }
}
