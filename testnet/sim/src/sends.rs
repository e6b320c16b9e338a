//! Messages from replica to replica: as the core wants them sent, or as behaviours have them, onto the links and off them.

use std::sync::Arc;

use tagma_pbft::{Message, Recipient, ReplicaId, Send};

use crate::byzantine::Forge;
use crate::check::{Checked, Violation};
use crate::network::Fate;
use crate::packet::Packet;
use crate::time::{MILLI, SECOND};
use crate::world::{Event, World};

impl World {
    /// A message leaves the core.
    pub(crate) fn leave(&mut self, index: usize, send: &Send) -> Checked {
        let host = self.host_mut(index);
        let (id, honest) = (host.id, host.is_honest());
        let synced = host
            .process
            .as_ref()
            .map_or(tagma_pbft::Ticket(0), |process| process.synced);
        if send.after > synced {
            let detail = format!(
                "host {index}: {} left before its sync",
                send.message.kind().name()
            );
            return Err(Violation::new("sync before send", detail));
        }
        if self.host_mut(index).never_signs && crate::check::is_statement_of(id, &send.message) {
            let detail = format!(
                "host {index} lost its disk and sends a {}",
                send.message.kind().name()
            );
            return Err(Violation::new("learners sign nothing", detail));
        }
        if honest {
            let disk = self.host_mut(index).disk.store.clone();
            self.checks.sent(id, &send.message, &disk)?;
        }
        match send.to {
            Recipient::One(to) => self.transmit(index, to, &send.message),
            Recipient::Others => {
                let others: Vec<ReplicaId> = self
                    .chain
                    .ring
                    .quorum
                    .all()
                    .filter(|other| *other != id)
                    .collect();
                if honest {
                    let packet = Packet::of(&send.message);
                    for to in others {
                        self.put(index, to, &packet);
                    }
                } else {
                    for to in others {
                        self.transmit(index, to, &send.message);
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends to one replica what the core wants to be sent, or what the host's behaviours make of it.
    pub(crate) fn transmit(&mut self, index: usize, to: ReplicaId, message: &Arc<Message>) {
        let mut messages = vec![Arc::clone(message)];
        let mut behaviours = std::mem::take(&mut self.host_mut(index).behaviours);
        let mut rng = self.rng.clone();
        let id = self.host_mut(index).id;
        let mut acted = Vec::new();
        for behaviour in &mut behaviours {
            let mut forge = Forge {
                id,
                key: self.chain.vote_key(id),
                ring: &self.chain.ring,
                parameters: &self.chain.parameters,
                null: self.chain.null,
                rng: &mut rng,
            };
            let mut instead: Vec<Arc<Message>> = Vec::with_capacity(messages.len());
            for message in &messages {
                instead.extend(behaviour.send(&mut forge, to, message));
            }
            let same = messages.len() == instead.len()
                && messages.iter().zip(&instead).all(|(a, b)| Arc::ptr_eq(a, b));
            if !same {
                acted.push(behaviour.name());
            }
            messages = instead;
        }
        if !behaviours.is_empty() {
            self.rng = rng;
        }
        for name in acted {
            self.count(name);
        }
        self.host_mut(index).behaviours = behaviours;
        let honest = self.host_mut(index).is_honest();
        for message in messages {
            if !honest {
                self.checks.said(id, &message);
            }
            self.put(index, to, &Packet::of(&message));
        }
    }

    /// Puts a message on the links to all hosts of a replica.
    pub(crate) fn put(&mut self, from: usize, to: ReplicaId, packet: &Arc<Packet>) {
        let places = self.places.get(to.index()).cloned().unwrap_or_default();
        for place in places.into_iter().filter(|place| *place != from) {
            let incarnation = self.host_mut(place).incarnation;
            let fate = self.network.send(from, place, &mut self.rng);
            match fate {
                Fate::Arrives(_) => {}
                Fate::Twice(..) => self.count("message duplicated"),
                Fate::Lost(why) => self.count(why),
            }
            for delay in fate.delays() {
                if delay >= SECOND {
                    self.count("message late by a second or more");
                }
                if self.network.overtakes(from, place, self.now + delay) {
                    self.count("message overtook another");
                }
                let packet = Arc::clone(packet);
                self.schedule(
                    delay,
                    Event::Deliver {
                        from,
                        to: place,
                        incarnation,
                        packet,
                    },
                );
            }
        }
    }

    /// A host that does not behave sees a message: what its core is shown of it. What others relay of its own words, or tell of
    /// them, is kept from the core, which would stop over words it did not choose.
    pub(crate) fn observe(&mut self, index: usize, packet: Arc<Packet>) -> Option<Arc<Packet>> {
        if self.host_mut(index).fault == Some(crate::host::Fault::Amnesiac) {
            return Some(packet);
        }
        let bytes = packet.bytes();
        let Ok(mut message) = tagma_crypto::encode::decode::<Message>(bytes, bytes.len().max(1) * 4) else {
            return Some(packet);
        };
        let id = self.host_mut(index).id;
        let mut behaviours = std::mem::take(&mut self.host_mut(index).behaviours);
        let mut rng = self.rng.clone();
        for behaviour in &mut behaviours {
            let mut forge = Forge {
                id,
                key: self.chain.vote_key(id),
                ring: &self.chain.ring,
                parameters: &self.chain.parameters,
                null: self.chain.null,
                rng: &mut rng,
            };
            behaviour.observe(&mut forge, &message);
        }
        if !behaviours.is_empty() {
            self.rng = rng;
        }
        self.host_mut(index).behaviours = behaviours;
        let own = match &mut message {
            Message::PrePrepare { vote, .. } | Message::Vote(vote) => vote.sender == id,
            Message::ViewChange(change) => change.sender == id,
            Message::NewView(new) => self.chain.ring.quorum.primary(new.view) == id,
            Message::Status(status) => {
                if status.yours.is_some() {
                    status.yours = Some(Box::default());
                    return Some(Packet::of(&message));
                }
                false
            }
            _ => false,
        };
        (!own).then_some(packet)
    }

    /// A behaviour acts of itself.
    pub(crate) fn tick(&mut self, index: usize) {
        let id = self.host_mut(index).id;
        if self.host_mut(index).process.is_some() {
            let mut behaviours = std::mem::take(&mut self.host_mut(index).behaviours);
            let mut rng = self.rng.fork();
            let mut made = Vec::new();
            for behaviour in &mut behaviours {
                let mut forge = Forge {
                    id,
                    key: self.chain.vote_key(id),
                    ring: &self.chain.ring,
                    parameters: &self.chain.parameters,
                    null: self.chain.null,
                    rng: &mut rng,
                };
                let messages = behaviour.tick(&mut forge);
                made.extend(messages.into_iter().map(|message| (behaviour.name(), message)));
            }
            self.host_mut(index).behaviours = behaviours;
            for (name, (to, message)) in made {
                self.count(name);
                self.checks.said(id, &message);
                self.put(index, to, &Packet::of(&message));
            }
        }
        self.schedule(200 * MILLI, Event::Tick(index));
    }
}
