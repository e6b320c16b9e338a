//! Fetching a state in parts, and proving an account: good parts pass, every other is refused (CP5, CP8).

use crate::common::{Chain, genesis, key};
use tagma_crypto::encode::{MAX_INPUT, decode, encode};
use tagma_crypto::{Digest, PublicKey};
use tagma_ledger::ledger_store::StagingTarget;
use tagma_ledger::snapshot::{AccountProof, BucketPart, PART_ENTRIES, PartError};
use tagma_ledger::store::{Durability, MemoryStore, Store};
use tagma_ledger::{
    Account, AccountEntry, BlockHeader, Genesis, GenesisAccount, LedgerStore, Request, Snapshot, State,
};

const BUCKETS: u32 = 2;

fn entry(seed: u16, balance: u64) -> AccountEntry {
    // Keys are not checked here, so any bytes do.
    let digest = Digest::of("account", &[&seed.to_le_bytes()]);
    AccountEntry {
        key: PublicKey::from_bytes(*digest.as_bytes()),
        account: Account::with_balance(balance),
    }
}

fn snapshot(entries: impl IntoIterator<Item = AccountEntry>, buckets: u32) -> Snapshot {
    let state = State::from_entries(entries, buckets);
    let header = BlockHeader::genesis(Digest::ZERO, 0, state.root());
    Snapshot::new(header, state).unwrap()
}

fn parts(snapshot: &Snapshot) -> Vec<BucketPart> {
    (0..BUCKETS)
        .flat_map(|bucket| (0..).map_while(move |part| snapshot.bucket_part(bucket, part)))
        .collect()
}

#[test]
fn parts_of_every_size_verify() {
    for count in [0u16, 1, 2, 3, 63, 64, 65, 128, 129, 300, 517] {
        let snapshot = snapshot((0..count).map(|seed| entry(seed, u64::from(seed))), 1);
        let summary = snapshot.tree().summary(0).unwrap();
        let parts = BucketPart::parts_of(&summary);
        assert_eq!(parts, u64::from(count).div_ceil(PART_ENTRIES as u64));
        let mut entries = Vec::new();
        for index in 0..parts {
            let part = snapshot.bucket_part(0, index).unwrap();
            assert_eq!(
                part.verify(&summary, 1),
                Ok(()),
                "part {index} of {count} entries"
            );
            assert_eq!(decode::<BucketPart>(&encode(&part), MAX_INPUT).unwrap(), part);
            entries.extend(part.entries);
        }
        assert_eq!(snapshot.bucket_part(0, parts), None);
        assert_eq!(snapshot.bucket_part(1, 0), None);
        assert_eq!(State::from_entries(entries, 1), *snapshot.state());
    }
}

#[test]
fn a_part_that_is_not_the_buckets_is_refused() {
    let snapshot = snapshot((0..300).map(|seed| entry(seed, 1)), BUCKETS);
    let summary = snapshot.tree().summary(0).unwrap();
    let good = snapshot.bucket_part(0, 1).unwrap();
    let verdict = |change: &dyn Fn(&mut BucketPart)| {
        let mut part = good.clone();
        change(&mut part);
        part.verify(&summary, BUCKETS)
    };
    let entries = |part: &mut BucketPart, change: &dyn Fn(&mut Vec<AccountEntry>)| {
        let mut entries = part.entries.to_vec();
        change(&mut entries);
        part.entries = entries.into();
    };
    assert_eq!(verdict(&|_| ()), Ok(()));
    assert_eq!(
        verdict(&|p| entries(p, &|e| e[5].account.balance += 1)),
        Err(PartError::Digest)
    );
    assert_eq!(
        verdict(&|p| entries(p, &|e| e[5].account.next_nonce += 1)),
        Err(PartError::Digest)
    );
    assert_eq!(verdict(&|p| entries(p, &|e| e.swap(0, 1))), Err(PartError::Order));
    assert_eq!(
        verdict(&|p| entries(p, &|e| e[1] = e[0].clone())),
        Err(PartError::Order)
    );
    assert_eq!(
        verdict(&|p| entries(p, &|e| drop(e.pop()))),
        Err(PartError::Count {
            expected: 64,
            found: 63
        })
    );
    assert_eq!(verdict(&|p| p.bucket = 1), Err(PartError::Order));
    assert_eq!(verdict(&|p| p.part = 0), Err(PartError::Digest));
    assert_eq!(
        verdict(&|p| p.part = u64::MAX),
        Err(PartError::NoSuchPart { parts: 3 })
    );
    assert_eq!(verdict(&|p| p.path.count += 1), Err(PartError::Digest));
    assert_eq!(
        verdict(&|p| p.path.path = p.path.path[1..].to_vec().into()),
        Err(PartError::Digest)
    );
    let other_bucket = snapshot.bucket_part(1, 1).unwrap();
    assert!(other_bucket.verify(&summary, BUCKETS).is_err());
}

#[test]
fn accounts_are_proved_under_the_root() {
    let snapshot = snapshot((0..100).map(|seed| entry(seed, u64::from(seed))), 8);
    let root = snapshot.state().root();
    for seed in 0..100 {
        let proof = snapshot.prove_account(&entry(seed, 0).key).unwrap();
        assert_eq!(proof.entry, entry(seed, u64::from(seed)));
        assert!(proof.verify(&root, 8));
        assert_eq!(decode::<AccountProof>(&encode(&proof), MAX_INPUT).unwrap(), proof);
        assert!(!proof.verify(&Digest::ZERO, 8));
        assert!(!proof.verify(&root, 16));
        let changes: [fn(&mut AccountProof); 6] = [
            |p| p.entry.account.balance += 1,
            |p| p.entry.key = entry(1000, 0).key,
            |p| p.bucket.count += 1,
            |p| p.in_bucket.count += 1,
            |p| p.in_bucket.index += 1,
            |p| p.in_tree.index = (p.in_tree.index + 1) % 8,
        ];
        for change in changes {
            let mut proof = proof.clone();
            change(&mut proof);
            assert!(!proof.verify(&root, 8), "account {seed}");
        }
    }
    assert!(snapshot.prove_account(&entry(1000, 0).key).is_none());
}

#[test]
fn a_snapshot_is_what_its_header_says_and_stays_it() {
    let mut chain = Chain::new(&[1000]);
    let mut kept = None;
    for height in 1..=8u64 {
        let (block, executed) = chain.extend(&[chain.pay(key(0), height - 1, key(height as u16), 1)]);
        assert_eq!(
            Snapshot::new(block.header.clone(), executed.state).is_some(),
            height % 4 == 0,
            "only a checkpoint has a snapshot"
        );
        if height == 4 {
            kept = executed.checkpoint.map(|checkpoint| checkpoint.snapshot);
        }
    }
    let kept = kept.unwrap();
    assert_eq!(kept.state().account(&key(0)).unwrap().balance, 996);
    let proof = kept.prove_account(&key(0)).unwrap();
    assert!(proof.verify(&kept.header().state_root.unwrap(), 8));
    assert_eq!(
        proof.entry.account.settled.len(),
        4,
        "the last outcomes are part of what is proved and fetched"
    );
    assert!(Snapshot::new(kept.header().clone(), chain.state.clone()).is_none());
}

/// A chain of many accounts, so that buckets have several parts, and a replica that stopped at genesis.
fn behind() -> (Genesis, Chain, Snapshot, LedgerStore<MemoryStore>, MemoryStore) {
    let mut genesis = genesis(&[1_000_000]);
    genesis.parameters.bucket_count = BUCKETS;
    let mut accounts = genesis.accounts.to_vec();
    accounts.extend((10..400).map(|seed| GenesisAccount {
        name: None,
        key: entry(seed, 0).key,
        balance: 1,
    }));
    genesis.accounts = accounts.into();
    let mut chain = Chain::from_genesis(genesis.clone());
    let mut latest = None;
    for height in 1..=4u64 {
        let requests: Vec<Request> = (0..10)
            .map(|n| chain.pay(key(0), (height - 1) * 10 + n, key((height * 10 + n) as u16), 3))
            .collect();
        latest = chain.extend(&requests).1.checkpoint;
    }
    let disk = MemoryStore::new();
    let ledger = LedgerStore::new(disk.clone(), &genesis);
    disk.write(ledger.init_writes(&genesis), Durability::Synced)
        .unwrap();
    (genesis, chain, latest.unwrap().snapshot, ledger, disk)
}

#[test]
fn a_state_is_fetched_in_parts_and_switched_in_at_once() {
    let (_, chain, source, ledger, disk) = behind();
    let base = ledger.load_state().unwrap();
    assert!(
        StagingTarget::new(source.header().clone(), base.tree().summaries()).is_none(),
        "a lying source"
    );
    let target = StagingTarget::new(source.header().clone(), source.tree().summaries()).unwrap();
    disk.write(ledger.begin_staging(&target), Durability::Synced)
        .unwrap();
    let wanted = ledger.missing_parts(&target, &base).unwrap();
    assert!(wanted.len() > 4, "several parts differ");
    let stale = base.bucket_part(0, 0).unwrap();
    assert!(target.check(&stale).is_err());
    for (number, (bucket, part)) in wanted.iter().enumerate() {
        assert!(
            ledger.finish_staging(&target, &base).unwrap().is_none(),
            "a part is missing still"
        );
        let part = source.bucket_part(*bucket, *part).unwrap();
        target.check(&part).unwrap();
        let durability = if number == 2 {
            Durability::Synced
        } else {
            Durability::Buffered
        };
        disk.write(ledger.stage_part(&part), durability).unwrap();
        if number == 3 {
            // A crash in the middle: what was synced is not asked for again, and the state in use is the old one.
            disk.crash();
            assert_eq!(ledger.staging_target().unwrap().as_ref(), Some(&target));
            assert_eq!(ledger.missing_parts(&target, &base).unwrap(), wanted[3..]);
            assert_eq!(ledger.load_state().unwrap().state(), base.state());
            disk.write(ledger.stage_part(&part), Durability::Buffered)
                .unwrap();
        }
    }
    let (snapshot, switch) = ledger.finish_staging(&target, &base).unwrap().unwrap();
    assert_eq!(snapshot.state(), &chain.state);
    assert_eq!(ledger.taken_over().unwrap(), None);
    disk.write(switch, Durability::Synced).unwrap();
    assert_eq!(ledger.taken_over().unwrap(), Some(source.height()));
    let recovered = ledger.recover().unwrap();
    assert_eq!(
        (recovered.tip, recovered.state),
        (chain.tip.clone(), chain.state.clone())
    );
    assert_eq!(ledger.staging_target().unwrap(), None);
    assert!(
        disk.range(tagma_ledger::ledger_store::STAGING, &[], None, 9, false)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn only_what_differs_is_fetched() {
    let one = snapshot((0..200).map(|seed| entry(seed, 1)), 64);
    let other = snapshot(
        (0..200).map(|seed| entry(seed, if seed == 7 { 2 } else { 1 })),
        64,
    );
    let target = StagingTarget::new(other.header().clone(), other.tree().summaries()).unwrap();
    let bucket = one.state().place(entry(7, 0).key).bucket;
    assert_eq!(
        target
            .differing(&one)
            .map(|(bucket, _)| bucket)
            .collect::<Vec<_>>(),
        [bucket]
    );
}

#[test]
fn all_parts_of_a_snapshot_give_its_state() {
    let snapshot = snapshot((0..400).map(|seed| entry(seed, 5)), BUCKETS);
    let entries = parts(&snapshot).into_iter().flat_map(|part| part.entries);
    assert_eq!(
        State::from_entries(entries, BUCKETS).root(),
        snapshot.state().root()
    );
}
