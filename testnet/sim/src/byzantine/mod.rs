//! Misbehaviour, one small file a behaviour. A behaviour wraps an honest core: it sees every message that core sends, and says
//! what is sent instead, signed with the replica's own key. No behaviour can sign for anybody else.

mod batches;
mod censor;
mod certificates;
mod checkpoints;
mod echo;
mod equivocation;
mod garbage;
mod new_views;
mod repeats;
mod resigns;
mod selective;
mod silent;
mod spam;
mod split_view_changes;
mod state;
mod votes;
mod withhold;

use std::sync::Arc;

use tagma_crypto::{Digest, SecretKey};
use tagma_pbft::message::{NewView, Phase, Vote};
use tagma_pbft::{KeyRing, Message, Parameters, ReplicaId, SeqNum, View};

use crate::rng::SimRng;

/// What a behaviour works with.
pub struct Forge<'a> {
    /// Which replica it is.
    pub id: ReplicaId,
    /// The key it signs with, the only one it has.
    pub key: &'a SecretKey,
    /// Everybody's public keys.
    pub ring: &'a KeyRing,
    /// The protocol's parameters.
    pub parameters: &'a Parameters,
    /// The digest of the null batch.
    pub null: Digest,
    /// Chance.
    pub rng: &'a mut SimRng,
}

impl Forge<'_> {
    /// A vote signed with the own key.
    pub fn vote(&self, phase: Phase, view: View, seq: SeqNum, digest: Digest) -> Vote {
        Vote::sign(phase, view, seq, digest, self.id, &self.ring.chain, self.key)
    }

    /// Signs a NEW-VIEW again, whatever it holds now.
    pub fn sign_new_view(&self, message: &mut NewView) {
        let content = message.content_digest();
        message.signature = self
            .key
            .sign(NewView::DOMAIN, &self.ring.chain, content.as_bytes());
    }

    /// Everybody else.
    pub fn others(&self) -> Vec<ReplicaId> {
        self.ring.quorum.all().filter(|other| *other != self.id).collect()
    }

    /// A digest of nothing.
    pub fn invented(&mut self) -> Digest {
        Digest::of("tagma/sim-invented", &[&self.rng.bits().to_le_bytes()])
    }
}

/// One way to misbehave.
pub trait Behaviour: std::fmt::Debug {
    /// The name in reports.
    fn name(&self) -> &'static str;

    /// What is sent to `to` instead of `message`. The core's own message is among them if it is to be sent.
    fn send(&mut self, forge: &mut Forge<'_>, to: ReplicaId, message: &Arc<Message>) -> Vec<Arc<Message>>;

    /// A message of another replica came in.
    fn observe(&mut self, _forge: &mut Forge<'_>, _message: &Message) {}

    /// What is sent without any cause, several times a second.
    fn tick(&mut self, _forge: &mut Forge<'_>) -> Vec<(ReplicaId, Message)> {
        Vec::new()
    }
}

/// The message as it is.
fn unchanged(message: &Arc<Message>) -> Vec<Arc<Message>> {
    vec![Arc::clone(message)]
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $make:expr,)*) => {
        /// The behaviours there are.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// A fresh one.
            #[must_use]
            pub fn make(self) -> Box<dyn Behaviour> {
                match self {
                    $(Self::$kind => Box::new($make),)*
                }
            }
        }
    };
}

kinds! {
    /// Sends nothing.
    Silent => silent::Silent,
    /// As a primary tells one half of the others one batch, the other half another.
    Equivocation => equivocation::Equivocation::default(),
    /// Sends proposals and votes to some only.
    Selective => selective::Selective::default(),
    /// Votes for neighbouring views and sequence numbers, for invented digests, and repeats old votes.
    WrongVotes => votes::WrongVotes::default(),
    /// Never sends a COMMIT.
    WithholdCommits => withhold::Withhold::Commits,
    /// Never sends a VIEW-CHANGE or NEW-VIEW.
    WithholdViewChanges => withhold::Withhold::ViewChanges,
    /// Never sends a batch with its proposal.
    WithholdBodies => withhold::Withhold::Bodies,
    /// VIEW-CHANGEs for all kinds of views.
    ViewChangeSpam => spam::Spam,
    /// NEW-VIEWs whose O omits, swaps, nulls or adds, or whose V is doctored.
    FakeNewViews => new_views::FakeNewViews::default(),
    /// VIEW-CHANGEs with forged or missing certificates.
    ForgedCertificates => certificates::ForgedCertificates::default(),
    /// Different VIEW-CHANGEs to different replicas.
    SplitViewChanges => split_view_changes::SplitViewChanges,
    /// CHECKPOINTs with invented headers.
    BadCheckpoints => checkpoints::BadCheckpoints::default(),
    /// Batches with bad signatures, duplicates, or too many requests, or none.
    BadBatches => batches::BadBatches,
    /// Batches that were proposed before.
    Repeats => repeats::Repeats::default(),
    /// Wrong parts of a state, wrong blocks, wrong bodies.
    WrongAnswers => state::WrongAnswers,
    /// Leaves out one client's requests.
    Censor => censor::Censor::default(),
    /// Others' own old votes, back to them.
    Echo => echo::Echo::default(),
    /// Others' proposals with a client's signature spoiled.
    SpoiledSignatures => resigns::SpoiledSignatures::default(),
    /// Messages turned into garbage.
    Garbage => garbage::Garbage,
}
