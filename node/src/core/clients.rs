//! Which client connections wait for which replies.

use std::collections::{BTreeMap, BTreeSet};

use tagma_crypto::{Digest, HashedMap, HashedSet, PublicKey};
use tagma_wire::client_protocol::MAX_FOLLOWED;

/// A client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// Most requests one connection may wait for.
const MAX_WAITING: usize = 1 << 14;
/// Most connections that may follow one account.
const MAX_FOLLOWERS: usize = 64;

/// Who waits for what. Every entry is bounded by connection, and goes with its connection.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    waiting: HashedMap<Digest, BTreeSet<ClientId>>,
    followers: HashedMap<PublicKey, BTreeSet<ClientId>>,
    by_client: BTreeMap<ClientId, (HashedSet<Digest>, HashedSet<PublicKey>)>,
}

impl Clients {
    /// `client` waits for this request; false if it waits for too many already.
    pub(crate) fn wait(&mut self, client: ClientId, request: Digest) -> bool {
        let (requests, _) = self.by_client.entry(client).or_default();
        if requests.len() >= MAX_WAITING && !requests.contains(&request) {
            return false;
        }
        requests.insert(request);
        self.waiting.entry(request).or_default().insert(client);
        true
    }

    /// `client` wants the replies to every request of this account; false if it, or the account, has too many.
    pub(crate) fn follow(&mut self, client: ClientId, account: PublicKey) -> bool {
        let (_, accounts) = self.by_client.entry(client).or_default();
        let followers = self.followers.entry(account).or_default();
        if accounts.len() >= MAX_FOLLOWED || followers.len() >= MAX_FOLLOWERS {
            return followers.contains(&client);
        }
        accounts.insert(account);
        followers.insert(client);
        true
    }

    /// Whoever waits for this request, or follows its account; nobody waits for it afterwards.
    pub(crate) fn take(&mut self, request: &Digest, account: Option<&PublicKey>) -> BTreeSet<ClientId> {
        let mut clients = self.waiting.remove(request).unwrap_or_default();
        for client in &clients {
            if let Some((requests, _)) = self.by_client.get_mut(client) {
                requests.remove(request);
            }
        }
        clients.extend(
            account
                .and_then(|account| self.followers.get(account))
                .into_iter()
                .flatten(),
        );
        clients
    }

    /// The connection is gone.
    pub(crate) fn forget(&mut self, client: ClientId) {
        let Some((requests, accounts)) = self.by_client.remove(&client) else {
            return;
        };
        for request in requests {
            if let Some(clients) = self.waiting.get_mut(&request) {
                clients.remove(&client);
                if clients.is_empty() {
                    self.waiting.remove(&request);
                }
            }
        }
        for account in accounts {
            if let Some(followers) = self.followers.get_mut(&account) {
                followers.remove(&client);
                if followers.is_empty() {
                    self.followers.remove(&account);
                }
            }
        }
    }
}
