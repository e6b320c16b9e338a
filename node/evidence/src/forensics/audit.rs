//! The rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tagma_pbft::certificate::CommitCertificate;
use tagma_pbft::evidence::{Evidence, hides};
use tagma_pbft::message::{NewView, Vote};
use tagma_pbft::{ReplicaId, SeqNum, View};

use super::statements::{HeardNewView, Statements, commits_of};

/// Most evidence of one kind kept about one culprit, as a replica does.
const MAX_EVIDENCE: usize = 4;

/// What statements prove.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// Every height with two commit certificates for different batches, the lowest first.
    pub forks: Vec<Fork>,
    /// The convicted, each with evidence that proves it.
    pub convicted: BTreeMap<ReplicaId, Vec<Evidence>>,
}

impl Audit {
    /// The convicted.
    pub fn culprits(&self) -> BTreeSet<ReplicaId> {
        self.convicted.keys().copied().collect()
    }

    /// All evidence.
    pub fn evidence(&self) -> impl Iterator<Item = &Evidence> {
        self.convicted.values().flatten()
    }
}

/// Two batches are final at one height, which takes more than f faulty replicas.
#[derive(Clone, Debug)]
pub struct Fork {
    /// The height.
    pub seq: SeqNum,
    /// The certificate of the lower view.
    pub first: CommitCertificate,
    /// The other one.
    pub second: CommitCertificate,
    /// How it came about.
    pub explanation: Explanation,
    /// Who has made it, each convicted in the audit: f + 1 or more, unless it is not explained.
    pub culprits: BTreeSet<ReplicaId>,
}

/// How a fork came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// f + 1 or more sent COMMITs for both in one view.
    SameView(View),
    /// The primary of this view chose what its VIEW-CHANGEs do not justify.
    BadNewView(View),
    /// VIEW-CHANGEs in this view's NEW-VIEW hide certificates that their senders had committed.
    HiddenCertificates(View),
    /// The NEW-VIEW that deviates is in no transcript. These have signed both certificates, which alone proves nothing.
    Missing {
        /// Signers of both.
        suspects: BTreeSet<ReplicaId>,
    },
}

/// Evidence by culprit, a bounded number of each kind, without repetition.
#[derive(Default)]
struct Charges(BTreeMap<ReplicaId, Vec<Evidence>>);

impl Charges {
    fn add(&mut self, culprit: ReplicaId, evidence: Evidence) {
        let held = self.0.entry(culprit).or_default();
        let name = evidence.name();
        let same_kind = held.iter().filter(|held| held.name() == name).count();
        if same_kind < MAX_EVIDENCE && !held.contains(&evidence) {
            held.push(evidence);
        }
    }
}

/// Finds every contradiction in the statements, and explains every fork by the rules of the module.
pub fn audit(statements: &Statements) -> Audit {
    let mut charges = Charges::default();
    let forks = forks(statements, &mut charges);
    let judge = statements.judge();
    for evidence in statements.evidence.values() {
        charges.add(evidence.culprit(judge.ring()), evidence.clone());
    }
    contradictions(statements, &mut charges);
    Audit {
        forks,
        convicted: charges.0,
    }
}

/// What convicts without any fork: two statements where a correct replica makes one, and content that none signs.
fn contradictions(statements: &Statements, charges: &mut Charges) {
    let ring = statements.judge().ring();
    for ((sender, ..), votes) in &statements.votes {
        if let [first, second, ..] = votes.as_slice() {
            charges.add(*sender, Evidence::ConflictingVotes(first.clone(), second.clone()));
        }
    }
    for ((sender, _), checkpoints) in &statements.checkpoints {
        if let [first, second, ..] = checkpoints.as_slice() {
            charges.add(
                *sender,
                Evidence::ConflictingCheckpoints(first.clone(), second.clone()),
            );
        }
    }
    for ((sender, _), heard) in &statements.view_changes {
        for one in heard {
            if one.validity.is_err() {
                charges.add(*sender, Evidence::BadViewChange(Arc::clone(&one.message)));
            }
            let mut commits = statements.commits_above(*sender, one.message.stable_seq());
            if let Some(commit) = commits.find(|commit| hides(commit, &one.message)) {
                let evidence = Evidence::HiddenCertificate(commit.clone(), Arc::clone(&one.message));
                charges.add(*sender, evidence);
            }
        }
        // The same content under two signatures is no fault.
        if let [first, rest @ ..] = heard.as_slice()
            && let Some(second) = rest
                .iter()
                .find(|one| one.message.content_digest() != first.message.content_digest())
        {
            let (first, second) = (Arc::clone(&first.message), Arc::clone(&second.message));
            charges.add(*sender, Evidence::ConflictingViewChanges(first, second));
        }
    }
    for (view, heard) in &statements.new_views {
        let primary = ring.quorum.primary(*view);
        for one in heard.iter().filter(|one| one.decision.is_err()) {
            charges.add(primary, Evidence::BadNewView(Arc::clone(&one.message)));
        }
        if let [first, rest @ ..] = heard.as_slice()
            && let Some(second) = rest
                .iter()
                .find(|one| one.message.content_digest() != first.message.content_digest())
        {
            let (first, second) = (Arc::clone(&first.message), Arc::clone(&second.message));
            charges.add(primary, Evidence::ConflictingNewViews(first, second));
        }
    }
}

/// One fork for each height that has any: the certificate of the lowest view, and the lowest one that differs.
fn forks(statements: &Statements, charges: &mut Charges) -> Vec<Fork> {
    let mut by_height: BTreeMap<SeqNum, Vec<&CommitCertificate>> = BTreeMap::new();
    for certificate in statements.committed() {
        by_height.entry(certificate.seq).or_default().push(certificate);
    }
    let mut forks = Vec::new();
    for (seq, mut certificates) in by_height {
        certificates.sort_by_key(|certificate| certificate.view);
        let Some((first, rest)) = certificates.split_first() else {
            continue;
        };
        let Some(second) = rest.iter().find(|other| other.digest != first.digest) else {
            continue;
        };
        let (explanation, convicted) = if first.view == second.view {
            same_view(first, second)
        } else {
            across_views(statements, first, second)
        };
        let mut culprits = BTreeSet::new();
        for (culprit, evidence) in convicted {
            culprits.insert(culprit);
            charges.add(culprit, evidence);
        }
        forks.push(Fork {
            seq,
            first: (*first).clone(),
            second: (*second).clone(),
            explanation,
            culprits,
        });
    }
    forks
}

type Convicted = Vec<(ReplicaId, Evidence)>;

fn signers(certificate: &CommitCertificate) -> BTreeSet<ReplicaId> {
    certificate.commits.iter().map(|one| one.sender).collect()
}

/// Two quorums of one view: whoever is in both has sent two COMMITs.
fn same_view(first: &CommitCertificate, second: &CommitCertificate) -> (Explanation, Convicted) {
    let other: BTreeMap<ReplicaId, Vote> = commits_of(second).map(|vote| (vote.sender, vote)).collect();
    let convicted = commits_of(first).filter_map(|vote| {
        let contradicted = other.get(&vote.sender)?.clone();
        Some((vote.sender, Evidence::ConflictingVotes(vote, contradicted)))
    });
    (Explanation::SameView(first.view), convicted.collect())
}

/// The first view above the first certificate's whose NEW-VIEW does not choose its batch.
fn across_views(
    statements: &Statements,
    first: &CommitCertificate,
    second: &CommitCertificate,
) -> (Explanation, Convicted) {
    let views = statements.new_views.range(first.view.next()..=second.view);
    let mut bad = None;
    for (view, heard) in views {
        let deviating = heard.iter().filter(|one| deviates(one, first));
        let hidden: BTreeMap<ReplicaId, Evidence> =
            deviating.flat_map(|one| hiders(first, &one.message)).collect();
        if !hidden.is_empty() {
            let explanation = Explanation::HiddenCertificates(*view);
            return (explanation, hidden.into_iter().collect());
        }
        // Correct replicas refuse it, so that a fork comes from a later one, unless more than 2f are faulty.
        let refused = heard.iter().find(|one| one.decision.is_err());
        bad = bad.or(refused.map(|one| (*view, Arc::clone(&one.message))));
    }
    match bad {
        Some((view, message)) => {
            let primary = statements.judge().ring().quorum.primary(view);
            let evidence = Evidence::BadNewView(message);
            (Explanation::BadNewView(view), vec![(primary, evidence)])
        }
        None => {
            let suspects = &signers(first) & &signers(second);
            (Explanation::Missing { suspects }, Vec::new())
        }
    }
}

/// Whether it follows from its V and leaves the batch of this certificate out. Below its min_s it says nothing about n.
fn deviates(heard: &HeardNewView, first: &CommitCertificate) -> bool {
    heard.decision.as_ref().is_ok_and(|decision| {
        first.seq > decision.min_s && !decision.choices.contains(&(first.seq, first.digest))
    })
}

/// The senders in V that have committed the certificate's batch, and hide that.
fn hiders(first: &CommitCertificate, message: &NewView) -> Vec<(ReplicaId, Evidence)> {
    let commits: BTreeMap<ReplicaId, Vote> = commits_of(first).map(|vote| (vote.sender, vote)).collect();
    let accused = message.view_changes.iter().filter_map(|view_change| {
        let sender = view_change.sender;
        let commit = commits.get(&sender).filter(|commit| hides(commit, view_change))?;
        let evidence = Evidence::HiddenCertificate(commit.clone(), Arc::clone(view_change));
        Some((sender, evidence))
    });
    accused.collect()
}
