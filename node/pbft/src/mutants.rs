//! Planted bugs. A build with the feature `mutants` can break one rule of the protocol at a time, so that the simulator can
//! show that it notices; every other build contains nothing of this.

use std::sync::atomic::{AtomicUsize, Ordering};

macro_rules! mutants {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// A rule that is broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant {
            $($(#[doc = $doc])* $name,)*
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What is broken, in a sentence.
            pub const fn what(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),*),)*
                }
            }
        }
    };
}

mutants! {
    /// Votes count for whoever they claim to be of (§9.1).
    BelievesClaimedSender,
    /// Votes for different digests make one certificate (§9.1).
    MixesDigests,
    /// PREPAREs of different views make one certificate (§9.1).
    MixesViews,
    /// The primary's PREPARE counts (§9.1).
    CountsPrimaryPrepare,
    /// The own vote counts before its sync has returned (§9.1).
    CountsUnsyncedVote,
    /// One PREPARE too few makes a certificate.
    PreparesOneShort,
    /// One COMMIT too few makes a batch final.
    CommitsOneShort,
    /// A COMMIT is sent as soon as the batch is accepted.
    CommitsUnprepared,
    /// PREPARE is sent without the body (§1).
    PreparesWithoutBody,
    /// The high water mark is ignored (§1).
    IgnoresHighMark,
    /// Entering a view forgets the certificates that are not prepared again yet (§9.2).
    ForgetsCertificates,
    /// P leaves null certificates out (§9.2).
    LeavesNullsOut,
    /// P holds the certificates of the last view only (§9.2).
    LosesLowerViews,
    /// P is empty (§9.2).
    HidesCertificates,
    /// Entering a view drops bodies that it may still choose (§9.2).
    DropsBodies,
    /// Messages leave before their sync (§9.3).
    SendsBeforeSync,
    /// A restart restores the view but not that it was left (§9.3).
    RestoresViewNotMode,
    /// A restart forgets the prepared certificates (fabric #1551).
    RestartDropsCertificates,
    /// A restart forgets what was accepted (telcoin #934).
    RestartDropsVotes,
    /// Votes are released after the VIEW-CHANGE (§9.3).
    VotesAfterViewChange,
    /// Backups take the O of a NEW-VIEW as it is (§9.4).
    TrustsNewView,
    /// min_s is the lowest h in V instead of the highest (§9.4, fabric PR1111).
    LowestMinS,
    /// O takes the certificate of the lowest view (concord PR509).
    LowestViewWins,
    /// O has no entries: prepared batches are forgotten.
    EmptyNewView,
    /// New proposals begin at max_s instead of after it.
    ProposesAtMaxS,
    /// A NEW-VIEW below the own target is entered (§9.4).
    EntersLowerViews,
    /// What a NEW-VIEW chose is not proposed again.
    SkipsChoices,
    /// One void VIEW-CHANGE keeps the primary from using the good ones (§9.5, concord PR50).
    OneVoidSpoilsAll,
    /// Certificates inside VIEW-CHANGEs are not checked (§9.5).
    TrustsViewChanges,
    /// One replica ahead is enough to join (§9.6).
    JoinsOne,
    /// The view-change timer waits for Q equal targets (§9.6).
    WaitsForEqualTargets,
    /// Timeouts double without a cap (§9.6, besu #7642).
    DoublesWithoutCap,
    /// Any block resets the request timer (§9.6).
    ProgressResetsTimer,
    /// Requests that can never execute any more stay pending and timed (§9.6).
    KeepsDeadRequests,
    /// The clock check is applied to what a new view chose as well (§9.7, indy #1488).
    ChecksClockAgain,
    /// What was kept above the window is not looked at when the window moves (§9.8, fabric #1119).
    NeverLooksAgain,
    /// The log is collected before state covers it (§9.10).
    CollectsBeforeState,
    /// A replica without its data votes (§9.11).
    AmnesiacVotes,
    /// The guard against key theft halts on old, honest votes (§9.11).
    HaltsOnOldVotes,
    /// STATUS is not answered, and nothing is sent twice (§9.13).
    NeverResends,
    /// f + 1 CHECKPOINTs make a stable certificate.
    StableOnWeakQuorum,
    /// Pending requests are not forwarded to the primary (fabric #925).
    NeverForwards,
    /// A second proposal for one (v, n) is no reason to leave, nor is a bad batch.
    ForgivesPrimaries,
}

static PLANTED: AtomicUsize = AtomicUsize::new(usize::MAX);

/// From now on this rule, or none, is broken in the whole process.
pub fn plant(mutant: Option<Mutant>) {
    PLANTED.store(
        mutant.map_or(usize::MAX, |mutant| mutant as usize),
        Ordering::SeqCst,
    );
}

/// Whether this rule is broken.
pub(crate) fn is_planted(mutant: Mutant) -> bool {
    PLANTED.load(Ordering::SeqCst) == mutant as usize
}
