//! Frames of clients: decoded with limits, requests checked in batches, questions passed on to their reader.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tagma_crypto::encode::decode;
use tagma_crypto::{Digest, Request};
use tagma_ledger::Rejection;
use tagma_wire::client_protocol::{ClientRequest, ClientResponse, MAX_CLIENT_FRAME, Refusal};
use tagma_wire::{ClientEvent, ClientEvents, ConnectionId, FramePermit};

use super::clients::Clients;
use super::gate::{Gate, Source};
use super::reader::ClientQuestion;
use super::shared::Shared;
use super::{Inbox, Wake};
use crate::core::{Admissible, ClientId, CoreInput, LedgerRules, ValidRequest};
use crate::metrics::{Metrics, Path};

/// So many events are dealt with at once, if no more requests than that wait here.
const LIGHT: usize = 4;

/// Most inputs handed to the loop at once: what else waits for it is not kept waiting for long.
const MAX_TOGETHER: usize = 128;

/// From so many good requests on a connection may have more of them unread.
const EARNS: usize = 16;

/// What became of an event, in the order of events.
#[allow(clippy::large_enum_variant, reason = "a short list that lives for one turn")]
enum Taken {
    Input(CoreInput, Option<FramePermit>),
    Submit(ConnectionId, Digest, FramePermit),
    Gone(ConnectionId),
}

/// What stands between the client socket and the loop.
pub(super) struct Admission {
    pub(super) rules: Arc<LedgerRules>,
    pub(super) chain: Digest,
    pub(super) clients: Clients,
    pub(super) inbox: Inbox,
    pub(super) reader: Sender<ClientQuestion>,
    pub(super) metrics: Metrics,
    pub(super) shared: Arc<Shared>,
    /// Requests with bad signatures a connection may send.
    pub(super) max_strikes: u32,
    /// What it has sent; goes with the connection.
    pub(super) conduct: Mutex<BTreeMap<ConnectionId, Conduct>>,
}

/// What the requests of a connection were like.
#[derive(Default)]
pub(super) struct Conduct {
    good: usize,
    bad: u32,
}

impl Conduct {
    /// Another one was good. The number of requests that may wait unread, each time it grows: as many as were good, for what is unread
    /// may turn out to be bad and is verified all the same. None once one was bad, and none for one that is repeated: what is earned must have
    /// cost the client a signature of its own, or one good request would pay for any number of bad ones.
    fn earn(&mut self, fresh: bool) -> Option<usize> {
        if !fresh {
            return None;
        }
        self.good = self.good.saturating_add(1);
        (self.bad == 0 && self.good >= EARNS && self.good.is_power_of_two()).then_some(self.good)
    }
}

impl Source for ClientEvents {
    type Event = ClientEvent;

    fn recv(&mut self) -> impl Future<Output = Option<ClientEvent>> + Send {
        self.recv()
    }

    fn try_recv(&mut self) -> Option<ClientEvent> {
        self.try_recv()
    }
}

impl Gate for Admission {
    type Event = ClientEvent;

    /// All or none go beside: the frames of a client keep their order.
    fn part(&self, events: Vec<ClientEvent>, busy: bool) -> (Vec<ClientEvent>, Vec<ClientEvent>) {
        if busy || events.len().max(self.waiting()) > LIGHT {
            (Vec::new(), events)
        } else {
            (events, Vec::new())
        }
    }

    fn take(&self, events: Vec<ClientEvent>) -> bool {
        let mut taken = Vec::with_capacity(events.len());
        let mut requests = Vec::new();
        for event in events {
            match event {
                ClientEvent::Connected { connection, remote } => {
                    tracing::debug!(client = %connection, %remote, "client connected");
                }
                ClientEvent::Disconnected { connection, reason } => {
                    tracing::debug!(client = %connection, reason, "client disconnected");
                    taken.push(Taken::Gone(connection));
                }
                ClientEvent::Frame {
                    connection,
                    payload,
                    permit,
                } => {
                    self.take_frame(connection, &payload, permit, &mut taken, &mut requests);
                }
            }
        }
        self.metrics.verified(Path::Clients, requests.len());
        let mut verdicts = self.rules.check_all(requests).into_iter();
        let mut inputs = taken.into_iter().filter_map(|taken| match taken {
            Taken::Input(input, permit) => Some((input, permit)),
            Taken::Submit(connection, digest, permit) => {
                let request = self.judge(connection, digest, verdicts.next()?)?;
                let client = client_id(connection);
                Some((CoreInput::Submit { client, request }, Some(permit)))
            }
            // After its requests are judged: nothing is remembered of it then.
            Taken::Gone(connection) => {
                self.conduct().remove(&connection);
                self.clients.gone(connection);
                Some((CoreInput::ClientGone(client_id(connection)), None))
            }
        });
        loop {
            let together: Vec<_> = inputs.by_ref().take(MAX_TOGETHER).collect();
            if together.is_empty() {
                return true;
            }
            if self.inbox.send(Wake::Inputs(together)).is_err() {
                return false;
            }
        }
    }
}

impl Admission {
    /// How many requests wait here to be agreed on.
    fn waiting(&self) -> usize {
        usize::try_from(self.shared.published().pending).unwrap_or(usize::MAX)
    }

    fn conduct(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Conduct>> {
        self.conduct.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_frame(
        &self,
        connection: ConnectionId,
        payload: &[u8],
        permit: FramePermit,
        taken: &mut Vec<Taken>,
        requests: &mut Vec<Request>,
    ) {
        match decode::<ClientRequest>(payload, MAX_CLIENT_FRAME) {
            Ok(ClientRequest::Submit(request)) if self.clients.is_throttled(connection) => {
                self.metrics.not_admitted("throttled");
                let request = request.digest(&self.chain);
                self.clients.respond(connection, ClientResponse::Busy { request });
            }
            Ok(ClientRequest::Submit(request)) => {
                taken.push(Taken::Submit(connection, request.digest(&self.chain), permit));
                requests.push(request);
            }
            Ok(ClientRequest::Follow(account)) => {
                let client = client_id(connection);
                taken.push(Taken::Input(CoreInput::Follow { client, account }, Some(permit)));
            }
            Ok(ClientRequest::Query { id, query }) => {
                // A reader that is gone means that the process ends; nobody waits for an answer then.
                let _ = self.reader.send(ClientQuestion {
                    connection,
                    id,
                    query,
                    _permit: permit,
                });
            }
            Err(error) => {
                self.metrics.not_admitted("malformed");
                tracing::info!(client = %connection, %error, "a client sent garbage");
                self.clients
                    .close(connection, &format!("a frame that is no request: {error}"));
            }
        }
    }

    /// The request, if it is good; else its sender is told, and strikes count.
    fn judge(
        &self,
        connection: ConnectionId,
        digest: Digest,
        verdict: Result<Admissible, Rejection>,
    ) -> Option<ValidRequest> {
        match verdict {
            Ok(Admissible { valid, fresh }) => {
                if let Some(requests) = self.conduct().entry(connection).or_default().earn(fresh) {
                    self.clients.widen(connection, requests);
                }
                Some(valid)
            }
            Err(rejection) => {
                self.metrics.not_admitted("invalid");
                let refused = ClientResponse::Refused {
                    request: digest,
                    reason: Refusal::Invalid(rejection),
                };
                self.clients.respond(connection, refused);
                let mut conduct = self.conduct();
                let conduct = conduct.entry(connection).or_default();
                conduct.bad = conduct.bad.saturating_add(1);
                if conduct.bad >= self.max_strikes {
                    self.clients
                        .close(connection, "too many requests that are not valid");
                }
                None
            }
        }
    }
}

/// A connection's number in the core.
pub(super) fn client_id(connection: ConnectionId) -> ClientId {
    ClientId(connection.number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_earned_by_as_many_good_requests_and_by_no_bad_one() {
        let mut conduct = Conduct::default();
        let earned: Vec<usize> = (0..1100).filter_map(|_| conduct.earn(true)).collect();
        assert_eq!(earned, [16, 32, 64, 128, 256, 512, 1024]);
        let mut conduct = Conduct { good: 20, bad: 1 };
        assert_eq!((0..1100).find_map(|_| conduct.earn(true)), None);
    }

    /// Repeating one good request earned the room for 512 bad ones, for nothing.
    #[test]
    fn a_repeated_request_earns_nothing() {
        let mut conduct = Conduct::default();
        assert_eq!((0..15).find_map(|_| conduct.earn(true)), None);
        assert_eq!((0..1100).find_map(|_| conduct.earn(false)), None);
    }
}
