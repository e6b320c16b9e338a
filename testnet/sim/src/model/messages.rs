//! Every message that was ever sent in a search, by number, each verified once for each receiver.

use std::collections::HashMap;
use std::sync::Arc;

use tagma_crypto::Digest;
use tagma_crypto::encode::encode;
use tagma_pbft::io::Check;
use tagma_pbft::verify::Checked;
use tagma_pbft::{Incoming, Message, ReplicaId, Verified};

use super::instance::Instance;

/// A message, by number.
pub(super) type MessageId = u32;
/// Messages in the order in which they arrive, by number, each with the replica over whose connection it comes.
pub(super) type ListId = u32;

/// The messages of a search. The maps are looked up in and never iterated.
pub(super) struct Messages {
    messages: Vec<Message>,
    ids: HashMap<Digest, MessageId>,
    verified: HashMap<(ReplicaId, MessageId), Option<Verified<Incoming>>>,
    /// By the address of the message in memory, as replicas tell by that which of their messages it is about. What is kept
    /// holds the message, so no other can come to lie there.
    checked: HashMap<usize, Verified<Checked>>,
    lists: Vec<Arc<[(ReplicaId, MessageId)]>>,
    list_ids: HashMap<Arc<[(ReplicaId, MessageId)]>, ListId>,
}

/// The list of no messages.
pub(super) const NOTHING: ListId = 0;

fn next(len: usize) -> u32 {
    u32::try_from(len).unwrap_or_else(|_| unreachable!("a search ends before it has made 2^32 of anything"))
}

impl Messages {
    pub(super) fn new() -> Self {
        let mut messages = Self {
            messages: Vec::new(),
            ids: HashMap::new(),
            verified: HashMap::new(),
            checked: HashMap::new(),
            lists: Vec::new(),
            list_ids: HashMap::new(),
        };
        assert_eq!(messages.list(&[]), NOTHING, "the first list is the empty one");
        messages
    }

    /// How many different ones there are.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// The number of a message.
    pub(super) fn id(&mut self, message: &Message) -> MessageId {
        let digest = Digest::of("model/message", &[&encode(message)]);
        *self.ids.entry(digest).or_insert_with(|| {
            self.messages.push(message.clone());
            next(self.messages.len() - 1)
        })
    }

    pub(super) fn get(&self, id: MessageId) -> &Message {
        &self.messages[id as usize]
    }

    /// The number of a list.
    pub(super) fn list(&mut self, list: &[(ReplicaId, MessageId)]) -> ListId {
        if let Some(id) = self.list_ids.get(list) {
            return *id;
        }
        let (id, list) = (next(self.lists.len()), Arc::from(list));
        self.lists.push(Arc::clone(&list));
        self.list_ids.insert(list, id);
        id
    }

    pub(super) fn listed(&self, id: ListId) -> &Arc<[(ReplicaId, MessageId)]> {
        &self.lists[id as usize]
    }

    /// Both lists, one after the other.
    pub(super) fn joined(&mut self, first: ListId, second: ListId) -> ListId {
        match (first, second) {
            (NOTHING, only) | (only, NOTHING) => only,
            _ => {
                let both = [self.listed(first).as_ref(), self.listed(second).as_ref()].concat();
                self.list(&both)
            }
        }
    }

    /// The message as `me` gets it; none if it is refused.
    pub(super) fn verified(
        &mut self,
        instance: &Instance,
        me: ReplicaId,
        id: MessageId,
    ) -> Option<Verified<Incoming>> {
        let message = &self.messages[id as usize];
        self.verified
            .entry((me, id))
            .or_insert_with(|| instance.verifier(me).verify(message.clone()).ok())
            .clone()
    }

    /// A message as somebody got it; none if it was refused or never came.
    pub(super) fn known(&self, id: MessageId) -> Option<&Verified<Incoming>> {
        (0..4)
            .map(ReplicaId::new)
            .find_map(|me| self.verified.get(&(me, id))?.as_ref())
    }

    /// What `me` finds when it checks this.
    pub(super) fn checked(&mut self, instance: &Instance, me: ReplicaId, check: Check) -> Verified<Checked> {
        let address = match &check {
            Check::ViewChange(message) => Arc::as_ptr(message) as usize,
            Check::NewView(message) => Arc::as_ptr(message) as usize,
            // Nobody stands by in the model.
            Check::Proposal(..) => return instance.verifier(me).check(check),
        };
        self.checked
            .entry(address)
            .or_insert_with(|| instance.verifier(me).check(check))
            .clone()
    }
}
