//! Blocks and state on a store: what is written is found again, recovery replays, damage is named (LE3, CD8).

use crate::common::{Chain, genesis, key, outcome};
use tagma_crypto::encode::{Blob, encode};
use tagma_ledger::block::receipts_root;
use tagma_ledger::ledger_store::{ACCOUNTS, BODIES, CERTIFICATES, HEADERS, Recovered};
use tagma_ledger::store::{Durability, MemoryStore, Store, StoreError, Table, WriteBatch};
use tagma_ledger::{Block, LedgerStore, Outcome, Receipt};

struct Node {
    chain: Chain,
    disk: MemoryStore,
    ledger: LedgerStore<MemoryStore>,
    blocks: Vec<Block>,
}

impl Node {
    fn new() -> Self {
        let chain = Chain::new(&[1000, 1000]);
        let disk = MemoryStore::new();
        let ledger = LedgerStore::new(disk.clone(), &chain.genesis);
        assert_eq!(ledger.chain().unwrap(), None);
        assert_eq!(ledger.tip().unwrap(), None);
        disk.write(ledger.init_writes(&chain.genesis), Durability::Synced)
            .unwrap();
        Self {
            chain,
            disk,
            ledger,
            blocks: Vec::new(),
        }
    }

    /// Adds a block of three payments and a repeated one; writes the checkpoint if there is one and `save` says so.
    fn step(&mut self, save: bool) {
        let height = self.chain.tip.height + 1;
        let mut requests: Vec<_> = (0..3)
            .map(|n| {
                self.chain.pay(
                    key(0),
                    (height - 1) * 3 + n,
                    key(2 + (height * 7 + n) as u16 % 5),
                    n,
                )
            })
            .collect();
        requests.push(requests[0].clone());
        let (block, executed) = self.chain.extend(&requests);
        let mut batch = self.ledger.append_block(&block, &certificate(height));
        if let Some(checkpoint) = executed.checkpoint.filter(|_| save) {
            batch.append(self.ledger.checkpoint_writes(&checkpoint));
        }
        self.disk.write(batch, Durability::Synced).unwrap();
        self.blocks.push(block);
    }

    fn grown(height: u64) -> Self {
        let mut node = Self::new();
        for _ in 0..height {
            node.step(true);
        }
        node
    }

    fn recover(&self) -> Result<Recovered, StoreError> {
        LedgerStore::new(self.disk.clone(), &self.chain.genesis).recover()
    }

    fn overwrite(&self, table: Table, key: &[u8], value: Option<Vec<u8>>) {
        let mut batch = WriteBatch::new();
        match value {
            Some(value) => batch.put(table, key, value),
            None => batch.delete(table, key),
        }
        self.disk.write(batch, Durability::Synced).unwrap();
    }
}

fn certificate(height: u64) -> Blob {
    Blob::from(format!("certificate {height}").into_bytes())
}

fn accept(_: &tagma_ledger::BlockHeader, _: &[u8]) -> Result<(), String> {
    Ok(())
}

#[test]
fn what_was_written_is_found_again() {
    let node = Node::grown(6);
    let ledger = &node.ledger;
    assert_eq!(ledger.chain().unwrap(), Some(node.chain.id));
    assert_eq!(ledger.tip().unwrap().as_ref(), Some(&node.chain.tip));
    assert_eq!(ledger.state_height().unwrap(), 4);
    for (height, block) in (1..).zip(&node.blocks) {
        assert_eq!(ledger.block(height).unwrap().as_ref(), Some(block));
        assert_eq!(ledger.header(height).unwrap().as_ref(), Some(&block.header));
        assert_eq!(ledger.certificate(height).unwrap(), Some(certificate(height)));
        for (position, (request, receipt)) in (0u32..).zip(block.requests.iter().zip(&block.receipts)) {
            let found = ledger
                .transaction(&request.digest(&node.chain.id))
                .unwrap()
                .unwrap();
            // The repeated request's no-op at position 3 does not hide its execution at position 0.
            let expected = if outcome(receipt).is_some() { position } else { 0 };
            assert_eq!((found.height, found.position), (height, expected));
        }
    }
    assert_eq!(ledger.block(0).unwrap(), None);
    assert_eq!(ledger.block(7).unwrap(), None);
    assert_eq!(ledger.header(7).unwrap(), None);
    assert_eq!(ledger.certificate(7).unwrap(), None);
    assert_eq!(ledger.transaction(&node.chain.id).unwrap(), None);
    let heights = |from, limit, reverse| -> Vec<u64> {
        ledger
            .headers(from, limit, reverse)
            .unwrap()
            .iter()
            .map(|header| header.height)
            .collect()
    };
    assert_eq!(heights(2, 3, false), [2, 3, 4]);
    assert_eq!(heights(5, 3, true), [5, 4, 3]);
    assert_eq!(heights(u64::MAX, 2, true), [6, 5]);
    assert_eq!(heights(5, 9, false), [5, 6]);
}

#[test]
fn recovery_gives_the_state_at_the_tip() {
    for height in 0..=9 {
        let node = Node::grown(height);
        let recovered = node.recover().unwrap();
        assert_eq!(recovered.tip, node.chain.tip);
        assert_eq!(recovered.state, node.chain.state);
        assert_eq!(recovered.snapshot.height(), height / 4 * 4);
        assert!(recovered.unwritten.is_none(), "every checkpoint was written");
        assert_eq!(node.ledger.load_state().unwrap().height(), height / 4 * 4);
        // Both go on alike.
        let mut resumed = Chain::from_genesis(node.chain.genesis.clone());
        resumed.state = recovered.state;
        resumed.tip = recovered.tip;
        let mut node = node;
        for _ in 0..4 {
            node.step(true);
            let block = node.blocks.last().unwrap();
            assert_eq!(resumed.extend(&block.requests).0, *block);
        }
    }
}

#[test]
fn recovery_catches_up_with_checkpoints_that_were_not_written() {
    let mut node = Node::grown(5);
    for _ in 0..8 {
        node.step(false);
    }
    let recovered = node.recover().unwrap();
    assert_eq!(
        (&recovered.tip, &recovered.state),
        (&node.chain.tip, &node.chain.state)
    );
    assert_eq!(recovered.snapshot.height(), 12);
    let unwritten = recovered.unwritten.unwrap();
    node.disk
        .write(node.ledger.checkpoint_writes(&unwritten), Durability::Synced)
        .unwrap();
    let loaded = node.ledger.load_state().unwrap();
    assert_eq!(loaded.height(), 12);
    assert_eq!(loaded.state(), recovered.snapshot.state());
    assert!(node.recover().unwrap().unwritten.is_none());
}

#[test]
fn the_whole_chain_replays_from_genesis() {
    let node = Node::grown(9);
    let replayed = node.ledger.replay_from_genesis(&node.chain.genesis).unwrap();
    assert_eq!(
        (&replayed.tip, &replayed.state),
        (&node.chain.tip, &node.chain.state)
    );
    assert_eq!(
        replayed.snapshot.header(),
        node.ledger.load_state().unwrap().header()
    );
    // Receipts that claim another outcome, under headers made to fit them: only executing tells.
    let mut block = node.blocks[1].clone();
    let mut receipts = block.receipts.to_vec();
    let Receipt::Executed(executed) = &mut receipts[1] else {
        panic!("the second request was executed")
    };
    executed.outcome = Outcome::ZeroAmount;
    block.header.receipts_root = receipts_root(&receipts);
    block.receipts = receipts.into();
    node.disk
        .write(
            node.ledger.append_block(&block, &certificate(2)),
            Durability::Synced,
        )
        .unwrap();
    node.ledger.verify_chain(0, 2, accept).unwrap();
    let error = node
        .ledger
        .replay_from_genesis(&node.chain.genesis)
        .unwrap_err()
        .to_string();
    assert!(error.contains("other receipts"), "{error}");
    // The prefix below is not asked: recovery begins at the accounts on disk.
    node.recover().unwrap();
    node.overwrite(BODIES, &3u64.to_be_bytes(), None);
    assert!(node.ledger.replay_from_genesis(&node.chain.genesis).is_err());
}

#[test]
fn a_crash_at_any_write_recovers_to_a_prefix() {
    for kept in 0..=10usize {
        let mut chain = Chain::new(&[1000]);
        let disk = MemoryStore::new();
        let ledger = LedgerStore::new(disk.clone(), &chain.genesis);
        disk.write(ledger.init_writes(&chain.genesis), Durability::Synced)
            .unwrap();
        let mut states = vec![chain.state.clone()];
        let mut requests = Vec::new();
        for height in 1..=10u64 {
            let (block, executed) = chain.extend(&[chain.pay(key(0), height - 1, key(3), 1)]);
            let mut batch = ledger.append_block(&block, &certificate(height));
            if let Some(checkpoint) = &executed.checkpoint {
                batch.append(ledger.checkpoint_writes(checkpoint));
            }
            disk.write(batch, Durability::Buffered).unwrap();
            states.push(chain.state.clone());
            requests.push(block.requests[0].digest(&chain.id));
        }
        let found = |ledger: &LedgerStore<MemoryStore>| -> Vec<Option<u64>> {
            let found = requests
                .iter()
                .map(|request| ledger.transaction(request).unwrap());
            found.map(|found| found.map(|found| found.height)).collect()
        };
        assert!(found(&ledger).iter().copied().eq((1..=10).map(Some)));
        disk.crash_keeping(kept);
        let recovered = ledger.recover().unwrap();
        assert_eq!(recovered.tip.height, kept as u64);
        assert_eq!(recovered.state, states[kept]);
        // Requests of blocks that were lost were not executed, and all others are found, indexed on disk or not.
        let expected: Vec<Option<u64>> = (1..=10u64)
            .map(|height| (height <= kept as u64).then_some(height))
            .collect();
        assert_eq!(found(&ledger), expected);
        let again = LedgerStore::new(disk.clone(), &chain.genesis);
        again.recover().unwrap();
        assert_eq!(found(&again), expected);
    }
}

#[test]
fn a_chain_is_verified_from_end_to_end() {
    let node = Node::grown(6);
    let mut seen = Vec::new();
    node.ledger
        .verify_chain(0, 6, |header, certificate| {
            seen.push((header.height, String::from_utf8(certificate.to_vec()).unwrap()));
            Ok(())
        })
        .unwrap();
    let expected: Vec<_> = (1..=6)
        .map(|height| (height, format!("certificate {height}")))
        .collect();
    assert_eq!(seen, expected);
    node.ledger.verify_chain(3, 5, accept).unwrap();
    let refuse = |header: &tagma_ledger::BlockHeader, _: &[u8]| {
        if header.height == 5 {
            Err("too few signers".to_owned())
        } else {
            Ok(())
        }
    };
    let error = node.ledger.verify_chain(0, 6, refuse).unwrap_err().to_string();
    assert!(
        error.contains("certificates") && error.contains("too few signers"),
        "{error}"
    );
    assert!(matches!(
        node.ledger.verify_chain(0, 7, accept),
        Err(StoreError::Missing { table: HEADERS, .. })
    ));
}

#[test]
fn damage_is_named() {
    let at = |height: u64| height.to_be_bytes();
    let corrupt_in = |error: StoreError, expected: Table| match error {
        StoreError::Corrupt { table, .. } => assert_eq!(table, expected),
        other => panic!("expected damage in {expected}, got {other}"),
    };
    // A header replaced by another one, by garbage, by nothing.
    let node = Node::grown(6);
    let third = encode(&node.blocks[2].header);
    node.overwrite(HEADERS, &at(5), Some(third.clone()));
    corrupt_in(node.recover().unwrap_err(), HEADERS);
    corrupt_in(node.ledger.verify_chain(0, 6, accept).unwrap_err(), HEADERS);
    node.overwrite(HEADERS, &at(5), Some(third[1..].to_vec()));
    corrupt_in(node.recover().unwrap_err(), HEADERS);
    node.overwrite(HEADERS, &at(4), None);
    assert!(matches!(
        node.recover(),
        Err(StoreError::Missing { table: HEADERS, .. })
    ));

    // A header that is well formed, but is not what execution gives.
    let node = Node::grown(6);
    let mut forged = node.blocks[5].header.clone();
    forged.receipts_root = tagma_crypto::Digest::ZERO;
    node.overwrite(HEADERS, &at(6), Some(encode(&forged)));
    corrupt_in(node.recover().unwrap_err(), BODIES);

    // Bodies.
    let node = Node::grown(6);
    let body = node.disk.get(BODIES, &at(6)).unwrap().unwrap();
    for position in [0, 20, body.len() - 1] {
        let mut damaged = body.clone();
        damaged[position] ^= 1;
        node.overwrite(BODIES, &at(6), Some(damaged));
        corrupt_in(node.recover().unwrap_err(), BODIES);
        corrupt_in(node.ledger.verify_chain(0, 6, accept).unwrap_err(), BODIES);
    }
    node.overwrite(BODIES, &at(6), None);
    assert!(matches!(
        node.recover(),
        Err(StoreError::Missing { table: BODIES, .. })
    ));

    // Certificates.
    let node = Node::grown(6);
    node.overwrite(CERTIFICATES, &at(2), None);
    assert!(matches!(
        node.ledger.verify_chain(0, 6, accept),
        Err(StoreError::Missing {
            table: CERTIFICATES,
            ..
        })
    ));

    // Every byte of an account counts.
    let node = Node::grown(6);
    let (account, value) = node
        .disk
        .range(ACCOUNTS, &[], None, 1, false)
        .unwrap()
        .pop()
        .unwrap();
    for position in 0..value.len() {
        let mut damaged = value.clone();
        damaged[position] ^= 1;
        node.overwrite(ACCOUNTS, &account, Some(damaged));
        corrupt_in(node.recover().unwrap_err(), ACCOUNTS);
    }
    node.overwrite(ACCOUNTS, &account, None);
    corrupt_in(node.recover().unwrap_err(), ACCOUNTS);
    node.overwrite(ACCOUNTS, &account, Some(value));
    node.recover().unwrap();
    node.overwrite(ACCOUNTS, b"strange", Some(vec![]));
    corrupt_in(node.recover().unwrap_err(), ACCOUNTS);
}

#[test]
fn pruning_keeps_what_recovery_needs() {
    let node = Node::grown(10);
    node.disk
        .write(node.ledger.prune_writes(u64::MAX).unwrap(), Durability::Synced)
        .unwrap();
    for height in 1..=10 {
        assert_eq!(
            node.ledger.block(height).unwrap().is_some(),
            height > 8,
            "height {height}"
        );
        assert!(node.ledger.header(height).unwrap().is_some());
        assert!(node.ledger.certificate(height).unwrap().is_some());
    }
    assert_eq!(node.recover().unwrap().state, node.chain.state);
    node.ledger.verify_chain(0, 10, accept).unwrap();
    let node = Node::grown(10);
    node.disk
        .write(node.ledger.prune_writes(3).unwrap(), Durability::Synced)
        .unwrap();
    assert!(node.ledger.block(2).unwrap().is_none());
    assert!(node.ledger.block(3).unwrap().is_some());
}

#[test]
fn a_store_of_another_chain_is_told_apart() {
    let node = Node::grown(1);
    let mut other = genesis(&[1000, 1000]);
    other.time_ms += 1;
    let ledger = LedgerStore::new(node.disk.clone(), &other);
    assert_ne!(ledger.chain().unwrap(), Some(other.chain_id()));
    assert!(matches!(
        ledger.verify_chain(0, 1, accept),
        Err(StoreError::Corrupt { table: HEADERS, .. })
    ));
}

#[test]
fn an_empty_store_has_nothing_to_recover() {
    let ledger = LedgerStore::new(MemoryStore::new(), &genesis(&[1]));
    assert!(matches!(ledger.recover(), Err(StoreError::Missing { .. })));
}
