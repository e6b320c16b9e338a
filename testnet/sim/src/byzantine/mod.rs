//! Misbehaviour, one small file a behaviour. A behaviour wraps an honest core: it sees every message that core sends, and says
//! what is sent instead, signed with the replica's own key. No behaviour can sign for anybody else.

mod about;
mod bad_signatures;
mod batches;
mod bides;
mod censor;
mod certificates;
mod checkpoints;
mod echo;
mod equivocation;
mod garbage;
mod impersonate;
mod new_views;
mod oversized;
mod repeats;
mod replay;
mod replies;
mod resigns;
mod selective;
mod silent;
mod slow;
mod spam;
mod split_view_changes;
mod state;
mod votes;
mod withhold;

use std::sync::Arc;
use std::time::Duration;

pub use about::{About, SAFE};
pub use equivocation::Equivocation;
use tagma_crypto::{Digest, PublicKey, SecretKey};
use tagma_pbft::message::{HighestSigned, NewView, Phase, Vote};
use tagma_pbft::{Batch, Body, KeyRing, Message, Parameters, ReplicaId, SeqNum, View};
use tagma_wire::client_protocol::ClientResponse;

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
    /// T: how long the others wait for a pending request.
    pub request_timeout: Duration,
    /// The time since something that stays the same.
    pub now: Duration,
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

    /// The vote and the batch of a message, if it is this replica's own proposal with its batch.
    pub fn own_proposal<'m>(&self, message: &'m Message) -> Option<(&'m Vote, &'m Batch)> {
        match message {
            Message::PrePrepare {
                vote,
                batch: Some(batch),
            } if vote.sender == self.id => Some((vote, batch)),
            _ => None,
        }
    }

    /// The own proposal of `batch` for the view and sequence number of `place`.
    pub fn proposal(&self, place: &Vote, batch: Batch) -> Message {
        let body = Body::new(&self.ring.chain, batch);
        Message::PrePrepare {
            vote: self.vote(Phase::PrePrepare, place.view, place.seq, body.digest()),
            batch: Some(body.batch().clone()),
        }
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
pub trait Behaviour: std::fmt::Debug + Send {
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

    /// Bytes that are sent without any cause, as often as [`Behaviour::tick`] is asked, and need not be a message.
    fn noise(&mut self, _forge: &mut Forge<'_>) -> Vec<(ReplicaId, Vec<u8>)> {
        Vec::new()
    }

    /// What a client is told instead of `response`; none tells it nothing.
    fn respond(&mut self, _forge: &mut Forge<'_>, response: ClientResponse) -> Option<ClientResponse> {
        Some(response)
    }
}

/// What an honest core is shown of a message that comes to a replica with key `id`, whose behaviours said what the core does
/// not know of: its own words, and what others have seen of them, are kept from it. It would stop over words it did not choose, as
/// it must when somebody else has its key.
#[must_use]
pub fn shown_to_core(ring: &KeyRing, id: ReplicaId, mut message: Message) -> Option<Message> {
    let own = match &mut message {
        Message::PrePrepare { vote, .. } | Message::Vote(vote) => vote.sender == id,
        Message::ViewChange(change) => change.sender == id,
        Message::NewView(new) => ring.quorum.primary(new.view) == id,
        Message::Status(status) => {
            if let Some(seen) = &mut status.yours {
                **seen = HighestSigned::default();
            }
            false
        }
        _ => false,
    };
    (!own).then_some(message)
}

/// The behaviours of this crate that people choose by name, but for the censor, which needs a victim.
pub const NAMED: [(About, Kind); 16] = [
    (silent::ABOUT, Kind::Silent),
    (equivocation::ABOUT, Kind::Equivocation),
    (selective::ABOUT, Kind::Selective),
    (slow::ABOUT, Kind::SlowPrimary),
    (replies::ABOUT, Kind::WrongReplies),
    (bad_signatures::ABOUT, Kind::BadSignatures),
    (impersonate::ABOUT, Kind::Impersonation),
    (replay::ABOUT, Kind::ReplayOld),
    (withhold::ABOUT, Kind::WithholdCommits),
    (spam::ABOUT, Kind::ViewChangeSpam),
    (new_views::ABOUT, Kind::FakeNewViews),
    (certificates::ABOUT, Kind::ForgedCertificates),
    (checkpoints::ABOUT, Kind::BadCheckpoints),
    (state::ABOUT, Kind::WrongAnswers),
    (oversized::ABOUT, Kind::OversizedBatches),
    (garbage::ABOUT, Kind::Garbage),
];

/// How people choose the censor.
pub const CENSOR: About = censor::ABOUT;

/// A primary that leaves out the requests of `victim`.
#[must_use]
pub fn censor(victim: PublicKey) -> Box<dyn Behaviour> {
    Box::new(censor::Censor::new(victim))
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
    Equivocation => Equivocation::default(),
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
    /// As a primary holds every proposal back for as long as nobody's timer expires.
    SlowPrimary => slow::SlowPrimary::default(),
    /// Invented outcomes for clients.
    WrongReplies => replies::WrongReplies,
    /// Signatures that do not verify.
    BadSignatures => bad_signatures::BadSignatures,
    /// Votes in the name of others.
    Impersonation => impersonate::Impersonation,
    /// What was said long ago, by itself and by others.
    ReplayOld => replay::ReplayOld::default(),
    /// Batches with more requests than the cap allows.
    OversizedBatches => oversized::OversizedBatches,
    /// Messages turned into garbage.
    Garbage => garbage::Garbage,
    /// As a primary spoils the last signature of every eighth batch of several requests.
    BidesItsTime => bides::BidesItsTime,
}
