//! Frames of peers: decoded with limits, their signatures checked in batches, those of each lane in the order in which they
//! came.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tagma_crypto::encode::decode;
use tagma_pbft::error::Rejection;
use tagma_pbft::io::Check;
use tagma_pbft::message::Vote;
use tagma_pbft::{Duty, Incoming, Kind, Message, ReplicaId, SeqNum, Verified, Verifier};
use tagma_wire::{FramePermit, Lane, PeerEvent, PeerEvents};
use tokio::sync::{Notify, watch};

use super::company::{Company, PATIENCE};
use super::gate::{Gate, Source};
use super::mesh::Mesh;
use super::quota::{Admitted, Quotas};
use super::shared::Shared;
use super::transcript::Transcript;
use super::{Inbox, Wake};
use crate::core::CoreInput;
use crate::metrics::{Metrics, Path};

/// A frame of bulk up to this length is checked at once: a small batch or a question.
const LIGHT: usize = 2048;
/// A correct replica sends nothing that fails verification. So many such messages within [`STRIKE_WINDOW`] close the
/// connection, which then comes back no sooner than the wire's pause.
const MAX_STRIKES: u32 = 8;
const STRIKE_WINDOW: Duration = Duration::from_secs(60);

/// What became of an event, in the order of events.
enum Taken {
    Connected(ReplicaId),
    Message {
        from: ReplicaId,
        kind: Kind,
        /// How many requests it forwards.
        forwarded: usize,
        permit: FramePermit,
    },
}

/// What stands between the mesh and the loop.
pub(super) struct Verification {
    pub(super) verifier: Verifier,
    pub(super) mesh: Mesh,
    pub(super) inbox: Inbox,
    pub(super) transcript: Transcript,
    pub(super) metrics: Metrics,
    pub(super) shared: Arc<Shared>,
    pub(super) quotas: Mutex<Quotas>,
    pub(super) company: Mutex<Company<FramePermit>>,
    /// Told when a vote comes while none is held.
    pub(super) held: Notify,
    pub(super) strikes: Mutex<BTreeMap<ReplicaId, (Instant, u32)>>,
}

impl Source for PeerEvents {
    type Event = PeerEvent;

    fn recv(&mut self) -> impl Future<Output = Option<PeerEvent>> + Send {
        self.recv()
    }

    fn try_recv(&mut self) -> Option<PeerEvent> {
        self.try_recv()
    }
}

impl Gate for Verification {
    type Event = PeerEvent;

    /// Votes never wait behind bulk. Bulk goes beside from the first frame that is large until all before it is done.
    fn part(&self, events: Vec<PeerEvent>, busy: bool) -> (Vec<PeerEvent>, Vec<PeerEvent>) {
        let mut beside = busy;
        events.into_iter().partition(|event| match event {
            PeerEvent::Frame {
                lane: Lane::Bulk,
                payload,
                ..
            } => {
                beside |= payload.len() > LIGHT;
                !beside
            }
            PeerEvent::Frame { .. } | PeerEvent::Connected { .. } | PeerEvent::Disconnected { .. } => true,
        })
    }

    fn take(&self, events: Vec<PeerEvent>) -> bool {
        let mut taken = Vec::with_capacity(events.len());
        let mut messages = Vec::with_capacity(events.len());
        let mut decided = false;
        let now = Instant::now();
        let published = self.shared.published();
        let (place, duty) = (published.place(), published.duty);
        let mut quotas = self.quotas();
        quotas.at(place);
        for event in events {
            match event {
                PeerEvent::Connected { peer } => {
                    let Some(peer) = replica(peer) else { continue };
                    tracing::info!(%peer, "peer connected");
                    taken.push(Taken::Connected(peer));
                }
                PeerEvent::Disconnected { peer, reason } => {
                    tracing::info!(peer, reason, "peer disconnected");
                }
                PeerEvent::Frame {
                    peer,
                    payload,
                    permit,
                    ..
                } => {
                    let Some(peer) = replica(peer) else { continue };
                    match decode::<Message>(&payload, payload.len()) {
                        Ok(message) => {
                            let kind = message.kind();
                            self.metrics.received(kind, payload.len());
                            let owed = self.mesh.asked.came(peer, kind);
                            let admitted = quotas.admit(peer, &message, owed, now);
                            if admitted == Admitted::No {
                                self.metrics.rejected(kind.name(), "over_quota");
                                continue;
                            }
                            let message = match self.mesh.arrived(peer, message) {
                                Some(Message::Vote(vote)) if admitted == Admitted::Needed => {
                                    decided |= self.hold(vote, permit, place.stable, duty);
                                    continue;
                                }
                                Some(message) => message,
                                None => continue,
                            };
                            if let Message::PrePrepare { vote, .. } = &message
                                && admitted == Admitted::Needed
                                && duty == Duty::Least
                            {
                                self.company().stand_by(vote);
                            }
                            taken.push(Taken::Message {
                                from: peer,
                                kind: message.kind(),
                                forwarded: match &message {
                                    Message::Forward(requests) => requests.len(),
                                    _ => 0,
                                },
                                permit,
                            });
                            messages.push(message);
                        }
                        Err(error) => {
                            self.metrics.rejected("undecodable", "malformed");
                            tracing::warn!(%peer, %error, "a peer sent garbage");
                            self.mesh
                                .close(peer, &format!("a frame that is no message: {error}"));
                        }
                    }
                }
            }
        }
        // Not while signatures are checked, which this is called for by two threads.
        drop(quotas);
        if decided {
            self.gather(&mut taken, &mut messages);
        }
        self.settle(taken, messages, duty, now)
    }
}

impl Verification {
    /// Has a vote wait for those with which it decides something. Whether these are here now.
    fn hold(&self, vote: Vote, permit: FramePermit, stable: SeqNum, duty: Duty) -> bool {
        let mut company = self.company();
        let decided = company.join(vote, permit, stable, duty == Duty::Least);
        if !decided && company.len() == 1 {
            self.held.notify_one();
        }
        decided
    }

    /// Adds the votes that are held.
    fn gather(&self, taken: &mut Vec<Taken>, messages: &mut Vec<Message>) {
        for (vote, permit) in self.company().leave() {
            let from = vote.sender;
            let message = Message::Vote(vote);
            taken.push(Taken::Message {
                from,
                kind: message.kind(),
                forwarded: 0,
                permit,
            });
            messages.push(message);
        }
    }

    /// Has the signatures of messages checked, and hands on what was taken. False once the loop is gone.
    fn settle(&self, taken: Vec<Taken>, messages: Vec<Message>, duty: Duty, now: Instant) -> bool {
        if taken.is_empty() {
            return true;
        }
        self.metrics.verified(Path::Peers, messages.len());
        let mut verdicts = self.verifier.verify_as(duty, messages).into_iter();
        self.metrics
            .verified(Path::PeerRequests, self.verifier.take_requests_checked());
        taken.into_iter().all(|taken| match taken {
            Taken::Connected(peer) => self.forward(CoreInput::Connected(peer), None),
            Taken::Message {
                from,
                kind,
                forwarded,
                permit,
            } => match verdicts.next() {
                Some(verdict) => {
                    if let Ok(Incoming::Forward(valid)) = verdict.as_ref().map(Verified::get) {
                        let bad = forwarded.saturating_sub(valid.len());
                        self.quotas().wasted(from, bad, now);
                    }
                    self.judge(from, kind, permit, verdict)
                }
                None => true,
            },
        })
    }

    // Every change of them is whole: a panic elsewhere leaves at worst a message uncounted.
    fn quotas(&self) -> MutexGuard<'_, Quotas> {
        self.quotas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Every change of it is whole, too.
    fn company(&self) -> MutexGuard<'_, Company<FramePermit>> {
        self.company.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(
        &self,
        from: ReplicaId,
        kind: Kind,
        permit: FramePermit,
        verdict: Result<Verified<Incoming>, Rejection>,
    ) -> bool {
        match verdict {
            Ok(message) => {
                self.transcript.heard(from, message.get());
                self.forward(CoreInput::Peer { from, message }, Some(permit))
            }
            Err(rejection) => {
                self.metrics.rejected(kind.name(), rejection.name());
                tracing::warn!(peer = %from, kind = kind.name(), %rejection, "a message was not accepted");
                self.strike(from, &rejection);
                true
            }
        }
    }

    fn strike(&self, peer: ReplicaId, rejection: &Rejection) {
        let now = Instant::now();
        let mut strikes = self.strikes.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = strikes.entry(peer).or_insert((now, 0));
        if now.duration_since(*since) > STRIKE_WINDOW {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        if *count >= MAX_STRIKES {
            *count = 0;
            self.mesh.close(
                peer,
                &format!("too many messages that do not verify, the last one: {rejection}"),
            );
        }
    }

    fn forward(&self, input: CoreInput, permit: Option<FramePermit>) -> bool {
        self.inbox.send(Wake::Input(input, permit)).is_ok()
    }
}

/// The wire knows the peers of genesis alone, whose numbers fit.
fn replica(peer: tagma_wire::PeerId) -> Option<ReplicaId> {
    u16::try_from(peer).ok().map(ReplicaId::new)
}

/// Has votes that have waited long enough verified, until the process stops or the loop is gone.
pub(super) async fn dismiss(verification: Arc<Verification>, mut stopping: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = verification.held.notified() => {}
            // An error means that the sender is gone, which is a stop as well.
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        tokio::time::sleep(PATIENCE).await;
        let (mut taken, mut messages) = (Vec::new(), Vec::new());
        verification.gather(&mut taken, &mut messages);
        // No proposal is among them.
        if !verification.settle(taken, messages, Duty::All, Instant::now()) {
            return;
        }
    }
}

/// Does the checks that the protocol asks for, until the loop is gone. They take long, so no vote waits behind them.
pub(super) fn run_checks(verifier: &Verifier, checks: &Receiver<Check>, inbox: &Inbox, metrics: &Metrics) {
    while let Ok(check) = checks.recv() {
        // A proposal was counted when it came.
        if !matches!(check, Check::Proposal(..)) {
            metrics.verified(Path::ViewChanges, 1);
        }
        let checked = verifier.check(check);
        metrics.verified(Path::PeerRequests, verifier.take_requests_checked());
        if inbox
            .send(Wake::Input(CoreInput::Checked(checked), None))
            .is_err()
        {
            return;
        }
    }
}
