//! Checkpoints and garbage collection (OSDI '99 §4.3).
//!
//! Two marks: h follows the highest stable certificate held, as in the paper, and needs no state; what is on disk
//! follows separately. Only what both have passed is forgotten.

use std::collections::BTreeMap;

use tagma_crypto::Digest;

use crate::certificate::{Endorsement, StableCertificate};
use crate::evidence::Evidence;
use crate::io::{Event, HaltReason, Outputs, Recipient};
use crate::message::{Checkpoint, Message};
use crate::record::Record;
use crate::replica::Replica;
use crate::types::SeqNum;

impl Replica {
    /// The state at a checkpoint is on disk: say so to everybody.
    pub(crate) fn on_state_durable(&mut self, seq: SeqNum, header: Digest, out: &mut Outputs) {
        if seq <= self.durable {
            return;
        }
        self.durable = seq;
        self.own_headers.insert(seq, header);
        self.announce_checkpoint(out);
        self.collect(out);
    }

    /// Signs and sends the CHECKPOINT for the last state on disk.
    pub(crate) fn announce_checkpoint(&mut self, out: &mut Outputs) {
        let Some(header) = self.own_headers.get(&self.durable).copied() else {
            return;
        };
        if !self.may_sign() || self.durable == SeqNum::ZERO {
            return;
        }
        let (ring, key) = (&self.config.ring, &self.config.key);
        let checkpoint = Checkpoint::sign(self.durable, header, self.id(), &ring.chain, key);
        self.send(Recipient::Others, Message::Checkpoint(checkpoint.clone()), out);
        self.checkpoints.insert(self.id(), checkpoint);
        self.try_stable(out);
    }

    /// Another replica's CHECKPOINT; only the highest of each counts.
    pub(crate) fn on_checkpoint(&mut self, checkpoint: Checkpoint, out: &mut Outputs) {
        let sender = checkpoint.sender;
        // Who attests to a state has executed it.
        let peer = self.peers.entry(sender).or_default();
        peer.executed = peer.executed.max(checkpoint.seq);
        let newer = self
            .checkpoints
            .get(&sender)
            .is_none_or(|held| held.seq < checkpoint.seq);
        if sender == self.id() {
            return;
        }
        // CHECKPOINTs of several replicas that differ accuse nobody: somebody has diverged, and who is not to be seen
        // here. Two of one replica do.
        if let Some(held) = self.checkpoints.get(&sender)
            && held.seq == checkpoint.seq
            && held.header != checkpoint.header
        {
            self.accuse(Evidence::ConflictingCheckpoints(held.clone(), checkpoint), out);
            return;
        }
        if !newer || checkpoint.seq <= self.stable_seq() {
            return;
        }
        self.checkpoints.insert(sender, checkpoint);
        self.try_stable(out);
    }

    /// Q equal CHECKPOINTs make a stable certificate.
    fn try_stable(&mut self, out: &mut Outputs) {
        let mut groups: BTreeMap<(SeqNum, Digest), Vec<Endorsement>> = BTreeMap::new();
        for (sender, checkpoint) in &self.checkpoints {
            let endorsement = Endorsement {
                sender: *sender,
                signature: checkpoint.signature,
            };
            groups
                .entry((checkpoint.seq, checkpoint.header))
                .or_default()
                .push(endorsement);
        }
        let quorum = if mutant!(StableOnWeakQuorum) {
            self.quorum.weak()
        } else {
            self.quorum.quorum()
        };
        let stable = groups
            .into_iter()
            .rev()
            .find(|(_, endorsements)| endorsements.len() >= quorum);
        if let Some(((seq, header), mut endorsements)) = stable {
            endorsements.truncate(quorum);
            self.on_stable(
                StableCertificate {
                    seq,
                    header,
                    checkpoints: endorsements.into(),
                },
                out,
            );
        }
    }

    /// A complete stable certificate: h moves to it, whether or not this replica has the state.
    pub(crate) fn on_stable(&mut self, certificate: StableCertificate, out: &mut Outputs) {
        let seq = certificate.seq;
        if seq <= self.stable_seq() {
            return;
        }
        let me = self.id();
        for endorsement in certificate
            .checkpoints
            .iter()
            .filter(|endorsement| endorsement.sender != me)
        {
            let peer = self.peers.entry(endorsement.sender).or_default();
            peer.executed = peer.executed.max(seq);
        }
        self.persist(Record::Stable(certificate.clone()), out);
        out.stable = Some(certificate.clone());
        out.events.push(Event::StableCheckpoint { seq });
        self.stable = Some(certificate);
        self.choices = self.choices.split_off(&seq.next());
        self.proposed = self.proposed.max(seq);
        self.checkpoints.retain(|_, checkpoint| checkpoint.seq >= seq);
        self.compare_with_stable(out);
        self.collect(out);
        self.fetch_blocks_if_behind(out);
        // The window has moved: what came for its new part was kept by digest.
        if !mutant!(NeverLooksAgain) {
            self.reconsider_all(out);
        }
    }

    /// The own header must be the certified one.
    pub(crate) fn compare_with_stable(&mut self, out: &mut Outputs) {
        let Some(stable) = &self.stable else { return };
        let (seq, certified) = (stable.seq, stable.header);
        if let Some(own) = self
            .own_headers
            .get(&seq)
            .copied()
            .filter(|own| *own != certified)
        {
            self.halt(HaltReason::Diverged { seq, own, certified }, out);
        }
    }

    /// Forgets what both h and the state on disk have passed.
    pub(crate) fn collect(&mut self, out: &mut Outputs) {
        let mut through = self.stable_seq().min(self.durable);
        if mutant!(CollectsBeforeState) {
            through = self.stable_seq();
        }
        if through <= self.log.collected() || self.is_halted() {
            return;
        }
        let bodies = self.log.collect(through);
        self.history = self.history.split_off(&through.next());
        self.own_headers = self.own_headers.split_off(&through);
        self.persist(Record::Collect { through, bodies }, out);
    }

    /// Holds execution for a state that is about to be switched in; refused, and nothing held, while blocks are being
    /// executed.
    #[must_use]
    pub fn hold_execution(&mut self) -> bool {
        self.execution_held = self.dispatched == self.executed;
        self.execution_held
    }

    /// State transfer has put the application at a checkpoint.
    pub(crate) fn on_state_installed(
        &mut self,
        seq: SeqNum,
        header: Digest,
        settled: &[Digest],
        out: &mut Outputs,
    ) {
        assert!(
            seq > self.dispatched && self.executed == self.dispatched,
            "a state was installed over running work"
        );
        self.execution_held = false;
        self.dispatched = seq;
        self.executed = seq;
        self.awaited = self.awaited.split_off(&seq.next());
        for digest in settled {
            self.pool.remove(digest);
        }
        self.own_headers.insert(seq, header);
        self.compare_with_stable(out);
        self.on_state_durable(seq, header, out);
        self.dispatch(out);
        self.fetch_blocks_if_behind(out);
    }
}
