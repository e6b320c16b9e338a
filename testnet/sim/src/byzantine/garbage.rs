//! Messages whose bytes are turned around (BB2, BB3), bytes that never were a message, and questions without an end.

use std::sync::Arc;

use tagma_crypto::encode::{decode, encode};
use tagma_pbft::{Message, ReplicaId, SeqNum};

use super::about::{About, SAFE};
use super::{Behaviour, Forge, unchanged};

/// How people choose it.
pub(super) const ABOUT: About = About {
    name: "garbage",
    does: "sends bytes that are no messages, messages with flipped bits, and questions without an end",
    safety: SAFE,
    liveness: "its connections are closed, and the others go on",
    caught: "nobody: bytes without a signature prove nothing",
};

#[derive(Debug)]
pub(super) struct Garbage;

impl Behaviour for Garbage {
    fn name(&self) -> &'static str {
        "byzantine: garbage"
    }

    fn send(&mut self, forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        if forge.rng.permille(700) {
            return unchanged(message);
        }
        let mut bytes = encode(&**message);
        for _ in 0..forge.rng.between(1, 4) {
            let place = forge.rng.index(bytes.len());
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << forge.rng.below(8);
            }
        }
        match decode::<Message>(&bytes, bytes.len() * 4) {
            Ok(garbage) => vec![Arc::new(garbage)],
            Err(_) => Vec::new(),
        }
    }

    fn tick(&mut self, forge: &mut Forge<'_>) -> Vec<(ReplicaId, Message)> {
        let question = match forge.rng.below(4) {
            0 => Message::FetchBlocks {
                from: SeqNum::new(forge.rng.bits()),
                count: u32::MAX,
            },
            1 => Message::FetchBody {
                seq: SeqNum::new(forge.rng.below(40)),
                digest: forge.invented(),
            },
            2 => Message::FetchState {
                seq: SeqNum::new(forge.rng.below(40)),
                part: vec![0; 9].into(),
            },
            _ => Message::FetchBlocks {
                from: SeqNum::new(0),
                count: 0,
            },
        };
        forge
            .others()
            .into_iter()
            .map(|to| (to, question.clone()))
            .collect()
    }

    fn noise(&mut self, forge: &mut Forge<'_>) -> Vec<(ReplicaId, Vec<u8>)> {
        // Each closes the connection it comes by; in between the rest is to be heard.
        if !forge.rng.permille(100) {
            return Vec::new();
        }
        let words = forge.rng.between(1, 200);
        let bytes: Vec<u8> = (0..words).flat_map(|_| forge.rng.bits().to_le_bytes()).collect();
        let others = forge.others();
        others.into_iter().map(|to| (to, bytes.clone())).collect()
    }
}
