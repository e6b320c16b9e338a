//! The key file, and what keys show of themselves.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that fails is to stop at once"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tagma_crypto::keys::KeyFileError;
use tagma_crypto::{Digest, Domain, SecretKey, verify};
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    (directory, path)
}

fn write(path: &Path, content: &[u8], mode: u32) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_saved_key_is_one_line_for_its_owner_only_and_loads_again() {
    let (_directory, path) = place();
    let secret = SecretKey::from_seed([0xab; 32]);
    secret.save(&path).unwrap();
    let expected = format!("tagma-secret-key-v1 {}\n", "ab".repeat(32));
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(SecretKey::load(&path).unwrap().public(), secret.public());
}

#[test]
fn a_key_is_never_overwritten() {
    let (_directory, path) = place();
    SecretKey::from_seed([1; 32]).save(&path).unwrap();
    let before = fs::read(&path).unwrap();
    let error = SecretKey::from_seed([2; 32]).save(&path).unwrap_err();
    assert!(matches!(error, KeyFileError::Exists { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
    // Nor is a file that is no key, or a dangling link followed.
    let (_directory, path) = place();
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    let error = SecretKey::from_seed([2; 32]).save(&path).unwrap_err();
    assert!(matches!(error, KeyFileError::Exists { .. }), "{error}");
}

#[test]
fn saving_where_there_is_no_directory_says_so() {
    let (_directory, path) = place();
    let error = SecretKey::from_seed([1; 32])
        .save(&path.join("below"))
        .unwrap_err();
    assert!(
        matches!(error, KeyFileError::Io { action: "create", .. }),
        "{error}"
    );
}

#[test]
fn a_missing_key_is_told_apart() {
    let (_directory, path) = place();
    let error = SecretKey::load(&path).unwrap_err();
    assert!(matches!(error, KeyFileError::Missing { .. }), "{error}");
}

#[test]
fn a_key_that_others_can_get_at_is_refused_with_a_hint() {
    let (_directory, path) = place();
    SecretKey::from_seed([1; 32]).save(&path).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o777, 0o610, 0o601] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        match SecretKey::load(&path).unwrap_err() {
            error @ KeyFileError::Exposed { mode: found, .. } => {
                assert_eq!(found, mode);
                assert!(
                    error
                        .to_string()
                        .contains(&format!("chmod 600 {}", path.display())),
                    "{error}"
                );
            }
            error => panic!("mode {mode:o}: {error}"),
        }
    }
    for mode in [0o600, 0o400, 0o700] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        SecretKey::load(&path).unwrap();
    }
}

#[test]
fn anything_but_the_one_line_is_malformed() {
    let digits = "0f".repeat(32);
    let wrong = [
        String::new(),
        "\n".to_owned(),
        digits.clone(),
        format!("tagma-secret-key-v1 {digits}"),
        format!("tagma-secret-key-v1 {digits}\n\n"),
        format!("tagma-secret-key-v1 {digits}\nmore"),
        format!("tagma-secret-key-v1 {digits} \n"),
        format!("tagma-secret-key-v1  {digits}\n"),
        format!("tagma-secret-key-v2 {digits}\n"),
        format!("tagma-secret-key-v1 {}\n", "0f".repeat(31)),
        format!("tagma-secret-key-v1 {}\n", "0f".repeat(33)),
        format!("tagma-secret-key-v1 {}0g\n", "0f".repeat(31)),
        format!("tagma-secret-key-v1 {digits}\n").repeat(1000),
    ];
    for content in wrong {
        let (_directory, path) = place();
        write(&path, content.as_bytes(), 0o600);
        let error = SecretKey::load(&path).unwrap_err();
        assert!(
            matches!(error, KeyFileError::Malformed { .. }),
            "{content:?}: {error}"
        );
        assert!(
            !error.to_string().contains("0f0f"),
            "an error shows key material: {error}"
        );
    }
    let (directory, _) = place();
    let error = SecretKey::load(directory.path()).unwrap_err();
    assert!(matches!(error, KeyFileError::Malformed { .. }), "{error}");
}

#[test]
fn debug_shows_nothing_of_a_secret() {
    let secret = SecretKey::from_seed([0xab; 32]);
    let shown = format!("{secret:?} {secret:#?}");
    assert!(
        shown.contains("redacted") && shown.contains(&secret.public().short()),
        "{shown}"
    );
    assert!(!shown.contains("abab") && !shown.contains("171"), "{shown}");
}

#[test]
fn generated_keys_differ_and_work() {
    let (first, second) = (SecretKey::generate(), SecretKey::generate());
    assert_ne!(first.public(), second.public());
    for secret in [first, second] {
        assert!(secret.public().is_acceptable());
        let domain = Domain::new("tagma/test");
        let signature = secret.sign(domain, &Digest::ZERO, b"content");
        let message = tagma_crypto::signature::signed_bytes(domain, &Digest::ZERO, b"content");
        assert!(verify(&secret.public(), &message, &signature));
    }
}

#[test]
fn the_der_form_is_that_of_rfc_8410_with_the_seed_and_the_public_key() {
    let secret = SecretKey::from_seed([0xab; 32]);
    let der = secret.to_pkcs8_der();
    // SEQUENCE, version 1 (a public key follows), algorithm 1.3.101.112, OCTET STRING of an OCTET STRING of the seed,
    // [1] BIT STRING of the public key.
    let expected = format!(
        "3051020101300506032b657004220420{}812100{}",
        hex::encode([0xab; 32]),
        secret.public()
    );
    assert_eq!(hex::encode(&*der), expected);
}
