//! The message log (OSDI '99 §4): what is known of each sequence number that is not forgotten yet.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tagma_crypto::{Digest, Signature};

use crate::batch::Body;
use crate::certificate::{CommitCertificate, Endorsement, PreparedCertificate};
use crate::message::{Phase, Vote};
use crate::quorum::Quorum;
use crate::record::Accepted;
use crate::standby::Unchecked;
use crate::types::{ReplicaId, SeqNum, Time, View};

/// Votes of one phase and view for one n: the first of each sender.
pub(crate) type Ballot = BTreeMap<ReplicaId, (Digest, Signature)>;

/// How many views below the current one a sender's COMMITs for one n are kept of: enough for a certificate to be
/// completed after the view was left, and a bound for those who invent views.
const KEPT_LOWER_VIEWS: usize = 2;

/// All that is known of one sequence number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    /// The primaries' signed proposals by view, accepted or not: the current view's and at most one future one's.
    pub(crate) proposals: BTreeMap<View, Vote>,
    /// A body that came with a proposal that is not accepted yet.
    pub(crate) offered: Option<Offered>,
    /// A proposal that this replica stands by for.
    pub(crate) unchecked: Option<Unchecked>,
    /// When it became final here without this replica's vote.
    pub(crate) left: Option<Time>,
    /// What was accepted or proposed here, in every view until the slot is forgotten.
    pub(crate) accepted: BTreeMap<View, Accepted>,
    /// What this replica has signed as PRE-PREPARE or PREPARE: all that was accepted, and the entries of its own
    /// NEW-VIEWs whose body is not here.
    pub(crate) signed: BTreeMap<View, Digest>,
    /// PREPAREs by view.
    pub(crate) prepares: BTreeMap<View, Ballot>,
    /// COMMITs by view.
    pub(crate) commits: BTreeMap<View, Ballot>,
    /// The prepared certificate of the highest view.
    pub(crate) prepared: Option<PreparedCertificate>,
    /// Q matching COMMITs of some view, with the body at hand.
    pub(crate) committed: Option<(CommitCertificate, Arc<Body>)>,
}

/// The body of a proposal that is not accepted yet.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    pub(crate) body: Arc<Body>,
    /// If only this replica's share of its requests was checked: the view for which. In another view its share is another one.
    pub(crate) share_in: Option<View>,
}

/// A body accepted here.
#[derive(Clone, Debug)]
struct Kept {
    body: Arc<Body>,
    /// The highest n it was accepted for.
    seq: SeqNum,
    checked: Extent,
}

/// How much is known of the requests of a body that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Extent {
    /// At least this replica's share in the (v, n) that it was accepted for is valid; it is not known what else is.
    Share,
    /// The same, and all are being checked.
    Checking,
    /// All are valid.
    All,
}

/// What became of a vote that was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// It is the first of its sender for this phase, view and n.
    New,
    /// The same was here already, or it is of no use.
    Old,
    /// The sender had said something else before: this is what.
    Conflict(Vote),
}

impl Slot {
    fn ballots(&mut self, phase: Phase) -> &mut BTreeMap<View, Ballot> {
        match phase {
            Phase::PrePrepare | Phase::Prepare => &mut self.prepares,
            Phase::Commit => &mut self.commits,
        }
    }

    /// Adds a PREPARE or COMMIT. The first vote of a sender for (kind, v, n) counts.
    pub(crate) fn add_vote(&mut self, vote: &Vote, current: View) -> Added {
        let ballots = self.ballots(vote.phase);
        if vote.view < current
            && !ballots
                .get(&vote.view)
                .is_some_and(|ballot| ballot.contains_key(&vote.sender))
        {
            let lower = ballots
                .range(..current)
                .filter(|(_, ballot)| ballot.contains_key(&vote.sender))
                .count();
            if vote.phase != Phase::Commit || lower >= KEPT_LOWER_VIEWS {
                return Added::Old;
            }
        }
        let ballot = ballots.entry(vote.view).or_default();
        match ballot.get(&vote.sender) {
            None => {
                ballot.insert(vote.sender, (vote.digest, vote.signature));
                Added::New
            }
            Some((digest, _)) if *digest == vote.digest => Added::Old,
            Some((digest, signature)) => Added::Conflict(Vote {
                digest: *digest,
                signature: *signature,
                ..vote.clone()
            }),
        }
    }

    /// Adds a PRE-PREPARE. The first of a view counts.
    pub(crate) fn add_proposal(&mut self, vote: &Vote) -> Added {
        match self.proposals.get(&vote.view) {
            None => {
                self.proposals.insert(vote.view, vote.clone());
                Added::New
            }
            Some(held) if held.digest == vote.digest => Added::Old,
            Some(held) => Added::Conflict(held.clone()),
        }
    }

    /// `prepared(v, n, d)` but for the body: the PRE-PREPARE accepted here and 2f matching PREPAREs of distinct
    /// replicas other than the primary (OSDI '99 §4.2).
    pub(crate) fn prepared_certificate(
        &self,
        seq: SeqNum,
        view: View,
        quorum: Quorum,
    ) -> Option<PreparedCertificate> {
        let accepted = self.accepted.get(&view)?;
        let primary = quorum.primary(view);
        let mut ballot = self.prepares.get(&view)?.clone();
        if mutant!(MixesViews) {
            let all = self.prepares.values().flatten();
            ballot.extend(all.map(|(sender, vote)| (*sender, *vote)));
        }
        let needed = quorum.prepares() - usize::from(mutant!(PreparesOneShort));
        let prepares = matching(&ballot, &accepted.digest, needed, Some(primary))?;
        Some(PreparedCertificate {
            view,
            seq,
            digest: accepted.digest,
            pre_prepare: accepted.signature,
            prepares: prepares.into(),
        })
    }

    /// Q matching COMMITs for (v, n, d), whatever view this replica is in: one certificate for each view that has one.
    pub(crate) fn commit_certificates(
        &self,
        seq: SeqNum,
        quorum: Quorum,
    ) -> impl Iterator<Item = CommitCertificate> {
        let needed = quorum.quorum() - usize::from(mutant!(CommitsOneShort));
        self.commits.iter().rev().filter_map(move |(view, ballot)| {
            if ballot.len() < needed {
                return None;
            }
            let digests: BTreeSet<Digest> = ballot.values().map(|(digest, _)| *digest).collect();
            digests.into_iter().find_map(|digest| {
                let commits = matching(ballot, &digest, needed, None)?;
                Some(CommitCertificate {
                    view: *view,
                    seq,
                    digest,
                    commits: commits.into(),
                })
            })
        })
    }

    /// How many replicas PREPAREd `digest` in `view`.
    pub(crate) fn prepare_count(&self, view: View, digest: &Digest) -> usize {
        self.prepares.get(&view).map_or(0, |ballot| {
            ballot.values().filter(|(held, _)| held == digest).count()
        })
    }

    /// A body of this digest, whoever has to vouch for its requests.
    pub(crate) fn body(&self, digest: &Digest) -> Option<&Arc<Body>> {
        let offered = self.offered.as_ref().map(|offered| &offered.body);
        self.committed_body(digest)
            .or_else(|| self.unchecked_body(digest))
            .or_else(|| offered.filter(|body| body.digest() == *digest))
    }

    /// Whether the proposal of this digest is left to others, or final by their COMMITs.
    pub(crate) fn is_left(&self, digest: &Digest) -> bool {
        self.unchecked_body(digest)
            .or_else(|| self.committed_body(digest))
            .is_some()
    }

    /// The body of a proposal that this replica stands by for, if it has this digest. Its requests are not checked, so it is of use only if
    /// others vouch for it.
    fn unchecked_body(&self, digest: &Digest) -> Option<&Arc<Body>> {
        let body = self.unchecked.as_ref().map(|unchecked| &unchecked.body);
        body.filter(|body| body.digest() == *digest)
    }

    /// The body of the batch that is final here, if it has this digest.
    pub(crate) fn committed_body(&self, digest: &Digest) -> Option<&Arc<Body>> {
        let body = self.committed.as_ref().map(|(_, body)| body);
        body.filter(|body| body.digest() == *digest)
    }

    /// Who voted for `digest` in any phase and view: they may have its body.
    pub(crate) fn supporters(&self, digest: &Digest) -> BTreeSet<ReplicaId> {
        let voters = self.prepares.values().chain(self.commits.values()).flatten();
        voters
            .filter(|(_, (held, _))| held == digest)
            .map(|(sender, _)| *sender)
            .collect()
    }
}

/// The first `count` votes for `digest` in ascending order of sender, if there are as many.
fn matching(
    ballot: &Ballot,
    digest: &Digest,
    count: usize,
    except: Option<ReplicaId>,
) -> Option<Vec<Endorsement>> {
    let found: Vec<Endorsement> = ballot
        .iter()
        .filter(|(sender, (held, _))| {
            let counts = Some(**sender) != except || mutant!(CountsPrimaryPrepare);
            (held == digest || mutant!(MixesDigests)) && counts
        })
        .take(count)
        .map(|(sender, (_, signature))| Endorsement {
            sender: *sender,
            signature: *signature,
        })
        .collect();
    (found.len() == count).then_some(found)
}

/// The slots above what was collected, and the bodies they need.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    slots: BTreeMap<SeqNum, Slot>,
    bodies: BTreeMap<Digest, Kept>,
    collected: SeqNum,
}

impl Log {
    /// A log in which everything through `collected` is forgotten.
    pub(crate) fn new(collected: SeqNum) -> Self {
        Self {
            collected,
            ..Self::default()
        }
    }

    /// The last sequence number that is forgotten.
    pub(crate) fn collected(&self) -> SeqNum {
        self.collected
    }

    /// The slot of `seq`, if anything is known of it.
    pub(crate) fn get(&self, seq: SeqNum) -> Option<&Slot> {
        self.slots.get(&seq)
    }

    /// The slot of `seq`, made if it is not there. The caller has checked that `seq` is above what was collected and
    /// not above what is kept for.
    pub(crate) fn slot(&mut self, seq: SeqNum) -> &mut Slot {
        assert!(
            seq > self.collected,
            "slot {seq} was asked for again after it was collected"
        );
        self.slots.entry(seq).or_default()
    }

    /// Every slot, ascending.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (SeqNum, &Slot)> {
        self.slots.iter().map(|(seq, slot)| (*seq, slot))
    }

    /// Every slot, ascending, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (SeqNum, &mut Slot)> {
        self.slots.iter_mut().map(|(seq, slot)| (*seq, slot))
    }

    /// The slots above `seq`, ascending.
    pub(crate) fn above(&self, seq: SeqNum) -> impl Iterator<Item = (SeqNum, &Slot)> {
        self.slots.range(seq.next()..).map(|(seq, slot)| (*seq, slot))
    }

    /// Keeps a body for `seq`; says whether that was not known yet and has to go to disk.
    pub(crate) fn keep_body(&mut self, seq: SeqNum, body: Arc<Body>, checked: Extent) -> bool {
        match self.bodies.entry(body.digest()) {
            Entry::Vacant(entry) => {
                entry.insert(Kept { body, seq, checked });
                true
            }
            Entry::Occupied(mut entry) => {
                let kept = entry.get_mut();
                let higher = kept.seq < seq;
                kept.seq = kept.seq.max(seq);
                kept.checked = kept.checked.max(checked);
                higher
            }
        }
    }

    /// A body that was accepted here.
    pub(crate) fn body(&self, digest: &Digest) -> Option<&Arc<Body>> {
        self.bodies.get(digest).map(|kept| &kept.body)
    }

    /// A body that was accepted here, if all of its requests are known to be valid.
    pub(crate) fn checked_body(&self, digest: &Digest) -> Option<&Arc<Body>> {
        let kept = self.bodies.get(digest)?;
        (kept.checked == Extent::All).then_some(&kept.body)
    }

    /// A body that may have been accepted here was checked: all of its requests are valid, or one of those beyond this replica's share is
    /// not.
    pub(crate) fn note_checked(&mut self, digest: &Digest, all_valid: bool) {
        if let Some(kept) = self.bodies.get_mut(digest) {
            kept.checked = if all_valid { Extent::All } else { Extent::Share };
        }
    }

    /// The batches above `final_through` that were accepted in `view` and are not proved to be valid, as what is prepared or committed is, of
    /// which only a share was checked. From now on they count as being checked.
    pub(crate) fn take_shares(&mut self, view: View, final_through: SeqNum) -> Vec<(Vote, Arc<Body>)> {
        let mut taken = Vec::new();
        for slot in self.slots.range(final_through.next()..).map(|(_, slot)| slot) {
            let accepted = slot.accepted.get(&view).map(|accepted| accepted.digest);
            let proposal = slot.proposals.get(&view).filter(|vote| {
                let prepared = slot.prepared.as_ref().map(|certificate| certificate.digest);
                let proved = prepared == Some(vote.digest) || slot.committed.is_some();
                Some(vote.digest) == accepted && !proved
            });
            if let Some(vote) = proposal
                && let Some(kept) = self.bodies.get_mut(&vote.digest)
                && kept.checked == Extent::Share
            {
                kept.checked = Extent::Checking;
                taken.push((vote.clone(), Arc::clone(&kept.body)));
            }
        }
        taken
    }

    /// Forgets everything through `through` and says which bodies went with it.
    pub(crate) fn collect(&mut self, through: SeqNum) -> Vec<Digest> {
        self.collected = self.collected.max(through);
        self.slots = self.slots.split_off(&self.collected.next());
        let gone: Vec<Digest> = self
            .bodies
            .iter()
            .filter(|(_, kept)| kept.seq <= self.collected)
            .map(|(digest, _)| *digest)
            .collect();
        for digest in &gone {
            self.bodies.remove(digest);
        }
        gone
    }

    /// Forgets what a sender voted in views above `current` other than `keep`: one future view a sender is kept.
    pub(crate) fn forget_future_votes(&mut self, sender: ReplicaId, current: View, keep: View) {
        for slot in self.slots.values_mut() {
            for ballots in [&mut slot.prepares, &mut slot.commits] {
                for (_, ballot) in ballots
                    .range_mut(current.next()..)
                    .filter(|(view, _)| **view != keep)
                {
                    ballot.remove(&sender);
                }
                ballots.retain(|_, ballot| !ballot.is_empty());
            }
            slot.proposals
                .retain(|view, vote| *view <= current || *view == keep || vote.sender != sender);
        }
    }

    /// Forgets proposals and PREPAREs below `view`, as they can make no certificate any more, and COMMITs of all but
    /// the last few views below it: however often views change, what is kept of one n stays bounded.
    pub(crate) fn enter_view(&mut self, view: View) {
        if mutant!(DropsBodies) {
            self.bodies.clear();
        }
        for slot in self.slots.values_mut() {
            if mutant!(ForgetsCertificates) {
                slot.prepared = None;
            }
            slot.proposals = slot.proposals.split_off(&view);
            slot.prepares = slot.prepares.split_off(&view);
            while slot.commits.range(..view).count() > KEPT_LOWER_VIEWS {
                slot.commits.pop_first();
            }
            if slot.proposals.is_empty() {
                slot.offered = None;
            }
        }
    }
}
