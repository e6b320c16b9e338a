//! VIEW-CHANGEs that hide certificates, or hold forged ones: a vote moved to another digest, signers repeated, a view raised
//! (VC6). What it really signed of others stays valid, so only its own part is new.

use std::collections::BTreeMap;
use std::sync::Arc;

use tagma_pbft::certificate::{Endorsement, PreparedCertificate, StableCertificate};
use tagma_pbft::message::{Phase, ViewChange, Vote};
use tagma_pbft::{Message, ReplicaId, View};

use super::about::{About, SAFE};
use super::{Behaviour, Forge, unchanged};

/// How people choose it.
pub(super) const ABOUT: About = About {
    name: "forged-certificate",
    does: "sends VIEW-CHANGEs that hide what it prepared, or hold certificates that nobody signed",
    safety: SAFE,
    liveness: "its VIEW-CHANGE is void, and the others' suffice",
    caught: "itself, by a VIEW-CHANGE that it signed around certificates that do not hold",
};

#[derive(Debug, Default)]
pub(super) struct ForgedCertificates {
    /// Whether every single one is void, and there before anybody else's, which is drawn once.
    always_void: Option<bool>,
    /// The highest view that anybody voted in or wants.
    seen: View,
    /// The last proposal seen, and a PREPARE for it: half of a certificate.
    half: Option<(Vote, Vote)>,
    proposal: Option<Vote>,
    /// One lie for each target, told to all alike.
    told: BTreeMap<View, Arc<Message>>,
}

fn forge_one(forge: &mut Forge<'_>, entry: &mut PreparedCertificate) {
    match forge.rng.below(4) {
        0 => entry.digest = forge.invented(),
        1 => {
            let mut prepares = entry.prepares.clone().into_vec();
            if let (Some(first), Some(last)) = (prepares.first().cloned(), prepares.last_mut()) {
                *last = first;
            }
            entry.prepares = prepares.into();
        }
        2 => entry.view = entry.view.next(),
        _ => entry.digest = forge.null,
    }
}

impl ForgedCertificates {
    /// What it says for the target of this message.
    fn told(&mut self, forge: &mut Forge<'_>, change: &ViewChange) -> Arc<Message> {
        if self.told.len() > 100 {
            self.told.clear();
        }
        if let Some(lie) = self.told.get(&change.target) {
            return Arc::clone(lie);
        }
        let lie = Arc::new(Message::ViewChange(Arc::new(self.lie(forge, change))));
        self.told.insert(change.target, Arc::clone(&lie));
        lie
    }

    /// A certificate of one PREPARE that stands there as often as there should be PREPAREs.
    fn repeated(&self, forge: &Forge<'_>, change: &ViewChange) -> Option<PreparedCertificate> {
        let (proposal, prepare) = self.half.as_ref()?;
        let above = proposal.seq.above(change.stable_seq());
        let fits = proposal.view < change.target && above > 0 && above <= forge.parameters.window;
        let endorsement = Endorsement {
            sender: prepare.sender,
            signature: prepare.signature,
        };
        fits.then(|| PreparedCertificate {
            view: proposal.view,
            seq: proposal.seq,
            digest: proposal.digest,
            pre_prepare: proposal.signature,
            prepares: vec![endorsement; forge.ring.quorum.prepares()].into(),
        })
    }

    fn lie(&mut self, forge: &mut Forge<'_>, change: &ViewChange) -> ViewChange {
        let mut prepared = change.prepared.clone().into_vec();
        let mut stable = change.stable.clone();
        let always_void = *self.always_void.get_or_insert_with(|| forge.rng.permille(300));
        match forge.rng.below(8) {
            _ if always_void => {
                let seq = change.stable_seq().plus(forge.parameters.checkpoint_interval);
                stable = Some(StableCertificate {
                    seq,
                    header: forge.invented(),
                    checkpoints: Vec::new().into(),
                });
            }
            0 => prepared.clear(),
            1 => {
                prepared.pop();
            }
            2 => {
                if let Some(stable) = &mut stable {
                    stable.header = forge.invented();
                }
            }
            3..=5 => {
                if let Some(made_up) = self.repeated(forge, change) {
                    prepared.retain(|entry| entry.seq != made_up.seq);
                    prepared.push(made_up);
                    prepared.sort_unstable_by_key(|entry| entry.seq);
                }
            }
            _ => {
                for entry in &mut prepared {
                    if forge.rng.permille(500) {
                        forge_one(forge, entry);
                    }
                }
            }
        }
        ViewChange::sign(
            change.target,
            stable,
            prepared,
            forge.id,
            &forge.ring.chain,
            forge.key,
        )
    }
}

impl Behaviour for ForgedCertificates {
    fn name(&self) -> &'static str {
        "byzantine: forged certificates"
    }

    fn send(&mut self, forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        let Message::ViewChange(change) = &**message else {
            return unchanged(message);
        };
        if change.sender != forge.id {
            return unchanged(message);
        }
        vec![self.told(forge, change)]
    }

    fn observe(&mut self, _forge: &mut Forge<'_>, message: &Message) {
        match message {
            Message::PrePrepare { vote, .. } => self.proposal = Some(vote.clone()),
            Message::Vote(vote) => {
                self.seen = self.seen.max(vote.view);
                let same =
                    |held: &&Vote| (held.view, held.seq, held.digest) == (vote.view, vote.seq, vote.digest);
                if let (Phase::Prepare, Some(proposal)) = (vote.phase, self.proposal.as_ref().filter(same)) {
                    self.half = Some((proposal.clone(), vote.clone()));
                }
            }
            Message::ViewChange(change) => self.seen = self.seen.max(change.target),
            _ => {}
        }
    }

    fn tick(&mut self, forge: &mut Forge<'_>) -> Vec<(ReplicaId, Message)> {
        if !*self.always_void.get_or_insert_with(|| forge.rng.permille(300)) {
            return Vec::new();
        }
        let (target, chain) = (self.seen.next(), forge.ring.chain);
        let change = ViewChange::sign(target, None, Vec::new(), forge.id, &chain, forge.key);
        let early = self.told(forge, &change);
        let others = forge.others().into_iter();
        others.map(|to| (to, Message::clone(&early))).collect()
    }
}
