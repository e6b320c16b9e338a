//! Messages from replica to replica: as the core wants them sent, or as behaviours have them, onto the links and off them.

use std::sync::Arc;
use std::time::Duration;

use tagma_pbft::{Message, Recipient, ReplicaId, Send};
use tagma_wire::client_protocol::ClientResponse;

use crate::byzantine::{Behaviour, Forge, shown_to_core};
use crate::check::{Checked, Violation};
use crate::network::Fate;
use crate::packet::Packet;
use crate::rng::SimRng;
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
                        self.sent.add(send.message.kind(), false, packet.bytes().len());
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
        let id = self.host_mut(index).id;
        let mut acted = Vec::new();
        let mut rng = self.rng.clone();
        self.each_behaviour(index, &mut rng, |behaviour, forge| {
            let mut instead: Vec<Arc<Message>> = Vec::with_capacity(messages.len());
            for message in &messages {
                instead.extend(behaviour.send(forge, to, message));
            }
            let same = messages.len() == instead.len()
                && messages.iter().zip(&instead).all(|(a, b)| Arc::ptr_eq(a, b));
            if !same {
                acted.push(behaviour.name());
            }
            messages = instead;
        });
        self.rng = rng;
        for name in acted {
            self.count(name);
        }
        let honest = self.host_mut(index).is_honest();
        for message in messages {
            if !honest {
                self.checks.said(id, &message);
            }
            let (kind, packet) = (message.kind(), Packet::of(&message));
            self.sent
                .add(kind, kind.is_first_sent_to_all(), packet.bytes().len());
            self.put(index, to, &packet);
        }
    }

    /// What a client is told instead of `response`, by the host's behaviours.
    pub(crate) fn lie(&mut self, index: usize, response: ClientResponse) -> Option<ClientResponse> {
        let (mut told, mut acted) = (Some(response), Vec::new());
        let mut rng = self.rng.clone();
        self.each_behaviour(index, &mut rng, |behaviour, forge| {
            let instead = told
                .clone()
                .and_then(|response| behaviour.respond(forge, response));
            if instead != told {
                acted.push(behaviour.name());
            }
            told = instead;
        });
        self.rng = rng;
        for name in acted {
            self.count(name);
        }
        told
    }

    /// Has each behaviour of a host act in turn, with what it works with.
    fn each_behaviour(
        &mut self,
        index: usize,
        rng: &mut SimRng,
        mut act: impl FnMut(&mut dyn Behaviour, &mut Forge<'_>),
    ) {
        let host = self.host_mut(index);
        let id = host.id;
        let mut behaviours = std::mem::take(&mut host.behaviours);
        for behaviour in &mut behaviours {
            let mut forge = Forge {
                id,
                key: self.chain.vote_key(id),
                ring: &self.chain.ring,
                parameters: &self.chain.parameters,
                request_timeout: self.chain.tuning.request_timeout,
                now: Duration::from_nanos(self.now),
                null: self.chain.null,
                rng,
            };
            act(&mut **behaviour, &mut forge);
        }
        self.host_mut(index).behaviours = behaviours;
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
        let Ok(message) = tagma_crypto::encode::decode::<Message>(bytes, bytes.len().max(1) * 4) else {
            return Some(packet);
        };
        let id = self.host_mut(index).id;
        let mut rng = self.rng.clone();
        self.each_behaviour(index, &mut rng, |behaviour, forge| {
            behaviour.observe(forge, &message);
        });
        self.rng = rng;
        match shown_to_core(&self.chain.ring, id, message)? {
            shown @ Message::Status(_) => Some(Packet::of(&shown)),
            // Only a STATUS is ever changed.
            _ => Some(packet),
        }
    }

    /// A behaviour acts of itself.
    pub(crate) fn tick(&mut self, index: usize) {
        let id = self.host_mut(index).id;
        if self.host_mut(index).process.is_some() {
            let mut rng = self.rng.fork();
            let (mut made, mut noise) = (Vec::new(), Vec::new());
            self.each_behaviour(index, &mut rng, |behaviour, forge| {
                let messages = behaviour.tick(forge);
                made.extend(messages.into_iter().map(|message| (behaviour.name(), message)));
                noise.extend(behaviour.noise(forge));
            });
            for (name, (to, message)) in made {
                self.count(name);
                self.checks.said(id, &message);
                self.put(index, to, &Packet::of(&message));
            }
            for (to, bytes) in noise {
                self.put(index, to, &Packet::raw(bytes));
            }
        }
        self.schedule(200 * MILLI, Event::Tick(index));
    }
}
