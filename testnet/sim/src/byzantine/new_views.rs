//! NEW-VIEWs whose O omits, swaps, nulls or adds an entry, or whose V is doctored (VC7), and NEW-VIEWs that nobody waits for
//! (VC8).

use std::sync::Arc;

use tagma_pbft::message::{NewView, Phase, Reproposal};
use tagma_pbft::{Message, ReplicaId, SeqNum, View};

use super::about::{About, SAFE};
use super::{Behaviour, Forge, unchanged};

/// How people choose it.
pub(super) const ABOUT: About = About {
    name: "fake-new-view",
    does: "as a new primary sends NEW-VIEWs that leave out, swap or add batches, or do not follow from the VIEW-CHANGEs in them",
    safety: SAFE,
    liveness: "the others move on to the next view",
    caught: "itself, by the NEW-VIEW that it signed",
};

#[derive(Debug, Default)]
pub(super) struct FakeNewViews {
    /// Whether it sends those that nobody waits for, which is drawn once: after one of these nobody looks at its others.
    unawaited: Option<bool>,
}

fn fake(forge: &mut Forge<'_>, message: &NewView) -> NewView {
    let mut fake = message.clone();
    let mut proposals = message.proposals.clone().into_vec();
    let mut view_changes = message.view_changes.clone().into_vec();
    let stable = message.view_changes.iter().map(|change| change.stable_seq());
    let min_s = stable.max().unwrap_or(SeqNum::ZERO);
    let place = forge.rng.index(proposals.len());
    let seq = min_s.plus(place as u64 + 1);
    match forge.rng.below(6) {
        0 => {
            proposals.pop();
        }
        1 => {
            let digest = forge.null;
            let signature = forge.vote(Phase::PrePrepare, message.view, seq, digest).signature;
            if let Some(entry) = proposals.get_mut(place) {
                *entry = Reproposal { digest, signature };
            }
        }
        2 => {
            let digest = forge.invented();
            let signature = forge.vote(Phase::PrePrepare, message.view, seq, digest).signature;
            if let Some(entry) = proposals.get_mut(place) {
                *entry = Reproposal { digest, signature };
            }
        }
        3 => {
            let next = min_s.plus(proposals.len() as u64 + 1);
            let digest = forge.null;
            let signature = forge
                .vote(Phase::PrePrepare, message.view, next, digest)
                .signature;
            proposals.push(Reproposal { digest, signature });
        }
        4 => {
            // One that it strips of its certificates: the signature does not hold any more.
            if let Some(change) = view_changes.first_mut() {
                let mut stripped = (**change).clone();
                stripped.prepared = Vec::new().into();
                *change = Arc::new(stripped);
            }
        }
        _ => {
            view_changes.pop();
        }
    }
    fake.proposals = proposals.into();
    fake.view_changes = view_changes.into();
    forge.sign_new_view(&mut fake);
    fake
}

impl Behaviour for FakeNewViews {
    fn name(&self) -> &'static str {
        "byzantine: fake NEW-VIEW"
    }

    fn send(&mut self, forge: &mut Forge<'_>, _to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>> {
        let Message::NewView(held) = &**message else {
            return unchanged(message);
        };
        let mut fakes = vec![Arc::new(Message::NewView(Arc::new(fake(forge, held))))];
        if forge.rng.permille(500) {
            fakes.push(Arc::clone(message));
        }
        fakes
    }

    fn tick(&mut self, forge: &mut Forge<'_>) -> Vec<(ReplicaId, Message)> {
        let unawaited = *self.unawaited.get_or_insert_with(|| forge.rng.permille(300));
        if !unawaited || !forge.rng.permille(100) {
            return Vec::new();
        }
        let replicas = u64::from(forge.ring.quorum.replicas());
        let view = u64::from(forge.id.get()) + replicas * forge.rng.between(1, 100);
        let mut empty = NewView {
            view: View::new(view),
            view_changes: Vec::new().into(),
            proposals: Vec::new().into(),
            signature: tagma_crypto::Signature::from_bytes([0; 64]),
        };
        forge.sign_new_view(&mut empty);
        let message = Arc::new(empty);
        forge
            .others()
            .into_iter()
            .map(|to| (to, Message::NewView(Arc::clone(&message))))
            .collect()
    }
}
