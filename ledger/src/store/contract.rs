//! What every [`Store`] must do, as a suite that its own tests call.
//!
//! Each function takes a way to open a fresh, empty store and panics with a sentence that says which promise was
//! broken. The suite is ordinary code so that crates above can run it over stores this crate cannot know.

use super::{Durability, Pairs, Store, StoreError, Table, WriteBatch};

/// The tables the suite writes to; a store whose tables must be declared when it is opened has to declare these.
pub const TABLES: [Table; 3] = [Table("contract_a"), Table("contract_b"), Table("contract_c")];
const A: Table = TABLES[0];
const B: Table = TABLES[1];
const C: Table = TABLES[2];

/// One part of the contract, given a fresh store.
type Part = fn(&dyn Store) -> Result<(), StoreError>;

/// Runs every part of the contract that needs no reopening, each on a store of its own.
///
/// # Panics
/// If the store breaks the contract or fails.
pub fn run_all<S: Store>(mut open: impl FnMut() -> S) {
    let parts: [Part; 7] = [
        reads_what_was_written,
        keeps_tables_apart,
        applies_batches_in_order,
        ranges_forward,
        ranges_in_reverse,
        deletes_ranges,
        accepts_empty_batches_and_values,
    ];
    for part in parts {
        let store = open();
        let outcome = part(&store);
        assert!(
            outcome.is_ok(),
            "the store failed inside its contract: {outcome:?}"
        );
    }
}

/// Opens the *same* store three times: what was synced is there again, in full and in order.
///
/// # Panics
/// If the store breaks the contract or fails.
pub fn survives_reopening<S: Store>(mut reopen: impl FnMut() -> S) {
    let outcome = (|| {
        {
            let store = reopen();
            put(&store, A, b"buffered", b"1", Durability::Buffered)?;
            put(&store, B, b"synced", b"2", Durability::Synced)?;
        }
        {
            let store = reopen();
            assert_eq!(
                store.get(A, b"buffered")?,
                Some(b"1".to_vec()),
                "a sync covers what was buffered before"
            );
            assert_eq!(
                store.get(B, b"synced")?,
                Some(b"2".to_vec()),
                "what was synced survives"
            );
            let mut batch = WriteBatch::new();
            batch.delete_range(A, *b"a", *b"z");
            store.write(batch, Durability::Buffered)?;
            store.write(WriteBatch::new(), Durability::Synced)?;
        }
        let store = reopen();
        assert_eq!(
            store.get(A, b"buffered")?,
            None,
            "an empty synced write syncs what was buffered"
        );
        assert_eq!(
            store.get(B, b"synced")?,
            Some(b"2".to_vec()),
            "other tables are left alone"
        );
        Ok::<(), StoreError>(())
    })();
    assert!(
        outcome.is_ok(),
        "the store failed inside its contract: {outcome:?}"
    );
}

fn put(
    store: &dyn Store,
    table: Table,
    key: &[u8],
    value: &[u8],
    durability: Durability,
) -> Result<(), StoreError> {
    let mut batch = WriteBatch::new();
    batch.put(table, key, value);
    store.write(batch, durability)
}

fn reads_what_was_written(store: &dyn Store) -> Result<(), StoreError> {
    assert_eq!(store.get(A, b"k")?, None, "a fresh store is empty");
    put(store, A, b"k", b"1", Durability::Buffered)?;
    assert_eq!(
        store.get(A, b"k")?,
        Some(b"1".to_vec()),
        "reads see buffered writes"
    );
    put(store, A, b"k", b"2", Durability::Synced)?;
    assert_eq!(
        store.get(A, b"k")?,
        Some(b"2".to_vec()),
        "a put replaces the value"
    );
    let mut batch = WriteBatch::new();
    batch.delete(A, *b"k");
    batch.delete(A, *b"never there");
    store.write(batch, Durability::Buffered)?;
    assert_eq!(store.get(A, b"k")?, None, "a deleted key is gone");
    Ok(())
}

fn keeps_tables_apart(store: &dyn Store) -> Result<(), StoreError> {
    for (table, value) in [(A, b"a"), (B, b"b"), (C, b"c")] {
        put(store, table, b"k", value, Durability::Buffered)?;
    }
    let mut batch = WriteBatch::new();
    batch.delete(B, *b"k");
    store.write(batch, Durability::Buffered)?;
    assert_eq!(
        store.get(A, b"k")?,
        Some(b"a".to_vec()),
        "tables do not share keys"
    );
    assert_eq!(store.get(B, b"k")?, None, "a delete reaches its own table");
    assert_eq!(
        store.get(C, b"k")?,
        Some(b"c".to_vec()),
        "tables do not share keys"
    );
    assert_eq!(
        store.range(A, b"", None, 9, false)?.len(),
        1,
        "a range without end stays inside its table"
    );
    assert_eq!(
        store.range(A, b"", None, 9, true)?.len(),
        1,
        "a range without end stays inside its table"
    );
    Ok(())
}

fn applies_batches_in_order(store: &dyn Store) -> Result<(), StoreError> {
    let mut batch = WriteBatch::new();
    batch.put(A, *b"k1", *b"first");
    batch.put(A, *b"k1", *b"second");
    batch.put(A, *b"k2", *b"v");
    batch.delete(A, *b"k2");
    batch.put(A, *b"k3", *b"v");
    batch.delete_range(A, *b"k3", *b"k9");
    batch.put(A, *b"k4", *b"after the range");
    batch.put(B, *b"k", *b"other table");
    store.write(batch, Durability::Synced)?;
    assert_eq!(
        store.get(A, b"k1")?,
        Some(b"second".to_vec()),
        "the later put wins"
    );
    assert_eq!(store.get(A, b"k2")?, None, "a delete after a put wins");
    assert_eq!(store.get(A, b"k3")?, None, "a range delete after a put wins");
    assert_eq!(
        store.get(A, b"k4")?,
        Some(b"after the range".to_vec()),
        "a put after a range delete wins"
    );
    assert_eq!(
        store.get(B, b"k")?,
        Some(b"other table".to_vec()),
        "one batch covers several tables"
    );
    Ok(())
}

/// Keys whose order differs between unsigned bytes, signed bytes and text, in the order they must come back.
const SORTED: [&[u8]; 7] = [&[0], &[0, 0], &[0, 1], &[1], &[0x7f], &[0x80], &[0xff, 0xff]];

fn fill(store: &dyn Store) -> Result<(), StoreError> {
    let mut batch = WriteBatch::new();
    for key in SORTED.iter().rev() {
        batch.put(B, *key, *key);
        batch.put(A, *key, *b"neighbour");
        batch.put(C, *key, *b"neighbour");
    }
    store.write(batch, Durability::Buffered)
}

fn expected<'a>(keys: impl IntoIterator<Item = &'a &'a [u8]>) -> Pairs {
    keys.into_iter().map(|key| (key.to_vec(), key.to_vec())).collect()
}

fn ranges_forward(store: &dyn Store) -> Result<(), StoreError> {
    fill(store)?;
    let all = store.range(B, b"", None, 100, false)?;
    assert_eq!(
        all,
        expected(&SORTED),
        "keys come back in the order of unsigned bytes"
    );
    let some = store.range(B, &[0, 0], Some(&[0x80]), 100, false)?;
    assert_eq!(
        some,
        expected(SORTED.iter().skip(1).take(4)),
        "from is included, to is not"
    );
    let limited = store.range(B, &[0, 0], None, 2, false)?;
    assert_eq!(
        limited,
        expected(SORTED.iter().skip(1).take(2)),
        "the limit cuts at the end"
    );
    assert!(
        store.range(B, b"", None, 0, false)?.is_empty(),
        "a limit of zero gives nothing"
    );
    assert!(
        store.range(B, &[1], Some(&[1]), 100, false)?.is_empty(),
        "an empty range gives nothing"
    );
    assert!(
        store.range(B, &[2], Some(&[1]), 100, false)?.is_empty(),
        "an inverted range gives nothing"
    );
    Ok(())
}

fn ranges_in_reverse(store: &dyn Store) -> Result<(), StoreError> {
    fill(store)?;
    let all = store.range(B, b"", None, 100, true)?;
    assert_eq!(
        all,
        expected(SORTED.iter().rev()),
        "reverse starts from the greatest key"
    );
    let some = store.range(B, &[0, 0], Some(&[0x80]), 100, true)?;
    assert_eq!(
        some,
        expected(SORTED.iter().rev().skip(2).take(4)),
        "the bounds mean the same in reverse"
    );
    let limited = store.range(B, b"", Some(&[0x80]), 2, true)?;
    assert_eq!(
        limited,
        expected(SORTED.iter().rev().skip(2).take(2)),
        "the limit keeps the greatest"
    );
    let between = store.range(B, b"", Some(&[0x79]), 1, true)?;
    assert_eq!(
        between,
        expected(SORTED.iter().skip(3).take(1)),
        "to need not be a key"
    );
    assert!(
        store.range(B, &[2], Some(&[1]), 100, true)?.is_empty(),
        "an inverted range gives nothing"
    );
    Ok(())
}

fn deletes_ranges(store: &dyn Store) -> Result<(), StoreError> {
    fill(store)?;
    let mut batch = WriteBatch::new();
    batch.delete_range(B, vec![0, 0], vec![0x7f]);
    batch.delete_range(B, vec![0x80], vec![0x80]);
    batch.delete_range(B, vec![0xff], vec![0x80]);
    store.write(batch, Durability::Buffered)?;
    let left = store.range(B, b"", None, 100, false)?;
    let kept: Vec<&[u8]> = vec![&[0], &[0x7f], &[0x80], &[0xff, 0xff]];
    assert_eq!(
        left,
        expected(&kept),
        "from is removed, to is kept, an empty or inverted range removes nothing"
    );
    assert_eq!(
        store.range(A, b"", None, 100, false)?.len(),
        SORTED.len(),
        "other tables are left alone"
    );
    assert_eq!(
        store.range(C, b"", None, 100, false)?.len(),
        SORTED.len(),
        "other tables are left alone"
    );
    Ok(())
}

fn accepts_empty_batches_and_values(store: &dyn Store) -> Result<(), StoreError> {
    store.write(WriteBatch::new(), Durability::Buffered)?;
    store.write(WriteBatch::new(), Durability::Synced)?;
    put(store, A, b"k", b"", Durability::Synced)?;
    assert_eq!(
        store.get(A, b"k")?,
        Some(Vec::new()),
        "an empty value is not an absent one"
    );
    Ok(())
}
