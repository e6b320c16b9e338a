//! A chain in a few lines: keys, a genesis, transactions, and blocks one after the other.

use tagma_crypto::{Digest, PublicKey, SecretKey, Signature};
use tagma_ledger::batch::digest_of;
use tagma_ledger::{
    Batch, Block, BlockHeader, ExecContext, Executed, Genesis, GenesisAccount, GenesisReplica, Operation,
    Outcome, Parameters, Receipt, Request, State, Transaction, digests_of, execute,
};

/// A key pair of the test's own.
pub(crate) fn secret(seed: u16) -> SecretKey {
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&seed.to_le_bytes());
    SecretKey::from_seed(bytes)
}

/// The public key of [`secret`].
pub(crate) fn key(seed: u16) -> PublicKey {
    secret(seed).public()
}

/// The encoding of the identity, a point of small order.
pub(crate) fn small_order_key() -> PublicKey {
    let mut bytes = [0; 32];
    bytes[0] = 1;
    PublicKey::from_bytes(bytes)
}

pub(crate) fn replica(id: u16) -> GenesisReplica {
    GenesisReplica {
        id,
        vote_key: key(1000 + id),
        network_key: key(2000 + id),
        peer_address: format!("127.0.0.1:{}", 7400 + 10 * id).into(),
        client_address: format!("127.0.0.1:{}", 7401 + 10 * id).into(),
        http_address: format!("127.0.0.1:{}", 7402 + 10 * id).into(),
    }
}

/// Four replicas, accounts `key(0)`, `key(1)`, … with these balances, and a checkpoint every 4 blocks.
pub(crate) fn genesis(balances: &[u64]) -> Genesis {
    let account = |(seed, balance): (u16, &u64)| GenesisAccount {
        name: None,
        key: key(seed),
        balance: *balance,
    };
    Genesis {
        chain_name: "test".into(),
        time_ms: 1_000_000,
        replicas: (0..4).map(replica).collect(),
        accounts: (0..).zip(balances).map(account).collect(),
        parameters: Parameters {
            checkpoint_interval: 4,
            window: 8,
            lookahead: 4,
            bucket_count: 8,
            ..Parameters::default()
        },
    }
}

/// A chain that grows by [`Chain::extend`].
pub(crate) struct Chain {
    pub(crate) genesis: Genesis,
    pub(crate) id: Digest,
    pub(crate) state: State,
    pub(crate) tip: BlockHeader,
}

impl Chain {
    pub(crate) fn new(balances: &[u64]) -> Self {
        Self::from_genesis(genesis(balances))
    }

    pub(crate) fn from_genesis(genesis: Genesis) -> Self {
        let (state, tip) = genesis.start();
        Self {
            id: genesis.chain_id(),
            genesis,
            state,
            tip,
        }
    }

    /// An unsigned transaction, as a request without a good signature: execution does not look at it.
    pub(crate) fn request(&self, from: PublicKey, nonce: u64, operation: Operation) -> Request {
        self.expiring(from, nonce, operation, u64::MAX)
    }

    pub(crate) fn expiring(&self, from: PublicKey, nonce: u64, operation: Operation, expiry: u64) -> Request {
        let transaction = Transaction {
            chain: self.id,
            account: from,
            nonce,
            operation,
            expiry_height: expiry,
        };
        unsigned(&transaction)
    }

    pub(crate) fn pay(&self, from: PublicKey, nonce: u64, to: PublicKey, amount: u64) -> Request {
        self.request(from, nonce, Operation::Transfer { to, amount })
    }

    /// Executes a batch proposed at `time_ms` on the tip, without adding it.
    pub(crate) fn try_execute(&self, time_ms: u64, requests: &[Request]) -> Executed {
        let context = ExecContext {
            chain: self.id,
            parameters: &self.genesis.parameters,
        };
        let batch = Batch {
            height: self.tip.height + 1,
            digest: digest_of(&self.id, time_ms, requests),
            time_ms,
            requests,
            request_digests: &digests_of(&self.id, requests),
        };
        execute(&self.state, &context, &self.tip, &batch)
    }

    /// Executes a batch proposed right after the tip, and adds the block.
    pub(crate) fn extend(&mut self, requests: &[Request]) -> (Block, Executed) {
        let time_ms = self.tip.time_ms + 10;
        let executed = self.try_execute(time_ms, requests);
        self.state = executed.state.clone();
        self.tip = executed.header.clone();
        let block = Block {
            header: executed.header.clone(),
            proposed_time_ms: time_ms,
            requests: requests.to_vec().into(),
            receipts: executed.receipts.clone().into(),
        };
        (block, executed)
    }

    /// The outcomes of a batch, `None` for a no-op.
    pub(crate) fn outcomes(&mut self, requests: &[Request]) -> Vec<Option<Outcome>> {
        self.extend(requests).1.receipts.iter().map(outcome).collect()
    }

    pub(crate) fn balance(&self, key: PublicKey) -> Option<u64> {
        self.state.account(&key).map(|account| account.balance)
    }

    pub(crate) fn nonce(&self, key: PublicKey) -> Option<u64> {
        self.state.account(&key).map(|account| account.next_nonce)
    }
}

pub(crate) fn outcome(receipt: &Receipt) -> Option<Outcome> {
    receipt.executed().map(|executed| executed.outcome)
}

/// A request whose signature is worthless.
pub(crate) fn unsigned(transaction: &Transaction) -> Request {
    Request {
        content: transaction.content().into(),
        signature: Signature::from_bytes([0; 64]),
    }
}
