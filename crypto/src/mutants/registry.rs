//! The planted bugs by name, what each breaks, and which one is active.

use std::cell::Cell;

macro_rules! mutants {
    ($($(#[doc = $doc:literal])* $name:ident: $rule:literal,)*) => {
        /// A rule that is broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant {
            $(
                $(#[doc = $doc])*
                #[doc = concat!("(", $rule, ")")]
                $name,
            )*
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What is broken, in a sentence or two.
            #[must_use]
            pub fn what(self) -> String {
                let text = match self {
                    $(Self::$name => concat!($($doc),*),)*
                };
                text.trim().to_owned()
            }

            /// The rules of protocol.md and the rows of faults.md that it is about. A number "9.k" is point k of "what is
            /// most often got wrong"; § is another section; letters are faults; a project's name is where it happened.
            #[must_use]
            pub const fn rule(self) -> &'static str {
                match self {
                    $(Self::$name => $rule,)*
                }
            }
        }
    };
}

mutants! {
    /// Votes count for whoever they claim to be of.
    BelievesClaimedSender: "9.1, PS5, sawtooth e7b4ba2",
    /// Votes for different digests make one certificate.
    MixesDigests: "9.1, PS4, sawtooth beb1bc2",
    /// PREPAREs of different views make one certificate.
    MixesViews: "9.1, PS4, bft-smart PR121",
    /// A signer that is repeated in a certificate counts as often as it stands there.
    CountsRepeatedSigners: "9.1, PS4, bft-smart PR121",
    /// The primary's PREPARE counts.
    CountsPrimaryPrepare: "9.1, PS3, sawtooth 180ceed",
    /// The own vote counts before its sync has returned.
    CountsUnsyncedVote: "9.1, CD2",
    /// One PREPARE too few makes a certificate.
    PreparesOneShort: "§1, PS4",
    /// One COMMIT too few makes a batch final.
    CommitsOneShort: "§1, PS4",
    /// A COMMIT is sent as soon as the batch is accepted.
    CommitsUnprepared: "§1",
    /// PREPARE is sent without the body.
    PreparesWithoutBody: "§1, BP5",
    /// The high water mark is ignored.
    IgnoresHighMark: "§1, CP3",
    /// A second proposal for one (v, n) is no reason to leave, nor is a bad batch.
    ForgivesPrimaries: "§1, PS1, BP4, concord PR1896",
    /// Entering a view forgets the certificates that are not prepared again yet.
    ForgetsCertificates: "9.2, VC4",
    /// P leaves null certificates out.
    LeavesNullsOut: "9.2, VC20",
    /// P holds the certificates of the last view only.
    LosesLowerViews: "9.2, VC4",
    /// P is empty.
    HidesCertificates: "9.2, VC4",
    /// Entering a view drops bodies that it may still choose.
    DropsBodies: "9.2",
    /// Messages leave before their sync.
    SendsBeforeSync: "9.3, CD1, CD2",
    /// A restart restores the view but not that it was left.
    RestoresViewNotMode: "9.3, CD7, concord 637e197a1",
    /// A restart forgets the prepared certificates.
    RestartDropsCertificates: "§6, CD6, fabric #1551",
    /// A restart forgets what was accepted.
    RestartDropsVotes: "§6, CD1, Telcoin #934, diem #1141",
    /// PREPAREs and COMMITs of a view are made and released after it was left.
    VotesAfterViewChange: "9.3",
    /// Backups take the O of a NEW-VIEW as it is.
    TrustsNewView: "9.4, VC7",
    /// min_s is the lowest h in V instead of the highest.
    LowestMinS: "9.4, VC10, fabric PR1111",
    /// O takes the certificate of the lowest view.
    LowestViewWins: "§5, VC5, concord PR509",
    /// O has no entries: prepared batches are forgotten.
    EmptyNewView: "§5, VC4",
    /// New proposals begin at max_s instead of after it.
    ProposesAtMaxS: "§5",
    /// A NEW-VIEW below the own target is entered.
    EntersLowerViews: "9.4",
    /// A bad NEW-VIEW sends on even those who do not wait for its view.
    FollowsUnawaitedNewView: "9.4, VC8, sawtooth 014efac",
    /// What a NEW-VIEW chose is not proposed again.
    SkipsChoices: "§5, VC4",
    /// The primary uses VIEW-CHANGEs only once all that it has are good: one void one is enough to stop it.
    OneVoidSpoilsAll: "9.5, VC6, concord PR50",
    /// Certificates inside VIEW-CHANGEs are not checked.
    TrustsViewChanges: "9.5, VC6",
    /// One replica ahead is enough to join.
    JoinsOne: "9.6, VC9",
    /// The view-change timer waits for Q equal targets.
    WaitsForEqualTargets: "9.6, VC17",
    /// Timeouts double without a cap.
    DoublesWithoutCap: "9.6, VC13, besu #7642",
    /// Any block resets the request timer.
    ProgressResetsTimer: "9.6, BP2",
    /// Requests that can never execute any more stay pending and timed.
    KeepsDeadRequests: "9.6",
    /// The clock check is applied to what a new view chose as well.
    ChecksClockAgain: "9.7, VC18, indy #1488",
    /// What a new view chose is refused by whoever does not have its requests pending.
    ChecksRequestsAgain: "9.7",
    /// A NEW-VIEW that comes while a replica is behind is not looked at again when it has caught up.
    ForgetsNewViewWhenBehind: "9.8, VC11, VC16, fabric PR1877, concord fa83143d0",
    /// What was kept above the window is not looked at when the window moves, nor when it comes again.
    NeverLooksAgain: "9.8, 9.10, CP2, fabric #1119",
    /// What arrives just above the window is dropped, and nobody sends it again.
    DropsAboveWindow: "9.10, CP2",
    /// Checkpoints leave the outcomes of requests out.
    CheckpointsWithoutReceipts: "9.9, CP8, bft-smart #63",
    /// Checkpoints leave the nonces of accounts out.
    CheckpointsWithoutNonces: "9.9, CP8, bft-smart #63",
    /// A request whose nonce is consumed is executed again.
    ExecutesTwice: "9.9, PS8, bft-smart #40",
    /// The log is collected before state covers it.
    CollectsBeforeState: "9.10, CP9",
    /// A replica without its data votes, whatever others know it to have signed.
    AmnesiacVotes: "9.11, CD4, sui PR18009",
    /// The guard against key theft halts on old, honest votes.
    HaltsOnOldVotes: "9.11, CD5",
    /// Signatures that come alone are judged by another equation than those that come with others; no memory of good ones
    /// hides it.
    TwoVerdicts: "9.12, CR2, BC3",
    /// The digest of a batch leaves the clients' signatures out.
    DigestLeavesSignaturesOut: "9.12",
    /// STATUS is not answered, and nothing is sent twice.
    NeverResends: "9.13, VC3, fabric #1917",
    /// f + 1 CHECKPOINTs make a stable certificate.
    StableOnWeakQuorum: "§3, CP1",
    /// Blocks of others are executed without a look at their commit certificates.
    TrustsBlocks: "§3, CP11, snarkOS #3226, sawtooth PR82",
    /// Parts of a state are used without a look at what they must hash to.
    TrustsStateParts: "§3, CP5, ASA-2024-008",
    /// All backups that take part check the same half of a batch's requests.
    SharesOneHalf: "§1, BP4",
    /// Whoever stands by sends PREPARE all the same, without a look at the requests.
    PreparesUnchecked: "§1, BP4",
    /// Whoever stands by for a batch does so however late it is.
    StandsByForEver: "§1",
    /// Pending requests are not forwarded to the primary.
    NeverForwards: "§4, VC19, fabric #925",
}

thread_local! {
    /// A run stays on its thread, so runs with different bugs can go on side by side.
    static PLANTED: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// From now on this rule, or none, is broken in everything that this thread does.
pub fn plant(mutant: Option<Mutant>) {
    PLANTED.set(mutant);
}

/// Whether this rule is broken on this thread.
#[must_use]
pub fn is_planted(mutant: Mutant) -> bool {
    PLANTED.get() == Some(mutant)
}
