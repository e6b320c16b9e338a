//! Keys on this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use tagma_client::ExitCode;
use tagma_crypto::SecretKey;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use crate::support::{Fakes, account_key, soon};
use crate::{Ran, run, tagma};

#[tokio::test]
async fn a_new_account_is_a_file_for_its_owner_and_never_overwritten() {
    let home = TempDir::new().unwrap();
    let ran = run(home.path(), &["-o", "json", "account", "new", "dave"])
        .await
        .exits(ExitCode::Ok);
    let json = ran.json("account/v1");
    let file = home.path().join("accounts/dave.key");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(json["key"], SecretKey::load(&file).unwrap().public().to_string());
    let before = fs::read(&file).unwrap();
    let secret = String::from_utf8(before.clone()).unwrap();
    let secret = secret.trim().rsplit(' ').next().unwrap();
    assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret));
    run(home.path(), &["account", "new", "dave"])
        .await
        .exits(ExitCode::Config)
        .warns("exists already");
    assert_eq!(fs::read(&file).unwrap(), before);
    run(home.path(), &["account", "new", "../dave"])
        .await
        .exits(ExitCode::Config)
        .warns("account name");
}

#[tokio::test]
async fn accounts_are_listed_imported_and_shown() {
    let (home, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let key = account_key("erin");
    let file = elsewhere.path().join("erin");
    key.save(&file).unwrap();
    let path = file.to_str().unwrap();
    run(home.path(), &["account", "import", "erin", path])
        .await
        .exits(ExitCode::Ok);
    let json = run(home.path(), &["-o", "json", "account", "list"])
        .await
        .exits(ExitCode::Ok)
        .json("accounts/v1");
    assert_eq!(json["accounts"][0]["name"], "erin");
    assert_eq!(json["accounts"][0]["key"], key.public().to_string());
    let show = ["-o", "json", "account", "show", &key.public().to_string()];
    let json = run(home.path(), &show)
        .await
        .exits(ExitCode::Ok)
        .json("account/v1");
    assert_eq!(
        (&json["name"], &json["genesis_balance"]),
        (&"erin".into(), &serde_json::Value::Null)
    );
    run(home.path(), &["account", "show", "frank"])
        .await
        .exits(ExitCode::Config)
        .warns("there are erin");

    let mut command = tagma(home.path(), &["account", "import", "erin2", "-"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let seed = text.trim().rsplit(' ').next().unwrap().to_owned();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(seed.as_bytes())
        .await
        .unwrap();
    let output = soon("the import", child.wait_with_output()).await.unwrap();
    Ran::of(output)
        .exits(ExitCode::Ok)
        .says(&key.public().to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_account_is_paid_and_pays() {
    let fakes = Fakes::start(4);
    run(fakes.home(), &["account", "new", "dave"])
        .await
        .exits(ExitCode::Ok);
    run(fakes.home(), &["transfer", "dave", "alice", "1"])
        .await
        .exits(ExitCode::Rejected)
        .warns("does not exist");
    run(fakes.home(), &["transfer", "alice", "dave", "10"])
        .await
        .exits(ExitCode::Ok);
    run(fakes.home(), &["transfer", "dave", "bob", "4"])
        .await
        .exits(ExitCode::Ok);
    run(fakes.home(), &["balance", "dave"])
        .await
        .exits(ExitCode::Ok)
        .says("6  (next nonce 1");
    run(fakes.home(), &["account", "list"])
        .await
        .exits(ExitCode::Ok)
        .says("alice")
        .says("1000")
        .says("dave");
}
