//! Verification with the real verifier, once for equal bytes: the verdict on a message depends on its bytes alone (for a STATUS and for
//! the part of a proposal that is checked, on the receiver as well), so what one receiver found holds for all.

use std::collections::HashMap;
use std::sync::Arc;

use tagma_crypto::Digest;
use tagma_crypto::encode::{decode, encode};
use tagma_pbft::io::Check;
use tagma_pbft::verify::Checked;
use tagma_pbft::{Duty, Incoming, Message, ReplicaId, Verified, Verifier};

use crate::chain::Chain;
use crate::packet::Packet;

/// Most bytes of a message.
const LIMIT: usize = 32 << 20;
/// Most verdicts kept; then all are forgotten.
const MAX_KEPT: usize = 20_000;

/// What became of a message at the gate: verified, or why not.
pub type Verdict = Result<Verified<Incoming>, String>;

/// Verifiers of all replicas, with a memory. The maps are looked up in and never iterated.
pub struct Gate {
    verifiers: Vec<Verifier>,
    messages: HashMap<Digest, Verdict>,
    checks: HashMap<Vec<u8>, Verified<Checked>>,
}

impl Gate {
    /// The verifiers of this chain's replicas.
    #[must_use]
    pub fn new(chain: &Chain) -> Self {
        let verifiers = chain
            .ring
            .quorum
            .all()
            .map(|id| {
                let rules = Arc::clone(&chain.rules);
                Verifier::new(id, Arc::clone(&chain.ring), chain.parameters, rules)
                    .remembering(Arc::clone(&chain.known))
            })
            .collect();
        Self {
            verifiers,
            messages: HashMap::new(),
            checks: HashMap::new(),
        }
    }

    fn verifier(&self, me: ReplicaId) -> Option<&Verifier> {
        self.verifiers.get(me.index())
    }

    /// Decodes and verifies what `me` received, whose duty is not the same for every proposal.
    pub fn message(&mut self, me: ReplicaId, packet: &Packet, duty: Duty) -> Verdict {
        let verdict = self.of_all(me, packet);
        let own = match verdict.as_ref().map(Verified::get) {
            Ok(Incoming::PrePrepare(_, Some(_)) | Incoming::FaultyBatch(..)) => duty != Duty::All,
            _ => false,
        };
        let message = own.then(|| decode(packet.bytes(), LIMIT).ok()).flatten();
        let again = self.verifier(me).zip(message);
        let again = again.and_then(|(verifier, message)| verifier.verify_as(duty, vec![message]).pop());
        again.map_or(verdict, |verdict| {
            verdict.map_err(|rejection| rejection.to_string())
        })
    }

    /// What is found by whoever checks all.
    fn of_all(&mut self, me: ReplicaId, packet: &Packet) -> Verdict {
        if let Some(verdict) = self.messages.get(&packet.digest()) {
            return verdict.clone();
        }
        let Some(verifier) = self.verifier(me) else {
            return Err("no such replica".into());
        };
        let message: Message = match decode(packet.bytes(), LIMIT) {
            Ok(message) => message,
            Err(error) => return Err(error.to_string()),
        };
        let own = matches!(message, Message::Status(_));
        let verdict = verifier
            .verify(message)
            .map_err(|rejection| rejection.to_string());
        if !own {
            if self.messages.len() >= MAX_KEPT {
                self.messages.clear();
            }
            self.messages.insert(packet.digest(), verdict.clone());
        }
        verdict
    }

    /// Does a check that `me` asked for. A kept verdict is used only if it is about the very same message in memory, as
    /// replicas tell by that which of their messages it is about.
    pub fn check(&mut self, me: ReplicaId, check: Check) -> Option<Verified<Checked>> {
        let key = match &check {
            Check::ViewChange(message) => encode(message),
            Check::NewView(message) => encode(message),
            Check::Proposal(..) => return Some(self.verifier(me)?.check(check)),
        };
        let known = self.checks.get(&key).filter(|known| match (known.get(), &check) {
            (Checked::ViewChange(a, _), Check::ViewChange(b)) => Arc::ptr_eq(a, b),
            (Checked::NewView(a, _), Check::NewView(b)) => Arc::ptr_eq(a, b),
            _ => false,
        });
        if let Some(known) = known {
            return Some(known.clone());
        }
        let checked = self.verifier(me)?.check(check);
        if self.checks.len() >= MAX_KEPT / 10 {
            self.checks.clear();
        }
        self.checks.insert(key, checked.clone());
        Some(checked)
    }
}
