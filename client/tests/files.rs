//! Keys and pending requests on disk, and where they are found.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tagma_client::{Home, Keystore, KeystoreError, Pending, PendingError};
use tagma_crypto::{Digest, SecretKey};
use tagma_ledger::{Operation, SignedTransaction, Transaction};
use tempfile::TempDir;

fn signed(nonce: u64) -> SignedTransaction {
    let key = SecretKey::from_seed([1; 32]);
    let transaction = Transaction {
        chain: Digest::of("test chain", &[]),
        account: key.public(),
        nonce,
        operation: Operation::Transfer {
            to: SecretKey::from_seed([2; 32]).public(),
            amount: u64::MAX,
        },
        expiry_height: 5,
    };
    transaction.sign(&key)
}

#[test]
fn a_key_is_kept_once_for_its_owner_only() {
    let dir = TempDir::new().unwrap();
    let keystore = Keystore::new(dir.path().join("accounts"));
    assert_eq!(keystore.names().unwrap(), Vec::<String>::new());
    let key = SecretKey::generate();
    let path = keystore.add("dave", &key).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(keystore.load("dave").unwrap().public(), key.public());
    assert_eq!(keystore.signer("dave").unwrap().public(), key.public());
    assert_eq!(
        keystore.signer(&key.public().to_string()).unwrap().public(),
        key.public()
    );
    assert_eq!(keystore.resolve("dave", None).unwrap(), key.public());
    assert!(matches!(
        keystore.add("dave", &SecretKey::generate()),
        Err(KeystoreError::File(_))
    ));
    assert_eq!(keystore.load("dave").unwrap().public(), key.public());

    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(
        matches!(keystore.load("dave"), Err(KeystoreError::File(_))),
        "others could read it"
    );
}

#[test]
fn a_name_cannot_lead_elsewhere() {
    let dir = TempDir::new().unwrap();
    let keystore = Keystore::new(dir.path().to_owned());
    let key = SecretKey::generate();
    for name in [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        ".hidden",
        "a b",
        "ä",
        &"x".repeat(65),
    ] {
        assert!(
            matches!(keystore.add(name, &key), Err(KeystoreError::Name(_))),
            "{name:?}"
        );
        assert!(
            matches!(keystore.resolve(name, None), Err(KeystoreError::Unknown { .. })),
            "{name:?}"
        );
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn who_is_unknown_is_told_who_is_known() {
    let dir = TempDir::new().unwrap();
    let keystore = Keystore::new(dir.path().to_owned());
    keystore.add("dave", &SecretKey::generate()).unwrap();
    let error = keystore.resolve("dvae", None).unwrap_err().to_string();
    assert!(error.contains("dvae") && error.contains("dave"), "{error}");
    assert!(matches!(keystore.load("dvae"), Err(KeystoreError::NoKey { known, .. }) if known == ["dave"]));
}

#[test]
fn a_pending_request_comes_back_to_the_last_byte() {
    let dir = TempDir::new().unwrap();
    let pending = Pending::new(dir.path().join("pending"));
    assert!(pending.all().unwrap().is_empty());
    let (a, b) = (signed(0), signed(1));
    pending.save(&a).unwrap();
    pending.save(&a).unwrap();
    pending.save(&b).unwrap();
    let hash = a.transaction.digest();
    let loaded = pending.load(&hash).unwrap().unwrap();
    assert_eq!(loaded.transaction.to_request(), a.to_request());
    assert_eq!(pending.all().unwrap().len(), 2);
    pending.remove(&hash).unwrap();
    pending.remove(&hash).unwrap();
    assert_eq!(pending.load(&hash).unwrap(), None);
    assert_eq!(pending.all().unwrap().len(), 1);
}

#[test]
fn a_damaged_or_renamed_pending_request_is_not_sent() {
    let dir = TempDir::new().unwrap();
    let pending = Pending::new(dir.path().to_owned());
    let (a, b) = (signed(0), signed(1));
    pending.save(&a).unwrap();
    let path = |of: &SignedTransaction| dir.path().join(format!("{}.json", of.transaction.digest()));
    fs::rename(path(&a), path(&b)).unwrap();
    let renamed = pending.load(&b.transaction.digest());
    assert!(
        matches!(renamed, Err(PendingError::Malformed { .. })),
        "{renamed:?}"
    );
    fs::write(path(&b), "{").unwrap();
    let damaged = pending.load(&b.transaction.digest());
    assert!(
        matches!(damaged, Err(PendingError::Malformed { .. })),
        "{damaged:?}"
    );
}

#[test]
fn the_nearest_network_is_found() {
    let dir = TempDir::new().unwrap();
    let deep = dir.path().join("a/b/c");
    fs::create_dir_all(&deep).unwrap();
    assert!(Home::find(&deep).is_err());
    for at in ["", "a/b"] {
        let home = dir.path().join(at).join(".testnet");
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("genesis.json"), "").unwrap();
        assert_eq!(Home::find(&deep).unwrap().dir(), home);
    }
}
