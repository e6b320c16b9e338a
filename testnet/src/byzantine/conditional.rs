//! A behaviour that is there only sometimes, in the simulator. A real process decides that itself ([`traitor`](super::traitor)), as
//! its order can change while it runs.

use std::sync::Arc;

use tagma_pbft::{Message, ReplicaId};
use tagma_sim::byzantine::{Behaviour, Forge};
use tagma_wire::client_protocol::ClientResponse;

use super::order::When;
use super::traitor::place;

/// `behaviour`, at the times that `when` says, among so many replicas.
#[must_use]
pub fn only(behaviour: Box<dyn Behaviour>, when: When, replicas: u64) -> Box<dyn Behaviour> {
    if when == When::Always {
        return behaviour;
    }
    Box::new(Conditional {
        behaviour,
        when,
        replicas,
        view: 0,
        seq: 0,
    })
}

#[derive(Debug)]
struct Conditional {
    behaviour: Box<dyn Behaviour>,
    when: When,
    replicas: u64,
    /// The highest view and sequence number that this replica spoke of.
    view: u64,
    seq: u64,
}

impl Conditional {
    fn applies(&self, forge: &mut Forge<'_>, seq: Option<u64>) -> bool {
        let primary = self.view.checked_rem(self.replicas) == Some(forge.id.get().into());
        self.when
            .applies(forge.rng.below(1000), primary, seq.unwrap_or(self.seq))
    }
}

impl Behaviour for Conditional {
    fn name(&self) -> &'static str {
        self.behaviour.name()
    }

    fn send(&mut self, forge: &mut Forge<'_>, to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        let (view, seq) = place(message);
        self.view = self.view.max(view.unwrap_or(0));
        self.seq = self.seq.max(seq.unwrap_or(0));
        if self.applies(forge, seq) {
            self.behaviour.send(forge, to, message)
        } else {
            vec![Arc::clone(message)]
        }
    }

    fn observe(&mut self, forge: &mut Forge<'_>, message: &Message) {
        self.behaviour.observe(forge, message);
    }

    fn tick(&mut self, forge: &mut Forge<'_>) -> Vec<(ReplicaId, Message)> {
        if self.applies(forge, None) {
            self.behaviour.tick(forge)
        } else {
            Vec::new()
        }
    }

    fn noise(&mut self, forge: &mut Forge<'_>) -> Vec<(ReplicaId, Vec<u8>)> {
        if self.applies(forge, None) {
            self.behaviour.noise(forge)
        } else {
            Vec::new()
        }
    }

    fn respond(&mut self, forge: &mut Forge<'_>, response: ClientResponse) -> Option<ClientResponse> {
        if self.applies(forge, None) {
            self.behaviour.respond(forge, response)
        } else {
            Some(response)
        }
    }
}
