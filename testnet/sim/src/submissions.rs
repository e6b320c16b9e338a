//! Between clients and replicas.

use std::sync::Arc;

use tagma_node::core::{ClientId, CoreInput};
use tagma_wire::client_protocol::ClientResponse;

use crate::world::{Event, World};

impl World {
    pub(crate) fn respond(&mut self, index: usize, client: ClientId, response: ClientResponse) {
        let Some(response) = self.lie(index, response) else {
            return;
        };
        let weather = self.network.weather();
        if self.rng.permille(weather.loss_permille) {
            self.count("reply lost");
            return;
        }
        let delay = weather.delay(&mut self.rng);
        let from = self.host_mut(index).id;
        let client = usize::try_from(client.0).unwrap_or(usize::MAX);
        self.schedule(
            delay,
            Event::Respond {
                from,
                client,
                response,
            },
        );
    }

    /// A client does what it does next.
    pub(crate) fn act(&mut self, index: usize, generation: u64) {
        let height = self.checks.height();
        let others: Vec<_> = (0..self.chain.account_keys.len())
            .map(|number| self.chain.account(number))
            .collect();
        let Some(client) = self
            .clients
            .get_mut(index)
            .filter(|client| client.generation == generation)
        else {
            return;
        };
        client.generation += 1;
        let generation = client.generation;
        let checks = &mut self.checks;
        let submissions = client.act(&others, height, &mut self.rng, |request| checks.signed(request));
        let (view, manner, account) = (client.view, client.manner, client.account());
        let patience = client.patience(&mut self.rng);
        let idle = client.stopped && client.pending.is_none();
        if !submissions.is_empty() {
            self.count(manner.name());
        }
        for (request, target) in submissions {
            for host in self.targets(target, view) {
                self.submit(index, host, account, &request);
            }
        }
        if !idle {
            self.schedule(
                patience,
                Event::Client {
                    client: index,
                    generation,
                },
            );
        }
    }

    fn targets(&self, target: crate::clients::Target, view: u64) -> Vec<usize> {
        use crate::clients::Target;
        let replicas = self.chain.vote_keys.len() as u64;
        let chosen = |id: u64| match target {
            Target::All => true,
            Target::Primary => id == view % replicas,
            Target::Backup(place) => id == (view + 1 + place % (replicas - 1)) % replicas,
            Target::Even => id.is_multiple_of(2),
            Target::Odd => !id.is_multiple_of(2),
        };
        self.hosts
            .iter()
            .filter(|host| chosen(u64::from(host.id.get())))
            .map(|host| host.index)
            .collect()
    }

    fn submit(
        &mut self,
        index: usize,
        host: usize,
        account: tagma_crypto::PublicKey,
        request: &Arc<tagma_ledger::Request>,
    ) {
        let weather = self.network.weather();
        self.connect_client(index, account);
        if self.hosts.get(host).is_none_or(|host| host.process.is_none()) {
            return;
        }
        if self.rng.permille(weather.loss_permille) {
            self.count("submission lost");
            return;
        }
        let delay = weather.delay(&mut self.rng);
        let incarnation = self.host_mut(host).incarnation;
        let request = Arc::clone(request);
        self.schedule(
            delay,
            Event::Submit {
                host,
                incarnation,
                client: index,
                request,
            },
        );
    }

    /// A client keeps a connection to every process, and follows its account on each.
    fn connect_client(&mut self, index: usize, account: tagma_crypto::PublicKey) {
        for place in 0..self.hosts.len() {
            let host = self.host_mut(place);
            let incarnation = host.incarnation;
            if host.process.is_none() {
                continue;
            }
            let known = self
                .clients
                .get_mut(index)
                .and_then(|client| client.connected.insert(place, incarnation));
            if known != Some(incarnation) {
                let client = ClientId(index as u64);
                // Following cannot violate anything.
                let _ = self.step(place, CoreInput::Follow { client, account });
            }
        }
    }
}
