//! What a Byzantine replica can say. It has heard everything that anybody ever signed, and can sign what it likes itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tagma_crypto::Digest;
use tagma_pbft::certificate::{PreparedCertificate, StableCertificate};
use tagma_pbft::message::{Phase, ViewChange};
use tagma_pbft::new_view::decide;
use tagma_pbft::verify::check_new_view;
use tagma_pbft::{Message, ReplicaId, SeqNum, View};

use super::REQUESTS;
use super::instance::Instance;
use super::said::Said;

/// A statement: messages that are told to one receiver together.
pub(super) type Statement = Vec<Message>;

/// The Byzantine replica, and what the others have said up to now.
pub(super) struct Liar<'a> {
    pub(super) instance: &'a Instance,
    pub(super) me: ReplicaId,
    /// Of each correct replica.
    pub(super) heard: Vec<(ReplicaId, &'a Said)>,
}

impl Liar<'_> {
    fn primary(&self, view: View) -> ReplicaId {
        self.instance.ring.quorum.primary(view)
    }

    /// The first proposals of view 0, if that is its own: the requests in either order, or less.
    pub(super) fn proposals(&self) -> Vec<Statement> {
        if self.primary(View::ZERO) != self.me {
            return Vec::new();
        }
        let [a, b] = REQUESTS;
        let propose = |seq, text| self.instance.pre_prepare(View::ZERO, SeqNum::new(seq), text);
        vec![
            vec![propose(1, a), propose(2, b)],
            vec![propose(1, b), propose(2, a)],
            vec![propose(1, a)],
            vec![propose(1, b)],
            vec![propose(2, b)],
        ]
    }

    /// Votes of both phases for each way in which numbers can be filled, whatever it has or has not seen.
    pub(super) fn votes(&self, view: View) -> Vec<Statement> {
        let [a, b] = REQUESTS.map(|text| self.instance.batch_digest(text));
        let null = self.instance.null;
        let mut fillings = vec![vec![a, b], vec![b, a]];
        if view > View::ZERO {
            fillings.extend([vec![null, a, b], vec![null, b, a]]);
        }
        let mut statements = Vec::new();
        for phase in [Phase::Prepare, Phase::Commit] {
            // Nobody takes a primary's PREPARE.
            if phase == Phase::Prepare && self.primary(view) == self.me {
                continue;
            }
            for filling in &fillings {
                let votes = (1..).zip(filling).map(|(seq, digest)| {
                    let seq = SeqNum::new(seq);
                    Message::Vote(self.instance.vote(self.me, phase, view, seq, *digest))
                });
                statements.push(votes.collect());
            }
        }
        statements
    }

    /// Every prepared certificate below `target` that can be made of what was signed and of its own signatures.
    fn certificates(&self, target: View) -> BTreeMap<SeqNum, Vec<PreparedCertificate>> {
        let mut prepares: BTreeMap<(SeqNum, View, Digest), BTreeSet<ReplicaId>> = BTreeMap::new();
        let mut proposed: BTreeSet<(SeqNum, View, Digest)> = BTreeSet::new();
        for (sender, said) in &self.heard {
            for ((view, seq, phase), digest) in &said.votes {
                let key = (*seq, *view, *digest);
                match phase {
                    Phase::PrePrepare => {
                        proposed.insert(key);
                    }
                    Phase::Prepare => {
                        prepares.entry(key).or_default().insert(*sender);
                    }
                    Phase::Commit => {}
                }
            }
        }
        let mut made: BTreeMap<SeqNum, Vec<PreparedCertificate>> = BTreeMap::new();
        for ((seq, view, digest), mut senders) in prepares {
            let own_view = self.primary(view) == self.me;
            if view >= target || !(own_view || proposed.contains(&(seq, view, digest))) {
                continue;
            }
            if !own_view {
                senders.insert(self.me);
            }
            let needed = self.instance.ring.quorum.prepares();
            let senders: Vec<ReplicaId> = senders.into_iter().take(needed).collect();
            if senders.len() == needed {
                let certificate = self.instance.prepared(view, seq, digest, &senders);
                made.entry(seq).or_default().push(certificate);
            }
        }
        made
    }

    /// The VIEW-CHANGEs of the others for `target`.
    fn others(&self, target: View) -> Vec<Arc<ViewChange>> {
        self.heard
            .iter()
            .filter_map(|(_, said)| said.view_changes.get(&target))
            .map(|(_, message)| Arc::clone(message))
            .collect()
    }

    /// The highest stable certificate that anybody has shown.
    fn stable(&self) -> Option<StableCertificate> {
        let shown = self.heard.iter().flat_map(|(_, said)| said.view_changes.values());
        shown
            .filter_map(|(_, message)| message.stable.clone())
            .max_by_key(|certificate| certificate.seq)
    }

    fn valid_view_changes(&self, target: View) -> Vec<Arc<ViewChange>> {
        let certificates = self.certificates(target);
        let stable = self.stable();
        let h = stable
            .as_ref()
            .map_or(SeqNum::ZERO, |certificate| certificate.seq);
        // As if it had prepared nothing; as if it had all that it can show; as if it had only what is oldest.
        let empty = (None, Vec::new());
        let above = || certificates.range(h.next()..).map(|(_, held)| held);
        let newest = above().filter_map(|held| held.iter().max_by_key(|one| one.view).cloned());
        let oldest = certificates
            .values()
            .filter_map(|held| held.iter().min_by_key(|one| one.view).cloned());
        let contents = [
            empty,
            (stable.clone(), newest.collect()),
            (None, oldest.collect()),
        ];
        let mut messages: Vec<Arc<ViewChange>> = Vec::new();
        for (stable, prepared) in contents {
            let message = self.instance.view_change(self.me, target, stable, prepared);
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
        messages
    }

    /// Votes for whatever this receiver has agreed to in this view itself.
    pub(super) fn agreement(&self, view: View, receiver: &Said) -> Statement {
        let mut statement = Statement::new();
        for ((_, seq, phase), digest) in receiver.votes.iter().filter(|((of, ..), _)| *of == view) {
            if *phase == Phase::Commit {
                continue;
            }
            if self.primary(view) != self.me {
                let prepare = self.instance.vote(self.me, Phase::Prepare, view, *seq, *digest);
                statement.push(Message::Vote(prepare));
            }
            let commit = self.instance.vote(self.me, Phase::Commit, view, *seq, *digest);
            statement.push(Message::Vote(commit));
        }
        statement
    }

    /// A VIEW-CHANGE for `target` that hides all that is prepared.
    pub(super) fn hiding(&self, target: View) -> Statement {
        let message = self.instance.view_change(self.me, target, None, Vec::new());
        vec![Message::ViewChange(message)]
    }

    /// Of the valid NEW-VIEWs that it can make for `view` one that carries over the least, with its own proposals in the
    /// other order than that of most.
    pub(super) fn forgetting(&self, view: View) -> Statement {
        let carried = |statement: &Statement| match statement.first() {
            Some(Message::NewView(message)) => message.proposals.len(),
            _ => usize::MAX,
        };
        let mut valid = self.new_views(view);
        valid.retain(|statement| match statement.first() {
            Some(Message::NewView(message)) => {
                check_new_view(&self.instance.ring, &self.instance.parameters, message).is_ok()
            }
            _ => false,
        });
        valid.reverse();
        valid.into_iter().min_by_key(carried).unwrap_or_default()
    }

    /// VIEW-CHANGEs for `target`: that hide what is prepared, that show it, that show old certificates, and one whose
    /// certificate is forged.
    pub(super) fn view_changes(&self, target: View) -> Vec<Statement> {
        let [a, b] = REQUESTS.map(|text| self.instance.batch_digest(text));
        let mut messages = self.valid_view_changes(target);
        let below = View::new(target.get().saturating_sub(1));
        let backups: Vec<ReplicaId> = self
            .instance
            .ring
            .quorum
            .all()
            .filter(|id| *id != self.primary(below))
            .take(self.instance.ring.quorum.prepares())
            .collect();
        let first = SeqNum::new(1);
        // Signatures over another digest than the one it shows.
        let mut forged = self.instance.prepared(below, first, a, &backups);
        forged.digest = b;
        messages.push(self.instance.view_change(self.me, target, None, vec![forged]));
        messages
            .into_iter()
            .map(|message| vec![Message::ViewChange(message)])
            .collect()
    }

    /// NEW-VIEWs for `view`, if it is its primary: from every V that it can put together, with proposals for what V leaves
    /// open, in either order; and some whose O does not follow from V.
    pub(super) fn new_views(&self, view: View) -> Vec<Statement> {
        if self.primary(view) != self.me {
            return Vec::new();
        }
        let mut statements = Vec::new();
        for (index, v) in self.supports(view).into_iter().enumerate() {
            // Only more than f faulty replicas can make certificates that contradict each other.
            let Ok(decision) = decide(&v, self.instance.null) else {
                continue;
            };
            let choices: Vec<Digest> = decision.choices.iter().map(|(_, digest)| *digest).collect();
            let honest = self.instance.new_view(view, v.clone(), decision.min_s, &choices);
            let open: Vec<&str> = REQUESTS
                .into_iter()
                .filter(|text| !choices.contains(&self.instance.batch_digest(text)))
                .collect();
            for reversed in [false, true].into_iter().take(open.len().max(1)) {
                let mut texts = open.clone();
                if reversed {
                    texts.reverse();
                }
                let mut statement = vec![Message::NewView(Arc::clone(&honest))];
                let mut seq = decision.max_s;
                for text in texts {
                    seq = seq.next();
                    statement.push(self.instance.pre_prepare(view, seq, text));
                }
                statements.push(statement);
            }
            if index == 0 {
                statements.extend(self.bad_choices(view, &v, decision.min_s, &choices));
            }
        }
        statements
    }

    fn bad_choices(
        &self,
        view: View,
        v: &[Arc<ViewChange>],
        min_s: SeqNum,
        choices: &[Digest],
    ) -> Vec<Statement> {
        let [a, b] = REQUESTS.map(|text| self.instance.batch_digest(text));
        let other = if choices.first() == Some(&b) { a } else { b };
        let mut swapped = choices.to_vec();
        match swapped.first_mut() {
            Some(first) => *first = other,
            None => swapped.push(other),
        }
        let mut bad = vec![swapped];
        if !choices.is_empty() {
            bad.push(Vec::new());
        }
        bad.into_iter()
            .map(|choices| {
                vec![Message::NewView(self.instance.new_view(
                    view,
                    v.to_vec(),
                    min_s,
                    &choices,
                ))]
            })
            .collect()
    }

    /// Every V of Q VIEW-CHANGEs.
    fn supports(&self, view: View) -> Vec<Vec<Arc<ViewChange>>> {
        let others = self.others(view);
        let quorum = self.instance.ring.quorum.quorum();
        let mut supports = Vec::new();
        for own in self.valid_view_changes(view) {
            for (index, first) in others.iter().enumerate() {
                for second in others.iter().skip(index + 1) {
                    let mut v = vec![Arc::clone(&own), Arc::clone(first), Arc::clone(second)];
                    v.sort_by_key(|message| message.sender);
                    supports.push(v);
                }
            }
        }
        if others.len() == quorum {
            supports.push(others);
        }
        supports
    }
}
